"""Real servers on 127.0.0.1 that play an upstream: well, or in the ways that servers fail."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from gatebook.adapters.upstream_http import HttpResponse, HttpUpstreams
from gatebook.model.deployment import Limits, Server
from gatebook.model.http import Headers, UpstreamRequest
from gatebook.ports import Receipt

RECEIPT = Receipt(origin="tests", leaf=bytes(32))
NOW = b"\x01\0\0\0\0\0\0\0"
"""SO_LINGER on, for no time: closing resets the connection."""


class Visit:
    """One connection to the scripted server."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.requests: list[bytes] = []

    async def request(self) -> bytes | None:
        """The next request's head and body; None when the client has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.requests.append(head + await self.reader.readexactly(length))
        return self.requests[-1]

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def closed(self) -> None:
        """The other side has closed."""
        with suppress(ConnectionError, ssl.SSLError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
        self.writer.transport.abort()


Script = Callable[[Visit], Awaitable[None]]


def ok(body: bytes = b"ok", *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole response with a length."""
    return b"\r\n".join((b"HTTP/1.1 " + status, *fields, b"content-length: %d" % len(body), b"", body))


def always(*response: bytes) -> Script:
    """Answer each request with the next of `response`, the last one for ever; keep the connection."""

    async def script(visit: Visit) -> None:
        while await visit.request() is not None:
            await visit.say(response[min(len(visit.requests), len(response)) - 1])

    return script


def once(response: bytes) -> Script:
    """Answer one request with these bytes, then close in good order."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(response)

    return script


class Upstream:
    """A server that plays `script` on every connection. Use it as `async with`; `visits` are its connections."""

    def __init__(self, script: Script, *, path: Path | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._path = path
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.visits: list[Visit] = []
        self.failures: list[BaseException] = []

    async def __aenter__(self) -> Self:
        if self._path is not None:
            self._server: asyncio.Server = await asyncio.start_unix_server(self._visited, self._path)
            self.url = f"unix:{self._path}:/mcp"
            return self
        self._server = await asyncio.start_server(self._visited, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        scheme, host = ("https", "localhost") if self._tls else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self.port}/mcp"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for visit in self.visits:
            visit.writer.transport.abort()
        await asyncio.sleep(0.01)

    def server(
        self, *, ca_file: str | None = None, client_certificate: str | None = None, client_key: str | None = None
    ) -> Server:
        return Server(
            name="played",
            url=self.url,
            resource="https://gate.example/played/mcp",
            audiences={},
            ca_file=ca_file,
            client_certificate=client_certificate,
            client_key=client_key,
        )

    @property
    def requests(self) -> list[bytes]:
        return [request for visit in self.visits for request in visit.requests]

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(len(self.visits) + 1, reader, writer)
        self.visits.append(visit)
        task = asyncio.ensure_future(self._play(visit))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, visit: Visit) -> None:
        with suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):  # the other side had enough
            await self._script(visit)
        visit.writer.close()


class Sending:
    """The adapter under test, closed at the end. Use it as `async with`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits(upstream_connect_s=10)

    async def __aenter__(self) -> Self:
        self.upstreams = HttpUpstreams(self.limits)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.upstreams.close()
        await asyncio.sleep(0.01)

    async def send(
        self,
        server: Server,
        body: bytes = b"{}",
        *,
        method: str = "POST",
        headers: Headers = (),
        first_byte_s: float = 20,
        idle_s: float = 20,
    ) -> HttpResponse:
        request = UpstreamRequest(method=method, ours=headers, body=body)
        return await self.upstreams.send(RECEIPT, server, request, first_byte_s=first_byte_s, idle_s=idle_s)

    async def ask(
        self,
        server: Server,
        body: bytes = b"{}",
        *,
        method: str = "POST",
        headers: Headers = (),
        first_byte_s: float = 20,
        idle_s: float = 20,
    ) -> bytes:
        """The whole body of the answer."""
        response = await self.send(
            server, body, method=method, headers=headers, first_byte_s=first_byte_s, idle_s=idle_s
        )
        try:
            return b"".join([piece async for piece in response.body()])
        finally:
            await response.close()
