"""Clients that break the rules, dawdle, flood or vanish: what the serving side makes of them."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gatebook.gate.leaving import Gone
from gatebook.model.deployment import Limits
from gatebook.model.errors import Reason
from gatebook.model.http import Answer, Arrival, EventStream, Reply
from gatebook.serve.connection import PENDING_BYTES
from tests.faults.http_ends import Served, on_both_loops, settles, until

pytestmark = pytest.mark.slow

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
BIG = Limits(request_bytes=8 << 20)


def post(body: bytes, *fields: bytes) -> bytes:
    head = (b"POST /mcp HTTP/1.1", b"Host: a", *fields, b"Content-Length: %d" % len(body))
    return b"\r\n".join((*head, b"", body))


REFUSED = {
    "CL and TE": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "obs-fold": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    "absolute form": (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a TLS hello": (b"\x16\x03\x01\x00\xa5\x01\x00\x00", 400),
    "a long header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (40 << 10), 431),
    "a long target": (b"GET /" + b"x" * (9 << 10) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "a large body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", 413),
    "an expectation": (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n", 417),
}


@pytest.mark.parametrize(("raw", "status"), REFUSED.values(), ids=REFUSED.keys())
@on_both_loops
async def test_a_broken_request_is_noted_refused_and_its_connection_closed(raw: bytes, status: int) -> None:
    async with Served() as served:
        client = await served.connect()
        await client.send(raw)
        received = await client.answer()
        assert received.status == status
        assert received.header(b"connection") == b"close"
        assert await client.rest() == b""
        reason = Reason.BAD_REQUEST if status in (400, 417) else Reason.TOO_LARGE
        assert served.unreadable == [("127.0.0.1", reason)]
        assert served.arrivals == []


@on_both_loops
async def test_a_refusal_that_cannot_be_recorded_becomes_a_503() -> None:
    async with Served(unrecordable=True) as served:
        client = await served.connect()
        await client.send(b"nonsense\r\n\r\n")
        await client.send(b"NONSENSE\r\n\r\n")
        assert (await client.answer()).status == 503


@on_both_loops
async def test_a_client_that_goes_on_sending_still_reads_its_refusal() -> None:
    async with Served() as served:
        client = await served.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        assert (await client.answer()).status == 413


@on_both_loops
async def test_a_bad_request_behind_a_good_one_is_refused_after_the_answer() -> None:
    async with Served() as served:
        client = await served.connect()
        await client.send(GET % b"/1" + b"BAD\r\n\r\n" + GET % b"/3")
        assert (await client.answer()).body == b"/1"
        assert (await client.answer()).status == 400
        assert await client.rest() == b""
        assert [arrival.target for arrival in served.arrivals] == [b"/1"]


# Slow clients


@on_both_loops
async def test_a_head_that_drips_is_cut_off_however_steadily_it_drips() -> None:
    async with Served(limits=Limits(header_s=0.2)) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1\r\n")
        dripping = asyncio.create_task(_drip(client.writer, b"X: y\r\n"))
        assert (await client.answer()).status == 408
        dripping.cancel()
        assert served.unreadable == [("127.0.0.1", Reason.BAD_REQUEST)]


@on_both_loops
async def test_a_body_that_drips_is_cut_off_however_steadily_it_drips() -> None:
    async with Served(limits=Limits(body_s=0.2)) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        dripping = asyncio.create_task(_drip(client.writer, b"x"))
        assert (await client.answer()).status == 408
        dripping.cancel()


async def _drip(writer: asyncio.StreamWriter, drop: bytes) -> None:
    while not writer.transport.is_closing():
        writer.write(drop)
        await asyncio.sleep(0.01)


@on_both_loops
async def test_a_connection_without_a_request_is_closed_without_a_word() -> None:
    async with Served(limits=Limits(header_s=0.1)) as served:
        client = await served.connect()
        assert await client.rest() == b""
        assert served.unreadable == []


@on_both_loops
async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with Served(limits=Limits(idle_s=0.1)) as served:
        client = await served.connect()
        await client.send(GET % b"/")
        assert (await client.answer()).status == 200
        assert await client.rest() == b""
        assert served.unreadable == []


@on_both_loops
async def test_a_long_answer_is_not_idleness() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        await asyncio.sleep(0.5)
        return Reply(status=200, body=b"late")

    async with Served(answer, Limits(idle_s=0.1, header_s=0.1, body_s=0.1)) as served:
        client = await served.connect()
        await client.send(GET % b"/")
        assert (await client.answer()).body == b"late"


# Readers that do not read


@on_both_loops
async def test_a_stream_waits_for_a_slow_reader_and_memory_stays_bounded() -> None:
    given = 0

    async def events() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(200):
            given += 1
            yield b"x" * 100_000

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return EventStream(status=200, headers=(), events=events())

    async with Served(answer) as served:
        client = await served.connect(receive_buffer=4096)
        await client.send(GET % b"/")
        await client.head()
        stopped_at = await settles(lambda: given)
        assert stopped_at < 100  # the two sockets' buffers and one item, out of 20 MB
        received = 0
        async for chunk in client.chunks():
            received += len(chunk)
        assert received == 200 * 100_000


@on_both_loops
async def test_a_reader_that_takes_nothing_is_closed_and_its_stream_with_it() -> None:
    closed = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            closed.set()

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return EventStream(status=200, headers=(), events=events())

    async with Served(answer, Limits(stream_idle_s=0.3)) as served:
        client = await served.connect(receive_buffer=4096)
        await client.send(GET % b"/")
        await closed.wait()
        await until(lambda: not served.registry.connections)


@on_both_loops
async def test_a_reply_that_nobody_takes_counts_as_buffered_and_is_given_up() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return Reply(status=200, body=b"x" * (16 << 20))

    async with Served(answer, Limits(stream_idle_s=0.3)) as served:
        client = await served.connect(receive_buffer=4096)
        await client.send(GET % b"/")
        await until(lambda: served.registry.buffered_bytes >= 16 << 20)
        await until(lambda: not served.registry.connections and served.registry.buffered_bytes == 0)


@on_both_loops
async def test_replies_that_nobody_takes_do_not_refuse_service_to_others() -> None:
    """The oldest go: one caller with a few connections could else keep the bound of all connections reached for as long as he likes."""

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return Reply(status=200, body=b"x" * (16 << 20 if arrival.target == b"/large" else 1))

    async with Served(answer, Limits(buffered_bytes=40 << 20)) as served:
        give_up, after = served.registry.give_up_replies, []

        def give_up_and_look() -> None:
            give_up()
            after.append(served.registry.overloaded)  # a request that came in this moment would be refused

        served.registry.give_up_replies = give_up_and_look  # type: ignore[method-assign]
        greedy = [await served.connect(receive_buffer=4096) for _ in range(3)]
        await greedy[0].send(GET % b"/large")
        await until(lambda: served.registry.buffered_bytes >= 16 << 20)
        await greedy[1].send(GET % b"/large")
        await until(lambda: served.registry.buffered_bytes >= 32 << 20)
        await greedy[2].send(GET % b"/large")
        await until(lambda: len(served.registry.connections) == 2)
        assert after and not any(after)
        other = await served.connect()
        await other.send(GET % b"/")
        assert (await other.answer()).status == 200
        assert len((await greedy[2].answer()).body) == 16 << 20


@on_both_loops
async def test_a_client_that_pipelines_and_never_reads_is_not_answered_for_ever() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return Reply(status=200, body=b"x" * 100_000)

    async with Served(answer) as served:
        client = await served.connect(receive_buffer=4096)
        client.writer.write(GET % b"/" * 1000)
        assert await settles(lambda: len(served.arrivals)) < 200


@on_both_loops
async def test_what_a_client_sends_ahead_is_bounded() -> None:
    release = asyncio.Event()

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        await release.wait()
        return Reply(status=200)

    async with Served(answer, BIG) as served:
        client = await served.connect()
        client.writer.write(GET % b"/" + post(b"y" * (6 << 20)) + GET % b"/last")
        held = await settles(lambda: served.registry.buffered_bytes)
        assert held < PENDING_BYTES + (512 << 10)
        release.set()
        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 200]
        assert [len(arrival.body) for arrival in served.arrivals] == [0, 6 << 20, 0]


@on_both_loops
async def test_over_the_bound_of_all_connections_new_requests_get_503() -> None:
    release = asyncio.Event()

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        await release.wait()
        return Reply(status=200)

    async with Served(answer, Limits(buffered_bytes=100_000)) as served:
        holder, late = await served.connect(), await served.connect()
        await holder.send(post(b"x" * 99_500))
        await until(lambda: bool(served.arrivals))
        await late.send(post(b"x" * 1000))
        received = await late.answer()
        assert received.status == 503
        assert served.unreadable == [("127.0.0.1", Reason.OVERLOADED)]
        release.set()
        assert (await holder.answer()).status == 200
        after = await served.connect()
        await after.send(post(b"x" * 1000))
        assert (await after.answer()).status == 200


@on_both_loops
async def test_requests_that_never_end_from_one_address_refuse_nobody_elsewhere() -> None:
    """Not even where they hold all but a byte of the bound."""
    async with Served(limits=Limits(buffered_bytes=400_000)) as served:
        greedy = [await served.connect(source="127.0.0.2") for _ in range(4)]
        for client in greedy:
            await client.send(post(b"x" * 99_900)[:-1])
        await until(lambda: served.registry.buffered_bytes > 399_000)
        before = served.registry.buffered_bytes
        other, neighbour = await served.connect(), await served.connect(source="127.0.0.2")
        for client in (other, neighbour):
            await client.send(post(b"y" * 5_000))
            assert (await client.answer()).status == 200
        # One gave way for both, is told so, and holds nothing any more.
        assert served.unreadable == [("127.0.0.2", Reason.OVERLOADED)]
        assert before - served.registry.buffered_bytes > 99_000
        assert sorted(len(protocol._reader.held) for protocol in served.protocols)[:3] == [0, 0, 0]
        # Who sends more than all others is the one to go.
        await other.send(post(b"y" * 390_000)[:-1])
        assert (await other.answer()).status == 503
        assert served.unreadable[-1] == ("127.0.0.1", Reason.OVERLOADED)


@on_both_loops
async def test_connections_of_one_address_beyond_the_limit_cost_its_own_quiet_ones_and_nobody_elsewhere() -> None:
    async with Served(limits=Limits(connections=8)) as served:
        other = await served.connect(source="127.0.0.2")
        await other.send(GET % b"/")
        await other.answer()
        many = [await served.connect() for _ in range(20)]
        await until(lambda: served.registry.accepted == 21)
        ended = await asyncio.gather(*(client.rest() for client in many[:13]))
        assert ended == [b""] * 13
        assert (served.registry.given_up, served.registry.turned_away) == (13, 0)
        late = await served.connect(source="127.0.0.3")
        for client in (other, late, *many[-6:]):
            await client.send(GET % b"/")
            assert (await client.answer()).status == 200
        assert len(served.registry.connections) == 8


@on_both_loops
async def test_connections_that_are_being_answered_are_kept_and_those_beyond_the_limit_closed_at_once_and_counted() -> (
    None
):
    release = asyncio.Event()

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        await release.wait()
        return Reply(status=200)

    async with Served(answer, Limits(connections=2)) as served:
        first, second = await served.connect(), await served.connect()
        for client in (first, second):
            await client.send(GET % b"/")
        await until(lambda: len(served.arrivals) == 2)
        third = await served.connect()
        assert await third.rest() == b""
        assert (served.registry.given_up, served.registry.turned_away) == (0, 1)
        release.set()
        for client in (first, second):
            assert (await client.answer()).status == 200


@on_both_loops
async def test_who_has_as_few_connections_as_all_others_takes_nobodys_place() -> None:
    async with Served(limits=Limits(connections=2)) as served:
        there = [await served.connect(source=f"127.0.0.{number}") for number in (2, 3)]
        await until(lambda: len(served.registry.connections) == 2)
        late = await served.connect(source="127.0.0.4")
        assert await late.rest() == b""
        assert (served.registry.given_up, served.registry.turned_away) == (0, 1)
        for client in there:
            await client.send(GET % b"/")
            assert (await client.answer()).status == 200


@on_both_loops
async def test_a_hang_up_is_told_to_the_answer_and_cancels_nothing() -> None:
    story: list[str] = []

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        await gone.wait()
        story.append("gone")
        await asyncio.sleep(0.05)
        story.append("recorded")
        return Reply(status=200, body=b"for nobody")

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(post(b"x"))
        await until(lambda: bool(served.arrivals))
        client.hang_up()
        await until(lambda: not served.registry.exchanges)
    assert story == ["gone", "recorded"]
    assert served.rescued == []


@on_both_loops
async def test_a_client_that_ends_its_side_counts_as_gone() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        await gone.wait()
        return Reply(status=200)

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(post(b"x"))
        await until(lambda: bool(served.arrivals))
        client.writer.write_eof()
        assert await client.rest() == b""


@on_both_loops
async def test_requests_behind_a_hang_up_are_never_begun() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        await gone.wait()
        return Reply(status=200)

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/1" + GET % b"/2")
        await until(lambda: bool(served.arrivals))
        client.hang_up()
        await until(lambda: not served.registry.exchanges)
        assert [arrival.target for arrival in served.arrivals] == [b"/1"]


@on_both_loops
async def test_a_hang_up_closes_a_stream_that_waits_for_its_next_event() -> None:
    story: list[str] = []

    async def events() -> AsyncIterator[bytes]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            story.append("closed and recorded")

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return EventStream(status=200, headers=(), events=events())

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/")
        await client.head()
        assert await client.chunk() == b"data: 1\n\n"
        client.hang_up()
        await until(lambda: not served.registry.exchanges)
    assert story == ["closed and recorded"]
    assert served.rescued == []


class Feed:
    """Events of an object that has its own idea of closing."""

    def __init__(self) -> None:
        self.story: list[str] = []

    def __aiter__(self) -> "Feed":
        return self

    async def __anext__(self) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.story.append("no longer waited for")
            raise
        return b""

    async def aclose(self) -> None:
        self.story.append("closing")
        async with asyncio.timeout(20):
            await asyncio.sleep(0.05)
        self.story.append("closed")


@on_both_loops
async def test_closing_a_stream_may_take_its_time_after_a_hang_up() -> None:
    feed = Feed()

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return EventStream(status=200, headers=(), events=feed)

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/")
        await client.head()
        client.hang_up()
        await until(lambda: not served.registry.exchanges)
    assert feed.story == ["no longer waited for", "closing", "closed"]


@on_both_loops
async def test_a_stream_whose_client_left_before_it_began_is_closed_unread() -> None:
    feed = Feed()

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        await gone.wait()
        return EventStream(status=200, headers=(), events=feed)

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/")
        await until(lambda: bool(served.arrivals))
        client.hang_up()
        await until(lambda: not served.registry.exchanges)
    assert feed.story == ["closing", "closed"]


@on_both_loops
async def test_a_reset_in_the_middle_of_a_request_leaves_nothing_behind() -> None:
    async with Served() as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        await until(lambda: served.registry.buffered_bytes > 0)
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.hang_up()
        await until(lambda: not served.registry.connections)
        assert (served.registry.buffered_bytes, served.arrivals) == (0, [])
