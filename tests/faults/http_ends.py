"""Both ends of a connection for tests of HTTP: a served `answer` with a raw client, on either event loop."""

import asyncio
import functools
import gc
import inspect
import socket
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import pytest
import uvloop

from gatebook.gate.leaving import Gone
from gatebook.model.deployment import Limits
from gatebook.model.errors import Reason
from gatebook.model.http import Answer, Arrival, Reply
from gatebook.serve.connection import HttpProtocol
from gatebook.serve.forwarded import networks
from gatebook.serve.http import listen
from gatebook.serve.registry import Admitted, ConnectionRegistry

PATIENCE_S = 30.0
"""No test waits longer for anything; none expects anything to take a certain time."""

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def on_both_loops(story: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run the test once on each event loop. Whatever a loop would only have logged fails the test."""

    def test(loop: str, **fixtures: Any) -> None:
        complaints: list[dict[str, Any]] = []

        async def told() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            async with asyncio.timeout(PATIENCE_S):
                await story(**fixtures)

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(told())
            gc.collect()
        assert complaints == []

    functools.update_wrapper(test, story)
    del test.__wrapped__  # type: ignore[attr-defined]
    signature = inspect.signature(story)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    test.__signature__ = signature.replace(parameters=[*signature.parameters.values(), loop])  # type: ignore[attr-defined]
    parametrized: Callable[..., None] = pytest.mark.parametrize("loop", LOOPS)(test)
    return parametrized


async def until(condition: Callable[[], bool]) -> None:
    """`condition` is true."""
    while not condition():
        await asyncio.sleep(0.005)


async def settles(reading: Callable[[], int]) -> int:
    """What `reading` stays at: it has not changed for a while."""
    last, same = reading(), 0
    while same < 10:
        await asyncio.sleep(0.03)
        last, same = reading(), same + 1 if reading() == last else 0
    return last


class Received:
    """One parsed answer."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


class Client:
    """A client that sends exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, to_head: bool = False) -> Received:
        head = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        status = int(head[0].split()[1])
        headers = []
        for line in head[1:-2]:
            name, value = line.split(b": ", 1)
            headers.append((name, value))
        received = Received(status, headers, b"")
        length = received.header(b"content-length")
        if received.header(b"transfer-encoding") == b"chunked":
            received.body = b"".join([chunk async for chunk in self.chunks()])
        elif length is not None and not to_head:
            received.body = await self.reader.readexactly(int(length))
        return received

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def chunks(self) -> Any:
        while chunk := await self.chunk():
            yield chunk

    async def rest(self) -> bytes:
        """Everything up to the end; a reset counts as one."""
        received = b""
        try:
            while piece := await self.reader.read(65536):
                received += piece
        except (ConnectionError, ssl.SSLError):
            pass
        return received

    def hang_up(self) -> None:
        self.writer.transport.abort()


class Served:
    """`answer` served on 127.0.0.1, with what the server said about it. Use it as `async with`."""

    def __init__(
        self,
        answer: Callable[[Arrival, Gone], Awaitable[Answer]] | None = None,
        limits: Limits | None = None,
        *,
        trusted_proxies: tuple[str, ...] = (),
        unrecordable: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer or self._echo
        self.limits = limits or Limits()
        self.registry = ConnectionRegistry(self.limits)
        self.arrivals: list[Arrival] = []
        self.unreadable: list[tuple[str, Reason]] = []
        self.rescued: list[BaseException] = []
        self.protocols: list[HttpProtocol] = []
        self._trusted = networks(trusted_proxies)
        self._unrecordable = unrecordable
        self._tls = tls
        self._clients: list[Client] = []

    async def __aenter__(self) -> Self:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self.port: int = sock.getsockname()[1]
        self.server = await listen(sock, self._tls, self._protocol, self.registry)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.close()
        for client in self._clients:
            client.hang_up()
        await self.registry.drain(0, settle_s=0 if error else PATIENCE_S)
        if error is None:
            assert not self.registry.exchanges
            assert self.registry.buffered_bytes == 0

    async def connect(
        self, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None, source: str | None = None
    ) -> Client:
        sock = socket.socket()
        if source is not None:
            sock.bind((source, 0))
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        name = "localhost" if tls else None
        client = Client(*await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name, limit=1 << 16))
        self._clients.append(client)
        return client

    def _protocol(self, handshake: Admitted | None) -> HttpProtocol:
        protocol = HttpProtocol(
            self._answered,
            self.limits,
            self.registry,
            unreadable=self._note,
            last_resort=self._rescue,
            trusted_proxies=self._trusted,
            handshake=handshake,
        )
        self.protocols.append(protocol)
        return protocol

    async def _answered(self, arrival: Arrival, gone: Gone) -> Answer:
        self.arrivals.append(arrival)
        return await self.answer(arrival, gone)

    async def _echo(self, arrival: Arrival, gone: Gone) -> Answer:
        return Reply(status=200, headers=((b"content-type", b"text/plain"),), body=arrival.body or arrival.target)

    async def _note(self, client_ip: str, reason: Reason) -> None:
        self.unreadable.append((client_ip, reason))
        if self._unrecordable:
            raise RuntimeError("the book is closed")

    async def _rescue(self, arrival: Arrival, failure: BaseException) -> Reply:
        self.rescued.append(failure)
        return Reply(status=500, headers=((b"content-type", b"text/plain"),), body=b"rescued")
