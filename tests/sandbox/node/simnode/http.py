# Copyright: Contributors to the pragmatica.aether project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small HTTP/1.1 server with keep-alive: enough for a management API, and cheap."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any, Callable, NamedTuple, Optional

REASONS = {200: "OK", 201: "Created", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 500: "Internal Server Error", 503: "Service Unavailable"}
MAX_BODY = 64 * 1024 * 1024


class Request(NamedTuple):
    method: str
    path: str  # without the query
    query: str
    headers: dict
    body: bytes
    peer: str  # address of the asker


class Response(NamedTuple):
    status: int
    body: Any  # dict or list: JSON; str or bytes: as it is
    content_type: str = "application/json; charset=UTF-8"

    def encode(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else self.body.encode() if isinstance(self.body, str) else json.dumps(self.body, separators=(",", ":")).encode()
        head = "HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: keep-alive\r\n\r\n" % (self.status, REASONS.get(self.status, "-"), self.content_type, len(body))
        return head.encode() + body


class HttpServer:
    """``handle`` is a coroutine function Request -> Response; ``frozen`` says that the whole process stands still."""

    def __init__(self, handle, frozen: Callable[[], bool]):
        self._handle, self._frozen = handle, frozen
        self._server: Optional[asyncio.base_events.Server] = None
        self._writers: set = set()
        self.answering = False

    async def listen(self, host: str, port: int, answering: bool, context=None) -> None:
        """Take the port; ``answering`` False drops connections until the node is up. ``context``: of TLS."""
        self.answering = answering
        self._server = await asyncio.start_server(self._serve, host, port, ssl=context)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            self._server = None

    async def _serve(self, reader, writer):
        if not self.answering:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            while True:
                request = await self._read(reader, writer)
                if request is None:
                    return
                while self._frozen():
                    await asyncio.sleep(0.02)
                response = await self._handle(request)
                writer.write(response.encode())
                await writer.drain()
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _read(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            if ":" in line:
                name, value = line.split(":", 1)
                headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length") or 0)
        if length > MAX_BODY:
            return None
        body = await reader.readexactly(length) if length else b""
        path, _, query = target.partition("?")
        return Request(method, path, query, headers, body, writer.get_extra_info("peername")[0])
