#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_info
short_description: Report members, leader, soundness, margin and slices of a cluster, and wait for conditions
version_added: 0.1.0
description:
  - Asks every member and judges each by its own answers. Never fails because the cluster is unwell, only when a condition of O(wait_for) does not come true.
options:
  settle_timeout:
    description: Seconds to wait until every slice has the wanted number of active instances in every view, before reporting. V(0) does not wait.
    type: float
    default: 0.0
  gather:
    description:
      - What RV(document) is to have. What O(query) or O(wait_for) names is gathered as well.
      - V(members), V(lifecycle) and V(slices) cost nothing more than the look at the cluster. The rest are questions to the best member, V(certificate) to
        each for itself.
    type: list
    elements: str
    choices: [members, lifecycle, slices, blueprints, metrics, thresholds, alerts, certificate, events, deployments, all]
    default: [members, lifecycle, slices]
  query:
    description: A JMESPath expression over RV(document); its value is RV(answer). One that trips over null, as stands where nobody can tell, is an error;
      C(not_null) helps.
    type: str
  wait_for:
    description:
      - JMESPath expressions over RV(document) that must all be true at the same moment. Looks again until they are.
      - One that is neither true nor false is an error. Null, and what trips over null, counts as not yet true while something cannot be read or nobody leads.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that O(wait_for) may take.
    type: float
    default: 60.0
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: How is the cluster?
  pragmatica.aether.aether_info:
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost
  register: aether

- name: Show it
  ansible.builtin.debug:
    msg: "{{ aether.table }}"

- name: Which nodes are busy?
  pragmatica.aether.aether_info:
    query: metrics[?cpu > `0.7`].node
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Wait until the cluster has settled and nothing is alarming
  pragmatica.aether.aether_info:
    wait_for:
      - settled && complete
      - length(alerts.active) == `0`
    timeout: 120
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
  description: For branching on a failure, C(kind), which is C(bad_input), with C(expression) and C(position) of the fault, or C(not_met), with C(conditions)
    and in C(last) those that were not true.
  returned: on failure
  type: dict
  sample: {kind: not_met, conditions: [settled, majority], last: [settled is false]}
table:
  description: A table for people, line by line.
  returned: always
  type: list
  elements: str
slices:
  description: For each node the artifacts of its active slice instances.
  returned: always
  type: dict
  sample: {n1: ["org.example:cart:1.0.0"], n2: []}
lists:
  description: For each member that answers, the ids in the list of voters it runs with.
  returned: always
  type: dict
  sample: {n1: [n1, n2, n3]}
settled:
  description: Whether every slice has the wanted number of active instances, and no others, in every view with state.
  returned: always
  type: bool
unsettled:
  description: Sentences about the slices that have not.
  returned: always
  type: list
  elements: str
slice_table:
  description: A table of slices by nodes for people, line by line; C(!) marks a slice that is not as wanted and a node with two or more instances above the
    fewest.
  returned: always
  type: list
  elements: str
imbalance:
  description: Nodes on duty with two or more active instances above the fewest.
  returned: always
  type: list
  elements: str
document:
  description:
    - What O(query) and O(wait_for) are asked of. Always C(api), C(leader), C(voters), C(majority), C(complete), C(settled) and C(can_lose); the others as
      O(gather) says, null where nobody can tell.
    - C(members), as in RV(ignore:cluster.members). C(lifecycle), each C(node) with its C(state).
    - C(slices), each C(artifact) with its short C(name), C(wanted), C(minimum) and C(active) instances, whether it is C(settled) in every view with state,
      and C(instances) with C(node), C(state), C(reason).
    - C(blueprints), each C(id) with C(slices) of C(artifact), C(instances), C(dependency). C(deployments), each with C(id), C(blueprint), C(strategy),
      C(state), C(in_progress).
    - C(metrics), each C(node) with C(cpu) and C(heap) from 0 to 1, C(heap_used) and C(heap_max) in bytes. C(thresholds), each C(metric) with C(warning) and
      C(critical).
    - C(alerts) with the lists C(active) and C(history). C(events), each with C(timestamp), C(type), C(severity), C(summary), C(details).
    - C(certificate), each C(node) with C(renewal), and null without one, C(expires_at), C(seconds_left), C(last_renewal). C(renewal) is the node's own word,
      and C(BY_HAND) or, near its end, C(DUE) for one that is a file. C(own_certificates), the same for each C(file) of O(ca_path) and O(client_cert).
  returned: always
  type: dict
  sample:
    api: v1
    leader: n1
    voters: [n1, n2, n3]
    majority: true
    complete: true
    settled: true
    can_lose: 1
    lifecycle: [{node: n1, state: ON_DUTY}]
    slices: [{artifact: "org.example:cart:1.0.0", name: cart, wanted: 1, minimum: 1, active: 1, settled: true, instances: [{node: n1, state: ACTIVE, reason:
      ""}]}]
answer:
  description: The value of O(query).
  returned: when O(query) is given
  type: raw
troubles:
  description: Sentences about what could not be gathered.
  returned: always
  type: list
  elements: str
majority:
  description: Whether the majority is kept.
  returned: always
  type: bool
complete:
  description: Whether every voter is sound, and lists, views and state are equal everywhere.
  returned: always
  type: bool
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import info


def main():
    run_module(info)


if __name__ == "__main__":
    main()
