# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of the connection to the cluster, the same for every module of the collection."""

    DOCUMENTATION = r"""
options:
  endpoints:
    description:
      - The management endpoints of the members, each V(ID=http://HOST:PORT) or V(http://HOST:PORT).
      - All of them are asked at the same time. Name every member of the inventory, also those that may be down.
      - If not given, the environment variable E(AETHER_ENDPOINTS) is used (comma separated).
    type: list
    elements: str
  voters:
    description:
      - The ids of the voters, from the inventory. What a member says about the size of the cluster is never believed instead.
      - Defaults to the ids that O(endpoints) names, else to the ids that the members give.
      - If not given, the environment variable E(AETHER_VOTERS) is used (comma separated).
    type: list
    elements: str
  retired:
    description:
      - The ids of nodes that were taken out and stay in every member's list. They need not run, and count in every denominator.
      - If not given, the environment variable E(AETHER_RETIRED) is used (comma separated).
    type: list
    elements: str
  api:
    description:
      - The dialect of the management API. V(auto) finds out with one cheap request to each of O(endpoints), seven at once, and says so in the result.
      - V(runbook) is the API of the scaling runbook, which tells no ids; each of O(endpoints) needs its name there.
      - If not given, the environment variable E(AETHER_API) is used.
    type: str
    choices: [auto, v1, runbook]
    default: auto
  api_key:
    description:
      - Sent as the header C(X-API-Key). Never put it in O(endpoints).
      - If not given, the environment variable E(AETHER_API_KEY) is used.
    type: str
  connect_timeout:
    description:
      - Seconds until a connection that is not made counts as impossible.
      - If not given, the environment variable E(AETHER_CONNECT_TIMEOUT) is used.
    type: float
    default: 2.0
  read_timeout:
    description:
      - Seconds without an answer until a member counts as hanging.
      - If not given, the environment variable E(AETHER_READ_TIMEOUT) is used.
    type: float
    default: 5.0
  ca_path:
    description:
      - File with the certificate authorities that HTTPS endpoints are verified with.
      - If not given, the environment variable E(AETHER_CA_PATH) is used.
    type: path
  client_cert:
    description:
      - File with the client certificate for HTTPS endpoints.
      - If not given, the environment variable E(AETHER_CLIENT_CERT) is used.
    type: path
  client_key:
    description:
      - File with the private key of O(client_cert).
      - If not given, the environment variable E(AETHER_CLIENT_KEY) is used.
    type: path
  cluster_secret:
    description:
      - The secret from which the nodes of a cluster with TLS derive their certificate authority. It is all that is needed instead of O(ca_path),
        O(client_cert) and O(client_key).
      - A client certificate that lives for an hour is made from it, in memory. Needs the Python library cryptography where the task runs.
      - If not given, the environment variable E(AETHER_CLUSTER_SECRET) is used.
    type: str
  validate_certs:
    description:
      - Whether HTTPS endpoints must prove who they are.
      - If not given, the environment variable E(AETHER_VALIDATE_CERTS) is used.
    type: bool
    default: true
  use_proxy:
    description:
      - Whether proxy settings of the environment apply. Members are asked directly by default.
      - If not given, the environment variable E(AETHER_USE_PROXY) is used.
    type: bool
    default: false
requirements:
  - httpx >= 0.27 where the task runs
"""
