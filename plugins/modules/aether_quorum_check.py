#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_quorum_check
short_description: Fail unless the cluster holds the majority, or is complete
version_added: 0.1.0
description:
  - Asks every member of an Aether cluster at the same time and judges each by its own answers.
  - A majority is computed, never believed. A member counts when it is sound, that is ready, with a quorum by its own denominator, with the state that the
    others have, and led.
  - Every finding has its own code and sentence in RV(ignore:quorum.reasons).
options:
  require:
    description:
      - V(majority) - the sound members are more than half of those that matter (see O(baseline)), and agree on one leader.
      - V(complete) - every voter is sound, and lists, views and state are equal everywhere.
    type: str
    choices: [majority, complete]
    default: majority
  without:
    description: Would it survive losing these members now? The question to ask before every stop.
    type: list
    elements: str
    default: []
  baseline:
    description:
      - The members that had state when the operation began. More than half of them is needed.
      - Without it, more than half of the shortest list that a member with state runs with.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for the requirement. V(0) asks once.
    type: float
    default: 0.0
  stable_for:
    description: Seconds for which the requirement must hold without interruption, on top of O(timeout).
    type: float
    default: 0.0
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Keep the majority, or stop here
  pragmatica.aether.aether_quorum_check:
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Ask before the stop, not after
  pragmatica.aether.aether_quorum_check:
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
    without: [n2]
  delegate_to: localhost

- name: Wait until every voter is sound and everything is equal everywhere
  pragmatica.aether.aether_quorum_check:
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
    require: complete
    timeout: 60
    stable_for: 3
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
lists:
  description: For each member that answers, the ids in the list of voters it runs with.
  returned: when it holds
  type: dict
  sample: {n1: [n1, n2, n3]}
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
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import quorum_check


def main():
    run_module(quorum_check)


if __name__ == "__main__":
    main()
