# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What does the product accept as configuration, and what would it silently do with the rest?

A bad file or argument is not fatal to the product: it logs a line and runs on defaults, without keys and TLS,
or with fewer peers (docs/product.md 1). So everything is checked here, before anything is written.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .ports import GOSSIP_OFFSET

try:
    import tomllib as toml
except ImportError:
    try:
        import tomli as toml
    except ImportError:
        toml = None

SIZES = (3, 5, 7)
COLLECTORS = ("zgc", "g1")
SHORTEST_SECRET = 16
KEY_ROLES = ("VIEWER", "OPERATOR", "ADMIN")
KEY_PARTS = re.compile(r"[:;\"\s]")
ENVIRONMENTS = ("local", "docker", "kubernetes")

NODE_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
_HEAP = re.compile(r"^[1-9][0-9]*[mg]$")


def peer_findings(node_id: str, peers: Sequence[str]) -> List[str]:
    """What is wrong with a list of ``id:host:port``."""
    found, ids, addresses = [], [], []
    for peer in peers:
        parts = peer.split(":")
        if len(parts) != 3 or not all(parts):
            found.append(
                "peers: '%s' is not id:host:port; the product would invent an id or drop the entry, and count one voter more or fewer. Write all three parts."
                % peer
            )
            continue
        identity, host, port = parts
        if not NODE_ID.match(identity):
            found.append("peers: '%s' is no node id; use letters, digits, '.', '_' and '-'." % identity)
        if not _is_port(port):
            found.append("peers: '%s' has no port from 1 to 65535." % peer)
        ids.append(identity)
        addresses.append((host, port))
    for identity in sorted({i for i in ids if ids.count(i) > 1}):
        found.append("peers: the id %s stands there twice; give every node its own aether_node_id." % identity)
    for host, port in sorted({a for a in addresses if addresses.count(a) > 1}):
        found.append("peers: %s:%s stands there twice; two nodes cannot share an address." % (host, port))
    if node_id and node_id not in ids:
        found.append("peers: the node itself (%s) is missing; it would advertise 'localhost' to the others. The list names every node, this one too." % node_id)
    return found


def socket_findings(peers: Sequence[str], socket: str) -> List[str]:
    """What is wrong with ``host:port`` entries, the peers of the dialect runbook (docs/product.md 10). ``socket``: the node's own, which must not be there."""
    found = []
    for peer in peers:
        host, colon, port = peer.rpartition(":")
        if not host or not colon or ":" in host or not _is_port(port):
            found.append("peers: '%s' is not host:port with a port from 1 to 65535." % peer)
    for peer in sorted({p for p in peers if list(peers).count(p) > 1}):
        found.append("peers: %s stands there twice; two nodes cannot share an address." % peer)
    if socket and socket in peers:
        found.append("peers: %s is the node itself; it would count itself twice. The list names the others only." % socket)
    return found


def port_findings(cluster_port: int, management_port: int, app_http_port: int) -> List[str]:
    """Ports in range and different, the gossip port included."""
    found = []
    named = {
        "aether_cluster_port": cluster_port,
        "aether_management_port": management_port,
        "aether_app_http_port": app_http_port,
        "the gossip port (aether_cluster_port + %d)" % GOSSIP_OFFSET: cluster_port + GOSSIP_OFFSET,
    }
    for name, port in named.items():
        if not 1 <= port <= 65535:
            found.append("%s: %d is not a port from 1 to 65535." % (name, port))
    names = list(named)
    for position, first in enumerate(names):
        for second in names[position + 1:]:
            if named[first] == named[second]:
                found.append(
                    "%s and %s are both %d; a node with a taken gossip port keeps running, half deaf. Choose different ports." % (first, second, named[first])
                )
    return found


def toml_findings(content: str, cluster_port: int, management_port: int) -> List[str]:
    """The rules the product applies to its file; when one is broken it drops the whole file."""
    if toml is None:
        return ["The configuration cannot be checked: this Python has no TOML reader. Install 'tomli' for it (requirements.txt names it)."]
    try:
        document = toml.loads(content)
    except toml.TOMLDecodeError as error:
        return ["aether.toml: %s. The product would drop the whole file and run on defaults, without keys and TLS." % error]
    found = []
    cluster = _table(document, "cluster", found)
    nodes = cluster.get("nodes", SIZES[0])
    if nodes not in SIZES or isinstance(nodes, bool):
        found.append("aether.toml: cluster.nodes is %r; it must be 3, 5 or 7, else the product drops the whole file." % (nodes,))
    environment = cluster.get("environment", "docker")
    if environment not in ENVIRONMENTS:
        found.append("aether.toml: cluster.environment is %r; it must be one of %s." % (environment, ", ".join(ENVIRONMENTS)))
    ports = _table(cluster, "ports", found)
    for key, wanted in (("cluster", cluster_port), ("management", management_port)):
        value = ports.get(key)
        if value is not None and value != wanted:
            found.append("aether.toml: cluster.ports.%s is %r, the unit says %d." % (key, value, wanted))
    node = _table(document, "node", found)
    found.extend(java_findings(node.get("heap"), node.get("gc"), "aether.toml: node."))
    return found


def java_findings(heap: Optional[Any], gc: Optional[Any], where: str = "aether_") -> List[str]:
    found = []
    if heap is not None and not _HEAP.match(str(heap)):
        found.append("%sheap is %r; write it like 512m or 4g." % (where, heap))
    if gc is not None and gc not in COLLECTORS:
        found.append("%sgc is %r; it must be %s." % (where, gc, " or ".join(COLLECTORS)))
    return found


def list_findings(peers: Sequence[str], running_lists: Mapping[str, Sequence[str]], leaving: Sequence[str] = ()) -> List[str]:
    """A list that lacks an id which a running member has in its own would drop a voter."""
    ids = {p.split(":")[0] for p in peers}
    found = []
    for member in sorted(running_lists):
        lost = sorted(set(running_lists[member]) - ids - set(leaving))
        if lost:
            found.append(
                "peers: %s runs with %s in its list, and the new list lacks %s: writing it would drop a voter. Add it to the group aether_nodes, or take the"
                " node out with a removal." % (member, ", ".join(lost), "it" if len(lost) == 1 else "them")
            )
    return found


def secret_findings(config: Mapping[str, Any]) -> List[str]:
    """What is wrong with TLS and keys (docs/product.md 7 and 10). No sentence has a secret in it."""
    tls, secret, keys = bool(config.get("tls")), config.get("cluster_secret") or "", config.get("api_keys") or []
    files, own_ca = [f for f in config.get("tls_files") or [] if f], config.get("own_ca") or ""
    found = []
    for path, mode in sorted((config.get("open_keys") or {}).items()):
        found.append("%s has a private key and is open to others than its owner (mode %s): chmod 600 it, or encrypt it with ansible-vault." % (path, mode))
    if config.get("api") == "runbook":
        if secret or keys:
            found.append(
                "aether_cluster_secret and aether_api_keys are for the API v1 alone: the nodes of the API of the runbook know neither. Take them out; TLS is"
                " files there, and nothing asks for keys."
            )
        if own_ca and files:
            found.append("aether_tls_own_ca and files of certificates are both given: take one of them out.")
        elif own_ca and config.get("own_ca_missing"):
            found.append("aether_tls_own_ca is %s, and there is no authority in it: make it with: ansible-playbook pragmatica.aether.authority" % own_ca)
        elif tls and not own_ca and len(files) < 3:
            found.append(
                "aether_tls is true, and %d of aether_tls_ca, aether_tls_cert and aether_tls_key are given: the API of the runbook needs all three, or a"
                " private authority in aether_tls_own_ca."
                % len(files)
            )
        return found
    if files or own_ca:
        found.append(
            "aether_tls_own_ca, aether_tls_ca, aether_tls_cert or aether_tls_key are given: the product checks such files and then ignores them. Take them out;"
            " certificates come from aether_cluster_secret."
        )
    if tls and not secret:
        found.append("aether_tls is true and aether_cluster_secret is empty: without a secret the product runs without TLS. Give it one, from a vault.")
    if secret and not tls:
        found.append("aether_cluster_secret is given and aether_tls is false: the nodes would run without TLS. Set aether_tls: true, or take the secret out.")
    if secret and len(secret) < SHORTEST_SECRET:
        found.append("aether_cluster_secret has %d characters: whoever guesses it is let in. Use %d or more." % (len(secret), SHORTEST_SECRET))
    if "${" in secret or "\n" in secret:
        found.append("aether_cluster_secret has a placeholder or a line break in it: the product takes it literally.")
    return found + _key_findings(keys)


def _key_findings(keys):
    found, seen = [], set()
    for number, entry in enumerate(keys, 1):
        who, key, name = "aether_api_keys[%d]" % number, str(entry.get("key") or ""), str(entry.get("name") or "")
        if len(key) < SHORTEST_SECRET or KEY_PARTS.search(key):
            found.append("%s: the key must have %d characters or more, and none of ':', ';', '\"', white space." % (who, SHORTEST_SECRET))
        if not name or KEY_PARTS.search(name):
            found.append("%s: the name must be there, without ':', ';', '\"', white space." % who)
        if entry.get("role", "VIEWER") not in KEY_ROLES:
            found.append("%s: the role must be one of %s." % (who, ", ".join(KEY_ROLES)))
        if key in seen:
            found.append("%s: the key stands there twice." % who)
        seen.add(key)
    if keys and not any(entry.get("role") == "ADMIN" for entry in keys):
        found.append("aether_api_keys has none with the role ADMIN: nobody could apply a blueprint any more. Add one.")
    return found


def check(config: Dict[str, Any]) -> List[str]:
    """All findings at once; an empty list when the product would take it as it is meant."""
    node_id = config["node_id"]
    found = []
    if not NODE_ID.match(node_id or ""):
        found.append("aether_node_id is %r; a node without an id of its own takes a random one at every start and counts as one voter more. Set it." % node_id)
    if config.get("api") == "runbook":
        found.extend(socket_findings(config["peers"], config.get("socket") or ""))
    else:
        found.extend(peer_findings(node_id, config["peers"]))
    found.extend(port_findings(config["cluster_port"], config["management_port"], config["app_http_port"]))
    found.extend(java_findings(config.get("heap"), config.get("gc")))
    if config.get("environment") not in (None,) + ENVIRONMENTS:
        found.append("aether_environment is %r; it must be one of %s." % (config["environment"], ", ".join(ENVIRONMENTS)))
    if config.get("content") is not None:
        found.extend(toml_findings(config["content"], config["cluster_port"], config["management_port"]))
    found.extend(secret_findings(config))
    if config.get("api") != "runbook":  # which shows no lists
        found.extend(list_findings(config["peers"], config.get("running_lists") or {}, config.get("leaving") or ()))
    return found


def _table(parent, key, found):
    value = parent.get(key, {})
    if isinstance(value, dict):
        return value
    found.append("aether.toml: %s is no table." % key)
    return {}


def _is_port(text):
    return text.isdigit() and 1 <= int(text) <= 65535
