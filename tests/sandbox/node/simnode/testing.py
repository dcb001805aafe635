# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole cluster in one process, for tests: real sockets on loopback, nothing shared, little time.

    with SimCluster(3, time_factor=0.02) as cluster:
        cluster.start_all()
        cluster.get("n1", "/api/status")
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import ssl
import tempfile
import threading
import time
import urllib.error
import urllib.request
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from .node import Node
from .runbook import read_runbook
from .settings import RUNBOOK, V1, Settings, read
from .switches import Switches
from .tls import Certificate


class Clock:
    """Seconds that a busy machine's standstills do not count in: from one look to the next it never goes on by more than ``most``.

    All nodes of a cluster in one process look at it many times a second. Half a second without the processor would else be 25 s of silence at a
    fiftieth of the product's time, and members drop each other after 17.7 s of it.
    """

    def __init__(self, most: float):
        self.most, self._seen, self._seconds = most, time.monotonic(), 0.0

    def __call__(self) -> float:
        real = time.monotonic()
        self._seconds += min(real - self._seen, self.most)
        self._seen = real
        return self._seconds


class SimCluster:
    """``ids``: n1, n2, …; every switch given holds for every node. Quiet and sure of itself by default. ``api``: v1 or runbook.

    Chance is off unless asked for: ``formation="ok"`` and ``stateless="never"`` are what a test of something else wants.
    ``secret``: with TLS from this secret.
    """

    def __init__(self, size: int = 3, time_factor: float = 0.02, api_keys: Optional[Dict[str, str]] = None, api: str = V1, secret: str = "", **switches):
        self.time_factor, self.api_keys, self.api, self.secret = time_factor, api_keys or {}, api, secret
        self.context: Optional[ssl.SSLContext] = Certificate(secret, "somebody", "localhost").as_client() if secret else None
        self.defaults = dict({"formation": "ok", "stateless": "never", "seed": 1}, **switches)
        self.key = ""  # sent with every request that has no headers of its own
        self.ports: Dict[str, Tuple[int, int]] = {}
        self.nodes: Dict[str, Node] = {}
        self.logs: Dict[str, List[str]] = {}
        self._runs: Dict[str, Any] = {}
        self._clock = Clock(max(0.02, self.t(1.0)))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        for number in range(1, size + 1):
            self.add_member("n%d" % number)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    @property
    def ids(self) -> List[str]:
        return list(self.ports)

    @property
    def endpoints(self) -> Dict[str, str]:
        return {i: "%s://127.0.0.1:%d" % ("https" if self.secret else "http", ports[1]) for i, ports in self.ports.items()}

    def endpoint_list(self, ids: Optional[Iterable[str]] = None) -> List[str]:
        """As the modules take them: ``n1=http://127.0.0.1:PORT``."""
        return ["%s=%s" % (i, self.endpoints[i]) for i in ids or self.ids]

    def add_member(self, node: str) -> None:
        self.ports[node] = free_ports()

    def t(self, seconds: float) -> float:
        return seconds * self.time_factor

    def start(self, node: str, peers: Optional[Sequence[str]] = None, core_max: int = 0, toml: str = "", environ: Optional[Dict[str, str]] = None, secret_of_its_own: str = "", **switches) -> Node:
        """Start one node with the list ``peers`` (by default every id known now); ``toml``: an aether.toml to read, with ``environ``."""
        names = list(peers or self.ids)
        if self.api == RUNBOOK:
            others = ",".join("127.0.0.1:%d" % self.ports[i][0] for i in names if i != node)
            settings = read_runbook(["--node-id=" + node, "--port=%d" % self.ports[node][0], "--management-port=%d" % self.ports[node][1], "--peers=" + others])
        elif toml:
            settings = self._read(node, names, toml, environ or {})
        else:
            settings = Settings(
                node_id=node, cluster_port=self.ports[node][0], management_port=self.ports[node][1],
                peers={i: ("127.0.0.1", self.ports[i][0]) for i in names}, keys=dict(self.api_keys), core_max=core_max,
                tls=bool(self.secret), secret=secret_of_its_own or self.secret,
            )
        values = Switches()
        values.update({"time_factor": self.time_factor, **self.defaults, **switches})
        self.logs[node] = []
        simulated = Node(settings, values, self.logs[node].append, bind="127.0.0.1", clock=self._clock)
        self.nodes[node] = simulated
        self._runs[node] = asyncio.run_coroutine_threadsafe(simulated.run(), self._loop)
        return simulated

    def _read(self, node, names, toml, environ) -> Settings:
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(toml)
            file.flush()
            peers = ",".join("%s:127.0.0.1:%d" % (i, self.ports[i][0]) for i in names)
            return read(["--node-id=" + node, "--port=%d" % self.ports[node][0], "--management-port=%d" % self.ports[node][1], "--peers=" + peers, "--config=" + file.name], environ)

    def start_all(self, ids: Optional[Sequence[str]] = None, peers: Optional[Sequence[str]] = None) -> None:
        """Each next node when the one before sees all the earlier ones (docs/product.md 2), then wait for all."""
        names = list(ids or self.ids)
        for position, node in enumerate(names):
            self.start(node, peers or names)
            self.wait(lambda: self.connected(node) >= position, "%s to see %d" % (node, position))
        self.wait(lambda: all(self.sees_all(n, names) for n in names), "all of %s" % ", ".join(names))

    def connected(self, node: str) -> int:
        """How many others a node sees."""
        return len(self.get(node, "/cluster/status")["nodes"]) - 1 if self.api == RUNBOOK else self.get(node, "/api/health")["connectedPeers"]

    def sees_all(self, node: str, names: Sequence[str]) -> bool:
        if self.api == RUNBOOK:
            return {n["id"] for n in self.get(node, "/cluster/status")["nodes"]} >= set(names) and self.get(node, "/health")["quorum"]
        duty = {e["nodeId"] for e in self.get(node, "/api/nodes/lifecycle") if e["state"] == "ON_DUTY"}
        return duty >= set(names) and self.get(node, "/api/status")["leader"] != "none"

    def terminate(self, node: str) -> None:
        """SIGTERM."""
        self._call(self.nodes[node].terminate)

    def stop(self, node: str, timeout: float = 10.0) -> int:
        """SIGTERM, if it has not had one; returns the exit code once the node has ended."""
        self.terminate(node)
        return self._runs[node].result(timeout)

    def kill(self, node: str) -> None:
        """SIGKILL: no farewell."""
        self._call(lambda: self.nodes[node].finish(137))
        self._runs[node].result(10)

    def freeze(self, node: str) -> None:
        self.nodes[node].frozen = True

    def thaw(self, node: str) -> None:
        self.nodes[node].frozen = False

    def cut(self, ones: Iterable[str], others: Iterable[str]) -> None:
        for one in ones:
            self.nodes[one].cut_from |= set(others)
        for other in others:
            self.nodes[other].cut_from |= set(ones)

    def heal(self) -> None:
        for node in self.nodes.values():
            node.cut_from = set()

    def set(self, node: str, **switches) -> None:
        self.post(node, "/sim/switches", switches)

    def get(self, node: str, path: str) -> Any:
        return self.request("GET", node, path)[1]

    def post(self, node: str, path: str, body: Any = None) -> Any:
        return self.request("POST", node, path, body)[1]

    def request(self, method: str, node: str, path: str, body: Any = None, headers=None, timeout: float = 5.0) -> Tuple[int, Any]:
        """(status, JSON document or text); (0, {}) when nothing answers."""
        data = body.encode() if isinstance(body, str) else body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoints[node] + path, data=data, method=method, headers=headers or ({"X-API-Key": self.key} if self.key else {}))
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self.context) as response:
                status, text, kind = response.status, response.read().decode(), response.headers["content-type"]
        except urllib.error.HTTPError as error:
            status, text, kind = error.code, error.read().decode(), error.headers["content-type"]
        except OSError:
            return 0, {"connectedPeers": -1}
        return status, json.loads(text) if kind.startswith("application/json") else text

    def wait(self, condition, what: str, seconds: float = 30.0) -> float:
        """Poll until ``condition``; returns product seconds. AssertionError after ``seconds`` real seconds."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            try:
                if condition():
                    return (time.monotonic() - start) / self.time_factor
            except (KeyError, TypeError):
                pass  # a node that does not answer yet has no such field
            time.sleep(0.01)
        raise AssertionError("waited %.0f s for %s" % (seconds, what))

    def close(self) -> None:
        for node, run in self._runs.items():
            if not run.done():
                self._call(lambda n=node: self.nodes[n].finish(137))
                run.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, function) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(), done.set()))
        done.wait(5)


_NEXT = itertools.count()
_FIRST, _NODES, _SPAN = 10000, 2000, 6000  # below what Linux gives to clients, 32768 and above; a span for each of the test processes


def free_ports() -> Tuple[int, int]:
    """A UDP port whose gossip port is free too, and a TCP port.

    Nobody else is given them between this look and the node's start: the system hands out other ports, and each process that tests
    has its own here. A node that found its port taken would be asked in vain, or a stranger would answer for it.
    """
    first = _FIRST + _SPAN * int(os.environ.get("PYTEST_XDIST_WORKER", "gw2")[2:])
    while True:
        number = next(_NEXT) % _NODES
        port, management = first + number // 100 * 200 + number % 100, first + 2 * _NODES + number
        try:
            for kind, wanted in ((socket.SOCK_DGRAM, port), (socket.SOCK_DGRAM, port + 100), (socket.SOCK_STREAM, management)):
                with socket.socket(socket.AF_INET, kind) as sock:
                    if kind == socket.SOCK_STREAM:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind(("127.0.0.1", wanted))
            return port, management
        except OSError:
            continue
