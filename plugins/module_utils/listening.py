# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A listener on a host's free ports, which answers those who know its nonce; for preflight, which asks from every host whether it is heard.

It runs on the hosts, as a child of the module that started it, writes nothing, and always ends: when it is stopped, a moment after everybody was
heard, or when its time is over.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import time

LISTENER = "aether-listener"  # what it is called in a list of processes; 15 characters are shown
DATAGRAM = 1200  # bytes: what QUIC needs to get through, so a path that is too narrow shows as well
# Seconds that it stays after the last question when everybody was heard: who missed an answer asks again, three times meanwhile (REPEAT in
# aether_reach_info). Longer would be in the way of the gate before the start of a node, which asks at the same port.
LINGER = 1.5


def question(nonce, me, name):
    return ("aether-preflight %s %s %s\n" % (nonce, me, name)).encode().ljust(DATAGRAM)


def asked(data, nonce):
    """(host, name) of a question of this run, else None."""
    words = data.decode("utf-8", "replace").split()
    return (words[2], words[3]) if len(words) == 4 and words[:2] == ["aether-preflight", nonce] else None


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


def listen(ports, nonce, seconds, askers):
    """Answer on ``ports`` [{name, protocol, port}] from now on, in a process of its own; returns [{name, error}] of those that cannot be opened.

    ``askers``: how many hosts will ask at every port. Raises OSError when a listener with this nonce is there already.
    """
    errors, opened = [], []
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.bind(control_address(nonce))
    control.listen(1)
    for port in ports:
        try:
            opened.append(open_port(port["protocol"], port["port"]))
        except OSError as error:
            errors.append(dict(name=port["name"], error=error.strerror or str(error)))
    if os.fork() == 0:
        child(opened, control, nonce, seconds, askers)
    control.close()
    for one in opened:
        one.close()
    return errors


def child(opened, control, nonce, seconds, askers):
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
            serve(opened, control, nonce, time.monotonic() + seconds, askers)
    finally:
        os._exit(0)


def serve(opened, control, nonce, end, askers):
    """Answer questions with this nonce until told to stop, until ``end`` (monotonic), or until ``askers`` hosts were heard at every port and ask no more."""
    arrived, streams = {}, {}  # question -> when it was heard last; connection -> what came so far
    waiting = [control] + opened
    until = end
    while time.monotonic() < until:
        readable = select.select(waiting + list(streams), [], [], max(0.0, until - time.monotonic()))[0]
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
                        arrived[who] = time.monotonic()
                        source.sendto(data, address)
            except OSError:
                if source in streams:
                    del streams[source]
                    source.close()
        if arrived and len(arrived) == askers * len(opened):
            until = min(end, max(arrived.values()) + LINGER)


def hear_stream(stream, streams, nonce, arrived):
    """Answer a question and leave it to the asker to hang up."""
    data = stream.recv(2 * DATAGRAM)
    streams[stream] += data
    who = asked(streams[stream], nonce) if data and len(streams[stream]) == DATAGRAM else None
    if who:
        arrived[who] = time.monotonic()
        stream.sendall(streams[stream])
    if not data or len(streams[stream]) > DATAGRAM:
        del streams[stream]
        stream.close()


def stop(nonce):
    """End the listener; returns (host, name) of every question that was heard, None when no listener is there any more."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.settimeout(5)
    try:
        control.connect(control_address(nonce))
        answer = b"".join(iter(lambda: control.recv(65536), b""))
    except OSError:
        return None
    finally:
        control.close()
    return [tuple(heard) for heard in json.loads(answer)]
