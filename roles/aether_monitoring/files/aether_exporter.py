# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells Prometheus what a cluster of Aether does not tell it by itself: quorum, leader, lifecycle, slices, certificates, load.

    aether_exporter.py CONFIG.json

What it says is what the collection's own gates say: role aether_monitoring puts a part of module_utils beside this file, as ``aether``.
Each scrape is an observation of its own; one that comes while an observation goes on shares it. No observation takes longer than
``timeout``: a member that has not answered all its questions by then counts as hanging, and keeps nobody else's numbers back.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from aether import placement
from aether.client import Client, Endpoint, EndpointTrouble
from aether.minting import by_hand, times_of
from aether.model import ACTIVE, AetherError, Trouble, View
from aether.operations.session import Look, Session

try:
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
except ImportError:
    CollectorRegistry = None

NEEDED = {"prometheus_client": (0, 14), "httpx": (0, 27)}
NEEDED_FOR_TLS = {"cryptography": (42, 0)}
# From the environment, which systemd fills from a file that only root reads.
SECRETS = {"api_key": "AETHER_API_KEY", "cluster_secret": "AETHER_CLUSTER_SECRET"}
# Seconds until the connection is made anew: a client certificate from the secret is good for an hour, and one in a file may have been replaced.
RENEWAL = 600.0

# Name -> (what it means, its labels beside ``cluster``). The page docs/site/watch-it.md shows them.
METRICS: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "aether_member_up": ("1: its management answered all questions in time", ("node",)),
    "aether_member_trouble": ("1 for what keeps a member from being asked: down, hanging, unauthorized, tls, not_aether, error", ("node", "kind")),
    "aether_member_ready": ("1: it says that it is ready", ("node",)),
    "aether_member_has_quorum": ("1: it has a quorum by its own denominator, counting only members that say themselves that they are ready", ("node",)),
    "aether_member_has_state": ("1: it shows the state that the others show", ("node",)),
    "aether_member_led": ("1: it follows the leader that the others follow, and that one answers", ("node",)),
    "aether_member_sound": ("1: ready, with a quorum, with state, and led", ("node",)),
    "aether_member_leads": ("1: it is the leader", ("node",)),
    "aether_member_lifecycle": ("1 for the state of its lifecycle, such as ON_DUTY or DRAINING", ("node", "state")),
    "aether_member_lifecycle_since_timestamp_seconds": ("Since when it is in this state", ("node",)),
    "aether_member_answer_seconds": ("How long it took to answer all questions of the last observation", ("node",)),
    "aether_cpu_usage_ratio": ("Used part of its processors", ("node",)),
    "aether_heap_usage_ratio": ("Used part of its heap", ("node",)),
    "aether_heap_used_bytes": ("Used heap", ("node",)),
    "aether_heap_max_bytes": ("The most that its heap may become", ("node",)),
    "aether_request_latency_seconds": ("How long its slices take to answer, on average, by its own word", ("node",)),
    "aether_certificate_left_seconds": ("Until a certificate ends: a member's own, or in a file that the exporter shows or trusts", ("node", "file")),
    "aether_certificate_renewal": ("1 for how it is renewed: HEALTHY, RENEWING, FAILED by the node; BY_HAND, DUE near its end", ("node", "file", "state")),
    "aether_cluster_voters": ("How many members there ought to be, by the inventory", ()),
    "aether_cluster_needed_members": ("How many sound members make a majority", ()),
    "aether_cluster_sound_members": ("How many members are sound", ()),
    "aether_cluster_on_duty_members": ("How many members can take slices", ()),
    "aether_cluster_can_lose_members": ("How many members may be lost, whichever they are, with the majority kept", ()),
    "aether_cluster_quorum": ("1: a majority has state and a quorum, whoever leads it", ()),
    "aether_cluster_complete": ("1: nothing at all speaks against the cluster", ()),
    "aether_cluster_leaderless_since_timestamp_seconds": ("Since when this exporter has seen no leader; not there while there is one", ()),
    "aether_cluster_finding": ("1 for each thing that an observation found, by the codes of aether_quorum_check", ("code", "node")),
    "aether_slice_wanted_instances": ("How many instances of a slice are wanted", ("artifact",)),
    "aether_slice_active_instances": ("How many are active, on members that answer", ("artifact",)),
    "aether_exporter_observation_seconds": ("How long the last observation took", ()),
    "aether_exporter_last_success_timestamp_seconds": ("When a member answered last", ()),
}
COUNTERS = {
    "aether_exporter_observations_total": "How many observations there were since the exporter started",
    "aether_exporter_failures_total": "How many of them told nothing, because nobody answered or nobody could be asked",
}


@dataclass(frozen=True)
class Told:
    """What one member said: its view, and the figures that no gate needs, as aether_info has them. ``trouble``: a sentence about what could not be read."""

    view: View
    seconds: Optional[float] = None
    load: Mapping[str, Any] = field(default_factory=dict)
    certificate: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True)
class Seen:
    """One observation, judged. ``look``: None when nobody could be asked. ``leaderless_since``: seconds since 1970, None while somebody leads."""

    look: Optional[Look] = None
    told: Tuple[Told, ...] = ()
    has_leader: bool = True
    leaderless_since: Optional[float] = None
    own_certificates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    last_success: Optional[float] = None
    observations: int = 0
    failures: int = 0


def ask(client: Client, dialect: Any, endpoint: Endpoint) -> Told:
    """Everything that one member says of itself. Whatever that is, the numbers of the others are told."""
    start = time.monotonic()
    found: Dict[str, Any] = {}
    try:
        view = dialect.read_view(client, endpoint)
        text = view.trouble.text if view.trouble else ""
        for subset in ("metrics", "certificate") if view.answers else ():
            found[subset] = dialect.TELLS[subset][1](client, endpoint)
    except EndpointTrouble as error:
        text = error.trouble.text  # of the figures; the view is told
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        trouble = Trouble("not_aether", "%s says what no Aether says (%s: %s); is it the management port of one?" % (endpoint.url, type(error).__name__, error))
        return Told(View(endpoint=endpoint.url, name=endpoint.name, trouble=trouble), trouble=trouble.text)
    load = found.get("metrics") or {}
    if isinstance(load, list):  # v1 tells those of all members, and only what a member says of itself counts
        load = next((entry for entry in load if entry["node"] == view.node_id), {})
    return Told(view, time.monotonic() - start, load, found.get("certificate") or {}, text)


class Asker:
    """A connection to the cluster with one question at a time to each member: who hangs is asked again once it has given up the last one."""

    def __init__(self, options: Mapping[str, Any], timeout: float):
        # As in check mode: the client itself refuses to write.
        self.session = Session(dict(options, connect_timeout=timeout / 4, read_timeout=timeout / 2), check_mode=True)
        self.born = time.monotonic()
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(max_workers=len(self.session.endpoints))
        self._asked: Dict[Endpoint, Future] = {}

    def ask_all(self, deadline: float) -> List[Told]:
        """One for each endpoint, when all have answered or at ``deadline``."""
        endpoints, client, dialect = self.session.endpoints, self.session.client, self.session.dialect
        hanging = {e for e, question in self._asked.items() if not question.done()}
        for endpoint in endpoints:
            if endpoint not in hanging:
                self._asked[endpoint] = self._pool.submit(ask, client, dialect, endpoint)
        wait([self._asked[e] for e in endpoints if e not in hanging], timeout=max(0.0, deadline - time.monotonic()))
        return [self._asked[e].result() if e not in hanging and self._asked[e].done() else self._late(e) for e in endpoints]

    def _late(self, endpoint: Endpoint) -> Told:
        text = "%s has not answered all questions within %g s; look at its journal." % (endpoint.url, self._timeout)
        return Told(View(endpoint=endpoint.url, name=endpoint.name, trouble=Trouble("hanging", text)), trouble=text)

    def close(self) -> None:
        self.session.client.close()
        self._pool.shutdown(wait=False)


class Watcher:
    """Observes one cluster, one observation at a time.

    :param options: of the connection, as the collection's modules have them.
    :param timeout: seconds after which an observation is over, whoever has not answered.
    """

    def __init__(self, options: Mapping[str, Any], timeout: float):
        self._options, self._timeout, self._api = dict(options), timeout, options.get("api") or "auto"
        self._asker: Optional[Asker] = Asker(self._options, timeout)  # raises AetherError for options that cannot be used
        self._lock, self._pool = threading.Lock(), ThreadPoolExecutor(max_workers=1)
        self._running: Optional[Future] = None
        self._last = Seen()
        self._said: Dict[str, str] = {}

    def look(self) -> Seen:
        """The observation that goes on, else a new one."""
        with self._lock:
            if self._running is None or self._running.done():
                self._running = self._pool.submit(self._observe)
            running = self._running
        return running.result()

    def _observe(self) -> Seen:
        start, last = time.monotonic(), self._last
        values: Dict[str, Any] = {}
        try:
            asker = self._connected()
            told = tuple(asker.ask_all(start + self._timeout))
            look = Look(asker.session.gathered([t.view for t in told]))
            dialect, answered = asker.session.dialect, any(t.view.answers for t in told)
            self._report({t.view.name or t.view.endpoint: t.trouble for t in told})
            own = {path: by_hand(times_of(path)) for path in asker.session.client.own_files}
            values = {"look": look, "told": told, "has_leader": dialect.HAS_LEADER, "own_certificates": own}
            if dialect.HAS_LEADER and look.verdict.leader is None:
                values["leaderless_since"] = last.leaderless_since or time.time()
            # Nobody may answer because the certificates are old ones, or because another API is spoken by now.
            self._api = dialect.NAME if answered else self._options.get("api") or "auto"
        except AetherError as error:
            answered = False
            self._report({"cluster": error.message})
        if not answered:
            self._disconnect()
        self._last = Seen(
            seconds=time.monotonic() - start, last_success=time.time() if answered else last.last_success, observations=last.observations + 1,
            failures=last.failures + (not answered), **values
        )
        return self._last

    def _connected(self) -> Asker:
        if self._asker is not None and time.monotonic() - self._asker.born > RENEWAL:
            self._disconnect()
        if self._asker is None:
            self._asker = Asker(dict(self._options, api=self._api), self._timeout)
        return self._asker

    def _disconnect(self) -> None:
        if self._asker is not None:
            self._asker.close()
        self._asker = None

    def _report(self, troubles: Mapping[str, str]) -> None:
        """Into the journal, once: what is new."""
        for who, text in troubles.items():
            if text != self._said.get(who, ""):
                say("%s: %s" % (who, text or "answers."))
        self._said = dict(troubles)


Add = Callable[..., None]


def tell(seen: Seen, add: Add) -> None:
    """Every number of an observation: ``add(name, value, *labels)``, where a value that is None is not known."""
    add("aether_exporter_observation_seconds", seen.seconds)
    add("aether_exporter_last_success_timestamp_seconds", seen.last_success)
    for path, certificate in seen.own_certificates.items():
        _tell_certificate(certificate, "", path, add)
    if seen.look is None:
        return
    _tell_members(seen, add)
    _tell_cluster(seen, add)
    _tell_slices(seen.look, add)


def _tell_members(seen: Seen, add: Add) -> None:
    observation, verdict = seen.look.observation, seen.look.verdict
    for node, member in verdict.members.items():
        view = observation.view(node)
        add("aether_member_up", member.answers, node)
        add("aether_member_ready", member.ready, node)
        add("aether_member_has_quorum", member.has_quorum, node)
        add("aether_member_has_state", member.has_state, node)
        add("aether_member_led", member.led, node)
        add("aether_member_sound", member.sound, node)
        if view is not None and view.trouble is not None:
            add("aether_member_trouble", 1, node, view.trouble.kind)
        if seen.has_leader:
            add("aether_member_leads", node == verdict.leader, node)
    for told in seen.told:
        node = told.view.id
        if node not in verdict.members or not told.view.answers:
            continue
        add("aether_member_answer_seconds", told.seconds, node)
        add("aether_request_latency_seconds", told.view.latency, node)
        add("aether_cpu_usage_ratio", told.load.get("cpu"), node)
        add("aether_heap_usage_ratio", told.load.get("heap"), node)
        add("aether_heap_used_bytes", told.load.get("heap_used"), node)
        add("aether_heap_max_bytes", told.load.get("heap_max"), node)
        _tell_certificate(told.certificate, node, "", add)


def _tell_certificate(certificate: Mapping[str, Any], node: str, file: str, add: Add) -> None:
    if certificate.get("seconds_left") is not None:
        add("aether_certificate_left_seconds", certificate["seconds_left"], node, file)
        add("aether_certificate_renewal", 1, node, file, certificate["renewal"])


def _tell_cluster(seen: Seen, add: Add) -> None:
    observation, verdict = seen.look.observation, seen.look.verdict
    add("aether_cluster_voters", len(observation.voters))
    add("aether_cluster_needed_members", verdict.needed)
    add("aether_cluster_sound_members", verdict.have)
    add("aether_cluster_can_lose_members", verdict.can_lose)
    add("aether_cluster_quorum", verdict.quorate)
    add("aether_cluster_complete", verdict.holds("complete"))
    add("aether_cluster_leaderless_since_timestamp_seconds", seen.leaderless_since)
    for code, node in sorted({(r.code, r.node or "") for r in verdict.reasons}):
        add("aether_cluster_finding", 1, code, node)


def _tell_slices(look: Look, add: Add) -> None:
    """What the best witness shows of the lifecycle and of slices; nothing when there is none, for nobody can tell then."""
    seen = placement.layout(look.observation, look.verdict)
    if seen is None:
        return
    add("aether_cluster_on_duty_members", len(seen.on_duty))
    since = look.observation.view(seen.witness).lifecycle_at
    for node, state in seen.states.items():
        add("aether_member_lifecycle", 1, node, state)
        add("aether_member_lifecycle_since_timestamp_seconds", since.get(node), node)
    silent = {m.id for m in look.verdict.members.values() if not m.answers}
    for artifact, placed in seen.hosts.items():
        add("aether_slice_wanted_instances", seen.targets.get(artifact), artifact)
        add("aether_slice_active_instances", sum(i.state == ACTIVE and n not in silent for n, i in placed.items()), artifact)


class Collector:
    """Hands the numbers of one observation to the client library, each with the label ``cluster``."""

    def __init__(self, watcher: Watcher, cluster: str):
        self._watcher, self._cluster = watcher, cluster

    def collect(self) -> Iterator[Any]:
        seen = self._watcher.look()
        families = {name: GaugeMetricFamily(name, text, labels=("cluster", *labels)) for name, (text, labels) in METRICS.items()}

        def add(name, value, *labels):
            if value is not None:
                families[name].add_metric((self._cluster, *labels), float(value))

        tell(seen, add)
        yield from families.values()
        for (name, text), value in zip(COUNTERS.items(), (seen.observations, seen.failures)):
            counter = CounterMetricFamily(name, text, labels=("cluster",))
            counter.add_metric((self._cluster,), value)
            yield counter


class Handler(BaseHTTPRequestHandler):
    timeout = 30  # seconds that a client may take to ask

    def do_GET(self):  # pylint: disable=invalid-name
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "The numbers are at /metrics")
            return
        text = generate_latest(self.server.registry)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        """A line for each scrape tells nobody anything."""


class Server(ThreadingHTTPServer):
    def __init__(self, watcher: Watcher, cluster: str, listen: str, port: int):
        self.address_family = socket.AF_INET6 if ":" in listen else socket.AF_INET
        self.registry = CollectorRegistry()
        self.registry.register(Collector(watcher, cluster))
        ProcessCollector(registry=self.registry)
        super().__init__((listen, port), Handler)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def missing(needed: Mapping[str, Tuple[int, int]]) -> List[str]:
    """Libraries that are not there, or too old, each as words."""
    found = []
    for name, least in needed.items():
        try:
            known = version(name)
        except PackageNotFoundError:
            known = ""
        if tuple(int(n) for n in re.findall(r"\d+", known)[:2]) < least:
            found.append("%s %s or newer (there is %s)" % (name, ".".join(map(str, least)), known or "none"))
    return found


def ready() -> None:
    """Let systemd know, if it wants to, so that a start that fails is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def main(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    options = dict(config["options"], **{option: os.environ.get(name) for option, name in SECRETS.items()})
    lacking = missing(dict(NEEDED, **NEEDED_FOR_TLS) if any("https:" in e for e in options["endpoints"]) else NEEDED)
    if lacking:
        say("%s lacks the Python libraries %s: let aether_monitoring_venv name a folder, which gets them by pip." % (sys.executable, ", ".join(lacking)))
        return 1
    try:
        watcher = Watcher(options, config["timeout"])
        server = Server(watcher, config["cluster"], config["listen"], config["port"])
    except AetherError as error:
        say(error.message)
        return 1
    except OSError as error:
        say("Port %d of %s cannot be listened on (%s): name another one with aether_monitoring_port." % (config["port"], config["listen"], error.strerror))
        return 1
    ready()
    say("%d members of %s are asked at each scrape of http://%s:%d/metrics." % (len(options["endpoints"]), config["cluster"], config["listen"], config["port"]))
    server.serve_forever()
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        say("Give it the path of its configuration: aether_exporter.py CONFIG.json")
        sys.exit(2)
    sys.exit(main(sys.argv[1]))
