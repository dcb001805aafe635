# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API of the scaling runbook, to its letter (docs/product.md 10).

It tells a quorum, a node list and slices; no own id, no leader, no lifecycle, no list of peers. Read liberally: unknown
fields are ignored, missing ones have defaults, and node lists come as strings or as objects.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from ..client import Answer, Client, Endpoint, EndpointTrouble, json_of
from ..minting import by_hand
from ..model import Instance, View

NAME = "runbook"
HAS_LIFECYCLE = False
HAS_LEADER = False
HAS_LISTS = False
HAS_IDS = False
CAN_ACTIVATE = False
CAN_SCALE = False
CAN_APPLY = False
CAN_STORE = False
CAN_ALERT = False
SHOWS_STATE = False
COMMANDS = True

HEALTH = "/health"
STATUS = "/cluster/status"
SLICES = "/slices"
DRAIN = "/admin/drain"
METRICS = "/metrics"


def recognise(answer: Answer) -> bool:
    """Does ``GET /health`` answer with a quorum?"""
    return isinstance(answer.document, dict) and "quorum" in answer.document


def read_view(client: Client, endpoint: Endpoint) -> View:
    """Everything one member says; a View with ``trouble`` when it cannot be read. Its id is the one its endpoint is named for."""
    try:
        health = _health(client, endpoint)
        nodes = _nodes(client, endpoint)
        slices = json_of(client.read(endpoint, SLICES), endpoint, SLICES, list)
    except EndpointTrouble as error:
        return View(endpoint=endpoint.url, name=endpoint.name, trouble=error.trouble)
    return View(
        endpoint=endpoint.url,
        name=endpoint.name,
        node_id=endpoint.name,
        ready=health.get("quorum") is True,
        peers=frozenset(nodes) | {endpoint.name},
        instances=tuple(
            Instance(s.get("artifact") or "", s.get("nodeId") or "", s.get("state") or "", s.get("failureReason") or "") for s in slices if isinstance(s, dict)
        ),
        has_lifecycle=HAS_LIFECYCLE,
        has_leader=HAS_LEADER,
        has_lists=HAS_LISTS,
    )


def connected_peers(client: Client, endpoint: Endpoint) -> int:
    """How many others are in the member's node list."""
    return len(set(_nodes(client, endpoint)) - {endpoint.name})


def drain(node: str) -> Tuple[str, str, object]:
    """(method, path, body) of the write that drains a node; it goes to the node itself, which gives no sign of being done (docs/product.md 10)."""
    return "POST", DRAIN, None


def update(artifact: str, instances: int) -> str:
    """The command that scales a slice; it goes to ``aether-cli --host HOST:PORT -c``."""
    return "blueprint update %s --instances=%d" % (artifact, instances)


def said_no(answer: Answer) -> str:
    """This API has no way to refuse but an error."""
    return ""


def deployments(client: Client, endpoint: Endpoint) -> List[str]:
    """This API shows no deployments."""
    return []


def metrics(client: Client, endpoint: Endpoint) -> Dict[str, Any]:
    """The member's own cpu and heap, as parts of 1."""
    found = json_of(client.read(endpoint, METRICS), endpoint, METRICS, dict)
    return {"cpu": found.get("cpu.usage"), "heap": found.get("heap.usage"), "heap_used": None, "heap_max": None}


def read_load(client: Client, endpoint: Endpoint) -> Dict[str, Any]:
    """What the member carries now; no id of its own, no requests, no latency (docs/product.md 10). Raises EndpointTrouble."""
    found = json_of(client.read(endpoint, METRICS, retries=0), endpoint, METRICS, dict)
    return {"node": endpoint.name, "cpu": found.get("cpu.usage"), "heap": found.get("heap.usage"), "heap_max": None, "requests": None, "latency": None}


def certificate(client: Client, endpoint: Endpoint) -> Dict[str, Any]:
    """The member's own, as it shows it: it is a file, and says nothing of itself (docs/product.md 10)."""
    return by_hand(client.read(endpoint, HEALTH, accept=(200, 503)).certificate)


TELLS = {"metrics": ("member", metrics), "certificate": ("member", certificate)}


def _health(client, endpoint):
    health = json_of(client.read(endpoint, HEALTH, accept=(200, 503)), endpoint, HEALTH, dict)
    if "quorum" not in health:
        raise EndpointTrouble(
            "not_aether", "%s answers %s without a quorum; is it the management port of an Aether with the runbook's API?" % (endpoint.url, HEALTH)
        )
    return health


def _nodes(client, endpoint):
    """Ids of the node list, which holds strings, or objects with ``id`` or ``nodeId``."""
    entries = json_of(client.read(endpoint, STATUS), endpoint, STATUS, dict).get("nodes") or []
    found = [e if isinstance(e, str) else (e.get("id") or e.get("nodeId")) if isinstance(e, dict) else None for e in entries]
    return [str(i) for i in found if i]
