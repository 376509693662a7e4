"""Fetching a stranger's document: what the resolver says decides before anything connects, and nothing but a small plain answer is taken."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gatebook.adapters.documents_https import HttpsDocuments
from gatebook.federation.documents import MAX_DOCUMENT_BYTES
from gatebook.federation.errors import ProviderFailed

URL = "https://client.example/metadata.json"
PUBLIC = "93.184.216.34"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class World:
    """`addresses`: what the resolver says; `connected`: to what, and under which name, a connection was asked for."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.resolved = 0
        self.connected: list[tuple[str, str]] = []
        self.port = 0
        self.asked = b""

    async def resolve(self, host: str) -> tuple[str, ...]:
        self.resolved += 1
        return self.addresses

    async def connect(self, address: str, name: str) -> Streams:
        self.connected.append((address, name))
        return await asyncio.open_connection("127.0.0.1", self.port)

    def documents(self, total_s: float = 2.0) -> HttpsDocuments:
        return HttpsDocuments(self.resolve, self.connect, total_s=total_s)


@asynccontextmanager
async def answering(world: World, answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        world.asked = await reader.readuntil(b"\r\n\r\n")
        try:
            await answer(writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    world.port = server.sockets[0].getsockname()[1]
    async with server:
        yield


def sends(raw: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return answer


async def test_a_document_comes_from_the_very_address_that_was_judged() -> None:
    world = World(PUBLIC)
    async with answering(world, sends(GOOD)):
        assert await world.documents().fetch(URL) == b"{}"
    assert world.connected == [(PUBLIC, "client.example")]
    assert world.resolved == 1, "a second look at the name would be another answer (DNS rebinding)"
    assert world.asked.startswith(b"GET /metadata.json HTTP/1.1\r\n")
    assert b"host: client.example\r\n" in world.asked.lower()


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",), ("::1",), ("169.254.169.254",), ("10.0.0.8",), ("fd00::8",), ("::ffff:169.254.169.254",), ("64:ff9b::a9fe:a9fe",),
        ("fec0::2",), ("feff::1",), ("3fff::1",), ("5f00::1",), ("192.0.0.8",), ("192.88.99.1",),
        (PUBLIC, "127.0.0.1"), ("10.0.0.1", PUBLIC), ("fe80::1%eth0",), (),
    ],
)  # fmt: skip
async def test_nothing_connects_where_one_address_is_not_public(addresses: tuple[str, ...]) -> None:
    world = World(*addresses)
    with pytest.raises(ProviderFailed, match="not public"):
        await world.documents().fetch(URL)
    assert world.connected == []


@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/m", "https://127.0.0.1/m", "https://2130706433/m", "https://0177.0.0.1/m", "https://[::1]/m",
        "https://client.example:8443/m", "https://user@client.example/m", "https://client.example/m?x=1", "https://client.example", "file:///etc/passwd",
    ],
)  # fmt: skip
async def test_a_url_that_is_no_clients_is_not_even_resolved(url: str) -> None:
    world = World(PUBLIC)
    with pytest.raises(ProviderFailed):
        await world.documents().fetch(url)
    assert (world.resolved, world.connected) == (0, [])


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX: " + b"x" * 40_000 + b"\r\n\r\n{}",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * (MAX_DOCUMENT_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10485760\r\n\r\n" + b" " * 200_000,
    ],
    ids=["redirect", "404", "html", "no type", "gzip", "cut", "large head", "no http", "nothing", "too large", "10 MB"],
)
async def test_anything_but_a_small_plain_json_document_is_refused(raw: bytes) -> None:
    world = World(PUBLIC)
    async with answering(world, sends(raw)):
        with pytest.raises(ProviderFailed):
            await world.documents().fetch(URL)
    assert len(world.connected) == 1, "a redirect leads nowhere"


async def test_a_slow_document_is_not_waited_for() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    world = World(PUBLIC)
    async with answering(world, drip):
        with pytest.raises(ProviderFailed, match="no complete answer"):
            await world.documents(total_s=0.2).fetch(URL)
