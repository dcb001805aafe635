#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_config_check
short_description: Check a node's configuration against the product's own rules
version_added: 0.1.0
description:
  - Aether drops a bad file and runs on defaults, drops or invents peers, and takes a random id where none is given. This says so before anything is written.
  - All findings are reported at once, each with what to do. Asks no cluster and changes nothing.
options:
  node_id:
    description: The id of the node.
    type: str
    required: true
  peers:
    description: The list of voters, each C(id:host:port), the node itself included; with O(api=runbook) each C(host:port), the node itself left out.
    type: list
    elements: str
    required: true
  socket:
    description: The node's own C(host:port), which the list of O(api=runbook) must not have.
    type: str
  cluster_port:
    description: UDP port of the cluster. Gossip takes this port + 100.
    type: int
    default: 8090
  management_port:
    description: TCP port of the management API.
    type: int
    default: 8080
  app_http_port:
    description: TCP port of the application's HTTP.
    type: int
    default: 8070
  heap:
    description: Heap of the JVM, like V(512m) or V(4g).
    type: str
  gc:
    description: Garbage collector, V(zgc) or V(g1).
    type: str
  environment:
    description: V(local), V(docker) or V(kubernetes).
    type: str
  content:
    description: The text of C(aether.toml).
    type: str
  running_lists:
    description: For each running member the ids in the list it runs with, see RV(pragmatica.aether.aether_plan_info#module:plan).
    type: dict
    default: {}
  leaving:
    description: Ids that a removal takes out, which the new list may therefore lack.
    type: list
    elements: str
    default: []
  tls:
    description: Whether the node is to speak TLS, with O(cluster_secret), or with O(api=runbook) with O(tls_files).
    type: bool
    default: false
  tls_files:
    description: Which are given of the certificate of the authority, the node's own and its key, which only O(api=runbook) uses. Their names, or their paths.
    type: list
    elements: str
    default: []
  tls_key:
    description:
      - The file of the node's key where the task runs. When others than its owner may read it, that is a finding; not when C(ansible-vault) has encrypted it.
      - So is such a O(client_key), and such a key of the authority in O(own_ca).
    type: path
    default: ""
  own_ca:
    description: The folder of a private authority that takes their place.
    type: path
    default: ""
  api_keys:
    description: The API keys that the node is to take.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: The key itself.
        type: str
        required: true
      name:
        description: Whose it is.
        type: str
        required: true
      role:
        description: V(VIEWER), V(OPERATOR) or V(ADMIN).
        type: str
        default: VIEWER
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Would the product take this as it is meant?
  pragmatica.aether.aether_config_check:
    node_id: n1
    peers: [n1:10.0.0.1:8090, n2:10.0.0.2:8090, n3:10.0.0.3:8090]
    heap: 512m
    gc: zgc
  delegate_to: localhost
"""

RETURN = r"""
msg:
  description: What was found or done, or what is wrong and what to do, as a sentence.
  returned: always
  type: str
failure:
  description: For branching on a failure, C(kind) and what belongs to it.
  returned: on failure
  type: dict
  sample: {kind: quorum, codes: [down, lost_majority]}
findings:
  description: What is wrong; on failure in RV(ignore:failure.findings).
  returned: success
  type: list
  elements: str
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import config_check


def main():
    run_module(config_check)


if __name__ == "__main__":
    main()
