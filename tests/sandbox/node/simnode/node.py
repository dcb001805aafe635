# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One node: how it boots, finds the others, gets its state, loses members, and stops (docs/product.md 2).

Everything it knows of the others came in a datagram. Several nodes may live in one process, each with its own
sockets; they share nothing else.

Times are seconds of the product at ``time_factor`` 1; ``self.t`` scales them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import socket
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Optional, Tuple

from .api import Api
from .http import HttpServer
from .runbook import RunbookApi
from .settings import RUNBOOK, Exit, Settings, log_line, node_info
from .slices import SliceEngine
from .store import Inactive, Store, wall_ms
from .switches import Switches
from .tls import Certificate, from_files, realm

GOSSIP_OFFSET = 100
BOOT = (2.0, 4.0)
SLOW_BOOT_CHANCE, SLOW_BOOT = 0.1, 2.5  # why fixed gaps between cold starts fail now and then
BEAT = 0.5
CROSSING_WINDOW = 1.9  # two nodes that both began to connect within this time may drop each other for ever
CROSSING_CHANCE = 2 / 3
FORMING = (1.0, 2.0)
SYNCING = (2.5, 4.5)
STATELESS_CHANCE = {"member": 0.2, "newcomer": 1 / 3}
YOUNG = 30.0  # joins of a cluster that has just formed were never seen to fail
DOOMED = (3.0, 7.0)  # how long a node that came back too early looks connected
SILENCE = 17.7
SILENCE_OF_A_REPLACED = 43.5  # of a node that was killed and came back too early
SILENCE_WITHOUT_QUORUM = 117.0
BYE_AFTER, EXIT_AFTER = 3.0, 4.1
EXIT_AFTER_SHUTDOWN = 2.1  # of a node that left by POST shutdown before
LEADERLESS = 17.7
RESEND = 0.3
TAKEN_MANAGEMENT_PORT, TAKEN_CLUSTER_PORT = 2.0, 4.0


@dataclass
class Link:
    """A connection to another member: its last word about itself."""

    inc: str
    address: Tuple[str, int]
    heard: float
    ready: bool = False
    has_state: bool = False
    fresh: bool = True
    write_age: float = 1e9
    formed_age: float = 0.0
    lists_us: bool = True
    load: Dict[str, float] = field(default_factory=dict)
    differs: int = 0
    known: bool = False  # it has said how it is, not only hello
    silence: float = SILENCE  # after so much of it, it counts as gone
    doomed: Optional[float] = None  # when this connection ends for good: the other side holds on to an older one


def _asks_for_versions(data: bytes) -> bool:
    """A long header with a version that is reserved for forcing the other side to say which ones it speaks (RFC 9000, 15)."""
    return len(data) >= 1200 and data[0] & 0x80 != 0 and all(b & 0x0F == 0x0A for b in data[1:5])


def _versions(data: bytes) -> bytes:
    """QUIC's answer to that: the connection ids the other way round, and version 1 (RFC 8999, 6)."""
    theirs = data[6 : 6 + data[5]]
    rest = data[6 + data[5] :]
    ours = rest[1 : 1 + rest[0]]
    return b"\x80\0\0\0\0" + bytes([len(ours)]) + ours + bytes([len(theirs)]) + theirs + b"\0\0\0\x01"


class Node(asyncio.DatagramProtocol):
    def __init__(self, settings: Settings, switches: Switches, say=print, bind: str = "0.0.0.0", clock: Callable[[], float] = time.monotonic):
        self.settings, self.switches, self.say, self.bind, self.now = settings, switches, say, bind, clock
        self.id = settings.node_id
        self.inc = os.urandom(4).hex()
        self.random = random.Random(None if switches.seed is None else "%s/%s" % (switches.seed, self.id))
        self.store = Store()
        self.links: Dict[str, Link] = {}
        self.barred: Dict[str, str] = {}  # id -> incarnation that this node will not connect to again
        self.events: deque = deque(maxlen=200)
        self.started = self.now()
        self.connecting_since: Optional[float] = None
        self.ready = self.has_state = self.stateless = False
        self.routes = False  # has it ever been connected to anybody?
        self.formed_at: Optional[float] = None
        self.form_at: Optional[float] = None
        self.sync_until: Optional[float] = None
        self.sync_stateless = False
        self.last_write = -1e9
        self.last_leader: Optional[str] = None
        self.leaderless_until = 0.0
        self.pending: Dict[str, dict] = {}
        self.called: Dict[str, str] = {}  # entry of the list of peers -> id of who answered there
        self.cut_from: set = set()  # ids that this node neither hears nor reaches, for tests in one process
        self.frozen = False
        self.leaving = self.gone = False
        self.known_leader: Optional[str] = None  # the last one that an event told of
        self.failing_until = 0.0
        self.slower_since = time.monotonic()
        self.controller: Dict[str, Any] = {}
        self.realm, self.certificate = realm(settings.secret), None
        self._transport = None
        self._gossip = None
        self._addresses: Dict[str, Tuple[str, int]] = {}
        self._tasks: List[asyncio.Task] = []
        self._done: Optional[asyncio.Future] = None
        self._writes = 0
        self.slices = SliceEngine(self)
        api = RunbookApi(self) if settings.api == RUNBOOK else Api(self)
        self.http = HttpServer(api, lambda: self.frozen)
        self.app_http = HttpServer(api.application, lambda: self.frozen)

    # --- time -------------------------------------------------------------------------------------------------

    def t(self, seconds: float) -> float:
        return seconds * self.switches.time_factor

    def between(self, span) -> float:
        return self.t(self.random.uniform(*span))

    # --- a life -----------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Live until stopped; returns the exit code."""
        self._done = asyncio.get_running_loop().create_future()
        for line in self.settings.log:
            self.say(line)
        self._tasks = [asyncio.ensure_future(c) for c in (self._life(), self._beats(), self._engine(), self._own_writes())]
        try:
            return await self._done
        finally:
            for task in self._tasks:
                task.cancel()
            for transport in (self._transport, self._gossip):
                if transport is not None:
                    transport.close()
            await self.http.close()
            await self.app_http.close()

    def finish(self, code: int) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(code)

    def terminate(self) -> None:
        """SIGTERM: the others drop it after 3 s, the process ends with 143 after 4.1 s."""
        if not self.leaving:
            self.leaving = True
            self._tasks.append(asyncio.ensure_future(self._leave()))

    async def _leave(self):
        self.say("Shutting down node %s" % self.id)
        if self.gone:
            await asyncio.sleep(self.t(EXIT_AFTER_SHUTDOWN))
            self.finish(143)
            return
        await asyncio.sleep(self.t(BYE_AFTER))
        self.say_bye()
        await asyncio.sleep(self.t(EXIT_AFTER - BYE_AFTER))
        self.finish(143)

    def _withdraw(self):
        """After POST shutdown: leave once no slice runs here; the process stays (docs/product.md 1)."""
        entry = self.store.get("lifecycle/" + self.id)
        if self.gone or not self.ready or entry is None or (entry["state"], entry["inc"]) != ("SHUTTING_DOWN", self.inc):
            return
        if not any(key.endswith("/" + self.id) for key, _ in self.store.items("instance/")):
            self.say_bye()
            self.links.clear()
            self.ready = False

    def say_bye(self):
        for peer in list(self.links):
            self._send(peer, {"t": "bye"})
        self.gone = True

    async def _life(self):
        try:
            context = self._tls()
            boot = self.between(BOOT) + (self.t(SLOW_BOOT) if self.random.random() < SLOW_BOOT_CHANCE else 0.0)
            loop = asyncio.get_running_loop()
            try:
                await self.http.listen(self.bind, self.settings.management_port, answering=False, context=context)
            except OSError:
                raise Exit(1, TAKEN_MANAGEMENT_PORT, [log_line("ERROR", "exitWithError", "Failed to start node: Failed to bind to port %d: Address already in use" % self.settings.management_port)])
            try:
                self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.bind, self.settings.cluster_port))
            except OSError:
                raise Exit(1, TAKEN_CLUSTER_PORT, [
                    log_line("ERROR", "exitWithError", "Failed to start node: Failed to bind QUIC server to port %d: Cause:" % self.settings.cluster_port),
                    "  java.net.BindException: Address already in use",
                ])
            try:
                self._gossip, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(self.bind, self.settings.cluster_port + GOSSIP_OFFSET))
            except OSError:
                pass  # the product says nothing and keeps running
            self.say(log_line("INFO", "start", "Starting Aether node NodeId[id=%s]" % self.id))
            await asyncio.sleep(boot + self.t(self.switches.boot_delay))
            for peer, (host, port) in self.settings.peers.items():
                try:
                    self._addresses[peer] = (socket.gethostbyname(host), port)
                except OSError:
                    self.say("Cannot resolve %s of peer %s" % (host, peer))
            if self.settings.app_enabled:
                try:
                    await self.app_http.listen(self.bind, self.settings.app_port, answering=True, context=context)
                except OSError:
                    self.say(log_line("ERROR", "start", "Failed to bind to port %d: Address already in use" % self.settings.app_port))
            self.http.answering = True
            self.connecting_since = self.now()
            if self.shut_off:
                self._say_shut_off()
        except Exit as end:
            for line in end.lines:
                self.say(line)
            await asyncio.sleep(self.t(end.after))
            self.finish(end.code)

    def _tls(self):
        """The context for HTTPS, or None."""
        if not self.settings.tls:
            return None
        if self.settings.tls_files:
            try:
                return from_files(*self.settings.tls_files)
            except (OSError, ValueError) as error:
                raise Exit(1, 0.5, ["The files of [tls] cannot be used: %s" % error])
        host = self.settings.peers.get(self.id, ("localhost", 0))[0]
        try:
            self.certificate = Certificate(self.settings.secret, self.id, host, self.switches.certificate_days)
        except ImportError as error:
            raise Exit(1, 0.5, ["This simulated node needs the Python library cryptography for TLS (%s): install python3-cryptography." % error])
        return self.certificate.context

    @property
    def shut_off(self) -> bool:
        """With TLS on, the nodes of alpha and rc1 never shake hands."""
        return self.settings.tls and not self.switches.tls_forms

    def _say_shut_off(self):
        own = node_info(self.id, *self.settings.peers.get(self.id, ("localhost", self.settings.cluster_port)))
        for entry, (host, port) in self._addresses.items():
            if entry == self.id:
                continue
            self.say("%s [] WARN  o.p.c.n.q.QuicClusterNetwork.onConnectFailed() [rid=] - Failed to connect from %s to %s: Failed to connect to QUIC peer at /%s:%d: Cause:" % (
                datetime.now().strftime("%H:%M:%S.%f")[:-3], own, node_info(entry, *self.settings.peers[entry]), host, port))
            self.say("  javax.net.ssl.SSLHandshakeException: error:10000133:SSL routines:OPENSSL_internal:NO_APPLICATION_PROTOCOL")

    async def _beats(self):
        while True:
            await asyncio.sleep(max(0.005, self.t(BEAT) * self.random.uniform(0.8, 1.2)))
            if self.frozen or self.connecting_since is None:
                continue
            self._connect()
            self._beat()
            self._drop_silent()
            self._progress()
            self._withdraw()

    async def _engine(self):
        while True:
            await asyncio.sleep(max(0.005, self.t(0.1)))
            if not self.frozen and self.connecting_since is not None:
                self._lead()

    async def _own_writes(self):
        """The switch ``write_every``: somebody who writes all the time."""
        count = 0
        while True:
            every = self.switches.write_every
            await asyncio.sleep(max(0.01, self.t(every or 1.0)))
            if every and self.ready and self.has_state and not self.frozen:
                count += 1
                self.submit({"threshold/sim.busy": {"warning": 0.5 + count % 2 * 0.1, "critical": 0.9}})

    # --- datagrams --------------------------------------------------------------------------------------------

    def _send(self, peer: str, message: dict) -> None:
        link = self.links.get(peer)
        address = link.address if link else self._addresses.get(peer)
        if address is not None:
            self._send_to(address, peer, message)

    def _send_to(self, address, peer, message):
        if self.frozen or self.gone or self._transport is None or peer in self.cut_from or self.shut_off:
            return
        data = json.dumps(dict(message, **{"from": self.id, "inc": self.inc}, **({"realm": self.realm} if self.realm else {}))).encode()
        try:
            self._transport.sendto(zlib.compress(data, 1) if len(data) > 1000 else data, address)
        except OSError:
            pass  # the network is down on this side: what a lost datagram looks like

    def error_received(self, exc):
        """A port that nobody listens on answers with an ICMP error: the peer is not up yet."""

    def datagram_received(self, data, addr):
        if self.frozen or self.gone or self.connecting_since is None:
            return
        if _asks_for_versions(data):
            self._transport.sendto(_versions(data), addr)
            return
        try:
            message = json.loads(zlib.decompress(data) if data[:1] == b"\x78" else data)
            kind, peer = message["t"], message["from"]
        except (ValueError, KeyError, zlib.error):
            return  # not ours
        if peer in self.cut_from or peer == self.id or message.get("realm", "") != self.realm or self.shut_off:
            return
        if "called" in message:
            self.called[message["called"]] = peer
        link = self.links.get(peer)
        if link is not None and link.inc == message["inc"]:
            link.heard, link.address = self.now(), addr
        elif kind not in ("hello", "welcome", "refuse", "crossed"):
            if link is None and kind == "beat" and self.barred.get(peer) != message["inc"] and (self.has_state or self.stateless):
                # A member that was cut off and is heard again.
                self._link(peer, message, addr)
            else:
                return
        handler = getattr(self, "_on_" + kind, None)
        if handler is not None:
            handler(peer, message, addr)

    # --- finding each other -------------------------------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        return not (self.ready or self.has_state or self.stateless)

    def _connect(self):
        for entry, address in self._addresses.items():
            peer = self.called.get(entry, entry)
            if peer != self.id and peer not in self.links and peer not in self.barred:
                hello = {"t": "hello", "fresh": self.fresh, "connecting": self.now() - self.connecting_since, "formation": self.switches.formation}
                self._send_to(address, peer, dict(hello, call=entry))

    def _lists(self, peer) -> bool:
        return peer in self.settings.peers or peer in self.called.values()

    def _on_hello(self, peer, message, addr):
        link, called = self.links.get(peer), message["call"]
        if link is not None and link.inc != message["inc"]:
            # The old connection has not been noticed to be dead: the newcomer will be turned away, for good,
            # and its attempts keep the old one in the views (recordings quick-restart).
            link.silence = SILENCE_OF_A_REPLACED
            self._send_to(addr, peer, {"t": "refuse", "called": called})
            return
        if self.barred.get(peer) == message["inc"]:
            self._send_to(addr, peer, {"t": "crossed", "called": called})
            return
        if link is None and self._crosses(message):
            self.barred[peer] = message["inc"]
            self._send_to(addr, peer, {"t": "crossed", "called": called})
            return
        if link is None:
            self._link(peer, message, addr)
        self._send_to(addr, peer, dict(self._about(), t="welcome", called=called, lists=self._lists(peer)))

    def _on_welcome(self, peer, message, addr):
        link = self.links.get(peer)
        if self.barred.get(peer) == message["inc"] or link is not None and link.inc != message["inc"]:
            return
        if link is None:
            self._link(peer, message, addr)
        self._learn(peer, message)

    def _on_refuse(self, peer, message, addr):
        """For a few seconds it looks like a connection (recording quick-restart)."""
        if peer not in self.links and self.barred.get(peer) != message["inc"]:
            self.routes = True
            self.links[peer] = Link(inc=message["inc"], address=addr, heard=self.now(), doomed=self.now() + self.between(DOOMED))

    def _on_crossed(self, peer, message, addr):
        self.barred[peer] = message["inc"]
        self.links.pop(peer, None)

    def _crosses(self, message) -> bool:
        """Do two nodes that connect at the same moment drop each other? Both come to the same answer."""
        if self.switches.formation == "ok" or message.get("formation") == "ok":
            return False
        window = self.t(CROSSING_WINDOW)
        if not (self.fresh and message.get("fresh")) or max(self.now() - self.connecting_since, message["connecting"]) > window:
            return False
        if "fail" in (self.switches.formation, message.get("formation")):
            return True
        drawn = hashlib.sha1("".join(sorted((self.inc, message["inc"]))).encode()).digest()[0] / 256
        return drawn < CROSSING_CHANCE

    def _link(self, peer, message, addr):
        self.routes = True
        self.links[peer] = Link(inc=message["inc"], address=addr, heard=self.now(), fresh=message.get("fresh", False))
        self.barred.pop(peer, None)
        self.event("CONNECTION_ESTABLISHED", "Connected to node %s" % peer, {"nodeId": peer})
        self.event("NODE_JOINED", "Node %s joined cluster (now %d nodes)" % (peer, len(self.members())), {"nodeId": peer, "clusterSize": str(len(self.members()))})
        if self.stateless:
            self._list_locally(peer)

    # --- saying how one is ----------------------------------------------------------------------------------------

    def _about(self):
        return {
            "ready": self.ready,
            "state": self.has_state,
            "fresh": self.fresh,
            "digest": self.store.digest if self.has_state else "",
            "write_age": min(1e9, self.now() - self.last_write),
            "formed_age": self.now() - self.formed_at if self.formed_at else 0.0,
            "leaderless": max(0.0, self.leaderless_until - self.now()),
            "last_leader": self.last_leader,
            "load": self.load(),
        }

    def load(self):
        return {"cpu.usage": self.switches.cpu, "heap.used": self.switches.heap * 2**28, "heap.max": float(2**28), "heap.usage": self.switches.heap, "mgmt.port": float(self.settings.management_port)}

    def request_latency(self) -> float:
        """Milliseconds, as it says itself; of real time, for what is measured is a window of real seconds."""
        return self.switches.request_latency + self.switches.request_latency_rise * (time.monotonic() - self.slower_since)

    def _beat(self):
        message = dict(self._about(), t="beat")
        for peer in list(self.links):
            self._send(peer, dict(message, lists=self._lists(peer)))

    def _on_beat(self, peer, message, addr):
        self._learn(peer, message)
        link = self.links[peer]
        if self.has_state and link.has_state and message["digest"] != self.store.digest:
            link.differs += 1
            if link.differs >= 2:
                link.differs = 0
                self._send(peer, {"t": "state", "entries": self.store.entries})
        else:
            link.differs = 0

    def _learn(self, peer, message):
        link = self.links[peer]
        link.ready, link.has_state, link.fresh = message["ready"], message["state"], message["fresh"]
        link.write_age, link.formed_age = message["write_age"], message["formed_age"]
        link.lists_us, link.load, link.known = message["lists"], message["load"], True
        if not self.has_state and message["leaderless"] > 0:
            self.leaderless_until = max(self.leaderless_until, self.now() + message["leaderless"])
            self.last_leader = message["last_leader"]

    # --- losing each other ------------------------------------------------------------------------------------------

    def _on_bye(self, peer, message, addr):
        self._drop(peer, self.t(LEADERLESS - BYE_AFTER))

    def _drop_silent(self):
        now = self.now()
        for peer in [p for p, link in self.links.items() if link.doomed and now > link.doomed]:
            self.barred[peer] = self.links.pop(peer).inc

        def silent(early=0.0):
            return [p for p, link in self.links.items() if now - link.heard > self.t(link.silence - early) and not link.doomed]

        leader = self.leader()
        for peer in sorted(silent(), key=lambda p: p == leader):
            if peer == leader and silent(early=3 * BEAT) != [peer]:
                return  # who died together with the leader goes first
            # The last silent member that a majority would need is believed in for much longer (recording quorum-lost-1-of-3).
            keeps_quorum = len(self.links) >= self.majority
            if keeps_quorum or now - self.links[peer].heard > self.t(SILENCE_WITHOUT_QUORUM):
                self._drop(peer, 0.0)

    def _drop(self, peer, leaderless):
        led = self.leader() == peer
        if self.links.pop(peer, None) is None:
            return
        if led:
            self.last_leader, self.leaderless_until = peer, self.now() + leaderless
        if self.stateless:
            self.store.apply({"lifecycle/" + peer: None}, (self.store.time + 1, self.id))
        self.event("NODE_LEFT", "Node %s left cluster (now %d nodes)" % (peer, len(self.members())), {"nodeId": peer, "clusterSize": str(len(self.members()))})

    @property
    def majority(self) -> int:
        return self.settings.size // 2 + 1

    # --- getting ready ------------------------------------------------------------------------------------------------

    def _progress(self):
        """One step towards ready, or back from it."""
        enough = len(self.links) + 1 >= self.majority
        if self.ready:
            if not enough:
                self.ready = False
            return
        if not enough or self.switches.never_ready or self.leaving or any(link.doomed for link in self.links.values()):
            self.form_at = self.sync_until = None
            return
        donors = [p for p, link in self.links.items() if link.has_state and link.ready]
        if self.has_state:
            self._be_ready()  # quorum is back; what was agreed on meanwhile comes by comparison
        elif not all(link.known for link in self.links.values()):
            return
        elif donors:
            self._synchronise(min(donors))
        elif any(link.has_state for link in self.links.values()):
            return  # it has the state and, without a majority so far, cannot give it yet
        elif all(link.fresh for link in self.links.values()):
            self._form()
        else:
            self._be_ready(stateless=True)  # everybody around is empty: there is no state to get

    def _form(self):
        """Nobody has any state: the first majority agrees on an empty one."""
        if self.form_at is None:
            self.form_at = self.now() + self.between(FORMING)
        elif self.now() >= self.form_at:
            self.has_state, self.formed_at = True, self.now()
            self.leaderless_until = max(self.leaderless_until, self.now() + self.between((0.0, 2.0)))
            self._be_ready()

    def _synchronise(self, donor):
        link = self.links[donor]
        if self.sync_until is None:
            wrote = link.write_age < self.now() - self.started
            self.sync_stateless = self._starts_stateless(wrote, link)
            self.sync_until = self.now() + (self.between((0.0, 0.5)) if self.sync_stateless else self.between(SYNCING))
        # A write that goes through while it copies leaves it without state, however quiet it was before.
        if not self.sync_stateless and self._stateless_rule == "default" and link.write_age < self.now() - self.started:
            self.sync_stateless, self.sync_until = True, self.now()
        if self.now() < self.sync_until:
            return
        if self.sync_stateless:
            self._be_ready(stateless=True)
        else:
            self._send(donor, {"t": "sync"})

    @property
    def _stateless_rule(self):
        """Only of v1 it is known that a node may come up without state."""
        rule = self.switches.stateless
        return "never" if rule == "default" and self.settings.api == RUNBOOK else rule

    def _starts_stateless(self, wrote: bool, link: Link) -> bool:
        rule = self._stateless_rule
        if rule in ("never", "always"):
            return rule == "always"
        if isinstance(rule, int):
            return self._count_start() <= rule
        if wrote:
            return True
        if link.formed_age < self.t(YOUNG):
            return False
        return self.random.random() < STATELESS_CHANCE["member" if link.lists_us else "newcomer"]

    def _count_start(self) -> int:
        path, count = self.switches.counter_file, 0
        try:
            with open(path, encoding="utf-8") as file:
                count = int(file.read() or 0)
        except (OSError, ValueError):
            pass
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(count + 1))
        return count + 1

    def _on_sync(self, peer, message, addr):
        if self.has_state:
            self._send(peer, {"t": "state", "entries": self.store.entries, "formed_age": self.now() - self.formed_at})

    def _on_state(self, peer, message, addr):
        if self.stateless or self.leaving:
            return
        if not self.has_state:
            if self.sync_until is None or self.now() < self.sync_until:
                return
            self.formed_at = self.now() - message.get("formed_age", 0.0)
            self.has_state = True
        self.store.merge(message["entries"])
        self._be_ready()

    def _be_ready(self, stateless=False):
        if self.ready:
            return
        self.ready, self.stateless = True, stateless
        if stateless:
            self._list_locally(self.id)
        self.event("QUORUM_ESTABLISHED", "Quorum established", {})
        self.say("Node %s is ready with %d peers" % (self.id, len(self.links)))

    def _list_locally(self, peer):
        """A node without state knows itself and who came after it."""
        inc = self.inc if peer == self.id else self.links[peer].inc
        self.store.apply({"lifecycle/" + peer: {"state": "ON_DUTY", "at": wall_ms(), "inc": inc}}, (self.store.time + 1, self.id))

    # --- leading ----------------------------------------------------------------------------------------------------------

    def leader(self) -> Optional[str]:
        """The lowest id with state, but for a while nobody after one has left (docs/product.md 2)."""
        if not (self.ready and self.has_state):
            return None
        lowest = min([self.id] + [p for p, link in self.links.items() if link.ready and link.has_state])
        if self.now() < self.leaderless_until and not (self.last_leader and lowest <= self.last_leader):
            return None
        return lowest

    def _lead(self):
        leader, before = self.leader(), self.known_leader
        if leader is not None and leader != before:
            self.known_leader = leader
            self.event("LEADER_ELECTED", "Node %s elected as leader" % leader, {"leaderId": leader})
        if leader != self.id or self.leaving:
            return
        changes: Dict[str, Any] = {}
        if before not in (None, leader):
            changes.update(self.slices.rejected())
        here = {self.id: self.inc, **{p: link.inc for p, link in self.links.items() if link.ready}}
        for peer, inc in here.items():
            known = self.store.get("lifecycle/" + peer)
            if (known is None or known["inc"] != inc) and self._after("duty/%s/%s" % (peer, inc), (0.2, 1.5)):
                changes["lifecycle/" + peer] = {"state": "ON_DUTY", "at": wall_ms(), "inc": inc}
        for peer, _ in self.store.items("lifecycle/"):
            if peer != self.id and peer not in self.links:
                changes["lifecycle/" + peer] = None
        changes.update(self.slices.tick())
        if changes:
            self.submit(changes, internal=True)

    def _after(self, what: str, span) -> bool:
        """True once ``span`` has passed since this was first asked for."""
        timers = self.__dict__.setdefault("_timers", {})
        if what not in timers:
            timers[what] = self.now() + self.between(span)
        return self.now() >= timers[what]

    # --- writing ------------------------------------------------------------------------------------------------------------

    def submit(self, changes: Dict[str, Any], internal: bool = False) -> asyncio.Future:
        """Put a write to the others; the future is done when a majority has it. A write that gets no majority stays pending."""
        if self.stateless or not self.has_state:
            raise Inactive("Node %s is inactive" % self.id)
        self.store.time += 1
        self._writes += 1
        key = "%s/%d" % (self.inc, self._writes)
        done = asyncio.get_running_loop().create_future()
        self.pending[key] = {"changes": changes, "version": (self.store.time, self.id), "acks": {self.id}, "done": done, "internal": internal}
        if internal:
            # The leader must not decide the same thing twice while it waits for the others.
            self.store.apply(changes, (self.store.time, self.id))
        self._tasks.append(asyncio.ensure_future(self._press(key)))
        self._tasks = [task for task in self._tasks if not task.done()]
        return done

    async def _press(self, key):
        while key in self.pending:
            write = self.pending[key]
            if len(write["acks"]) >= self.majority:
                self._commit(key)
                return
            for peer in list(self.links):
                if peer not in write["acks"]:
                    self._send(peer, {"t": "prepare", "key": key})
            await asyncio.sleep(max(0.01, self.t(RESEND)))

    def _on_prepare(self, peer, message, addr):
        if not self.fresh:
            self._send(peer, {"t": "ack", "key": message["key"]})

    def _on_ack(self, peer, message, addr):
        write = self.pending.get(message["key"])
        if write is not None:
            write["acks"].add(peer)
            if len(write["acks"]) >= self.majority:
                self._commit(message["key"])

    def _commit(self, key):
        write = self.pending.pop(key)
        self.store.apply(write["changes"], write["version"])
        self._tell(write["changes"])
        if not write["internal"]:
            self.last_write = self.now()
        for peer in list(self.links):
            self._send(peer, {"t": "commit", "changes": write["changes"], "version": write["version"], "internal": write["internal"]})
        if not write["done"].done():
            write["done"].set_result(True)

    def _on_commit(self, peer, message, addr):
        if not message["internal"]:
            self.last_write = self.now()
        if self.has_state and self.store.apply(message["changes"], tuple(message["version"])):
            self._tell(message["changes"])

    def _tell(self, changes):
        """Events of what was agreed on."""
        for key, value in changes.items():
            if key.startswith("instance/") and value is not None and value["state"] in ("ACTIVATING", "ACTIVE"):
                artifact, host = key[len("instance/"):].rsplit("/", 1)
                kind, text = ("DEPLOYMENT_COMPLETED", "Deployed %s on %s") if value["state"] == "ACTIVE" else ("DEPLOYMENT_STARTED", "Deploying %s to %s")
                self.event(kind, text % (artifact, host), {"artifact": artifact, "nodeId": host})

    # --- what it says about itself -----------------------------------------------------------------------------------------

    def members(self) -> List[str]:
        return list(self.links) + [self.id]

    def event(self, kind, summary, details, severity="INFO"):
        stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        event = {"timestamp": stamp, "type": kind, "severity": severity, "summary": summary}
        if details:
            event["details"] = details
        self.events.append(event)
