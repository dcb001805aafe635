#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_node
short_description: Wait until a node is a member, is gone, or is connected
version_added: 0.1.0
description:
  - V(present) means sound, on duty, in every member's view and complete in its own. Healthy and ready alone prove nothing, a node can be both and empty.
  - Starts and stops nothing. What a stop and a start would mend is told by RV(needs_restart).
options:
  name:
    description: The id of the node.
    type: str
    required: true
  state:
    description:
      - V(present) waits until the node is a member. A decommissioned node is put back on duty.
      - V(absent) waits until it is gone from every view. An error is never taken as proof of absence.
      - V(connected) waits until the node itself is connected to as many members as O(peers) names, for a cold start.
    type: str
    choices: [present, absent, connected]
    default: present
  timeout:
    description: Seconds to wait. By default 60 for V(present), 30 for V(absent), 20 for V(connected), each more than was ever seen to be needed.
    type: float
  among:
    description: For O(state=present), only the views of these members count. By default of all that answer and have state.
    type: list
    elements: str
    default: []
  peers:
    description: For O(state=connected), the members that were started before.
    type: list
    elements: str
    default: []
  on_stateless:
    description:
      - What to do when the node is up but only a stop and a start would mend it.
      - V(report) ends well with RV(needs_restart=true), for a role that then restarts it.
    type: str
    choices: [fail, report]
    default: fail
  must_have_state:
    description: V(false) accepts a node that is on duty in every other member's view and still has no state of its own, as during growth before the lists
      are rolled.
    type: bool
    default: true
  settle:
    description: Seconds for which a ready node may be without state before this is taken as lasting.
    type: float
    default: 5.0
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Wait until n4 is a member
  pragmatica.aether.aether_node:
    name: n4
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080, n4=http://10.0.0.4:8080]
  delegate_to: localhost

- name: Wait until n4 is gone from every view
  pragmatica.aether.aether_node:
    name: n4
    state: absent
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080, n4=http://10.0.0.4:8080]
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
node:
  description: C(id), lifecycle C(state) by its own list, C(sound) and C(has_state).
  returned: always
  type: dict
  sample: {id: n4, state: ON_DUTY, sound: true, has_state: true}
needs_restart:
  description: Whether only a stop and a start would mend the node.
  returned: always
  type: bool
restart_reason:
  description: V(no_state), V(stranded), V(not_ready) or empty.
  returned: always
  type: str
has_state:
  description: Whether the node shows the state that the others have; null where that was not asked.
  returned: always
  type: bool
missing_in:
  description: Members with state in whose view the node is not both connected and on duty.
  returned: always
  type: list
  elements: str
held_by:
  description: Members in whose view the node still is.
  returned: always
  type: list
  elements: str
only_host_of:
  description: Slices whose only active instance runs on the node while it needs a restart; as long as there are any, it is not to be stopped.
  returned: always
  type: list
  elements: str
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import node


def main():
    run_module(node)


if __name__ == "__main__":
    main()
