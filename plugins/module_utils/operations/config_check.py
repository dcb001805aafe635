# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Would the product take this configuration as it is meant? Asks nobody: only the product's own rules."""

from __future__ import annotations

import os
from typing import Any, Dict

from ..config_rules import check
from ..minting import AUTHORITY_KEY, open_keys
from ..model import AetherError

KEY_SPEC = dict(key=dict(type="str", required=True, no_log=True), name=dict(type="str", required=True), role=dict(type="str", default="VIEWER"))
ARGUMENT_SPEC = dict(
    node_id=dict(type="str", required=True),
    peers=dict(type="list", elements="str", required=True),
    socket=dict(type="str"),
    cluster_port=dict(type="int", default=8090),
    management_port=dict(type="int", default=8080),
    app_http_port=dict(type="int", default=8070),
    heap=dict(type="str"),
    gc=dict(type="str"),
    environment=dict(type="str"),
    content=dict(type="str"),
    running_lists=dict(type="dict", default={}),
    leaving=dict(type="list", elements="str", default=[]),
    tls=dict(type="bool", default=False),
    tls_files=dict(type="list", elements="str", default=[]),
    tls_key=dict(type="path", default="", no_log=False),
    own_ca=dict(type="path", default=""),
    api_keys=dict(type="list", elements="dict", default=[], no_log=False, options=KEY_SPEC),
)

NEEDS_CLUSTER = False


def run(params: Dict[str, Any], session) -> Dict[str, Any]:
    """Raises AetherError (kind ``bad_config``) with all findings at once."""
    own_ca = os.path.join(params["own_ca"], AUTHORITY_KEY) if params["own_ca"] else None
    findings = check(dict(params, open_keys=open_keys([params["tls_key"], params.get("client_key"), own_ca])))
    if findings:
        raise AetherError(
            "bad_config", "The configuration of %s is refused, nothing was written: %s" % (params["node_id"], " ".join(findings)), findings=findings
        )
    return {
        "changed": False,
        "msg": "The configuration of %s keeps the product's rules (%d peers)." % (params["node_id"], len(params["peers"])),
        "findings": [],
    }
