# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts together what role aether_preflight registered on each host. Judges nothing: aether_preflight does."""

from __future__ import annotations

import os

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.config_rules import secret_findings
from ..module_utils.minting import AUTHORITY_KEY, open_keys
from ..module_utils.preflight import reach_targets
from .members import DEFAULT_PORTS

FILES = ("aether_tls_ca", "aether_tls_cert", "aether_tls_key")


def preflight_hosts(hostvars, hosts, play_hosts):
    """``hostvars | preflight_hosts(groups['aether_nodes'], ansible_play_hosts_all)`` -> one dict per host, see module_utils/preflight.py."""
    return [_entry(str(host), hostvars[host], host in play_hosts) for host in hosts]


def preflight_targets(hostvars, hosts):
    """``hostvars | preflight_targets(groups['aether_nodes'])`` -> whom every one of them asks, for aether_reach_info."""
    return reach_targets(preflight_hosts(hostvars, hosts, hosts))


def preflight_unanswered(hostvars, hosts):
    """Whether any question of any host was not answered, or not asked."""
    return any(not (e.get("probes") and all(p["result"] == "ok" for p in e["probes"])) for e in preflight_hosts(hostvars, hosts, hosts))


def _entry(host, variables, in_play):
    look = variables.get("aether__look") or {}
    seen = "clock" in look
    entry = {
        "host": host,
        "in_play": in_play,
        "unreachable": str(look.get("msg", "")) if look.get("unreachable") else "",
        "wants": dict(_wants(host, variables), secrets=_secrets(variables), tls=boolean(variables.get("aether_tls") or False, strict=False)),
        "facts": look if seen else None,
    }
    if seen:
        entry["listen_errors"] = look.get("listen_errors") or []
        entry["probes"] = (variables.get("aether__probed") or {}).get("probes") or []
        entry["arrived"] = (variables.get("aether__heard") or {}).get("arrived")
    return entry


def _wants(host, variables):
    """As the role has set it down; of a host that the play lost before, only what its peers need to know."""
    wants = variables.get("aether__wants")
    if wants:
        return wants
    return dict(
        {name[len("aether_"):]: variables.get(name) or default for name, default in DEFAULT_PORTS.items()},
        id=str(variables.get("aether_node_id") or host),
        address=str(variables.get("aether_address") or variables.get("ansible_host") or host),
        app_http_port=variables.get("aether_app_http_port") or 8070,
    )


def _secrets(variables):
    """What is wrong with the secrets, as sentences: judged here, so that no module and no cache gets them to see."""
    own_ca, node_key = str(variables.get("aether_tls_own_ca") or ""), str(variables.get("aether_tls_key") or "")
    authority_key = os.path.join(os.path.expanduser(own_ca), AUTHORITY_KEY)
    return secret_findings({
        "api": variables.get("aether_api"),
        "tls": boolean(variables.get("aether_tls") or False, strict=False),
        "cluster_secret": variables.get("aether_cluster_secret"),
        "api_keys": variables.get("aether_api_keys"),
        "tls_files": [variables.get(name) for name in FILES],
        "own_ca": own_ca,
        "own_ca_missing": not os.path.isfile(authority_key),
        "open_keys": open_keys([node_key if "-----BEGIN" not in node_key else None, variables.get("aether_client_key"), authority_key if own_ca else None]),
    })


class FilterModule:
    def filters(self):
        return {"preflight_hosts": preflight_hosts, "preflight_targets": preflight_targets, "preflight_unanswered": preflight_unanswered}
