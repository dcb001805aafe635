# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ports does a node need? Small, because it goes to every host with the modules that look there."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

GOSSIP_OFFSET = 100  # the gossip port is the cluster port + 100 and cannot be set apart (docs/product.md 1)
TCP, UDP = "tcp", "udp"
SPARE = "spare"  # a port of nobody's, which only tells in which direction packets pass


class Port(NamedTuple):
    name: str
    protocol: str
    number: int


def named_ports(wants: Mapping[str, Any]) -> List[Port]:
    """The ports of a node by the protocol its release uses (docs/product.md 1); those that are no ports are left to the findings.

    With ``cluster_protocol`` tcp (releases before QUIC) nothing is known of a gossip port, so none is asked.
    """
    protocol = TCP if wants.get("cluster_protocol") == TCP else UDP
    found = []
    cluster = number(wants.get("cluster_port"))
    for name, kind, port in (
        ("cluster", protocol, cluster),
        ("gossip", UDP, cluster + GOSSIP_OFFSET if cluster and protocol == UDP else None),
        ("management", TCP, number(wants.get("management_port"))),
        ("app-http", TCP, number(wants.get("app_http_port"))),
    ):
        if port is not None and 1 <= port <= 65535:
            found.append(Port(name, kind, port))
    return found


def number(value: Any) -> Optional[int]:
    """A port as written in an inventory, None when it is no number."""
    text = str(value).strip()
    return int(text) if text.isdigit() else None


def between_nodes(ports: Sequence[Mapping[str, Any]], spare: int) -> List[Dict[str, Any]]:
    """Of a host's ``ports`` as aether_preflight_info saw them, those whose users are other nodes; and ``spare``, unless it is 0, as one more that is free."""
    found = [dict(port) for port in ports if port["name"] != "app-http"]
    return found + ([{"name": SPARE, "protocol": UDP, "port": spare, "state": "free"}] if spare else [])
