# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The management API: paths, bodies and refusals as recorded (docs/product.md 4 to 7).

Empty lists, maps and strings are omitted, failures are 500 with a sentence, unknown paths 404 in plain text.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import re
import time
from datetime import datetime, timezone
from typing import Any, Callable, List, Tuple
from urllib.parse import parse_qsl

from .http import Request, Response
from .settings import HIDDEN, tomllib
from .store import DEFAULT_THRESHOLDS, WRITE_TIMEOUT, Inactive, wall_ms

ROLES = ["VIEWER", "OPERATOR", "ADMIN"]
OPEN = ("/", "/health/live", "/health/ready")
GROUP = r"[a-z][a-z0-9_-]*(?:\.[a-z][a-z0-9_-]*)+"
COORDINATES = re.compile(r"^%s:[a-z0-9]+(?:-[a-z0-9]+)*:\d+\.\d+\.\d+(?:-[A-Za-z0-9.-]+)?$" % GROUP)
INSTANT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
KEPT = 16384  # bytes of a JAR that can be downloaded again; the state of a simulated node goes to the others in one datagram
CHUNK = 65536  # bytes that an uploaded artifact is held in
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF")
CONTROLLER = {
    "cpuScaleUpThreshold": 0.8, "cpuScaleDownThreshold": 0.2, "callRateScaleUpThreshold": 2000.0, "evaluationIntervalMs": 1000,
    "warmUpPeriodMs": 30000, "sliceCooldownMs": 10000,
    "scalingConfig": {
        "windowSize": 10, "evaluationIntervalMs": 5000, "scaleUpThreshold": 1.5, "scaleDownThreshold": 0.5,
        "weights": {"CPU": 0.4, "ERROR_RATE": 0.0, "ACTIVE_INVOCATIONS": 0.4, "P95_LATENCY": 0.2}, "errorRateBlockThreshold": 0.1,
    },
}
# Paths whose answer in a cluster nobody uses for anything is always the same.
EMPTY_OBJECTS = ("/api/node/routes", "/api/cluster/governors", "/api/deploy", "/api/invocation-metrics", "/api/storage", "/api/streams", "/api/topology", "/api/schema/status", "/api/ab-tests")
EMPTY_LISTS = ("/api/alerts/active", "/api/alerts/history", "/api/backups", "/api/traces", "/api/observability/depth")


class Failure(Exception):
    """Becomes 500 with this sentence, or another status where the product has one."""

    def __init__(self, text, status=500):
        super().__init__(text)
        self.status = status


class Api:
    def __init__(self, node):
        self.node = node
        self.routes: List[Tuple[str, re.Pattern, Callable]] = []
        for method, path, handler in self._table():
            self.routes.append((method, re.compile("^" + path + "$"), handler))
        self.exact = {(m, p.pattern[1:-1]): h for m, p, h in self.routes}

    def _table(self):
        yield "GET", "/", lambda r: Response(200, "<!DOCTYPE html><title>Aether</title>", "text/html; charset=UTF-8")
        yield "GET", "/health/live", lambda r: {"status": "UP", "nodeId": self.node.id}
        yield "GET", "/health/ready", self.ready
        yield "GET", "/api/health", self.health
        yield "GET", "/api/status", self.status
        yield "GET", "/api/nodes", self.nodes
        yield "GET", "/api/nodes/lifecycle", self.lifecycle_list
        yield "GET", "/api/node/lifecycle/([^/]+)", self.lifecycle_of
        yield "POST", "/api/node/(drain|activate|shutdown)/([^/]+)", self.transition
        yield "POST", "/api/node/(?:drain|activate|shutdown)/?", self.no_such_request
        yield "GET", "/api/slices", lambda r: omit({"slices": [self.slice(a, t) for a, t in self.shown("target/")]})
        yield "GET", "/api/slices/status", self.slices_status
        yield "GET", "/api/node/slices", self.node_slices
        yield "GET", "/api/cluster/topology", self.topology
        yield "POST", "/api/blueprint", self.apply_blueprint
        yield "POST", "/api/blueprint/validate", self.validate_blueprint
        yield "GET", "/api/blueprints", lambda r: omit({"blueprints": [{"id": i, "sliceCount": len(b["slices"])} for i, b in self.node.store.items("blueprint/")]})
        yield "GET", "/api/blueprint/([^/]+)/status", self.blueprint_status
        yield "GET", "/api/blueprint/([^/]+)", self.blueprint
        yield "DELETE", "/api/blueprint/([^/]+)", self.delete_blueprint
        yield "POST", "/api/scale", self.scale
        yield "GET", "/repository/info/(.+)/([^/]+)/([^/]+)", self.artifact_info
        yield "PUT", "/repository/(.+)/([^/]+)/([^/]+)/[^/]+", self.upload
        yield "GET", r"/repository/(.+)/([^/]+)/([^/]+)/[^/]+\.jar\.(md5|sha1)", self.artifact_checksum
        yield "GET", r"/repository/(.+)/([^/]+)/([^/]+)/[^/]+\.jar", self.download
        yield "GET", "/api/artifact-metrics", self.artifact_metrics
        yield "GET", "/api/thresholds", lambda r: self.thresholds()
        yield "POST", "/api/thresholds", self.set_threshold
        yield "DELETE", "/api/thresholds/([^/]+)", self.delete_threshold
        yield "GET", "/api/logging/levels", lambda r: dict(self.node.store.items("level/"))
        yield "POST", "/api/logging/levels", self.set_level
        yield "DELETE", "/api/logging/levels/([^/]+)", self.delete_level
        yield "GET", "/api/controller/config", lambda r: dict(CONTROLLER, **self.node.controller)
        yield "POST", "/api/controller/config", self.set_controller
        yield "GET", "/api/controller/status", lambda r: {"enabled": True, "evaluationIntervalMs": CONTROLLER["evaluationIntervalMs"], "config": dict(CONTROLLER, **self.node.controller)}
        yield "POST", "/api/controller/evaluate", lambda r: {"status": "evaluation_triggered"}
        yield "GET", "/api/events", self.events
        yield "GET", "/api/certificate", lambda r: self.certificate()
        yield "GET", "/api/metrics", self.metrics
        yield "GET", "/api/metrics/prometheus", lambda r: Response(200, "# HELP jvm_info  \n# TYPE jvm_info gauge\njvm_info 1\n", "text/plain; charset=UTF-8")
        yield "GET", "/api/node-metrics", lambda r: [{"nodeId": m, "cpuUsage": 0.0, "heapUsedMb": 0, "heapMaxMb": 0} for m in self.node.members()]
        yield "GET", "/api/alerts", lambda r: {"active": "[]", "history": "[]"}
        yield "POST", "/api/alerts/clear", lambda r: {"status": "alerts_cleared"}
        yield "POST", "/api/backup(?:/restore)?", lambda r: {"success": False, "message": "Backup is not enabled"}
        yield "GET", "/api/config", lambda r: dict(self.node.settings.shown)
        yield "GET", "/api/config/overrides", lambda r: {k: HIDDEN for k, _ in self.node.store.items("override/")}
        yield "POST", "/api/config", self.set_override
        yield "DELETE", "/api/config/([^/]+)", self.delete_override
        yield "GET", "/api/scheduled-tasks", lambda r: {"activeTimers": 0}
        yield "GET", "/api/cluster/(?:config|status)", self.no_cluster_config
        yield "POST", "/api/cluster/upgrade", self.no_cluster_config
        yield "POST", "/api/cluster/scale", self.scale_cluster
        for path in EMPTY_OBJECTS:
            yield "GET", path, lambda r: {}
        for path in EMPTY_LISTS:
            yield "GET", path, lambda r: []

    async def __call__(self, request: Request) -> Response:
        node = self.node
        if request.path.startswith("/sim/"):
            return self.sim(request)
        while node.switches.hang and not request.path.startswith("/sim/"):
            await asyncio.sleep(0.05)
        if node.now() < node.failing_until:
            return Response(503, {"error": "Service Unavailable"})
        if node.switches.latency:
            await asyncio.sleep(node.t(node.switches.latency))
        refused = self.refuse(request)
        if refused is not None:
            return refused
        handler, groups = self.exact.get((request.method, request.path)), ()
        if handler is None:
            for method, pattern, candidate in self.routes:
                match = pattern.match(request.path)
                if method == request.method and match:
                    handler, groups = candidate, match.groups()
                    break
        if handler is None:
            return Response(404, "File not found: %s" % request.path, "text/plain; charset=UTF-8")
        try:
            answer = handler(request, *groups)
            if asyncio.iscoroutine(answer):
                answer = await answer
        except Failure as failure:
            answer = Response(failure.status, {"error": str(failure)})
        return answer if isinstance(answer, Response) else Response(200, answer)

    async def application(self, request: Request) -> Response:
        """The port that slices serve; only its health is imitated."""
        if (request.method, request.path) == ("GET", "/health"):
            return Response(200, {"status": "UP", "nodeId": self.node.id})
        return Response(404, {"error": "Not Found"})

    # --- who may -----------------------------------------------------------------------------------------------

    def refuse(self, request):
        keys = self.node.settings.keys
        if not keys or request.path in OPEN:
            return None
        key = request.headers.get("x-api-key")
        if key is None:
            return Response(401, {"error": "X-API-Key header required"})
        if key not in keys:
            return Response(403, {"error": "Invalid API key"})
        needed = required_role(request.method, request.path)
        if ROLES.index(keys[key]) < ROLES.index(needed):
            return Response(403, {"error": "Access denied: role %s cannot access %s endpoint" % (keys[key], needed)})
        return None

    # --- views ---------------------------------------------------------------------------------------------------

    def ready(self, request):
        node = self.node
        peers = "Connected peers: %d" % len(node.links)
        parts = [
            ("consensus", node.ready, "Cluster active" if node.ready else "Consensus not established"),
            ("routes", node.routes, "Route sync received" if node.routes else "Awaiting initial route sync"),
            ("quorum", bool(node.links), peers),
        ]
        up = all(ok for _, ok, _ in parts)
        return Response(200 if up else 503, {"status": word(up), "nodeId": node.id, "components": [{"name": n, "status": word(ok), "detail": d} for n, ok, d in parts]})

    def health(self, request):
        node, count = self.node, len(self.node.members())
        quorum = count >= 2
        up = node.ready and quorum
        return {"status": "healthy" if up else "unhealthy", "ready": up, "quorum": quorum, "nodeCount": count, "connectedPeers": count - 1, "metricsNodeCount": count, "sliceCount": self.local_count()}

    def status(self, request):
        node = self.node
        leader = node.leader()
        return {
            "uptimeSeconds": int(node.now() - node.started),
            "cluster": {"nodeCount": len(node.members()), "leaderId": leader or "none", "nodes": [{"id": m, "isLeader": m == leader} for m in node.members()]},
            "sliceCount": self.local_count(),
            "metrics": {"requestsPerSecond": node.switches.requests, "successRate": 100.0, "avgLatencyMs": node.request_latency()},
            "nodeId": node.id, "status": "running", "isLeader": leader == node.id, "leader": leader or "none",
        }

    def nodes(self, request):
        leader = self.node.leader()
        return {"nodes": [{"nodeId": m, "role": "CORE", "isLeader": m == leader} for m in self.node.members()]}

    def shown(self, prefix):
        """What this node shows of its state: nothing while it has no quorum, although it keeps it (recording failures)."""
        return list(self.node.store.items(prefix)) if self.node.ready else []

    def lifecycle_list(self, request):
        return [{"nodeId": n, "state": e["state"], "updatedAt": e["at"]} for n, e in self.shown("lifecycle/")]

    def lifecycle_of(self, request, peer):
        entry = self.node.store.get("lifecycle/" + peer)
        if entry is None or not self.node.ready:
            raise Failure("Node lifecycle not found")
        return {"nodeId": peer, "state": entry["state"], "updatedAt": entry["at"]}

    def topology(self, request):
        settings = self.node.settings
        return {"coreCount": len(settings.peers), "coreMax": settings.core_max, "coreMin": settings.size, "workerCount": 0, "clusterSize": settings.size, "coreNodes": list(settings.peers)}

    def metrics(self, request):
        node = self.node
        if node.switches.no_metrics:
            raise Failure("Metrics are not available")
        load = {p: link.load for p, link in node.links.items()}
        load[node.id] = node.load()
        return {"load": load}

    def local_count(self):
        return sum(1 for k, _ in self.node.store.items("instance/") if k.endswith("/" + self.node.id))

    def no_cluster_config(self, request):
        raise Failure("No cluster configuration stored")

    def scale_cluster(self, request):
        if not isinstance(self.json(request).get("expectedVersion"), int):
            raise Failure('Type mismatch: expected long, got unknown at org.pragmatica.aether.api.ManagementApiResponses$ScaleRequest["expectedVersion"]')
        raise Failure("No cluster configuration stored")

    def no_such_request(self, request):
        raise Failure("Composite:\n  Not Found: Unknown request path")

    def events(self, request):
        since = dict(parse_qsl(request.query)).get("since", "")
        if since and not INSTANT.match(since):
            raise Failure("Internal Server Error")
        return [e for e in self.node.events if e["timestamp"] >= since]

    # --- lifecycle -------------------------------------------------------------------------------------------------

    async def transition(self, request, verb, peer):
        node = self.node
        entry = node.store.get("lifecycle/" + peer)
        if entry is None or not node.ready:
            raise Failure("Node lifecycle not found")
        state = entry["state"]
        allowed = {"drain": ("ON_DUTY",), "activate": ("DRAINING", "DECOMMISSIONED"), "shutdown": ("ON_DUTY", "DRAINING", "DECOMMISSIONED")}[verb]
        target = {"drain": "DRAINING", "activate": "ON_DUTY", "shutdown": "SHUTTING_DOWN"}[verb]
        if verb == "drain":
            self.check_budget(peer)
        if state not in allowed:
            return {"success": False, "nodeId": peer, "state": state, "message": "Cannot %s from %s (must be %s)" % (verb, state, " or ".join(allowed))}
        await self.write({"lifecycle/" + peer: dict(entry, state=target, at=wall_ms())})
        node.event("NODE_LIFECYCLE_CHANGED", "Node %s lifecycle: %s" % (peer, target), {"nodeId": peer, "transition": target, "requestedBy": "api"})
        return {"success": True, "nodeId": peer, "state": target, "message": "Transition to %s initiated" % target}

    def check_budget(self, peer):
        """rc1 refuses a drain that leaves fewer than a majority, counting only draining nodes."""
        node = self.node
        states = {p: e["state"] for p, e in node.store.items("lifecycle/")}
        draining = sum(1 for s in states.values() if s == "DRAINING")
        left = len(states) - draining - 1
        if node.switches.drain_budget and draining and left < node.majority or node.switches.reject_drain:
            raise Failure("Conflict: Disruption budget exceeded: draining %s would leave %d operational nodes, minimum is %d" % (peer, left, node.majority), 409)

    # --- slices and blueprints ---------------------------------------------------------------------------------------

    def slice(self, artifact, target):
        instances = [omit({"nodeId": h, "state": i["state"], "failureReason": i.get("reason", "")}) for h, i in self.node.slices.instances(artifact).items()]
        # One that came alive beside another version is shown with that one's numbers.
        told = target.get("beside", artifact)
        target = self.node.store.get("target/" + told, target)
        return omit({"artifact": artifact, "targetInstances": target["instances"], "minInstances": target["min"], "version": told.rsplit(":", 1)[1], "instances": instances})

    def slices_status(self, request):
        found = []
        for artifact, _ in self.shown("target/"):
            instances = [{"nodeId": h, "state": i["state"], "health": "HEALTHY" if i["state"] == "ACTIVE" else "UNKNOWN"} for h, i in self.node.slices.instances(artifact).items()]
            states = {i["state"] for i in instances}
            found.append(omit({"artifact": artifact, "state": "ACTIVE" if states == {"ACTIVE"} else "PENDING", "instances": instances}))
        return omit({"slices": found})

    def node_slices(self, request):
        return omit({"slices": [a for a, _ in self.shown("target/") if self.node.id in self.node.slices.instances(a)]})

    def parse(self, body: bytes):
        """(id, slices) of a blueprint in TOML; raises Failure with the product's sentence."""
        text = body.decode("utf-8", "replace")
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            raise Failure("TOML parse error: TOML syntax error at line 1: %s" % (text.splitlines() or [""])[0])
        if "id" not in document:
            raise Failure("Missing blueprint id")
        identity = str(document["id"])
        if not COORDINATES.match(identity):
            raise Failure("Invalid blueprint ID format: %s" % identity)
        if not document.get("slices"):
            raise Failure("Slices list cannot be empty")
        slices = []
        for entry in document["slices"]:
            artifact, count = str(entry.get("artifact", "")), entry.get("instances", 1)
            if not COORDINATES.match(artifact):
                raise Failure("Invalid artifact format: %s" % artifact)
            if count < 1:
                raise Failure("Instance count must be positive: %d" % count)
            least = entry.get("minAvailable", math.ceil(count / 2))
            if not 1 <= least <= count:
                raise Failure("minAvailable must be >= 1 and <= instances: minAvailable=%d, instances=%d" % (least, count))
            slices.append({"artifact": artifact, "instances": count, "min": least})
        return identity, slices

    def resolvable(self, artifact):
        switches, repositories = self.node.switches, self.node.settings.repositories
        missing = bool(switches.missing_artifact) and switches.missing_artifact in artifact
        local = "local" in repositories and artifact.startswith(switches.artifacts) and not missing
        return local or "builtin" in repositories and self.node.store.get("artifact/" + artifact) is not None

    async def apply_blueprint(self, request):
        if not (self.node.ready and self.node.has_state):
            raise Failure("Node %s is inactive" % self.node.id)
        identity, slices = self.parse(request.body)
        for entry in slices:
            if not self.resolvable(entry["artifact"]):
                place = "in local repository: %s at %s" % (entry["artifact"], repository_path(entry["artifact"]))
                raise Failure("Artifact not found " + place if "local" in self.node.settings.repositories else "Artifact not found: %s" % entry["artifact"])
        changes = {"blueprint/" + identity: {"slices": slices}}
        old = self.node.store.get("blueprint/" + identity, {"slices": []})
        replaced = {e["artifact"].rsplit(":", 1)[0] for e in slices}
        for entry in old["slices"]:
            # Another version of a slice takes its place at once; one that is only left out stays deployed.
            if entry["artifact"].rsplit(":", 1)[0] in replaced and entry["artifact"] not in {e["artifact"] for e in slices}:
                changes["target/" + entry["artifact"]] = None
        # A slice that belongs to another blueprint is answered "applied" and not taken; it comes alive when the leader changes.
        owned = {a.rsplit(":", 1)[0] for a, t in self.node.store.items("target/") if t["owner"] != identity}
        for entry in slices:
            if not (self.node.switches.reject_blueprint or entry["artifact"].rsplit(":", 1)[0] in owned):
                changes["target/" + entry["artifact"]] = {"instances": entry["instances"], "min": entry["min"], "owner": identity}
        await self.write(changes, timeout=WRITE_TIMEOUT)
        self.node.event("BLUEPRINT_DEPLOYED", "Blueprint deployed: %s" % identity, {"requestedBy": "api", "artifactCoords": identity})
        return {"status": "applied", "blueprint": identity, "slices": len(slices)}

    def validate_blueprint(self, request):
        try:
            identity, slices = self.parse(request.body)
        except Failure as failure:
            return {"valid": False, "sliceCount": 0, "errors": [str(failure)]}
        return {"valid": True, "id": identity, "sliceCount": len(slices)}

    def known_blueprint(self, identity):
        found = self.node.store.get("blueprint/" + identity)
        if found is None:
            raise Failure("Blueprint not found")
        return found

    def blueprint(self, request, identity):
        found = self.known_blueprint(identity)
        return {"id": identity, "slices": [{"artifact": e["artifact"], "instances": e["instances"], "isDependency": False} for e in found["slices"]]}

    def blueprint_status(self, request, identity):
        found, shown = self.known_blueprint(identity), []
        for entry in found["slices"]:
            active = sum(1 for i in self.node.slices.instances(entry["artifact"]).values() if i["state"] == "ACTIVE")
            wanted = entry["instances"]
            state = "DEPLOYED" if active == wanted else "SCALING_DOWN" if active > wanted else "DEPLOYING" if active else "PENDING"
            shown.append({"artifact": entry["artifact"], "targetInstances": entry["instances"], "activeInstances": active, "status": state})
        states = {e["status"] for e in shown}
        overall = states.pop() if states in ({"DEPLOYED"}, {"PENDING"}) else "PARTIAL" if "DEPLOYED" in states else "IN_PROGRESS"
        return {"id": identity, "overallStatus": overall, "slices": shown}

    async def delete_blueprint(self, request, identity):
        if not COORDINATES.match(identity):
            raise Failure("Invalid blueprint ID format: %s" % identity)
        changes = {}
        if self.node.store.get("blueprint/" + identity) is not None:
            changes["blueprint/" + identity] = None
        for artifact, target in self.node.store.items("target/"):
            if target["owner"] == identity:
                changes["target/" + artifact] = None
        if changes:
            await self.write(changes)
        return {"status": "deleted", "id": identity}

    async def scale(self, request):
        body = self.json(request)
        artifact, count = body.get("artifact"), body.get("instances")
        if artifact is None or count is None:
            raise Failure("Composite:\n  Missing 'artifact' or 'instances' field")
        if not COORDINATES.match(str(artifact)):
            raise Failure("Invalid artifact format %s" % artifact)
        if not self.node.ready:
            raise Failure("Node %s is inactive" % self.node.id)
        target = self.node.store.get("target/" + artifact)
        least = target["min"] if target else 1
        if count < least:
            raise Failure("Requested instances is below blueprint minimum" if count < 1 else "Requested %d instances but blueprint minimum is %d" % (count, least))
        if target is not None:
            await self.write({"target/" + artifact: dict(target, instances=count)})
        elif not any(a.rsplit(":", 1)[0] == artifact.rsplit(":", 1)[0] for a, _ in self.node.store.items("target/")):
            raise Failure("Slice is not part of any active blueprint. Deploy via blueprint.")
        return {"status": "scaled", "artifact": artifact, "instances": count}

    async def upload(self, request, group, artifact, version):
        if not request.path.endswith(".jar"):
            return Response(201, "", "text/plain")
        name = "%s:%s:%s" % (group.replace("/", "."), artifact, version)
        entry = {"size": len(request.body), "md5": hashlib.md5(request.body).hexdigest(), "sha1": hashlib.sha1(request.body).hexdigest(), "at": wall_ms()}
        if len(request.body) <= KEPT:
            entry["bytes"] = base64.b64encode(request.body).decode()
        await self.write({"artifact/" + name: entry})
        return Response(201, "", "text/plain")

    def known_artifact(self, group, artifact, version):
        name = "%s:%s:%s" % (group.replace("/", "."), artifact, version)
        entry = self.node.store.get("artifact/" + name)
        if entry is None:
            raise Failure("Artifact not found: %s" % name)
        return name, entry

    def artifact_info(self, request, group, artifact, version):
        name, entry = self.known_artifact(group, artifact, version)
        deployed = self.node.store.get("target/" + name) is not None
        return {"artifact": name, "size": entry["size"], "chunkCount": chunks(entry), "md5": entry["md5"], "sha1": entry["sha1"], "deployedAt": entry["at"], "isDeployed": deployed}

    def artifact_checksum(self, request, group, artifact, version, kind):
        return Response(200, self.known_artifact(group, artifact, version)[1][kind], "text/plain")

    def download(self, request, group, artifact, version):
        """No recording has one; the path is that of the upload, as in any Maven repository."""
        name, entry = self.known_artifact(group, artifact, version)
        if "bytes" not in entry or self.node.switches.unreadable_jar and self.node.switches.unreadable_jar in name:
            raise Failure("Artifact content cannot be read: %s" % name)
        broken = bool(self.node.switches.broken_jar) and self.node.switches.broken_jar in name
        return Response(200, base64.b64decode(entry["bytes"])[1 if broken else 0 :], "application/java-archive")

    def artifact_metrics(self, request):
        stored = [entry for _, entry in self.node.store.items("artifact/")]
        held = sum(map(chunks, stored))
        deployed = [a for a, _ in self.shown("target/")]
        return omit({
            "artifactCount": len(stored), "chunkCount": held, "memoryBytes": held * CHUNK, "memoryMB": "%.2f" % (held * CHUNK / 2**20),
            "deployedCount": len(deployed), "deployedArtifacts": deployed,
        })

    # --- settings of the cluster ---------------------------------------------------------------------------------------

    def thresholds(self):
        shown = dict(DEFAULT_THRESHOLDS)
        for key, (value, _) in self.node.store.entries.items():
            if key.startswith("threshold/"):
                metric = key.split("/", 1)[1]
                if value is None:
                    shown.pop(metric, None)
                else:
                    shown[metric] = value
        return shown

    async def set_threshold(self, request):
        body = self.json(request)
        metric, warning, critical = (body.get(k) for k in ("metric", "warning", "critical"))
        if metric is None or warning is None or critical is None:
            raise Failure("Missing metric, warning, or critical field")
        await self.write({"threshold/" + metric: {"warning": float(warning), "critical": float(critical)}})
        return {"status": "threshold_set", "metric": metric, "warning": float(warning), "critical": float(critical)}

    async def delete_threshold(self, request, metric):
        await self.write({"threshold/" + metric: None})
        return {"status": "threshold_removed", "metric": metric}

    async def set_level(self, request):
        body = self.json(request)
        if body.get("level") not in LEVELS:
            raise Failure("Invalid level. Must be one of: %s" % ", ".join(LEVELS))
        await self.write({"level/" + str(body.get("logger")): body["level"]})
        return {"status": "level_set", "logger": body.get("logger"), "level": body["level"]}

    async def delete_level(self, request, logger):
        await self.write({"level/" + logger: None})
        return {"status": "level_reset", "logger": logger}

    def certificate(self):
        """The node's own; without TLS there is none."""
        own = self.node.certificate
        if own is None:
            return {"expiresAt": "N/A", "secondsUntilExpiry": 0, "lastRenewalAt": "N/A", "renewalStatus": "NOT_CONFIGURED"}
        status = "FAILED" if self.node.switches.renewal_fails else "HEALTHY"
        left = int((own.expires_at - datetime.now(timezone.utc)).total_seconds())
        return {"expiresAt": own.expires_at.isoformat(), "secondsUntilExpiry": left, "lastRenewalAt": own.renewed_at.isoformat(), "renewalStatus": status}

    async def set_override(self, request):
        body = self.json(request)
        await self.write({"override/" + str(body.get("key")): str(body.get("value"))})
        self.config_changed("set", body.get("key"))
        return {"status": "config_set", "key": body.get("key"), "value": body.get("value")}

    async def delete_override(self, request, key):
        await self.write({"override/" + key: None})
        self.config_changed("remove", key)
        return {"status": "config_removed", "key": key}

    def config_changed(self, action, key):
        self.node.event("CONFIG_CHANGED", "Config %s: %s (cluster)" % (action, key), {"scope": "cluster", "requestedBy": "api", "action": action, "key": key})

    def set_controller(self, request):
        body = {k: v for k, v in self.json(request).items() if k in CONTROLLER}
        for name in ("cpuScaleUpThreshold", "cpuScaleDownThreshold"):
            if not 0 <= body.get(name, 0) <= 1:
                raise Failure("Invalid threshold: %s=%s (must be between 0.0 and 1.0)" % (name, float(body[name])))
        merged = dict(CONTROLLER, **self.node.controller)
        merged.update(body)
        if merged["cpuScaleUpThreshold"] <= merged["cpuScaleDownThreshold"]:
            raise Failure("cpuScaleUpThreshold must be greater than cpuScaleDownThreshold")
        self.node.controller.update(body)
        return {"status": "updated", "config": merged}

    def json(self, request):
        text = request.body.decode("utf-8", "replace")
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            token = (text.strip().strip('"').split() or [""])[0]
            raise Failure("Invalid JSON at line 1, column 1: Unrecognized token '%s': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); byte offset: #0]" % token)
        return document

    async def write(self, changes, timeout=None):
        """Through the consensus; an error does not mean that it is not applied.

        Without a majority it hangs until this node notices that it has none; with ``timeout`` seconds it ends before.
        """
        node, switches = self.node, self.node.switches
        if switches.hang_writes == "before":
            await asyncio.sleep(3600)
        try:
            done = node.submit(changes)
        except Inactive as inactive:
            raise Failure(str(inactive))
        if switches.hang_writes == "after":
            await asyncio.sleep(3600)
        deadline = node.now() + node.t(timeout) if timeout else math.inf
        while not done.done():
            if not node.ready:
                raise Failure("Node %s is inactive" % node.id)
            if node.now() >= deadline:
                raise Failure("Promise timed out after %dms" % (timeout * 1000))
            await asyncio.wait([done], timeout=max(0.02, node.t(0.5)))
        if switches.error_but_applied:
            raise Failure("Promise timed out after %dms" % (WRITE_TIMEOUT * 1000))

    # --- for tests --------------------------------------------------------------------------------------------------------

    def sim(self, request):
        """Switches at run time, from the node's own host only."""
        node = self.node
        if request.peer not in ("127.0.0.1", "::1"):
            return Response(403, {"error": "the switches of a simulated node are set from its own host"})
        if request.path == "/sim/debug":
            return Response(200, {"links": sorted(node.links), "barred": node.barred, "has_state": node.has_state, "stateless": node.stateless, "pending": len(node.pending), "state": {k: v[0] for k, v in node.store.entries.items()}})
        if request.path != "/sim/switches":
            return Response(404, "File not found: %s" % request.path, "text/plain; charset=UTF-8")
        if request.method == "POST":
            try:
                values = json.loads(request.body)
                node.switches.update(values)
            except (KeyError, ValueError) as error:
                return Response(500, {"error": str(error)})
            if "http_503" in values:
                node.failing_until = node.now() + node.t(node.switches.http_503)
            if "request_latency_rise" in values:
                node.slower_since = time.monotonic()
        return Response(200, node.switches.as_data())


def required_role(method, path) -> str:
    """docs/product.md 7; any key may read and validate."""
    if method == "GET" or path == "/api/blueprint/validate":
        return "VIEWER"
    operator = ("/api/node/drain", "/api/node/activate", "/api/scale", "/api/thresholds", "/api/alerts", "/repository", "/api/schema", "/api/config", "/api/controller")
    return "OPERATOR" if path.startswith(operator) else "ADMIN"


def chunks(entry) -> int:
    return max(1, math.ceil(entry["size"] / CHUNK))


def repository_path(artifact) -> str:
    group, name, version = artifact.split(":")
    return "/opt/aether/repository/%s/%s/%s/%s-%s.jar" % (group.replace(".", "/"), name, version, name, version)


def omit(document: dict) -> dict:
    """Without what is empty: the product leaves empty lists, maps and strings out."""
    return {k: v for k, v in document.items() if v not in ([], {}, "", None)}


def word(ok: bool) -> str:
    return "UP" if ok else "DOWN"
