#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_preflight
short_description: Judge whether hosts are ready for a cluster, all findings at once
version_added: 0.1.0
description:
  - Compares what the inventory wants with what the hosts showed, and says of everything that is wrong what to do about it.
  - Changes nothing, and asks a cluster only with O(key_role). Role C(aether_preflight) gathers what it needs.
  - Whom to ask comes from O(hosts). It is not in the action group C(aether), whose defaults an inventory with mistakes can break.
options:
  hosts:
    description: One dictionary per host, as the filter P(pragmatica.aether.preflight_hosts#filter) puts them together.
    type: list
    elements: dict
    required: true
  allow_even:
    description: Accept an even number of voters.
    type: bool
    default: false
  leaving:
    description: Ids that are taken out of the cluster, and count as voters no more.
    type: list
    elements: str
    default: []
  accept:
    description: Codes of findings that are warnings instead of errors.
    type: list
    elements: str
    default: []
  key_role:
    description:
      - The role that O(api_key) must have for what plays will write. Nodes that run are asked whether they let the plays in and the key do that, by requests
        that change nothing.
      - V(VIEWER) asks nobody.
    type: str
    choices: [VIEWER, OPERATOR, ADMIN]
    default: VIEWER
  on_errors:
    description: V(report) ends well, with RV(ready) false.
    type: str
    choices: [fail, report]
    default: fail
extends_documentation_fragment:
  - pragmatica.aether.connection
  - pragmatica.aether.results
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: What does each host offer?
  pragmatica.aether.aether_preflight_info:
    cluster_port: 8090
    management_port: 8080
    app_http_port: 8070
  register: aether__look  # the filter looks for this name

- name: Are the hosts ready?
  pragmatica.aether.aether_preflight:
    hosts: "{{ hostvars | pragmatica.aether.preflight_hosts(groups['aether_nodes'], ansible_play_hosts_all) }}"
    on_errors: report
  delegate_to: localhost
  run_once: true
  register: preflight

- name: Show what was found
  ansible.builtin.debug:
    msg: "{{ preflight.lines }}"
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
  sample: {kind: preflight, codes: [blocked, java]}
ready:
  description: Whether no finding is an error.
  returned: always
  type: bool
findings:
  description: Each with C(code), C(level) (V(error), V(warning), V(note)), C(host) (empty when it is about all), C(peer) (the other host of a pair) and
    C(message); errors first.
  returned: always
  type: list
  elements: dict
lines:
  description: The findings for people, one line for what is the same on several hosts.
  returned: always
  type: list
  elements: str
"""

from ..module_utils.module_door import run_module
from ..module_utils.operations import preflight


def main():
    run_module(preflight)


if __name__ == "__main__":
    main()
