"""A connection by its bytes alone: where the client's bytes are cut, and whether its head is known, changes nothing of what is answered."""

import asyncio
import re
from typing import cast

from gatebook.gate.leaving import Gone
from gatebook.model.deployment import Limits
from gatebook.model.errors import Reason
from gatebook.model.http import Answer, Arrival, Reply
from gatebook.serve.connection import HttpProtocol
from gatebook.serve.registry import ConnectionRegistry
from tests.faults.http_ends import on_both_loops

POST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n\r\n\r\nab"
GET = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = Limits()


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 4000) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


async def answer(arrival: Arrival, gone: Gone) -> Answer:
    await asyncio.sleep(0)
    return Reply(status=200, body=b"%b %b %b" % (arrival.method.encode(), arrival.target, arrival.body))


async def no_request(client_ip: str, reason: Reason) -> None: ...


async def last_resort(arrival: Arrival, failure: BaseException) -> Reply:
    raise AssertionError from failure


async def answered(registry: ConnectionRegistry, *pieces: bytes, at_leisure: bool) -> bytes:
    """All that is written, without dates. `at_leisure`: what a piece asks for is answered before the next comes."""
    protocol = HttpProtocol(answer, LIMITS, registry, unreadable=no_request, last_resort=last_resort)
    wire = Wire()
    protocol.connection_made(cast(asyncio.BaseTransport, wire))
    for piece in pieces:
        protocol.data_received(piece)
        while at_leisure and registry.exchanges:
            await asyncio.sleep(0)
    while registry.exchanges:
        await asyncio.sleep(0)
    assert registry.buffered_bytes == protocol.charged == 0
    protocol.connection_lost(None)
    return re.sub(rb"date: [^\r]*\r\n", b"", b"".join(wire.written))


@on_both_loops
async def test_requests_are_answered_alike_however_they_are_cut() -> None:
    raw = POST + GET + POST + POST
    expected = await answered(ConnectionRegistry(LIMITS), raw, at_leisure=True)
    assert expected.count(b"HTTP/1.1 200 OK") == 4
    assert expected.count(b"POST /a \r\n\r\nab") == 3
    registry = ConnectionRegistry(LIMITS)  # from the second time on it knows both heads
    for at_leisure in (False, True):
        assert await answered(registry, POST, GET, POST, POST, at_leisure=at_leisure) == expected
        for cut in range(1, len(raw)):
            assert await answered(registry, raw[:cut], raw[cut:], at_leisure=at_leisure) == expected
    assert not registry.connections


@on_both_loops
async def test_a_known_request_is_refused_like_any_other_when_too_much_is_held() -> None:
    registry = ConnectionRegistry(LIMITS)
    await answered(registry, POST, at_leisure=True)
    registry.buffered_bytes = LIMITS.buffered_bytes
    protocol = HttpProtocol(answer, LIMITS, registry, unreadable=no_request, last_resort=last_resort)
    wire = Wire()
    protocol.connection_made(cast(asyncio.BaseTransport, wire))
    protocol.data_received(POST)
    while registry.exchanges:
        await asyncio.sleep(0)
    assert wire.written[0].startswith(b"HTTP/1.1 503 ")
    assert registry.buffered_bytes == LIMITS.buffered_bytes
