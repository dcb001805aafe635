# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line, environment and aether.toml, with the product's reactions to bad ones (docs/product.md 1).

Only ``--x=value``; unknown arguments are ignored; argument > environment > file > default. A bad file is not
fatal: it is logged and the node runs on defaults. Log lines are worded so that whoever looks for the
product's finds these.
"""

from __future__ import annotations

import os
import random
import re
import string
import sys
from dataclasses import dataclass, field
from datetime import datetime
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

try:
    import tomllib
except ImportError:  # Python < 3.11: no aether.toml can be read
    tomllib = None

HIDDEN = "***REDACTED***"
V1, RUNBOOK = "v1", "runbook"
HEAPS = re.compile(r"^\d+[mg]$")


@dataclass
class Settings:
    """``peers``: id -> (host, port) in the order given; with ``api`` runbook ``host:port`` -> (host, port) of the others.

    ``size``: its own denominator. ``keys``: API key -> role.
    """

    node_id: str
    cluster_port: int = 8090
    management_port: int = 8080
    app_port: int = 8070
    app_enabled: bool = False
    peers: Dict[str, Tuple[str, int]] = field(default_factory=dict)
    core_max: int = 0
    keys: Dict[str, str] = field(default_factory=dict)
    tls: bool = False
    secret: str = field(default="", repr=False)  # of the cluster, with TLS
    tls_files: Tuple[str, ...] = ()  # with the API of the runbook: of the authority, the certificate and its key
    repositories: List[str] = field(default_factory=lambda: ["local", "builtin"])
    api: str = V1
    shown: Dict[str, str] = field(default_factory=dict)  # what GET /api/config tells
    log: List[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.core_max or len(self.peers) + (self.api == RUNBOOK)


class Exit(Exception):
    """The product ends here with ``code``, ``after`` seconds from the start, having said ``lines``."""

    def __init__(self, code: int, after: float, lines: Sequence[str]):
        super().__init__(lines[0] if lines else "")
        self.code, self.after, self.lines = code, after, list(lines)


def node_info(node_id: str, host: str, port: int) -> str:
    """A node, as the product's log shows it."""
    return "NodeInfo[id=NodeId[id=%s], address=NodeAddress[host=%s, port=%d], role=ACTIVE, labels={}]" % (node_id, host, port)


def log_line(level: str, where: str, text: str) -> str:
    return "%s [main] %-5s o.p.a.Main.%s() [rid=] - %s" % (datetime.now().strftime("%H:%M:%S.%f")[:-3], level, where, text)


def read(argv: Sequence[str], environ: Optional[Mapping[str, str]] = None) -> Settings:
    """Settings as the product would take them; raises Exit where it would end."""
    environ = os.environ if environ is None else environ
    arguments = dict(a[2:].split("=", 1) for a in argv if a.startswith("--") and "=" in a)
    log: List[str] = []
    document = _read_toml(arguments.get("config"), log)
    cluster = document.get("cluster", {})
    ports = cluster.get("ports", {})

    def pick(argument, variable, value, default):
        return arguments.get(argument) or environ.get(variable) or value or default

    settings = Settings(
        node_id=pick("node-id", "NODE_ID", None, None) or "node-" + "".join(random.choices(string.ascii_letters + string.digits, k=27)),
        cluster_port=_number(pick("port", "CLUSTER_PORT", ports.get("cluster"), 8090)),
        management_port=_number(pick("management-port", "MANAGEMENT_PORT", ports.get("management"), 8080)),
        core_max=int(environ.get("CORE_MAX") or 0),
        log=log,
    )
    peers = pick("peers", "CLUSTER_PEERS", None, "")
    settings.peers = _peers(peers, settings, log) if peers else _generated_peers(cluster.get("nodes", 3), settings)
    app = document.get("app-http", {})
    settings.app_enabled = bool(app.get("enabled"))
    settings.app_port = int(app.get("port", 8070))
    if settings.app_enabled:
        settings.keys = _keys(app.get("api-keys", {}), environ.get("AETHER_API_KEYS", ""))
    settings.repositories = list(document.get("slice", {}).get("repositories", settings.repositories))
    settings.shown = _shown(document, environ)
    log.append(log_line("INFO", "logStartupInfo", "Starting Aether node NodeId[id=%s] on port %d" % (settings.node_id, settings.cluster_port)))
    log.append(log_line("INFO", "logStartupInfo", "Management API on port %d" % settings.management_port))
    shown = ", ".join(node_info(i, h, p) for i, (h, p) in settings.peers.items())
    log.append(log_line("INFO", "logStartupInfo", "Peers: [%s]" % shown))
    if document:
        log.append(log_line("INFO", "logConfigDetails", "Config: environment=%s, nodes=%s, heap=%s" % (
            cluster.get("environment", "docker"), cluster.get("nodes", 3), document.get("node", {}).get("heap", "256m"))))
    _tls(settings, document, cluster, environ)
    if not settings.tls:
        log.append(log_line("WARN", "createInsecureClient", "Creating insecure QUIC client context - FOR DEVELOPMENT ONLY!"))
    if not peers and settings.node_id not in settings.peers:
        raise Exit(1, 1.5, log + [
            'Exception in thread "main" java.lang.IllegalStateException: Unwrap error: Composite:',
            "    |   Self node NodeId[id=%s] must be in coreNodes" % settings.node_id,
        ])
    return settings


def _read_toml(path, log) -> dict:
    """The file's tables, or an empty dict with a log line when the product would drop it."""
    if not path:
        return {}
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
    except OSError as error:
        log.append(log_line("ERROR", "lambda$loadConfigFile$0", "Failed to load config: %s" % error))
        return {}
    if tomllib is None:
        raise Exit(1, 0, ["aether.toml cannot be read: this needs Python 3.11 or newer, not %s." % sys.version.split()[0]])
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        number = int(line.group(1)) if line else 1
        log.append(log_line("ERROR", "lambda$loadConfigFile$0", "Failed to load config: TOML syntax error at line %d: %s" % (number, (text.splitlines() or [""])[number - 1])))
        return {}
    wrong = _broken_rules(document)
    if wrong:
        log.append(log_line("ERROR", "lambda$loadConfigFile$0", "Failed to load config: Configuration validation failed:"))
        log.extend("    | - %s" % w for w in wrong)
        return {}
    return document


def _broken_rules(document) -> List[str]:
    wrong = []
    cluster, node = document.get("cluster", {}), document.get("node", {})
    nodes = cluster.get("nodes", 3)
    if nodes not in (3, 5, 7):
        wrong.append("Node count must be odd (3, 5, 7) for quorum. Got: %s" % nodes)
    if "heap" in node and not HEAPS.match(str(node["heap"])):
        wrong.append("Invalid heap format: %s. Use: 256m, 512m, 1g, 2g, 4g" % node["heap"])
    if node.get("gc", "zgc") not in ("zgc", "g1"):
        wrong.append("Invalid GC: %s. Use: zgc, g1" % node["gc"])
    ports = cluster.get("ports", {})
    management, port = ports.get("management", 8080), ports.get("cluster", 8090)
    for name, value in (("Management", management), ("Cluster", port)):
        if not isinstance(value, int) or not 1 <= value <= 65535:
            wrong.append("%s port must be between 1 and 65535. Got: %s" % (name, value))
    if management == port:
        wrong.append("Management port and cluster port must be different. Both are: %s" % port)
    if isinstance(management, int) and isinstance(port, int) and nodes in (3, 5, 7) and abs(management - port) < nodes:
        wrong.append("Port ranges overlap. Management: %d-%d, Cluster: %d-%d" % (management, management + nodes - 1, port, port + nodes - 1))
    return wrong


def _number(value) -> int:
    try:
        return int(value)
    except ValueError:
        raise Exit(1, 0.5, ['Exception in thread "main" java.lang.NumberFormatException: For input string: "%s"' % value])


def _peers(text, settings, log) -> Dict[str, Tuple[str, int]]:
    found: Dict[str, Tuple[str, int]] = {}
    invented = False
    for entry in text.split(","):
        parts = entry.split(":")
        if len(parts) == 3:
            found[parts[0]] = (parts[1], _number(parts[2]))
        elif len(parts) == 2:
            invented = True
            found["node-%s-%s" % tuple(parts)] = (parts[0], _number(parts[1]))
        else:
            log.append(log_line("WARN", "logInvalidPeerFormat", "Invalid peer format: %s. Expected host:port or nodeId:host:port" % entry))
    if settings.node_id not in found:
        # One voter more than the list names: with invented ids a node never finds itself in it.
        found[settings.node_id] = ("localhost", settings.cluster_port)
    return found


def _generated_peers(nodes, settings) -> Dict[str, Tuple[str, int]]:
    return {"node-%d" % i: ("localhost", settings.cluster_port + i) for i in range(int(nodes))}


def _keys(tables, variable) -> Dict[str, str]:
    keys = {key: str(entry.get("authorization_role", "VIEWER")) for key, entry in tables.items() if isinstance(entry, dict)}
    for entry in variable.split(";"):
        parts = entry.split(":")
        if len(parts) >= 2 and parts[0]:
            keys[parts[0]] = parts[-1] if parts[-1] in ("VIEWER", "OPERATOR", "ADMIN") else "VIEWER"
    return keys


def _shown(document, environ) -> Dict[str, str]:
    """The configuration as dotted keys. Secrets are hidden where they are values, but an API key in the file is part of a name."""
    shown: Dict[str, str] = {}

    def walk(prefix, value):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(prefix + [key], inner)
        elif prefix[:2] == ["app-http", "api-keys"] or prefix[-1] == "cluster_secret":
            shown[".".join(prefix)] = HIDDEN
        elif isinstance(value, list):
            shown[".".join(prefix)] = "[%s]" % ", ".join(map(str, value))
        else:
            shown[".".join(prefix)] = str(value).lower() if isinstance(value, bool) else str(value)

    walk([], document)
    for variable, name in (("AETHER_API_KEYS", "api.keys"), ("AETHER_CLUSTER_SECRET", "cluster.secret")):
        if environ.get(variable):
            shown[name] = HIDDEN
    return shown


def _tls(settings, document, cluster, environ) -> None:
    environment = cluster.get("environment", "docker")
    if cluster.get("tls"):
        secret = document.get("tls", {}).get("cluster_secret") or environ.get("AETHER_CLUSTER_SECRET")
        if secret:
            settings.tls, settings.secret = True, secret
        else:
            settings.log.append(log_line("ERROR", "lambda$wireAutoTls$1", "Failed to setup TLS: No cluster secret configured. Set 'cluster_secret' in [tls] section or AETHER_CLUSTER_SECRET environment variable. A cluster secret is required for TLS certificate generation."))
    elif document and environment != "local":
        settings.log.append(log_line("WARN", "warnInsecureTlsInNonLocal", "*** SECURITY WARNING: Running without TLS in non-LOCAL environment. Cluster transport will use insecure self-signed certificates with no mutual authentication. Configure TLS via [tls] section in aether.toml for production deployments. ***"))
