"""A real HTTP server on 127.0.0.1 that plays an issuer: well, or in the ways that issuers and attackers fail."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from gatebook.model.deployment import Issuer
from tests import issuing

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]

DISCOVERY = "/.well-known/openid-configuration"


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole HTTP/1.1 response with a length, after which the connection ends."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def hang(writer: asyncio.StreamWriter) -> None:
    """Accept, and never answer."""
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    """A head at once, then a byte now and then: no single read takes long."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Ten megabytes without a length announced."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(160):
        writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")


class KeyServer:
    """`answers`: path → what is sent. `asked`: the paths asked for, in order. `connections`: how many were made."""

    def __init__(self, port: int, scheme: str) -> None:
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.requests: list[bytes] = []
        self.connections = 0

    def publish(self, jwks: object, **discovery: object) -> None:
        """Answer as a good issuer does; members of `discovery` replace those of its document."""
        document = {"issuer": self.url, "jwks_uri": self.url + "/jwks"} | discovery
        self.answers[DISCOVERY] = response(json.dumps(document).encode())
        self.answers["/jwks"] = response(json.dumps(jwks).encode())

    def issuer(self, name: str = "corp", **settings: object) -> Issuer:
        return issuing.Issuer(self.url, name=name, **settings).model  # type: ignore[arg-type]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].decode()
                self.asked.append(path)
                self.requests.append(head)
                answer = self.answers.get(path, response(b"", "404 Not Found"))
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
        writer.close()


@asynccontextmanager
async def key_server(context: ssl.SSLContext | None = None) -> AsyncIterator[KeyServer]:
    """A KeyServer that runs until the block ends."""
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(asyncio.CancelledError):
            await played.serve(reader, writer)
        writer.transport.abort()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    played = KeyServer(listener.sockets[0].getsockname()[1], "http" if context is None else "https")
    try:
        yield played
    finally:
        listener.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
