#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_state
short_description: Save the state of a cluster in a directory, and put it back
version_added: 0.1.0
description:
  - A cluster keeps its state in memory, and a stop of every node loses all of it. Saved are blueprints with their minimums, the counts that are wanted now,
    thresholds, logging levels, and the JARs that the repository has of the blueprints' artifacts.
  - What the API does not give back is refused by its name. Values of configuration overrides, which it hides, come from O(overrides); what a blueprint's file
    has besides its slices from O(blueprint_files). O(allow) goes on without.
  - A directory is complete or not there. It is written beside, read back and compared before it gets its name, its manifest last.
  - To put it back only what is missing is sent. Where the cluster has something newer the task is refused and says what.
  - Not with O(api=runbook), which shows no blueprints.
options:
  path:
    description: The directory of this one state, where the task runs.
    type: path
    required: true
  state:
    description:
      - V(saved) writes the directory. Nothing is done when the same state is in it already; another one is not overwritten.
      - V(restored) puts it back and waits until every slice is active.
      - V(noted) adds O(phase) to the journal of a full restart, and asks nobody.
    type: str
    choices: [saved, restored, noted]
    default: restored
  cluster:
    description: The name to save it under.
    type: str
    default: aether
  source:
    description: The member whose state is saved, whatever the others show. Needed where two groups of members are as large.
    type: str
    default: ""
  blueprint_files:
    description: Files with blueprints in TOML, where the task runs, as they were applied. They must say what the cluster has; they are put back as they are.
    type: list
    elements: path
    default: []
  overrides:
    description: The values of configuration overrides by their keys. They are not saved, so they have to be given to save and to put back.
    type: dict
    default: {}
  allow:
    description:
      - What may be lost. V(blueprint), what a blueprint's file has besides its slices; V(counts), where nobody shows how many instances are wanted now;
        V(override), one without its value; V(artifact), a JAR that cannot be read; V(orphan), a slice in no blueprint; V(dormant), a blueprint that was
        never taken; V(nothing), whatever it may be, where nobody that answers is ready or shows anything.
    type: list
    elements: str
    choices: [blueprint, counts, override, artifact, orphan, dormant, nothing]
    default: []
  overwrite:
    description: Whether what was saved takes the place of something newer. What there is besides stays.
    type: bool
    default: false
  phase:
    description: How far the full restart is, with O(state=noted).
    type: str
    choices: [saved, stopping, stopped, formed, restored]
  timeout:
    description: Seconds to wait until every slice is active.
    type: float
    default: 60.0
  stable_for:
    description: Seconds for which they must have been.
    type: float
    default: 0.5
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Save the state
  pragmatica.aether.aether_state:
    state: saved
    path: states/before-the-upgrade
    blueprint_files: [shop.toml]
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Put it back
  pragmatica.aether.aether_state:
    state: restored
    path: states/before-the-upgrade
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
      path: /api/blueprint
      node: n1
      why: "as it was saved; blueprint org.example:shop:1.0.0: none, saved org.example:cart:1.0.0 2 (at least 1)"
      sent: true
waited:
  description: How long the task waited in C(seconds), and how often it asked (C(polls)).
  returned: when the members were asked
  type: dict
  sample: {seconds: 3.2, polls: 6}
failure:
  description: For branching on a failure, C(kind), which is C(bad_input), C(cannot), C(nobody), C(refused), C(incomplete), C(unwritable), C(write_failed),
    C(not_settled) or C(differs), and what belongs to it.
  returned: on failure
  type: dict
  sample: {kind: refused, newer: ["threshold cpu.usage: 0.5/0.8, saved 0.6/0.9"]}
path:
  description: The directory.
  returned: always
  type: str
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
restored:
  description: What was put back, or in check mode would be.
  returned: when O(state=restored)
  type: list
  elements: str
saved:
  description: What is in O(path), as C(summary), and of when, C(at).
  returned: when O(state=restored)
  type: dict
  sample: {summary: "1 blueprint, 1 slice, 2 thresholds, 0 logging levels, 0 configuration overrides, 0 artifacts", at: "2026-11-29T02:45:00Z"}
journal:
  description: The entries so far, each with C(phase) and C(at), seconds since 1970.
  returned: when O(state=noted)
  type: list
  elements: dict
  sample: [{phase: stopping, at: 1795920000.0, voters: [n1, n2, n3]}]
downtime_seconds:
  description: From the first stop to the moment when every slice was active, once both are noted.
  returned: when O(state) is V(restored) or V(noted)
  type: float
  sample: 27.4
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import state


def main():
    run_module(state)


if __name__ == "__main__":
    main()
