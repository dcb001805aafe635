# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The management API of Aether 1.0 (docs/product.md 4)."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import quote

from ..client import Answer, Client, Endpoint, EndpointTrouble, json_of
from ..model import Instance, View

NAME = "v1"
HAS_LIFECYCLE = True
HAS_LEADER = True
HAS_LISTS = True
HAS_IDS = True
CAN_ACTIVATE = True
CAN_SCALE = True
CAN_APPLY = True
CAN_STORE = True
CAN_ALERT = True
SHOWS_STATE = True
COMMANDS = False

READY = "/health/ready"
HEALTH = "/api/health"
STATUS = "/api/status"
LIFECYCLE = "/api/nodes/lifecycle"
SLICES = "/api/slices"
BLUEPRINTS = "/api/blueprints"
BLUEPRINT = "/api/blueprint"
VALIDATE = "/api/blueprint/validate"
THRESHOLDS = "/api/thresholds"
LEVELS = "/api/logging/levels"
TOPOLOGY = "/api/cluster/topology"
ACTIVATE = "/api/node/activate/%s"
DRAIN = "/api/node/drain/%s"
SCALE = "/api/scale"
DEPLOY = "/api/deploy"
CONFIG = "/api/config"
OVERRIDES = "/api/config/overrides"
STORED = "/repository/info/%s"
METRICS = "/api/metrics"
ALERTS = "/api/alerts/%s"
EVENTS = "/api/events"
CERTIFICATE = "/api/certificate"

# Of a deployment that is over, whichever way it went; every other state counts as in progress.
DEPLOYMENT_OVER = frozenset(["COMPLETED", "ROLLED_BACK", "FAILED"])

# What a node shows before anybody set anything (recording 3-ready): no evidence of state.
DEFAULT_THRESHOLDS = {"cpu.usage": (0.7, 0.9), "heap.usage": (0.7, 0.85)}


def recognise(answer: Answer) -> bool:
    """Is this how v1 answers ``GET /health``, a path it does not have? (recording 3-ready)"""
    return answer.status == 404 and answer.text.startswith("File not found")


def read_view(client: Client, endpoint: Endpoint) -> View:
    """Everything one member says that decisions need; a View with ``trouble`` when it cannot be read.

    Seven small reads over one connection. Empty lists, maps and strings are omitted by the product,
    so everything is read with defaults (docs/product.md 4).
    """
    try:
        return _read_view(client, endpoint)
    except EndpointTrouble as error:
        return View(endpoint=endpoint.url, name=endpoint.name, trouble=error.trouble)


def _read_view(client, endpoint):
    def get(path, kind=dict):
        return json_of(client.read(endpoint, path), endpoint, path, kind)

    ready = client.read(endpoint, READY, accept=(200, 503))
    status = get(STATUS)
    if "nodeId" not in status:
        raise EndpointTrouble("not_aether", "%s answers %s without a nodeId; is it an Aether management port?" % (endpoint.url, STATUS))
    entries = [e for e in _dicts(get(LIFECYCLE, list)) if "nodeId" in e]
    slices = _dicts(get(SLICES).get("slices"))
    topology = get(TOPOLOGY)
    blueprints = get(BLUEPRINTS)
    leader, latency = status.get("leader"), (status.get("metrics") or {}).get("avgLatencyMs")
    return View(
        endpoint=endpoint.url,
        name=endpoint.name,
        node_id=status["nodeId"],
        ready=ready.status == 200,
        leader=None if leader in (None, "", "none") else leader,
        peers=frozenset(e.get("id") for e in _dicts((status.get("cluster") or {}).get("nodes")) if e.get("id")),
        cluster_size=int(topology.get("clusterSize") or 0),
        core_nodes=frozenset(topology.get("coreNodes") or ()),
        lifecycle={e["nodeId"]: e.get("state", "") for e in entries},
        lifecycle_at={e["nodeId"]: e["updatedAt"] / 1000 for e in entries if e.get("updatedAt")},
        evidence=_evidence(blueprints, get(THRESHOLDS), slices),
        instances=tuple(
            Instance(s.get("artifact", ""), i.get("nodeId", ""), i.get("state", ""), i.get("failureReason") or "")
            for s in slices
            for i in _dicts(s.get("instances"))
        ),
        targets={s.get("artifact", ""): int(s.get("targetInstances") or 0) for s in slices},
        minimums={s.get("artifact", ""): int(s.get("minInstances") or 0) for s in slices},
        uptime=status.get("uptimeSeconds"),
        latency=None if latency is None else latency / 1000,
        blueprints=tuple(str(b["id"]) for b in _dicts(blueprints.get("blueprints")) if b.get("id")),
    )


def _evidence(blueprints: Dict, thresholds: Dict, slices: List[Dict]) -> Tuple[Tuple[str, str], ...]:
    """Pairs (what, value) that a member without state would lack; see model.View."""
    found = []
    for blueprint in _dicts(blueprints.get("blueprints")):
        found.append(("blueprint %s" % blueprint.get("id"), "%s slices" % blueprint.get("sliceCount", 0)))
    for metric, levels in thresholds.items():
        values = (levels.get("warning"), levels.get("critical")) if isinstance(levels, dict) else (levels, None)
        if DEFAULT_THRESHOLDS.get(metric) != values:
            found.append(("threshold %s" % metric, "%s/%s" % values))
    for entry in slices:
        found.append(("slice %s" % entry.get("artifact"), "%s wanted" % entry.get("targetInstances")))
    return tuple(sorted(found))


def connected_peers(client: Client, endpoint: Endpoint) -> int:
    """How many peers a member is connected to by its own count, itself not included; it tells this before it is ready."""
    return int(json_of(client.read(endpoint, HEALTH), endpoint, HEALTH, dict).get("connectedPeers") or 0)


def activate(node: str) -> Tuple[str, str, object]:
    """(method, path, body) of the write that puts ``node`` back on duty (docs/product.md 5)."""
    return "POST", ACTIVATE % node, None


def drain(node: str) -> Tuple[str, str, object]:
    """(method, path, body) of the write that drains ``node``; any member takes it (docs/product.md 5)."""
    return "POST", DRAIN % node, None


def scale(artifact: str, instances: int) -> Tuple[str, str, object]:
    """(method, path, body) of the write that changes how many instances of a slice are wanted."""
    return "POST", SCALE, {"artifact": artifact, "instances": instances}


def apply(text: str) -> Tuple[str, str, object]:
    """(method, path, body) of the write that applies a blueprint in TOML; "applied" does not mean taken (docs/product.md 6)."""
    return "POST", BLUEPRINT, text


def delete(identity: str) -> Tuple[str, str, object]:
    """(method, path, body) of the write that deletes a blueprint and its slices; 200 for an unknown one too."""
    return "DELETE", "%s/%s" % (BLUEPRINT, quote(identity, safe=":")), None


def validate(client: Client, endpoint: Endpoint, text: str) -> Tuple[List[str], List[str]]:
    """(errors, warnings) the member has about a blueprint; a probe, nothing changes. Raises EndpointTrouble."""
    answer = client.probe(endpoint, "POST", VALIDATE, text)
    if answer.status != 200:
        raise EndpointTrouble(
            "unauthorized" if answer.status in (401, 403) else "error",
            "%s answers %s with %d: %s" % (endpoint.url, VALIDATE, answer.status, answer.error or "no reason given"),
        )
    found = json_of(answer, endpoint, VALIDATE, dict)
    errors = [str(e) for e in found.get("errors") or []]
    return errors if errors or found.get("valid") else ["the member says that it is not valid, and not why"], [str(w) for w in found.get("warnings") or []]


def may(client: Client, endpoint: Endpoint, role: str) -> str:
    """What the member says against a key that does ``role``'s work (``OPERATOR`` or ``ADMIN``), empty when nothing; raises EndpointTrouble.

    A probe: a threshold, or a level, without its values is refused for what it lacks, and before that for the key (docs/product.md 7, recordings auth).
    """
    path = {"OPERATOR": THRESHOLDS, "ADMIN": LEVELS}[role]
    answer = client.probe(endpoint, "POST", path, {})
    return answer.error or "status %d" % answer.status if answer.status in (401, 403) else ""


def blueprint(client: Client, endpoint: Endpoint, identity: str) -> Optional[Dict[str, Any]]:
    """The blueprint as the cluster keeps it, None where the member does not know it; raises EndpointTrouble.

    An unknown one is 500 with a sentence (docs/product.md 4), so only a member with state is to be asked.
    """
    path = "%s/%s" % (BLUEPRINT, quote(identity, safe=":"))
    return _known(client, endpoint, path, "Blueprint not found")


def stored(client: Client, endpoint: Endpoint, artifact: str) -> Optional[Dict[str, Any]]:
    """What the cluster's repository has of an artifact (``sha1``, ``size``, …), None where it has none; raises EndpointTrouble."""
    return _known(client, endpoint, STORED % "/".join(_places(artifact)), "Artifact not found")


def store(artifact: str, data: bytes) -> Tuple[str, str, object]:
    """(method, path, body) of the write that puts a JAR into the cluster's repository."""
    group, name, version = _places(artifact)
    return "PUT", "/repository/%s/%s/%s/%s-%s.jar" % (group, name, version, name, version), data


def jar(artifact: str) -> str:
    """The path at which the cluster's repository has a JAR: that of its upload, as in any Maven repository."""
    return store(artifact, b"")[1]


def levels(client: Client, endpoint: Endpoint) -> Dict[str, str]:
    """Logger -> level, where somebody has set one."""
    found = json_of(client.read(endpoint, LEVELS), endpoint, LEVELS, dict)
    return {str(name): level for name, level in found.items() if isinstance(level, str)}


def overrides(client: Client, endpoint: Endpoint) -> List[str]:
    """Keys of the configuration overrides; their values are not shown."""
    return sorted(str(key) for key in json_of(client.read(endpoint, OVERRIDES), endpoint, OVERRIDES, dict))


def set_threshold(metric: str, warning: float, critical: float) -> Tuple[str, str, object]:
    return "POST", THRESHOLDS, {"metric": metric, "warning": warning, "critical": critical}


def forget_threshold(metric: str) -> Tuple[str, str, object]:
    """(method, path, body) of the write that takes a threshold away, one of the defaults as well."""
    return "DELETE", "%s/%s" % (THRESHOLDS, quote(metric, safe="")), None


def set_level(logger: str, level: str) -> Tuple[str, str, object]:
    return "POST", LEVELS, {"logger": logger, "level": level}


def set_override(key: str, value: str) -> Tuple[str, str, object]:
    return "POST", CONFIG, {"key": key, "value": value}


def repositories(client: Client, endpoint: Endpoint) -> List[str]:
    """Where the member looks for artifacts (``local``, ``builtin``); empty when it does not say. Nothing else of that document is kept: it may hold keys."""
    found = json_of(client.read(endpoint, CONFIG), endpoint, CONFIG, dict).get("slice.repositories") or ""
    return re.findall(r"[a-z]+", found) if isinstance(found, str) else []


def _known(client, endpoint, path, absent):
    answer = client.read(endpoint, path, accept=(200, 404, 500))
    if answer.status == 200:
        return json_of(answer, endpoint, path, dict)
    if absent in answer.error:
        return None
    raise EndpointTrouble("error", "%s answers %s with %d: %s" % (endpoint.url, path, answer.status, answer.error or "no reason given"))


def _places(artifact):
    group, name, version = artifact.split(":")
    return group.replace(".", "/"), name, version


def said_no(answer: Answer) -> str:
    """Why a transition was refused, for that is HTTP 200 with ``success: false`` (docs/product.md 5); empty when it was not."""
    document = answer.document
    if isinstance(document, dict) and document.get("success") is False:
        return str(document.get("message") or "no reason given")
    return ""


def deployments(client: Client, endpoint: Endpoint) -> List[str]:
    """Deployments in progress, each as words: ``canary of org.example:shop:2.0.0 (DEPLOYING)``; raises EndpointTrouble."""
    return [
        "%s of %s (%s)" % (d["strategy"] or "deployment", d["blueprint"] or d["id"] or "a blueprint", d["state"])
        for d in all_deployments(client, endpoint)
        if d["in_progress"]
    ]


def all_deployments(client: Client, endpoint: Endpoint) -> List[Dict[str, Any]]:
    found = _dicts(json_of(client.read(endpoint, DEPLOY), endpoint, DEPLOY, dict).get("deployments"))
    return [
        {
            "id": e.get("deploymentId"), "blueprint": e.get("blueprintId"), "strategy": str(e.get("strategy") or "").lower(), "state": e.get("state"),
            "in_progress": str(e.get("state") or "").upper() not in DEPLOYMENT_OVER,
        }
        for e in found
    ]


# --- what aether_info can gather -----------------------------------------------------------------------------------------


def metrics(client: Client, endpoint: Endpoint) -> List[Dict[str, Any]]:
    """Per node: cpu and heap as parts of 1, heap in bytes."""
    load = json_of(client.read(endpoint, METRICS), endpoint, METRICS, dict).get("load") or {}
    return [
        {
            "node": node,
            "cpu": values.get("cpu.usage"),
            "heap": values.get("heap.usage"),
            "heap_used": values.get("heap.used"),
            "heap_max": values.get("heap.max"),
        }
        for node, values in sorted(load.items())
        if isinstance(values, dict)
    ]


def read_load(client: Client, endpoint: Endpoint) -> Dict[str, Any]:
    """What the member itself carries now, by its own word, for what others have of it may be old; bytes, requests per second, milliseconds.

    Raises EndpointTrouble.
    """
    status = json_of(client.read(endpoint, STATUS, retries=0), endpoint, STATUS, dict)
    node, requests = status.get("nodeId"), status.get("metrics") or {}
    load = json_of(client.read(endpoint, METRICS, retries=0), endpoint, METRICS, dict).get("load") or {}
    own = load.get(node) or {}
    return {
        "node": node, "cpu": own.get("cpu.usage"), "heap": own.get("heap.usage"), "heap_max": own.get("heap.max"),
        "requests": requests.get("requestsPerSecond"), "latency": requests.get("avgLatencyMs"),
    }


def set_threshold(metric: str, warning: float, critical: float) -> Tuple[str, str, object]:
    """(method, path, body) of the write that sets one alert threshold of the cluster; it wants all three, and takes a warning above critical."""
    return "POST", THRESHOLDS, {"metric": metric, "warning": warning, "critical": critical}


def remove_threshold(metric: str) -> Tuple[str, str, object]:
    """(method, path, body) of the write that removes one, which may be one of the product's own; 200 for an unknown one too."""
    return "DELETE", "%s/%s" % (THRESHOLDS, quote(metric, safe="")), None


def thresholds(client: Client, endpoint: Endpoint) -> List[Dict[str, Any]]:
    found = json_of(client.read(endpoint, THRESHOLDS), endpoint, THRESHOLDS, dict)
    return [{"metric": m, "warning": v.get("warning"), "critical": v.get("critical")} for m, v in sorted(found.items()) if isinstance(v, dict)]


def alerts(client: Client, endpoint: Endpoint) -> Dict[str, Any]:
    """``active`` and ``history``, from the two paths that answer with lists; the one above them has JSON inside strings."""
    return {name: json_of(client.read(endpoint, ALERTS % name), endpoint, ALERTS % name, list) for name in ("active", "history")}


def events(client: Client, endpoint: Endpoint) -> List[Dict[str, Any]]:
    return _dicts(json_of(client.read(endpoint, EVENTS), endpoint, EVENTS, list))


def certificate(client: Client, endpoint: Endpoint) -> Dict[str, Any]:
    """The member's own: ``seconds_left`` and the times are None where it has none."""
    found = json_of(client.read(endpoint, CERTIFICATE), endpoint, CERTIFICATE, dict)
    status = found.get("renewalStatus") or "NOT_CONFIGURED"

    def known(value):
        return None if status == "NOT_CONFIGURED" or value == "N/A" else value

    return {
        "renewal": status,
        "expires_at": known(found.get("expiresAt")),
        "seconds_left": known(found.get("secondsUntilExpiry")),
        "last_renewal": known(found.get("lastRenewalAt")),
    }


def blueprints(client: Client, endpoint: Endpoint) -> List[Dict[str, Any]]:
    listed = _dicts(json_of(client.read(endpoint, BLUEPRINTS), endpoint, BLUEPRINTS, dict).get("blueprints"))
    found = [blueprint(client, endpoint, b["id"]) for b in listed if b.get("id")]
    return [
        {
            "id": b.get("id"),
            "slices": [
                {"artifact": s.get("artifact"), "instances": s.get("instances"), "dependency": bool(s.get("isDependency"))} for s in _dicts(b.get("slices"))
            ],
        }
        for b in found
        if b is not None
    ]


# Subset -> (who is asked, with what): "cluster" is the best witness for all, "member" each for itself.
TELLS = {
    "blueprints": ("cluster", blueprints),
    "metrics": ("cluster", metrics),
    "thresholds": ("cluster", thresholds),
    "alerts": ("cluster", alerts),
    "events": ("cluster", events),
    "deployments": ("cluster", all_deployments),
    "certificate": ("member", certificate),
}


def _dicts(entries) -> List[Dict]:
    return [e for e in entries or [] if isinstance(e, dict)]
