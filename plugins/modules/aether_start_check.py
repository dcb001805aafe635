#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_start_check
short_description: Fail when a node runs with less than it was given
version_added: 0.1.0
description:
  - Aether starts with a file it dropped, without the keys and TLS that were in it, with peers left out or made up, under a random id, or without its gossip
    port, and says so in its journal at most.
  - Judges one start by what its host knows of it (M(pragmatica.aether.aether_start_info)) and by the node's own answers. Every downgrade is a finding with
    its own code and sentence; all of them are reported at once.
  - The codes are V(exited), V(config_dropped), V(wrong_release), V(random_id), V(peers_dropped), V(peers_invented), V(api_open), V(no_tls),
    V(gossip_port_taken) and V(not_formed).
  - What cannot be known is not judged. Where the API is V(runbook), those are keys, and ids and lists that the journal does not show.
options:
  name:
    description: The id that the node ought to have.
    type: str
    required: true
  start:
    description: What its host knows of the start, RV(pragmatica.aether.aether_start_info#module:start).
    type: dict
    required: true
  peers:
    description: The list that the node ought to run with, each C(id:host:port), the node itself included. Empty, and it is not judged.
    type: list
    elements: str
    default: []
  release:
    description: The sha256 of the JAR that ought to run, or its first digits. Empty, and it is not judged.
    type: str
    default: ""
  banner:
    description:
      - A text that the banner of the wanted release shows in the journal. Empty, and it is not judged.
      - The checksum is the better witness, for a release may show the banner of another one.
    type: str
    default: ""
  cluster_port:
    description: UDP port of the cluster. Gossip takes this port + 100.
    type: int
    default: 8090
  keys_configured:
    description: Whether API keys are configured. They are, too, where the host finds some in the node's file or environment.
    type: bool
    default: false
  tls:
    description: Whether TLS is wanted.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the node's first answer.
    type: float
    default: 10.0
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: How did the last start go?
  pragmatica.aether.aether_start_info:
  register: host

- name: Did the node start as it was meant?
  pragmatica.aether.aether_start_check:
    endpoints: [n1=http://10.0.0.1:8080]
    name: n1
    start: "{{ host.start }}"
    peers: [n1:10.0.0.1:8090, n2:10.0.0.2:8090, n3:10.0.0.3:8090]
  delegate_to: localhost
"""

RETURN = r"""
msg:
  description: What was found or done, or what is wrong and what to do, as a sentence.
  returned: always
  type: str
api:
  description: The dialect that the node speaks.
  returned: when the node was judged
  type: str
node:
  description: The node's C(id) as it ought to be.
  returned: when the node was judged
  type: dict
  sample: {id: n1}
answered:
  description: Whether the node told about itself; if not, it was judged by its journal alone.
  returned: when the node was judged
  type: bool
findings:
  description: Every finding with its C(code), its C(message) and the C(evidence), mostly a line of the journal.
  returned: when the node was judged
  type: list
  elements: dict
  sample:
    - code: gossip_port_taken
      message: "n1 runs without its gossip port: UDP 8190 on its host is held by socat (812)."
      evidence: "UDP 8190: socat (812)"
actions:
  description: The writes that were sent; none ever.
  returned: when the node was judged
  type: list
  elements: dict
waited:
  description: How long the task waited in C(seconds), and how often it asked (C(polls)).
  returned: when the node was judged
  type: dict
  sample: {seconds: 0.1, polls: 1}
failure:
  description: For branching on a failure, C(kind) and what belongs to it.
  returned: on failure
  type: dict
  sample: {kind: bad_start, node: n1, codes: [gossip_port_taken]}
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import start_check


def main():
    run_module(start_check)


if __name__ == "__main__":
    main()
