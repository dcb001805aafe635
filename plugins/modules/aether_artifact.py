#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_artifact
short_description: Put the JAR of a slice into the cluster's repository
version_added: 0.1.0
description:
  - Nothing is sent when the repository has the artifact with the same SHA-1.
  - What was sent is read back from every member with state, not only from the one it was sent through.
  - The nodes find it there when setting C(slice.repositories) names C(builtin).
  - Not with O(api=runbook), which has no repository.
options:
  artifact:
    description: Under which coordinates, GROUP:ARTIFACT:VERSION.
    type: str
    required: true
  src:
    description: The JAR, where the task runs. A relative path on the controller is looked for from the working directory, then as for other file tasks
      beside the play.
    type: path
    required: true
  overwrite:
    description: Whether other content under the same coordinates may be replaced. Instances that run keep what they have loaded.
    type: bool
    default: false
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
    description: Shows the SHA-1 before and after.
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Put a slice into the repository
  pragmatica.aether.aether_artifact:
    artifact: org.example:my-slice:1.0.0
    src: my-slice-1.0.0.jar
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
    - method: PUT
      path: /repository/org/example/my-slice/1.0.0/my-slice-1.0.0.jar
      node: n1
      why: org.example:my-slice:1.0.0 is not in the repository
      sent: true
waited:
  description: How long the task waited in C(seconds), and how often it asked (C(polls)).
  returned: when the members were asked
  type: dict
  sample: {seconds: 3.2, polls: 6}
failure:
  description: For branching on a failure, C(kind), which is C(bad_input), C(refused), C(write_failed), C(not_stored), C(nobody) or C(cannot), and what
    belongs to it.
  returned: on failure
  type: dict
  sample: {kind: refused, sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709}
artifact:
  description: C(artifact), its C(sha1) in the repository, or in check mode what it would be, its C(size) in bytes, and whether it was found C(deployed).
  returned: when the members were asked
  type: dict
  sample: {artifact: "org.example:my-slice:1.0.0", sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709, size: 4711, deployed: false}
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import artifact


def main():
    run_module(artifact)


if __name__ == "__main__":
    main()
