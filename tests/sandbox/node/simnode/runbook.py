# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node of the scaling runbook: its command line and its API, to the letter (docs/product.md 10).

Underneath it is the same node with the same times. What this API does not know, it does not tell: leader, lifecycle, the
node's own list, blueprints. There are no keys.
"""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

from .api import COORDINATES, Api, Failure, omit
from .http import Response
from .settings import RUNBOOK, Exit, Settings, log_line, tomllib
from .store import wall_ms

TLS_FILES = ("ca_path", "cert_path", "key_path")
KNOWN = ("node-id", "port", "peers", "management-port", "config")


def read_runbook(argv: Sequence[str]) -> Settings:
    """Settings from ``--node-id=ID --port=PORT --peers=HOST:PORT,…`` (the others) and ``--management-port=PORT``.

    Raises Exit with one sentence for what this node cannot do.
    """
    arguments = _arguments(argv)
    if not arguments.get("node-id"):
        raise Exit(1, 0.5, ["There is no --node-id; give every node its own: --node-id=node1"])
    settings = Settings(
        node_id=arguments["node-id"], cluster_port=_port("port", arguments.get("port", "8090")),
        management_port=_port("management-port", arguments.get("management-port", "8080")), api=RUNBOOK,
    )
    settings.tls_files = _tls_files(arguments.get("config"))
    settings.tls = bool(settings.tls_files)
    settings.peers = _peers(arguments.get("peers", ""), settings.log)
    # The ids of the others are not known before they answer; the log makes some up.
    shown = ", ".join("NodeInfo[id=NodeId[id=node-%s-%d], address=NodeAddress[host=%s, port=%d]]" % (h, p, h, p) for h, p in settings.peers.values())
    for text in (
        "Starting Aether node NodeId[id=%s] on port %d" % (settings.node_id, settings.cluster_port),
        "Management API on port %d" % settings.management_port,
        "Peers: [%s]" % shown,
    ):
        settings.log.append(log_line("INFO", "logStartupInfo", text))
    return settings


def _arguments(argv) -> Dict[str, str]:
    found, words = {}, list(argv)
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("--") or name[2:] not in KNOWN:
            raise Exit(1, 0.5, ["There is no argument %s; the arguments are %s." % (name, ", ".join("--" + n for n in KNOWN))])
        found[name[2:]] = value if equals or not words else words.pop(0)
    return found


def _port(name, text) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise Exit(1, 0.5, ['Exception in thread "main" java.lang.NumberFormatException: For input string: "%s" (--%s)' % (text, name)])
    return int(text)


def _peers(text, log: List[str]) -> Dict[str, Tuple[str, int]]:
    found = {}
    for entry in filter(None, text.split(",")):
        host, _, port = entry.rpartition(":")
        if host and ":" not in host and port.isdigit():
            found[entry] = (host, int(port))
        else:
            log.append(log_line("WARN", "logInvalidPeerFormat", "Invalid peer format: %s. Expected host:port" % entry))
    return found


def _tls_files(path) -> Tuple[str, ...]:
    """Paths of the authority, the certificate and its key. A file may name certificates, and nothing else that counts here."""
    if not path:
        return ()
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file).get("tls")
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Exit(1, 0.5, ["%s cannot be read: %s" % (path, error)])
    if not table:
        return ()
    missing = [name for name in TLS_FILES if not table.get(name)]
    if missing:
        raise Exit(1, 0.5, ["The table [tls] of %s lacks %s." % (path, ", ".join(missing))])
    return tuple(table[name] for name in TLS_FILES)


class RunbookApi(Api):
    def _table(self):
        yield "GET", "/health", self.health
        yield "GET", "/cluster/status", self.status
        yield "GET", "/slices", self.slices
        yield "POST", "/admin/drain", self.drain
        yield "GET", "/metrics", self.metrics
        yield "POST", "/admin/blueprint", self.update  # what aether-cli talks to; the runbook names no path

    def refuse(self, request):
        return None

    def health(self, request):
        node, count = self.node, len(self.node.members())
        quorum = node.ready and count >= node.majority
        status = "unhealthy" if not quorum else "healthy" if count >= node.settings.size else "degraded"
        answer = {"status": status, "quorum": quorum, "nodeCount": count, "sliceCount": self.local_count()}
        return Response(200 if quorum or not node.switches.health_503 else 503, answer)

    def status(self, request):
        shape = self.node.switches.node_list
        return {"nodes": [m if shape == "strings" else {shape: m} for m in sorted(self.node.members())]}

    def slices(self, request):
        found = []
        for key, instance in sorted(self.shown("instance/")):
            artifact, host = key.rsplit("/", 1)
            found.append(omit({"artifact": artifact, "nodeId": host, "state": instance["state"], "failureReason": instance.get("reason", "")}))
        return found

    def metrics(self, request):
        switches = self.node.switches
        if switches.no_metrics:
            raise Failure("Metrics are not available")
        return {"cpu.usage": switches.cpu, "heap.usage": switches.heap}

    async def drain(self, request):
        """Of this node itself; nothing says when it is done, or that it never will be."""
        node = self.node
        entry = node.store.get("lifecycle/" + node.id)
        if entry is None or not node.ready or node.switches.reject_drain:
            raise Failure("Node %s cannot be drained now" % node.id)
        if entry["state"] == "ON_DUTY":
            await self.write({"lifecycle/" + node.id: dict(entry, state="DRAINING", at=wall_ms(), stuck=node.switches.stuck_drain)})
        return {"status": "draining"}

    async def update(self, request):
        """``blueprint update ARTIFACT --instances=N``; another version of the same slice is swapped at once."""
        body = self.json(request)
        artifact, count = str(body.get("artifact", "")), body.get("instances")
        if not COORDINATES.match(artifact):
            raise Failure("Invalid artifact format: %s" % artifact)
        if not isinstance(count, int) or count < 1:
            raise Failure("Instance count must be positive: %s" % count)
        if not self.resolvable(artifact):
            raise Failure("Artifact not found: %s" % artifact)
        same = [a for a, _ in self.node.store.items("target/") if a != artifact and a.rsplit(":", 1)[0] == artifact.rsplit(":", 1)[0]]
        changes = {"target/" + a: None for a in same}
        changes["target/" + artifact] = {"instances": count, "min": 1, "owner": artifact}
        await self.write({} if self.node.switches.reject_blueprint else changes)
        return {"artifact": artifact, "instances": count}
