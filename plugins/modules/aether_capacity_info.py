#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_capacity_info
short_description: Measure what the members carry, and say whether to scale out, scale in, hold or size up
version_added: 0.1.0
description:
  - Asks every member several times within O(window), each for what it carries itself. Changes nothing.
  - Nodes for the processors are n = ceil(sum of cpu / 0.7), rounded up to odd, at least 3 (for O(profile=development) 1), at most 7.
  - Scale out where n is more than there are, where heaps are above 80 % on average, where latency rises, or where a slice wants more instances than there
    are nodes. Size up where there are 7 already, or where hosts are smaller than O(profile).
  - Latency rises when the straight line through its samples goes up by more than 20 % of their mean within the window.
  - Scale in where processors are below 30 % on average, everybody was measured, and the next smaller odd count stays below 70 %, and at or below 90 %
    without one more.
  - A member that tells nothing in half of the samples or more is not measured. It is named, and never counts as idle.
  - With O(api=runbook) nobody tells requests, latency, and how many instances are wanted.
options:
  window:
    description: Seconds over which is measured, from 0.1 to 3600. There is a sample a second, and never fewer than 4 or more than 60.
    type: float
    default: 30.0
  profile:
    description: The row of the runbook's sizing table that the cluster is meant to be. Not given, it is production of any size.
    type: str
    choices: [development, small, medium, large]
  machines:
    description: What is known of the members' hosts, as the filter P(pragmatica.aether.machines#filter) makes it of what M(pragmatica.aether.aether_host_info)
      saw.
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
  fail_on:
    description: The level of RV(advice) at which the task fails, for pipelines.
    type: str
    choices: [none, warning, critical]
    default: none
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Is it time to scale?
  pragmatica.aether.aether_capacity_info:
    window: 3
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost
  register: capacity

- name: Show it
  ansible.builtin.debug:
    msg: "{{ capacity.table }}"

- name: Stop a pipeline when something is critical
  pragmatica.aether.aether_capacity_info:
    window: 2
    fail_on: critical
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
  description: For branching on a failure, C(kind), which is C(bad_input), C(not_measured) or C(capacity), with C(level), C(action) and C(codes).
  returned: on failure
  type: dict
  sample: {kind: capacity, level: warning, action: scale_out, codes: [cpu]}
advice:
  description:
    - C(action), which is C(scale_out), C(scale_in), C(hold) or C(size_up); C(nodes), how many there are to be, always odd; C(now), how many there are.
    - C(level), which is C(ok), C(warning) or C(critical), the worst of C(findings); each of these has C(code), C(level), C(node) and C(sentence).
    - C(cpu), the mean; C(formula) with its numbers; C(carried), what each node would carry with one less, with those that were measured, and with two more.
    - C(sentence), what to do.
  returned: when a member was measured
  type: dict
  sample:
    action: scale_out
    level: warning
    nodes: 5
    now: 3
    cpu: 0.78
    formula: "n = ceil(sum of cpu / 0.7) = ceil(2.34 / 0.7) = 4, rounded up to odd, at least 3, at most 7: 5"
    carried: [{nodes: 2, cpu: 1.17}, {nodes: 3, cpu: 0.78}, {nodes: 5, cpu: 0.468}]
    findings: [{code: cpu, level: warning, node: null, sentence: "Processors are at 78 % on average, above 70 %."}]
    sentence: Scale out, from 3 to 5 nodes.
members:
  description:
    - For each C(node) whether it was C(measured), with how many C(samples), and how many C(missed) for which C(trouble).
    - C(cpu) and C(heap) from 0 to 1, C(heap_max) in bytes, C(requests) per second, C(latency) in milliseconds, each the mean, and C(latency_rise) within the
      window. Null is what nobody tells.
    - C(machine), as in O(machines).
  returned: when a member was measured
  type: list
  elements: dict
  sample: [{node: n1, measured: true, samples: 11, missed: 0, trouble: "", cpu: 0.78, heap: 0.4, heap_max: 536870912, requests: 120.0, latency: 4.2,
      latency_rise: 0.1, machine: null}]
table:
  description: All of it for people, line by line.
  returned: when a member was measured
  type: list
  elements: str
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import capacity_info


def main():
    run_module(capacity_info)


if __name__ == "__main__":
    main()
