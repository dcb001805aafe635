#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_blueprint
short_description: Scale a slice, apply a blueprint or take one away, and wait until it is true
version_added: 0.1.0
description:
  - Checks coordinates, counts and minimums by the product's rules before anything is sent, and lists everything that is wrong at once.
  - Reads first and sends nothing when nothing differs. Everything that speaks against a change is listed at once, with the option that would allow it.
  - Waits until every member with state shows exactly the wanted active instances and none in another state.
    An instance on a member that does not answer counts as none, whatever the others still show.
  - The cluster may answer that it has applied a blueprint that it rejects. That is recognised, and what was not taken is taken back before the task fails.
  - With O(api=runbook) a slice is scaled through C(aether-cli), without a shell, and whole blueprints are refused.
options:
  artifact:
    description: A slice, as GROUP:ARTIFACT:VERSION, that is to have O(instances). Its blueprint stays as it is, and counts again when it is applied.
    type: str
  instances:
    description: How many instances of O(artifact), one per node on duty at most.
    type: int
  id:
    description: The id of a blueprint, as GROUP:ARTIFACT:VERSION, for O(slices) or with O(state=absent).
    type: str
  slices:
    description: The slices of a whole blueprint, and its only ones.
    type: list
    elements: dict
    suboptions:
      artifact:
        description: The slice, as GROUP:ARTIFACT:VERSION.
        type: str
        required: true
      instances:
        description: How many instances.
        type: int
        default: 1
      min_available:
        description: The fewest it may be scaled to. By default half of the instances, rounded up.
        type: int
        aliases: [minAvailable]
  src:
    description:
      - File with a whole blueprint in TOML, where the task runs.
      - A relative path on the controller is looked for from the working directory, then as for other file tasks beside the play.
    type: path
  content:
    description: A whole blueprint in TOML.
    type: str
  state:
    description: Whether the blueprint and its slices are to be there. V(absent) takes all of them down.
    type: str
    choices: [present, absent]
    default: present
  validate_only:
    description: Only check the blueprint or count by the rules, here and at a member. Nothing is compared and nothing sent.
    type: bool
    default: false
  prune:
    description:
      - Whether slices that the blueprint has now and the new one lacks are to go. Applied without that, the cluster would keep them running, so it is refused.
      - The product takes a slice away only with its whole blueprint, which is deleted and applied again. That needs O(allow_downtime) as well.
    type: bool
    default: false
  allow_downtime:
    description: Whether all slices of the blueprint may be down for some seconds, for O(prune) or O(rollback_on_failure).
    type: bool
    default: false
  allow_swap:
    description: Whether another version of a slice may take the place of the one that runs at once, not one instance after the other.
    type: bool
    default: false
  allow_unplaceable:
    description: Whether more instances may be wanted than nodes are on duty. Only those that have room are waited for.
    type: bool
    default: false
  allow_starting:
    description: Whether to write while a member answers and is not ready. It may come up without state then.
    type: bool
    default: false
  rollback_on_failure:
    description:
      - Whether to put back the previous count or blueprint when an instance fails or the wait is over. Not when somebody else has changed the count.
      - Slices that the new blueprint added go with O(allow_downtime) only, for the whole blueprint is deleted and applied again then.
    type: bool
    default: false
  timeout:
    description: Seconds to wait in each step that waits. A blueprint that no member shows by then gets 10 more, so that one that was rejected is recognised.
    type: float
    default: 60.0
  stable_for:
    description: Seconds for which it must stay true, on top of O(timeout).
    type: float
    default: 1.0
  cli:
    description: The program for O(api=runbook), as a name or a path where the task runs.
    type: str
    default: aether-cli
attributes:
  diff_mode:
    support: full
    description: Shows the slices concerned with counts and minimums, before and after, as YAML.
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Apply a blueprint from a file
  pragmatica.aether.aether_blueprint:
    src: shop.toml
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Apply a blueprint from data
  pragmatica.aether.aether_blueprint:
    id: org.example:backoffice:1.0.0
    slices:
      - artifact: org.example:invoices:1.0.0
        instances: 3
        min_available: 2
      - artifact: org.example:reports:1.0.0
    rollback_on_failure: true
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Scale one slice
  pragmatica.aether.aether_blueprint:
    artifact: org.example:invoices:1.0.0
    instances: 2
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Only check a blueprint
  pragmatica.aether.aether_blueprint:
    src: shop.toml
    validate_only: true
    endpoints: [n1=http://10.0.0.1:8080, n2=http://10.0.0.2:8080, n3=http://10.0.0.3:8080]
  delegate_to: localhost

- name: Take a blueprint and its slices away
  pragmatica.aether.aether_blueprint:
    id: org.example:old:1.0.0
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
      path: /api/scale
      node: n1
      why: org.example:my-slice:1.0.0 is to have 5 instances
      sent: true
waited:
  description: How long the task waited in C(seconds), and how often it asked (C(polls)).
  returned: when the members were asked
  type: dict
  sample: {seconds: 3.2, polls: 6}
failure:
  description:
    - For branching on a failure, C(kind) and what belongs to it; C(refusals) with C(code), C(sentence) and C(option); C(findings), what is wrong with the
      blueprint.
    - C(kind) is C(bad_input), C(refused), C(rejected), C(failed), C(not_settled), C(overruled), C(write_failed), C(nobody) or C(cannot).
  returned: on failure
  type: dict
  sample: {kind: refused, refusals: [{code: unplaceable, option: "allow_unplaceable: true", sentence: You need to increase slice capacity by 2 nodes.}]}
blueprint:
  description: C(id) (of a whole blueprint), its C(slices) as they are or in check mode would be, and C(changes) as sentences; C(state), V(ignore:present) or
    V(ignore:absent).
  returned: when the members were compared
  type: dict
  sample:
    slices: [{artifact: "org.example:my-slice:1.0.0", instances: 5, minAvailable: 2}]
    changes: ["org.example:my-slice:1.0.0: 2 -> 5"]
    state: present
instances:
  description: For each slice concerned, the nodes it has an instance on, with its state.
  returned: when the members were compared
  type: dict
  sample: {"org.example:my-slice:1.0.0": {n1: ACTIVE, n2: ACTIVE}}
remarks:
  description: Sentences about what is worth knowing and is no reason to fail, such as keys of the file that nobody knows. They end RV(msg) as well.
  returned: when a member was asked
  type: list
  elements: str
true_after:
  description: Seconds from the first look after the write until it was true; null when nothing was waited for.
  returned: when the members were compared
  type: float
  sample: 1.4
rolled_back:
  description: Whether what was there before is there again; null when nothing had to be put back.
  returned: when the members were compared
  type: bool
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import blueprint


def main():
    run_module(blueprint)


if __name__ == "__main__":
    main()
