#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_threshold
short_description: Set, change or remove an alert threshold of the cluster
version_added: 0.1.0
description:
  - Nothing is sent where the cluster has the threshold as it should be. What was sent is read back from every member with state.
  - A warning above the critical level is refused, although the product takes it.
  - Not with O(api=runbook), which has no thresholds.
options:
  metric:
    description: What it is about, for example V(cpu.usage).
    type: str
    required: true
  warning:
    description: The level from which there is a warning. Without both levels those of the runbook count, V(0.7) for C(cpu.usage) and V(0.8) for
      C(heap.usage).
    type: float
  critical:
    description: The level from which it is critical. Without both levels V(0.9) for C(cpu.usage) and V(0.85) for C(heap.usage).
    type: float
  state:
    description: V(absent) removes the threshold, also one that the product has by itself.
    type: str
    choices: [present, absent]
    default: present
  allow_starting:
    description: Whether to write while a member answers and is not ready. It may come up without state then.
    type: bool
    default: false
  timeout:
    description: Seconds to wait until every member with state shows it.
    type: float
    default: 30.0
attributes:
  diff_mode:
    support: full
    description: Shows the levels before and after.
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Warn at a heap of 80 %, as the runbook has it
  pragmatica.aether.aether_threshold:
    metric: heap.usage
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Warn earlier of busy processors
  pragmatica.aether.aether_threshold:
    metric: cpu.usage
    warning: 0.6
    critical: 0.8
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Nobody needs this one any more
  pragmatica.aether.aether_threshold:
    metric: queue.length
    state: absent
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
      path: /api/thresholds
      node: n1
      why: heap.usage is warning 0.7, critical 0.85, and wanted warning 0.8, critical 0.85
      sent: true
waited:
  description: How long the task waited in C(seconds), and how often it asked (C(polls)).
  returned: when the members were asked
  type: dict
  sample: {seconds: 3.2, polls: 6}
failure:
  description: For branching on a failure, C(kind), which is C(bad_input), C(refused), C(write_failed), C(not_shown), C(nobody) or C(cannot), and what belongs
    to it.
  returned: on failure
  type: dict
  sample: {kind: bad_input, findings: ["cpu.usage: the warning, 0.9, is above the critical level, 0.7; the cluster would take it, and never warn in time."]}
threshold:
  description: C(metric) with its C(warning) and C(critical) level as they are now, or in check mode would be; null where there is no threshold.
  returned: when the members were asked
  type: dict
  sample: {metric: heap.usage, warning: 0.8, critical: 0.85}
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import threshold


def main():
    run_module(threshold)


if __name__ == "__main__":
    main()
