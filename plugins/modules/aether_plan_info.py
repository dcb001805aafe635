#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_plan_info
short_description: Say what growing, starting or rolling a cluster would do, and what speaks against it
version_added: 0.1.0
description:
  - Asks every member, compares with the wanted voters and decides what has to be done with which node, in which order.
  - Fails with all refusals at once. Changes nothing.
options:
  operation:
    description:
      - V(bootstrap) - form the cluster, or start what is down.
      - V(grow) - add voters that are not members yet, then give the longer list to the old members.
      - V(roll) - restart every member, the leader last.
      - V(shrink) - take O(removing) out, one at a time, the leader last; the plan is about the next of them.
      - V(restart) - stop every node and start those cold that stay, for what cannot be done one at a time; also without a majority.
    type: str
    choices: [bootstrap, grow, roll, shrink, restart]
    required: true
  abandoned:
    description: Nodes on which an earlier, interrupted run left its mark. They are finished first.
    type: list
    elements: str
    default: []
  allow_even:
    description: Accept an even number of voters at the end.
    type: bool
    default: false
  roll_lists:
    description: Whether the old members get the longer list.
    type: bool
    default: true
  disk_lists:
    description: For each member the ids in the list on its host's disk, the node itself included; used where the API shows no lists.
    type: dict
    default: {}
  stale:
    description: Nodes whose list on disk has another address of somebody than the inventory.
    type: list
    elements: str
    default: []
  former:
    description:
      - Addresses that nodes had once, as C(ID=http://HOST:PORT). A node that runs there beside the one that has its id now is refused.
      - Told by their ids and ages, so it is of use with O(api=v1) only.
    type: list
    elements: str
    default: []
  replacing:
    description: Nodes whose dead host has been replaced, to be added under the id that the lists have already.
    type: list
    elements: str
    default: []
  leaving:
    description: Ids of dead nodes that the new lists do without. For O(operation=restart), those that the running lists have and the inventory has not.
    type: list
    elements: str
    default: []
  restarted:
    description: Nodes that an earlier run has restarted already; V(roll) leaves them alone.
    type: list
    elements: str
    default: []
  removing:
    description: For O(operation=shrink) and O(operation=restart), the members that are to go.
    type: list
    elements: str
    default: []
  stopped:
    description: Those of O(removing) whose service does not run on their host.
    type: list
    elements: str
    default: []
  dead:
    description: Those of O(removing) whose host cannot be asked, and that may go all the same.
    type: list
    elements: str
    default: []
  keep_lists:
    description: Whether the others keep them in their lists.
    type: bool
    default: false
  allow_small:
    description: Accept fewer than three members at the end.
    type: bool
    default: false
  window:
    description: Seconds over which is measured what the members carry, when there is anything to do; RV(capacity) says it. V(0) does not measure.
    type: float
    default: 0.0
  profile:
    description: With O(window), the row of the runbook's sizing table that the cluster is meant to be.
    type: str
    choices: [development, small, medium, large]
  machines:
    description: With O(window), what is known of the members' hosts, as the filter P(pragmatica.aether.machines#filter) makes it.
    type: list
    elements: dict
    default: []
    suboptions:
      node:
        description: The id of the member.
        type: str
        required: true
      cores:
        description: Its host's cores.
        type: int
        required: true
      memory_mb:
        description: Its host's memory.
        type: int
        required: true
      available_mb:
        description: How much of it is free.
        type: int
        default: 0
      load:
        description: How many processes want to run there, on average of the last minute.
        type: float
        default: 0.0
      disk_mb:
        description: What is free on its disk.
        type: int
        default: 0
  allow_overload:
    description: Accept that those that are left while others are stopped are critically busy, as found with O(window).
    type: bool
    default: false
  phase:
    description: For O(operation=restart), how far an interrupted one is, as the journal of its saved state says; empty when there is none.
    type: str
    default: ""
  key_role:
    description: The role that O(api_key) must have for what the plan will write. Learnt by a request that changes nothing.
    type: str
    choices: [VIEWER, OPERATOR, ADMIN]
    default: VIEWER
  on_refusal:
    description: V(report) ends well, with the refusals in RV(ignore:plan.refusals).
    type: str
    choices: [fail, report]
    default: fail
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: What would growing do?
  pragmatica.aether.aether_plan_info:
    operation: grow
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080, n4=http://10.0.0.4:8080, n5=http://10.0.0.5:8080]
  delegate_to: localhost
"""

RETURN = r"""
msg:
  description: What was found or done, or what is wrong and what to do, as a sentence.
  returned: always
  type: str
api:
  description: The dialect that the members speak.
  returned: when a member was asked
  type: str
cluster:
  description: RV(ignore:cluster.leader), RV(ignore:cluster.voters), and RV(ignore:cluster.members) with what each voter says of itself
    and in whose views it is.
  returned: when the members were asked
  type: dict
  sample:
    leader: n1
    voters: [n1, n2, n3]
    members:
      - id: n1
        answers: true
        ready: true
        sound: true
        state: ON_DUTY
        in_views_of: [n2, n3]
quorum:
  description:
    - C(needed) and C(have) sound members; C(can_lose), how many may go whichever they are; C(survives_without) for each member.
    - C(agreed), whether all sound members name one leader and see each other; C(state_evidence), C(compared) or C(none).
    - C(reasons), every finding with C(code), C(node), C(sentence) and the requirements it C(blocks).
  returned: when the members were asked
  type: dict
  sample:
    needed: 2
    have: 3
    can_lose: 1
    agreed: true
    state_evidence: compared
    survives_without: {n1: true, n2: true, n3: true}
    reasons: []
actions:
  description: The writes that were sent, or in check mode would be, each with C(method), C(path), C(node), C(why) and C(sent).
  returned: when the members were asked
  type: list
  elements: dict
  sample:
    - method: POST
      path: /api/node/activate/n2
      node: n1
      why: n2 is decommissioned and wanted on duty
      sent: true
waited:
  description: How long the task waited in C(seconds), and how often it asked (C(polls)).
  returned: when the members were asked
  type: dict
  sample: {seconds: 3.2, polls: 6}
failure:
  description: For branching on a failure, C(kind) and what belongs to it.
  returned: on failure
  type: dict
  sample: {kind: quorum, codes: [down, lost_majority]}
plan:
  description:
    - C(done); C(leader); C(baseline), the members with state now; C(lists), the list that each running member has.
    - C(to_finish), C(to_start), C(to_add), C(to_roll), C(to_heal), ids in the order to take them; C(to_write), those whose list on disk is
      renewed without a restart.
    - C(nodes), per id its C(action), whether it C(leads), and C(why) as a sentence; C(summary), these sentences.
    - C(refusals), each with C(code), C(sentence), and the C(option) that would allow it.
    - For O(operation=shrink) C(leaving), who goes next; C(rest), the list that the others get; C(roll_before) and C(roll_after), who gets it before and
      after the stop; C(to_stop); C(out), who is out already; C(order).
  returned: always
  type: dict
  sample:
    operation: grow
    done: false
    leader: n1
    baseline: [n1, n2, n3]
    to_add: [n4, n5]
    to_roll: [n2, n3, n1]
    refusals: []
slices:
  description: For each node the artifacts of its active slice instances.
  returned: always
  type: dict
  sample: {n1: ["org.example:cart:1.0.0"], n2: []}
capacity:
  description: C(advice), C(members) and C(table), as M(pragmatica.aether.aether_capacity_info) returns them.
  returned: with O(window), when there is anything to do
  type: dict
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import plan_info


def main():
    run_module(plan_info)


if __name__ == "__main__":
    main()
