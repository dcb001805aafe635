# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who should be in the cluster, from inventory variables alone.

Never from gathered facts: with ``--limit`` those of the other hosts are missing.
"""

from __future__ import annotations

import hashlib
import os

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.config_rules import NODE_ID

DEFAULT_PORTS = {"aether_cluster_port": 8090, "aether_management_port": 8080}


def members(hostvars, hosts):
    """``hostvars | members(groups['aether_nodes'])`` -> one dict per host, in the inventory's order.

    Keys: id, host, address, cluster_port, management_port, endpoint (``ID=http://ADDRESS:PORT``, with ``aether_tls`` https),
    peer (``ID:ADDRESS:PORT``) and socket (``ADDRESS:PORT``, what the dialect runbook names a peer by).
    Raises AnsibleFilterError with all that is wrong at once.
    """
    found, wrong = [], []
    for host in hosts:
        variables = hostvars[host]
        address = _first(variables, ("aether_address", "ansible_host"), host)
        ports = {}
        for name, default in DEFAULT_PORTS.items():
            value = _first(variables, (name,), default)
            if not str(value).isdigit() or not 1 <= int(value) <= 65535:
                wrong.append("%s of %s is '%s', not a port from 1 to 65535" % (name, host, value))
                value = default
            ports[name] = int(value)
        identity = str(_first(variables, ("aether_node_id",), host))
        if not NODE_ID.match(identity):
            wrong.append("aether_node_id of %s is '%s', which is no node id: use letters, digits, '.', '_' and '-'" % (host, identity))
        found.append(
            {
                "id": identity,
                "host": str(host),
                "address": str(address),
                "cluster_port": ports["aether_cluster_port"],
                "management_port": ports["aether_management_port"],
                "endpoint": (
                    "%s=%s://%s:%d"
                    % (identity, "https" if boolean(_first(variables, ("aether_tls",), False)) else "http", address, ports["aether_management_port"])
                ),
                "peer": "%s:%s:%d" % (identity, address, ports["aether_cluster_port"]),
                "socket": "%s:%d" % (address, ports["aether_cluster_port"]),
            }
        )
    ids = [m["id"] for m in found]
    for identity in sorted({i for i in ids if ids.count(i) > 1}):
        hosts_of = [m["host"] for m in found if m["id"] == identity]
        wrong.append("the node id %s belongs to %s; give each host its own aether_node_id" % (identity, " and ".join(hosts_of)))
    if not found:
        wrong.append("the inventory has no host in the group aether_nodes")
    if wrong:
        raise AnsibleFilterError("The inventory is refused: %s." % "; ".join(wrong))
    return found


def marked(hostvars, hosts):
    """Ids of the hosts on which an interrupted run left its mark (``aether__host``, registered from aether_host_info)."""
    return [m["id"] for m in members(hostvars, hosts) if _first(hostvars[m["host"]], ("aether__host",), {}).get("marker")]


def retired(hostvars, groups):
    """``hostvars | retired(groups)`` -> ids of the hosts of the group aether_retired: they were taken out and stay in every list."""
    hosts = groups.get("aether_retired", [])
    return [m["id"] for m in members(hostvars, hosts)] if hosts else []


def looked_at(hostvars, hosts):
    """Inventory names of the hosts that aether_host_info could look at (``aether__host``)."""
    return [h for h in hosts if "active" in _first(hostvars[h], ("aether__host",), {})]


def halted(hostvars, hosts):
    """Ids of the nodes whose service does not run, on hosts that could be looked at."""
    seen = looked_at(hostvars, hosts)
    return [m["id"] for m in members(hostvars, hosts) if m["host"] in seen and not hostvars[m["host"]]["aether__host"]["active"]]


def unreachable(hostvars, hosts):
    """Ids of the nodes whose host could not be looked at."""
    seen = looked_at(hostvars, hosts)
    return [m["id"] for m in members(hostvars, hosts) if m["host"] not in seen]


def disk_lists(hostvars, hosts):
    """The lists on the hosts' disks, where they are of the dialect runbook (``host:port`` without the node itself): {id: [id, …]}.

    ``aether__host`` of each host is what aether_host_info said. An address that the inventory does not know stays as it is.
    """
    everyone = members(hostvars, hosts)
    id_of = {m["socket"]: m["id"] for m in everyone}
    found = {}
    for member in everyone:
        peers = _peers(hostvars, member)
        if peers and all(p.count(":") == 1 for p in peers):
            found[member["id"]] = sorted({member["id"]} | {id_of.get(p, p) for p in peers})
    return found


def stale(hostvars, hosts):
    """Ids of the nodes whose list on disk has an address that the inventory does not have."""
    everyone = members(hostvars, hosts)
    known = {m["peer"] for m in everyone} | {m["socket"] for m in everyone}
    return [m["id"] for m in everyone if set(_peers(hostvars, m)) - known]


def former(hostvars, hosts, node):
    """Addresses (host alone) of ``node`` on the hosts' disks that it does not have in the inventory.

    Lists without ids name nobody: there it is every address that the inventory does not know.
    """
    return sorted({socket.rsplit(":", 1)[0] for name, socket in _unknown(hostvars, members(hostvars, hosts)) if name in ("", node)})


def elsewhere(hostvars, hosts):
    """``ID=http://ADDRESS:PORT`` of addresses that the lists on the hosts' disks have for a node and the inventory has not; lists without ids name nobody."""
    everyone = members(hostvars, hosts)
    wanted = {m["id"]: (m["endpoint"].split("=", 1)[1].split(":", 1)[0], m["management_port"]) for m in everyone}
    found = [(name, socket.rsplit(":", 1)[0], *wanted[name]) for name, socket in _unknown(hostvars, everyone) if name in wanted]
    return sorted({"%s=%s://%s:%d" % (name, scheme, address, port) for name, address, scheme, port in found})


def restarted(hostvars, hosts, token):
    """Ids of the nodes that run and were restarted by a run with this token; none without a token."""
    looks = {m["id"]: _first(hostvars[m["host"]], ("aether__host",), {}) for m in members(hostvars, hosts)}
    return [i for i, look in looks.items() if token and look.get("restarted_for") == str(token) and look.get("active")]


def machines(hostvars, hosts):
    """What aether_host_info saw of the machines (``aether__host``), for aether_capacity_info: [{node, cores, memory_mb, …}]."""
    looks = [(m["id"], _first(hostvars[m["host"]], ("aether__host",), {}).get("machine")) for m in members(hostvars, hosts)]
    return [dict(machine, node=node) for node, machine in looks if machine]


def planned(hostvars, hosts, steps, variable="aether__plan"):
    """Inventory names of the hosts that a plan names in ``steps``, in the plan's order: what a play can have as its ``hosts``.

    ``steps``: one key of the plan or several (``to_add``, ``to_roll``, …). ``variable``: where the result of
    aether_plan_info was registered, on whichever host. Empty before there is a plan, as in a syntax check.
    """
    if not hostvars:
        return []
    plan = next((p["plan"] for p in (hostvars[h].get(variable) for h in hosts) if p and "plan" in p), None)
    if plan is None:
        return []
    host_of = {m["id"]: m["host"] for m in members(hostvars, hosts)}
    ids = [i for step in ([steps] if isinstance(steps, str) else steps) for i in plan[step]]
    return [host_of[i] for i in dict.fromkeys(ids)]


def jar_checksum(path):
    """sha256 of a file on the controller, in hexadecimal; AnsibleFilterError with a sentence when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(os.path.expanduser(str(path)), "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise AnsibleFilterError(
            "The JAR '%s' cannot be read on the controller (%s). Set aether_jar to the path of aether-node.jar there, or aether_jar_url and aether_jar_sha256."
            % (path, error.strerror)
        )
    return digest.hexdigest()


def _peers(hostvars, member):
    return _first(hostvars[member["host"]], ("aether__host",), {}).get("peers") or []


def _unknown(hostvars, everyone):
    """(id, empty in a list without ids; ``host:port``) of each peer on the hosts' disks at an address that the inventory does not have."""
    sockets = {m["socket"] for m in everyone}
    for member in everyone:
        for peer in _peers(hostvars, member):
            name, socket = peer.split(":", 1) if peer.count(":") == 2 else ("", peer)
            if socket not in sockets:
                yield name, socket


def _first(variables, names, default):
    for name in names:
        value = variables.get(name)
        if value is not None and value != "":
            return value
    return default


class FilterModule:
    def filters(self):
        return {
            "members": members, "marked": marked, "disk_lists": disk_lists, "stale": stale, "former": former, "elsewhere": elsewhere,
            "restarted": restarted, "planned": planned, "retired": retired, "looked_at": looked_at, "halted": halted, "unreachable": unreachable,
            "jar_checksum": jar_checksum, "machines": machines,
        }
