"""The desk's listener: who does not ask, or asks too slowly, is let go; what is no request, or too large, is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gatebook.model.deployment import Desk
from gatebook.model.errors import ConfigurationError
from gatebook.serve.desk_http import listening

DESK = Desk(listen=("127.0.0.1:0",), public_url="http://127.0.0.1", signing_key="", public_keys="")


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/bug":
        raise RuntimeError("a value that must not be printed")
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    if scope["path"] == "/never":
        await asyncio.sleep(60)
    await Response("ok")(scope, receive, send)


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    sock = listening.bound("127.0.0.1:0")
    server = listening.prepared(application, DESK)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def said(port: int, raw: bytes, *, then: bytes = b"", pause_s: float = 0.0) -> bytes:
    """Everything that comes back on one connection until it ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionError):
        writer.write(raw)
        await writer.drain()
        while then and not reader.at_eof() and not writer.is_closing():
            await asyncio.sleep(pause_s)
            writer.write(then)
            await writer.drain()
            if reader.exception() is not None:
                break
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("raw", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "], ids=["silent", "half a head"])
async def test_a_connection_that_does_not_ask_ends(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening.Bounded, "life_s", 0.2)
    async with served() as port:
        assert await said(port, raw) == b""


async def test_a_head_that_trickles_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening.Bounded, "life_s", 0.3)
    async with served() as port, asyncio.timeout(5):
        assert await said(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", then=b"a", pause_s=0.02) == b""


async def test_what_is_under_way_when_a_connection_has_lived_long_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing behind it: a program that keeps a connection would lose a token once a minute."""
    monkeypatch.setattr(listening.Bounded, "life_s", 0.3)
    async with served() as port:
        came = await said(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert came.startswith(b"HTTP/1.1 200 OK") and came.endswith(b"ok")


async def test_a_request_that_never_ends_ends_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening.Bounded, "life_s", 0.3)
    async with served() as port:
        assert await said(port, b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n") == b""


@pytest.mark.parametrize(
    "held",
    [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"],
    ids=["silent", "answered", "half a body"],
)
async def test_one_address_that_connects_without_end_shuts_nobody_out(
    held: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening.Bounded, "most", 20)
    async with served() as port:
        slow = asyncio.create_task(said(port, b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        other = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.1)
        many = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(60)]
        for _, writer in many:
            writer.write(held)
        await asyncio.sleep(0.1)
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            writer.close()
        other[1].write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await other[0].read()).endswith(b"ok")
        assert (await slow).endswith(b"ok"), "what is being answered is answered"
        for _, writer in (other, *many):
            writer.close()


async def test_a_good_request_is_answered() -> None:
    async with served() as port:
        assert (await said(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).startswith(
            b"HTTP/1.1 200 OK"
        )


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
    ],
    ids=["garbage", "two lengths", "two hosts", "large head"],
)
async def test_what_is_no_request_is_refused(raw: bytes) -> None:
    async with served() as port:
        answer = await said(port, raw)
        assert answer.startswith(b"HTTP/1.1 4") or answer == b"", "refused, or cut off while it was still being sent"


async def test_a_defect_prints_nothing_of_its_value(capfd: pytest.CaptureFixture[str]) -> None:
    async with served() as port:
        assert b" 500 " in await said(port, b"GET /bug HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert capfd.readouterr() == ("", "")


def test_an_address_that_is_taken_is_said_to_be_so() -> None:
    with listening.bound("127.0.0.1:0") as first:
        first.listen()
        with pytest.raises(ConfigurationError, match=r"desk\.listen 127.*another program"):
            listening.bound(f"127.0.0.1:{first.getsockname()[1]}")
