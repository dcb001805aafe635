#!/usr/bin/python
# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aether_reach_info
short_description: Find out on a host which ports of which peers it reaches
version_added: 0.1.0
description:
  - With V(listen) a child of the module answers on free ports until V(stop) or O(seconds) end it. It writes nothing and answers only those who know O(nonce).
  - With V(probe) all peers are asked at the same time, each port in its own way, see O(targets).
  - M(pragmatica.aether.aether_preflight) says which ports these are, and judges what came of it.
options:
  mode:
    description: What to do on this host.
    type: str
    choices: [listen, probe, stop]
    required: true
  nonce:
    description: A word of one run, which questions and answers carry.
    type: str
    required: true
  seconds:
    description: How long V(listen) lasts when nobody stops it, and how long V(probe) waits for answers.
    type: float
    default: 3
  me:
    description: The inventory name of this host, which its questions carry.
    type: str
    default: ""
  ports:
    description: Where to listen.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the port is.
        type: str
        required: true
      protocol:
        description: Its protocol.
        type: str
        choices: [tcp, udp]
        required: true
      port:
        description: Its number.
        type: int
        required: true
  targets:
    description: Whom to ask.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Inventory name of the peer.
        type: str
        required: true
      address:
        description: Its address or name.
        type: str
        required: true
      name:
        description: What the port is.
        type: str
        required: true
      protocol:
        description: Its protocol.
        type: str
        choices: [tcp, udp]
        required: true
      port:
        description: Its number.
        type: int
        required: true
      method:
        description:
          - V(listener), a question to a listener there.
          - V(connect), a TCP connection to a service.
          - V(quic), a packet with a reserved version of QUIC, which a server answers with the versions that it speaks and forgets.
        type: str
        choices: [listener, connect, quic]
        required: true
attributes:
  check_mode:
    support: full
    description: Changes nothing, so it does the same.
  diff_mode:
    support: none
    description: Has no differences to show.
author: Contributors to the pragmatica.aether project (@pragmaticalabs)
"""

EXAMPLES = r"""
- name: Does n2 answer at its management port?
  pragmatica.aether.aether_reach_info:
    mode: probe
    nonce: 5a1c09
    me: n1
    targets:
      - {host: n2, address: 10.0.0.2, name: management, protocol: tcp, port: 8080, method: connect}
"""

RETURN = r"""
listen_errors:
  description: With V(listen), C(name) and C(error) of ports that could not be opened.
  returned: when O(mode=listen)
  type: list
  elements: dict
probes:
  description: For each of O(targets) C(host), C(name), C(result) (V(ok), V(refused), V(timeout), V(unresolved) or V(error)) and C(detail).
  returned: when O(mode=probe)
  type: list
  elements: dict
arrived:
  description: C(host) and C(name) of every question that was heard; none when no listener was there any more.
  returned: when O(mode=stop)
  type: list
  elements: dict
"""

import errno
import json
import os
import select
import selectors
import socket
import struct
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.preflight import LISTENER

DATAGRAM = 1200  # bytes: what QUIC needs to get through, so a path that is too narrow shows as well
RESERVED_VERSION = 0x1A2A3A4A  # of the form 0x?a?a?a?a, which no server speaks (RFC 9000, 15)
REPEAT = (0.0, 0.3, 0.8, 1.5)  # seconds after which an unanswered datagram is sent again: one may be lost


def question(nonce, me, name):
    return ("aether-preflight %s %s %s\n" % (nonce, me, name)).encode().ljust(DATAGRAM)


def asked(data, nonce):
    """(host, name) of a question of this run, else None."""
    words = data.decode("utf-8", "replace").split()
    return (words[2], words[3]) if len(words) == 4 and words[:2] == ["aether-preflight", nonce] else None


# --- listening ----------------------------------------------------------------------------------------------------------


def open_port(protocol, port):
    """A bound socket on every address, in both families where there are two. Raises OSError."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    try:
        return bound(socket.AF_INET6, kind, "::", port)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise
        return bound(socket.AF_INET, kind, "0.0.0.0", port)  # a host without IPv6


def bound(family, kind, address, port):
    made = socket.socket(family, kind)
    try:
        made.setblocking(False)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a JVM does
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen(64)
    except OSError:
        made.close()
        raise
    return made


def control_address(nonce):
    """A name without a file: it is gone with the child."""
    return "\0aether-preflight-" + nonce


def listen(module):
    parameters, errors, opened = module.params, [], []
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        control.bind(control_address(parameters["nonce"]))
    except OSError as error:
        module.fail_json(msg="Another listener of this run is still there (%s). Use another nonce." % error.strerror)
    control.listen(1)
    for port in parameters["ports"]:
        try:
            opened.append(open_port(port["protocol"], port["port"]))
        except OSError as error:
            errors.append(dict(name=port["name"], error=error.strerror or str(error)))
    if os.fork() == 0:
        child(opened, control, parameters["nonce"], parameters["seconds"])
    module.exit_json(changed=False, listen_errors=errors)


def child(opened, control, nonce, seconds):
    """Never returns, and leaves the module's own clean-up to the module."""
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        if os.fork() == 0:
            os.chdir("/")
            with open("/proc/self/comm", "w", encoding="ascii") as name:
                name.write(LISTENER)
            serve(opened, control, nonce, time.monotonic() + seconds)
    finally:
        os._exit(0)


def serve(opened, control, nonce, end):
    """Answer questions of this run until told to stop or until ``end`` (monotonic)."""
    arrived, streams = set(), {}
    waiting = [control] + opened
    while time.monotonic() < end:
        readable = select.select(waiting + list(streams), [], [], max(0.0, end - time.monotonic()))[0]
        for source in readable:
            if source is control:
                # From here on the ports are free: closed before the answer that says so.
                asker = control.accept()[0]
                for one in opened + list(streams):
                    one.close()
                asker.sendall(json.dumps(sorted(arrived)).encode())
                asker.close()
                return
            try:
                if source in streams:
                    hear_stream(source, streams, nonce, arrived)
                elif source.type == socket.SOCK_STREAM:
                    stream = source.accept()[0]
                    stream.setblocking(False)
                    # Closed without a trace: what waits for its time to run out would be in the way of the node that starts next.
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    streams[stream] = b""
                else:
                    data, address = source.recvfrom(2 * DATAGRAM)
                    who = asked(data, nonce)
                    if who:
                        arrived.add(who)
                        source.sendto(data, address)
            except OSError:
                if source in streams:
                    del streams[source]
                    source.close()


def hear_stream(stream, streams, nonce, arrived):
    """Answer a question and leave it to the asker to hang up."""
    data = stream.recv(2 * DATAGRAM)
    streams[stream] += data
    who = asked(streams[stream], nonce) if len(streams[stream]) == DATAGRAM else None
    if who:
        arrived.add(who)
        stream.sendall(streams[stream])
    if not data or len(streams[stream]) > DATAGRAM:
        del streams[stream]
        stream.close()


def stop(module):
    """End the listener and say what it heard."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.settimeout(5)
    try:
        control.connect(control_address(module.params["nonce"]))
        answer = b"".join(iter(lambda: control.recv(65536), b""))
    except OSError:
        module.exit_json(changed=False, arrived=None)
    module.exit_json(changed=False, arrived=[dict(host=host, name=name) for host, name in json.loads(answer)])


# --- probing ------------------------------------------------------------------------------------------------------------


class Probe:
    """One port of one peer. ``result`` is None as long as it waits."""

    def __init__(self, target, me, nonce):
        self.target, self.result, self.detail, self.sent, self.socket = target, None, "", 0, None
        self.udp = target["protocol"] == "udp"
        self.connecting, self.heard = not self.udp, b""
        self.ours = os.urandom(8)
        if target["method"] == "quic":
            self.text = version_question(os.urandom(8), self.ours)
        else:
            self.text = question(nonce, me, target["name"])
        try:
            self._open()
        except socket.gaierror as error:
            self.end("unresolved", error.strerror or str(error))
        except OSError as error:
            self.fail(error)

    def _open(self):
        kind = socket.SOCK_DGRAM if self.udp else socket.SOCK_STREAM
        family, kind, protocol, _name, address = socket.getaddrinfo(self.target["address"], self.target["port"], type=kind)[0]
        self.socket = socket.socket(family, kind, protocol)
        self.socket.setblocking(False)
        code = self.socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))

    def end(self, result, detail=""):
        self.result, self.detail = result, detail
        if self.socket is not None:
            self.socket.close()

    def fail(self, error):
        if error.errno == errno.ECONNREFUSED or (error.errno == errno.ECONNRESET and not self.udp):
            self.end("refused", error.strerror)
        elif error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.ETIMEDOUT):
            # What firewalls make of it, on the way (unreachable) or on this host (not permitted).
            self.end("refused" if error.errno in (errno.EACCES, errno.EPERM) else "timeout", error.strerror)
        else:
            self.end("error", error.strerror or str(error))

    def step(self, ready, elapsed):
        """Go on: send what is due, read what came."""
        try:
            if self.udp:
                while self.sent < len(REPEAT) and elapsed >= REPEAT[self.sent]:
                    self.sent += 1
                    self.socket.send(self.text)
            if ready and self.connecting:
                code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                self.connecting = False
                if self.target["method"] == "connect":
                    self.end("ok")
                else:
                    self.socket.send(self.text)
            elif ready:
                self.read()
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(error)

    def read(self):
        data = self.socket.recv(2 * DATAGRAM)
        if self.target["method"] == "quic":
            if is_version_answer(data, self.ours):
                self.end("ok")
        else:
            self.heard = data if self.udp else self.heard + data
            if self.heard == self.text:
                self.end("ok")
            elif not data and not self.udp:
                self.end("error", "something else answers there")


def version_question(theirs, ours):
    """A QUIC packet with a long header and a version that nobody speaks; ``theirs``, ``ours``: connection ids (RFC 8999, 5.1; RFC 9000, 6.1 and 14.1)."""
    return (b"\xc0" + struct.pack(">I", RESERVED_VERSION) + bytes([len(theirs)]) + theirs + bytes([len(ours)]) + ours).ljust(DATAGRAM, b"\0")


def is_version_answer(data, ours):
    """A Version Negotiation packet to our connection id: version 0, and what was our source is its destination (RFC 8999, 6)."""
    return len(data) > 6 and data[0] & 0x80 != 0 and data[1:5] == b"\0\0\0\0" and data[5] == len(ours) and data[6:6 + len(ours)] == ours


def probe(module):
    parameters = module.params
    probes = [Probe(target, parameters["me"], parameters["nonce"]) for target in parameters["targets"]]
    start = time.monotonic()
    while time.monotonic() < start + parameters["seconds"]:
        open_ones = [p for p in probes if p.result is None]
        if not open_ones:
            break
        with selectors.DefaultSelector() as selector:
            for one in open_ones:
                selector.register(one.socket, selectors.EVENT_WRITE if one.connecting else selectors.EVENT_READ, one)
            ready = {key.data for key, _events in selector.select(0.05)}
        for one in open_ones:
            one.step(one in ready, time.monotonic() - start)
    for one in probes:
        if one.result is None:
            one.end("timeout")
    module.exit_json(changed=False, probes=[dict(host=p.target["host"], name=p.target["name"], result=p.result, detail=p.detail) for p in probes])


def main():
    port = dict(name=dict(type="str", required=True), protocol=dict(type="str", choices=["tcp", "udp"], required=True), port=dict(type="int", required=True))
    target = dict(port, host=dict(type="str", required=True), address=dict(type="str", required=True), method=dict(type="str", choices=["listener", "connect", "quic"], required=True))
    module = AnsibleModule(
        argument_spec=dict(
            mode=dict(type="str", choices=["listen", "probe", "stop"], required=True),
            nonce=dict(type="str", required=True),
            seconds=dict(type="float", default=3),
            me=dict(type="str", default=""),
            ports=dict(type="list", elements="dict", default=[], options=port),
            targets=dict(type="list", elements="dict", default=[], options=target),
        ),
        supports_check_mode=True,
    )
    {"listen": listen, "probe": probe, "stop": stop}[module.params["mode"]](module)


if __name__ == "__main__":
    main()
