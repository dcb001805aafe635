#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_state_info
short_description: Report the state of a cluster, which members agree on it, what cannot be saved, and how it differs from a saved one
version_added: 0.1.0
description:
  - Asks every member, also without a majority. Where they disagree the largest group that agrees counts, one that shows something before one that shows
    nothing.
  - Changes nothing, neither in the cluster nor on disk. M(pragmatica.aether.aether_state) saves it and puts it back.
  - Not with O(api=runbook), which shows no blueprints.
options:
  path:
    description: A directory with a saved state, where the task runs, to compare with.
    type: path
  directory:
    description: A directory with directories of saved states, to list.
    type: path
  cluster:
    description: The name that the cluster's states are saved under. RV(unfinished) looks for it.
    type: str
    default: aether
  source:
    description: The member whose state counts, whatever the others show.
    type: str
    default: ""
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: What has each member?
  pragmatica.aether.aether_state_info:
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost
  register: aether

- name: Show it
  ansible.builtin.debug:
    msg: "{{ aether.table }}"
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
  description: Always empty, for nothing is written.
  returned: when the members were asked
  type: list
  elements: dict
  sample: []
waited:
  description: How long the task waited in C(seconds), and how often it asked (C(polls)).
  returned: when the members were asked
  type: dict
  sample: {seconds: 3.2, polls: 6}
failure:
  description: For branching on a failure, C(kind), which is C(cannot), C(bad_input) or C(incomplete), and what belongs to it.
  returned: on failure
  type: dict
  sample: {kind: incomplete, path: /srv/states/aether-20261129T024500Z}
state:
  description:
    - What counts. C(blueprints), each C(id) with C(slices) of C(artifact), C(instances), C(minimum); C(counts), artifact to the instances that are wanted now,
      null where nobody shows them; C(thresholds), metric to C(warning) and C(critical); C(levels), logger to level; C(overrides), keys alone;
      C(artifacts), those of the blueprints that the repository has, with C(sha1) and C(size).
    - Null when nobody answers.
  returned: when the members were asked
  type: dict
  sample:
    blueprints: [{id: "org.example:shop:1.0.0", slices: [{artifact: "org.example:cart:1.0.0", instances: 2, minimum: 1}], dependencies: [], further: []}]
    counts: {"org.example:cart:1.0.0": 3}
    thresholds: {cpu.usage: {warning: 0.6, critical: 0.9}}
    levels: {}
    overrides: []
    artifacts: {}
members:
  description: The members that show it, the largest group that agrees.
  returned: when the members were asked
  type: list
  elements: str
  sample: [n1, n2]
others:
  description: Groups of the other members, each with C(members) and C(difference), what they show instead.
  returned: when the members were asked
  type: list
  elements: dict
  sample: [{members: [n3], difference: [nothing at all]}]
tied:
  description: Members of another group that is as large; then O(source) has to name one.
  returned: when the members were asked
  type: list
  elements: str
losses:
  description: What could not be put back, each with C(code), C(sentence), and the C(option) that allows it.
  returned: when the members were asked
  type: list
  elements: dict
  sample:
    - code: override
      sentence: "The configuration override my.key has a value that the API hides: give it in aether_overrides."
      option: aether_state_allow=override
troubles:
  description: Sentences about members that answer and whose state cannot be read.
  returned: when the members were asked
  type: list
  elements: str
table:
  description: What each member still has, for people, line by line.
  returned: when the members were asked
  type: list
  elements: str
equal:
  description: Whether all that is saved in O(path) is there as it was saved.
  returned: when O(path) is given
  type: bool
newer:
  description: What the cluster has instead of what is saved, or besides it, as sentences.
  returned: when O(path) is given
  type: list
  elements: str
difference:
  description: All that differs, what is only missing included.
  returned: when O(path) is given
  type: list
  elements: str
downtime_seconds:
  description: Of the full restart that O(path) was saved for, null before it is over.
  returned: when O(path) is given
  type: float
saved:
  description: The states in O(directory), the newest first, each with C(path), C(complete), C(cluster), C(at), C(endpoints), C(voters), C(phase), C(why).
  returned: when the members were asked
  type: list
  elements: dict
unfinished:
  description: The path of the state that a full restart of this cluster was interrupted with; empty when there is none.
  returned: when the members were asked
  type: str
phase:
  description: How far that full restart is, or the one of O(path). C(saved), C(stopping), C(stopped), C(formed) or C(restored).
  returned: when the members were asked
  type: str
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import state_info


def main():
    run_module(state_info)


if __name__ == "__main__":
    main()
