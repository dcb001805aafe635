#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_drain
short_description: Take every slice off a node, or put it back on duty
version_added: 0.1.0
description:
  - Decides on one look at every member before anything is sent, and lists everything that speaks against it at once, with the option that would allow it.
  - A node is drained when it is decommissioned and no instance is on it in any member's view.
  - A drain that is called off behind its back, as a restart of the node does, is started again once.
  - A drain that cannot be finished is undone. The node is back on duty, counts are as they were, and the task fails with what kept which slice.
  - What would have to be undone is written to a file in O(intent_path) before the first write.
    When a run was interrupted, the next one finishes or undoes what it left, and says so in RV(abandoned).
options:
  name:
    description: The id of the node. Required unless O(state=settled).
    type: str
  state:
    description:
      - V(drained) takes every slice off the node.
      - V(active) puts the node back on duty, also in the middle of a drain, and counts that O(make_room) has lowered back to what they were.
      - V(settled) only finishes or undoes what interrupted runs left, of any node. Nodes that are drained with O(hold=true) stay so.
    type: str
    choices: [drained, active, settled]
    default: drained
  make_room:
    description:
      - Where every node on duty has a slice already, want one instance less of it for as long as the node is drained, never less than its minimum.
      - A drain that is found stuck for want of room is called off, given room and started again, once.
      - The count is put back by O(state=active), or when the drain fails.
    type: bool
    default: false
  allow:
    description:
      - Refusals that are not to count, by their code in RV(ignore:failure.refusals).
      - V(majority), the rest would lose the majority. V(only_instance), the node runs the only active instance of a slice.
        V(deployment), a deployment is in progress. V(unsound), the cluster is not complete. V(unsettled), a slice on the node has not the wanted number of
        active instances.
        V(no_room), no other node is free to take a slice, which can be allowed only with O(api=runbook); elsewhere such a drain is known never to end.
    type: list
    elements: str
    choices: [majority, only_instance, deployment, unsound, unsettled, no_room]
    default: []
  hold:
    description:
      - Whether the node is meant to stay drained after the task.
      - V(false) says that the drain is a step of something longer. A later run that finds the node drained takes it for abandoned and puts it back on duty.
    type: bool
    default: true
  timeout:
    description:
      - Seconds to wait in each step that waits. By default 10 and 5 more for each slice on the node for V(drained), 30 for V(active), each more than was
        ever seen to be needed.
      - Without it, V(drained) waits 25 seconds longer when the leader was lost or the node restarts meanwhile.
    type: float
  intent_path:
    description:
      - Directory, on the machine where the task runs, for what would have to be undone after an interruption.
        It is made if need be, readable by its owner only.
      - By default C(pragmatica.aether) in E(XDG_STATE_HOME), else in C(~/.local/state).
    type: path
  intents:
    description:
      - Intents kept elsewhere, for instance on the members' hosts, in the form of RV(intent). One in O(intent_path) goes before one for the same node here.
      - Once RV(intent) is null there is nothing left to put back for the node, and what is kept elsewhere can go.
    type: list
    elements: dict
    default: []
attributes:
  diff_mode:
    support: full
    description: Shows the node's state, the slices on it, and how many are wanted of each.
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Drain n3 for maintenance
  pragmatica.aether.aether_drain:
    name: n3
    make_room: true
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Put it back on duty, with counts as they were
  pragmatica.aether.aether_drain:
    name: n3
    state: active
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Finish or undo what an interrupted run left
  pragmatica.aether.aether_drain:
    state: settled
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
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
      path: /api/node/drain/n3
      node: n1
      why: n3 is to be drained
      sent: true
waited:
  description: How long the task waited in C(seconds), and how often it asked (C(polls)).
  returned: when the members were asked
  type: dict
  sample: {seconds: 3.2, polls: 6}
failure:
  description:
    - For branching on a failure, C(kind) and what belongs to it; C(refusals) with C(code), C(sentence) and C(option); C(undone), whether what was changed is
      as it was.
    - C(kind) is C(refused), C(not_drained), C(called_off), C(not_active), C(not_settled), C(write_failed), C(cannot), C(intent), C(busy) or C(bad_input).
  returned: on failure
  type: dict
  sample: {kind: refused, node: n3, refusals: [{code: no_room, option: "make_room: true", sentence: No other node on duty is free to take it.}]}
drain:
  description:
    - C(node) and its lifecycle C(state); C(left), the slices still on it, each with what holds it in C(hold) and C(sentence).
    - C(made_room), the counts that this task lowered; C(restore), all counts that are to be put back; C(started_again), how often it was.
  returned: when the members were asked
  type: dict
  sample:
    node: n3
    state: DECOMMISSIONED
    left: []
    made_room: {"org.example:cart:1.0.0": {from: 3, to: 2}}
    restore: {"org.example:cart:1.0.0": {from: 3, to: 2}}
    started_again: 0
abandoned:
  description: What interrupted runs had left, and what was done about it, as sentences.
  returned: when the members were asked
  type: list
  elements: str
  sample: ["An earlier run was interrupted while it drained n2 (since 2026-01-31T12:00:00Z). n2 is back on duty."]
intent:
  description: What is kept, or in check mode would be, for the case of an interruption; null when there is nothing to put back.
  returned: when the members were asked
  type: dict
  sample:
    node: n3
    phase: drained
    hold: true
    since: "2026-01-31T12:00:00Z"
    owner: operator@controller
    endpoints: ["http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://10.0.0.3:8080"]
    restore: {"org.example:cart:1.0.0": {from: 3, to: 2}}
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import drain


def main():
    run_module(drain)


if __name__ == "__main__":
    main()
