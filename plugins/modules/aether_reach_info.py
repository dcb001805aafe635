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
  - With V(probe) all peers are asked at the same time, each port in its own way, see O(targets).
  - V(stop) ends the listener that M(pragmatica.aether.aether_preflight_info) has left on this host, and says whom it heard.
  - M(pragmatica.aether.aether_preflight) judges what came of it.
options:
  mode:
    description: What to do on this host.
    type: str
    choices: [probe, stop]
    required: true
  nonce:
    description: The nonce of the listener that V(stop) ends.
    type: str
    default: ""
  seconds:
    description: How long V(probe) waits for answers.
    type: float
    default: 3
  me:
    description: The inventory name of this host, which its questions carry.
    type: str
    default: ""
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
      nonce:
        description: The nonce of the listener there, which questions and answers carry.
        type: str
        default: ""
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
    me: n1
    targets:
      - {host: n2, address: 10.0.0.2, name: management, protocol: tcp, port: 8080, method: connect}
"""

RETURN = r"""
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
import os
import selectors
import socket
import struct
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import listening

RESERVED_VERSION = 0x1A2A3A4A  # of the form 0x?a?a?a?a, which no server speaks (RFC 9000, 15)
# Seconds after which an unanswered datagram is sent again, or a connection tried anew: what is lost once is no block. Where every fifth packet is lost in
# either direction, one in a thousand of the questions fails; the kernel itself repeats a lost SYN only after 1 s and 3 s, and is then slow to repeat data.
REPEAT = (0.0, 0.3, 0.7, 1.1, 1.5, 1.9, 2.3)


def stop(module):
    heard = listening.stop(module.params["nonce"])
    module.exit_json(changed=False, arrived=None if heard is None else [dict(host=host, name=name) for host, name in heard])


class Probe:
    """One port of one peer. ``result`` is None as long as it waits."""

    def __init__(self, target, me):
        self.target, self.result, self.detail, self.sent, self.socket = target, None, "", 0, None
        self.where = None  # family, kind, protocol, name, address
        self.udp = target["protocol"] == "udp"
        self.connecting, self.heard = not self.udp, b""
        self.ours = os.urandom(8)
        if target["method"] == "quic":
            self.text = version_question(os.urandom(8), self.ours)
        else:
            self.text = listening.question(target["nonce"], me, target["name"])
        try:
            self._open()
        except socket.gaierror as error:
            self.end("unresolved", error.strerror or str(error))
        except OSError as error:
            self.fail(error)

    def _open(self):
        kind = socket.SOCK_DGRAM if self.udp else socket.SOCK_STREAM
        if self.where is None:
            self.where = socket.getaddrinfo(self.target["address"], self.target["port"], type=kind)[0]
        family, kind, protocol, _name, address = self.where
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
            while self.sent < len(REPEAT) and elapsed >= REPEAT[self.sent]:
                self.sent += 1
                if self.udp:
                    self.socket.send(self.text)
                elif self.connecting and self.sent > 1:
                    self.socket.close()
                    self._open()
                    ready = False  # that was about the one before
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
        data = self.socket.recv(2 * listening.DATAGRAM)
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
    return (b"\xc0" + struct.pack(">I", RESERVED_VERSION) + bytes([len(theirs)]) + theirs + bytes([len(ours)]) + ours).ljust(listening.DATAGRAM, b"\0")


def is_version_answer(data, ours):
    """A Version Negotiation packet to our connection id: version 0, and what was our source is its destination (RFC 8999, 6)."""
    return len(data) > 6 and data[0] & 0x80 != 0 and data[1:5] == b"\0\0\0\0" and data[5] == len(ours) and data[6:6 + len(ours)] == ours


def probe(module):
    parameters = module.params
    probes = [Probe(target, parameters["me"]) for target in parameters["targets"]]
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
    target = dict(
        host=dict(type="str", required=True),
        address=dict(type="str", required=True),
        name=dict(type="str", required=True),
        protocol=dict(type="str", choices=["tcp", "udp"], required=True),
        port=dict(type="int", required=True),
        method=dict(type="str", choices=["listener", "connect", "quic"], required=True),
        nonce=dict(type="str", default=""),
    )
    module = AnsibleModule(
        argument_spec=dict(
            mode=dict(type="str", choices=["probe", "stop"], required=True),
            nonce=dict(type="str", default=""),
            seconds=dict(type="float", default=3),
            me=dict(type="str", default=""),
            targets=dict(type="list", elements="dict", default=[], options=target),
        ),
        supports_check_mode=True,
    )
    {"probe": probe, "stop": stop}[module.params["mode"]](module)


if __name__ == "__main__":
    main()
