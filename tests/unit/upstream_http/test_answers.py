"""An upstream's answer by its bytes alone: a head that is known and one that is not come to the same, wherever the bytes are cut."""

import asyncio
from typing import cast

import pytest

from gatebook.adapters.upstream_http import HttpResponse, HttpUpstreams
from gatebook.adapters.upstream_http.connection import HEADS_KEPT, Connection
from gatebook.adapters.upstream_http.response import KnownHead
from gatebook.model.bounded import Bounded
from gatebook.model.deployment import Limits, Server
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Headers, UpstreamRequest
from tests.faults.http_ends import on_both_loops
from tests.faults.upstream_ends import RECEIPT

SERVER = Server(name="s", url="http://127.0.0.1:1/", resource="https://gate.example/s/mcp", audiences={})

ANSWER = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n\r\n\r\n{...}"
OTHER = ANSWER.replace(b"Server: s", b"Server: t")


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.aborted = False

    def write(self, data: object) -> None:
        self.sent += 1

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0


class Place:
    """A pool of one connection, and upstreams with no other."""

    def __init__(self) -> None:
        self.heads = Bounded[bytes, KnownHead](HEADS_KEPT)
        self.idle = 0
        self.wire = Wire()
        self.connection = Connection(self, 2000)
        self.connection.connection_made(cast(asyncio.BaseTransport, self.wire))
        self.upstreams = HttpUpstreams(Limits())

    def opened(self, connection: Connection) -> None: ...

    def put_back(self, connection: Connection) -> None:
        self.idle += 1

    def lost(self, connection: Connection) -> None: ...

    async def sent(self, method: str) -> HttpResponse:
        """What `send` gives where the connection is free."""
        self.upstreams._pool(SERVER).put_back(self.connection)
        request = UpstreamRequest(method=method, body=b"?")
        return await self.upstreams.send(RECEIPT, SERVER, request, first_byte_s=5, idle_s=5)

    async def ask(self, *pieces: bytes, method: str = "POST") -> tuple[int, Headers, bytes] | Reason:
        """What comes of the answer that arrives in `pieces`, all before anybody looks."""
        asking = asyncio.ensure_future(self.sent(method))
        await asyncio.sleep(0)
        for piece in pieces:
            self.connection.data_received(piece)
        try:
            response = await asking
            body = response.at_once(1000)
            if body is None:
                body = await response.whole(1000)
        except UpstreamError as error:
            return error.reason
        return response.status, response.headers, body


@on_both_loops
async def test_where_an_answer_is_cut_makes_no_difference_be_its_head_known_or_not() -> None:
    expected = await Place().ask(ANSWER)
    assert not isinstance(expected, Reason)
    for cut in range(1, len(ANSWER)):
        place = Place()
        for known in (False, True):
            assert await place.ask(ANSWER[:cut], ANSWER[cut:]) == expected, (cut, known)
            assert await place.ask(ANSWER) == expected
            assert await place.ask(OTHER) != expected
        assert place.idle == 6
        assert not place.wire.aborted


@on_both_loops
async def test_a_body_is_given_at_once_where_all_of_it_is_here_and_not_too_large() -> None:
    place = Place()
    asking = asyncio.ensure_future(place.sent("POST"))
    await asyncio.sleep(0)
    place.connection.data_received(ANSWER[:-1])
    response = await asking
    assert response.at_once(1000) is None and place.idle == 0
    place.connection.data_received(ANSWER[-1:])
    body = ANSWER.partition(b"\r\n\r\n")[2]
    assert response.at_once(len(body) - 1) is None
    assert response.at_once(len(body)) == body and place.idle == 1
    await response.close()
    assert place.idle == 1 and not place.wire.aborted


@on_both_loops
async def test_only_a_head_that_came_in_one_piece_is_remembered() -> None:
    """The end of a head would else be taken for a whole one, in an answer that is not HTTP."""
    for cut in range(1, len(ANSWER)):
        place = Place()
        await place.ask(ANSWER[:cut], ANSWER[cut:])
        assert not place.heads
        await place.ask(ANSWER)
        assert set(place.heads) == {ANSWER[: -len(b"\r\n\r\n{...}")]}


@pytest.mark.parametrize("extra", [ANSWER, OTHER, ANSWER[:20], b"x"])
@on_both_loops
async def test_what_follows_an_answer_with_a_known_head_neither_joins_it_nor_is_the_next(extra: bytes) -> None:
    for pieces in ((ANSWER, extra), (ANSWER + extra,)):
        place = Place()
        expected = await place.ask(ANSWER)
        assert await place.ask(*pieces) in (expected, Reason.UPSTREAM_INVALID)
        assert place.wire.aborted
        assert place.idle == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"307 Go", Reason.UPSTREAM_REDIRECT), (b"200 OK\r\nContent-Encoding: gzip", Reason.UPSTREAM_INVALID)],
)
@on_both_loops
async def test_an_answer_that_may_not_be_used_is_refused_each_time_and_never_known(line: bytes, reason: Reason) -> None:
    answer = ANSWER.replace(b"200 OK", line)
    place = Place()
    assert await place.ask(answer) is reason
    assert place.wire.aborted
    assert not place.heads


@on_both_loops
async def test_a_known_head_does_not_give_an_answer_to_head_a_body() -> None:
    place = Place()
    await place.ask(ANSWER)
    answered = await place.ask(ANSWER, method="HEAD")
    assert not isinstance(answered, Reason)
    assert answered[2] == b""
    assert place.wire.aborted


@on_both_loops
async def test_a_whole_answer_that_is_too_large_is_refused_and_its_connection_closed() -> None:
    place = Place()
    for _ in range(2):
        asking = asyncio.ensure_future(place.sent("POST"))
        await asyncio.sleep(0)
        place.connection.data_received(ANSWER)
        response = await asking
        assert await response.whole(9) == b"\r\n\r\n{...}"
    asking = asyncio.ensure_future(place.sent("POST"))
    await asyncio.sleep(0)
    place.connection.data_received(ANSWER)
    response = await asking
    with pytest.raises(UpstreamError) as caught:
        await response.whole(8)
    assert caught.value.reason is Reason.UPSTREAM_TOO_LARGE
    await response.close()
