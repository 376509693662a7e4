"""Servers that lie, flood, stall or close at the wrong moment: what the gate's sending side makes of them."""

import asyncio

import pytest

from gatebook.adapters.upstream_http import connection as connection_module
from gatebook.adapters.upstream_http import pool as pool_module
from gatebook.model.deployment import Limits, Server
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Headers
from tests.faults.http_ends import on_both_loops, settles, until
from tests.faults.upstream_ends import Sending, Upstream, Visit, always, ok, once

pytestmark = pytest.mark.slow

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def failure(sending: Sending, server: Server, *, idle_s: float = 20) -> tuple[Reason, bool]:
    with pytest.raises(UpstreamError) as caught:
        await sending.ask(server, idle_s=idle_s)
    return caught.value.reason, caught.value.sent


INVALID = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "another transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "another before chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a chunk that is none": CHUNKED + b"zz\r\nok\r\n0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "only interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + ok(),
    "one endless header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000,
    "a large header block": b"HTTP/1.1 200 OK\r\n" + b"X: %b\r\n" % (b"x" * 1000) * 40 + b"\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 300 + b"\r\n",
    "endless chunk extensions": CHUNKED + b"1;" + b"x" * 300_000,
    "endless trailers": CHUNKED + b"0\r\n" + b"X: x\r\n" * 60_000,
}


@pytest.mark.parametrize("raw", INVALID.values(), ids=INVALID.keys())
@on_both_loops
async def test_what_is_no_clear_answer_is_invalid_and_its_connection_closed(raw: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(raw)
        await visit.closed()
        visit.number = 0

    async with Upstream(script) as upstream, Sending() as sending:
        assert await failure(sending, upstream.server()) == (Reason.UPSTREAM_INVALID, True)
        await until(lambda: upstream.visits[0].number == 0)
        assert len(upstream.requests) == 1


@on_both_loops
async def test_a_length_that_promises_too_much_ends_in_silence_or_in_a_cut() -> None:
    async with Upstream(always(ok()[:-2] + b"o")) as upstream, Sending() as sending:
        assert await failure(sending, upstream.server(), idle_s=0.1) == (Reason.UPSTREAM_TIMEOUT, True)
    async with Upstream(once(ok()[:-2] + b"o")) as upstream, Sending() as sending:
        assert await failure(sending, upstream.server()) == (Reason.UPSTREAM_BROKEN, True)


@pytest.mark.parametrize("extra", [b"more", b"HTTP/1.1 200 OK\r\n\r\nanswer to nobody", ok(b"answer to the next")])
@on_both_loops
async def test_what_comes_after_an_answer_is_never_taken_for_the_next(extra: bytes) -> None:
    async with Upstream(always(ok(b"1") + extra)) as upstream, Sending() as sending:
        for _ in range(3):
            assert await sending.ask(upstream.server()) == b"1"
        assert len(upstream.visits) == 3


@on_both_loops
async def test_bytes_on_an_idle_connection_are_never_taken_for_an_answer() -> None:
    async with Upstream(always(ok(b"1"))) as upstream, Sending() as sending:
        assert await sending.ask(upstream.server()) == b"1"
        await upstream.visits[0].say(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        assert await sending.ask(upstream.server()) == b"1"
        assert len(upstream.visits) == 2


@on_both_loops
async def test_a_server_that_closed_meanwhile_is_noticed_before_anything_is_sent() -> None:
    async with Upstream(once(ok(b"1"))) as upstream, Sending() as sending:
        for _ in range(5):
            assert await sending.ask(upstream.server()) == b"1"
            visit = upstream.visits[-1]
            while not visit.writer.transport.is_closing():
                await asyncio.sleep(0)
        assert [len(visit.requests) for visit in upstream.visits] == [1] * 5


@on_both_loops
async def test_a_server_that_closes_as_we_send_is_not_asked_twice() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(ok(b"1"))
        await visit.request()  # and closes: too late for us to know

    async with Upstream(script) as upstream, Sending() as sending:
        assert await sending.ask(upstream.server()) == b"1"
        assert await failure(sending, upstream.server()) == (Reason.UPSTREAM_BROKEN, True)
        assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "response",
    [ok(b"1", b"Connection: close"), ok(b"1").replace(b"HTTP/1.1", b"HTTP/1.0")],
    ids=["Connection: close", "HTTP/1.0"],
)
@on_both_loops
async def test_a_connection_that_is_to_be_closed_is_not_used_again(response: bytes) -> None:
    async with Upstream(always(response)) as upstream, Sending() as sending:
        for _ in range(2):
            assert await sending.ask(upstream.server()) == b"1"
        assert len(upstream.visits) == 2


@on_both_loops
async def test_idle_connections_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "IDLE_S", 0.1)

    async def script(visit: Visit) -> None:
        while await visit.request() is not None:
            await visit.say(ok())
        visit.number = 0

    async with Upstream(script) as upstream, Sending() as sending:
        await sending.ask(upstream.server())
        await until(lambda: upstream.visits[0].number == 0)
        await sending.ask(upstream.server())
        assert len(upstream.visits) == 2


@on_both_loops
async def test_a_busy_connection_outlives_the_time_of_idle_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "IDLE_S", 0.1)

    async def script(visit: Visit) -> None:
        while await visit.request() is not None:
            await asyncio.sleep(0.3 if len(visit.requests) == 2 else 0)
            await visit.say(ok())

    async with Upstream(script) as upstream, Sending() as sending:
        assert [await sending.ask(upstream.server()) for _ in range(3)] == [b"ok"] * 3
        assert len(upstream.visits) == 1


@on_both_loops
async def test_an_endless_body_is_read_only_as_fast_as_it_is_wanted() -> None:
    said = 0

    async def script(visit: Visit) -> None:
        nonlocal said
        await visit.request()
        await visit.say(CHUNKED)
        while True:
            await visit.say(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            said += 65536

    async with Upstream(script) as upstream, Sending() as sending:
        response = await sending.send(upstream.server())
        stopped_at = await settles(lambda: said)
        assert stopped_at < 32 << 20  # what the two sockets hold, and little of ours
        taken = 0
        async for piece in response.body():
            assert len(piece) <= 1 << 20
            taken += len(piece)
            if taken > stopped_at + (4 << 20):
                break
        assert await settles(lambda: said) < taken + (32 << 20)
        await response.close()


@on_both_loops
async def test_an_early_answer_to_a_request_that_is_still_being_sent_counts() -> None:
    async def script(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        await visit.say(ok(b"too large", status=b"413 Content Too Large"))
        await asyncio.sleep(0.05)

    async with Upstream(script) as upstream, Sending() as sending:
        response = await sending.send(upstream.server(), b"x" * (32 << 20))
        assert response.status == 413
        assert [piece async for piece in response.body()] == [b"too large"]


@on_both_loops
async def test_an_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    async with Upstream(always(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as upstream, Sending() as sending:
        for _ in range(2):
            assert await sending.ask(upstream.server(), b"", method="HEAD") == b""
        assert len(upstream.visits) == 2


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@on_both_loops
async def test_a_request_without_a_body_has_no_length(method: str) -> None:
    async with Upstream(always(ok())) as upstream, Sending() as sending:
        await sending.ask(upstream.server(), b"", method=method)
        assert b"content-length" not in upstream.requests[0]
        await sending.ask(upstream.server(), b"")
        assert b"content-length: 0\r\n" in upstream.requests[1]


# What we would send


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nx-injected: b"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\0b"),
        (b"x: y\r\nz", b"a"),
        (b"", b"a"),
        (b"x y", b"a"),
    ],
)
@on_both_loops
async def test_a_header_that_would_begin_another_is_never_sent(header: tuple[bytes, bytes]) -> None:
    async with Upstream(always(ok())) as upstream, Sending() as sending:
        with pytest.raises(UpstreamError) as caught:
            await sending.send(upstream.server(), headers=(header,))
        assert (caught.value.reason, caught.value.sent) == (Reason.INTERNAL, False)
        assert upstream.visits == []


@on_both_loops
async def test_headers_that_frame_or_route_are_ours_alone() -> None:
    given: Headers = (
        (b"host", b"elsewhere"),
        (b"content-length", b"0"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"x-kept"),
        (b"accept-encoding", b"gzip"),
        (b"expect", b"100-continue"),
        (b"x-kept", b"1"),
    )
    async with Upstream(always(ok())) as upstream, Sending() as sending:
        await sending.ask(upstream.server(), headers=given)
        assert upstream.requests[0].split(b"\r\n")[1:-2] == [
            b"host: 127.0.0.1:%d" % upstream.port,
            b"x-kept: 1",
            b"accept-encoding: identity",
            b"content-length: 2",
        ]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "http:///mcp",
        "http://user@127.0.0.1/mcp",
        "http://127.0.0.1:x/mcp",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\xe9",
        "mcp",
        "unix:/nowhere",
    ],
)
@on_both_loops
async def test_a_url_that_leads_nowhere_is_unreachable(url: str) -> None:
    server = Server(name="nowhere", url=url, resource="https://gate.example/nowhere/mcp", audiences={})
    async with Sending() as sending:
        assert await failure(sending, server) == (Reason.UPSTREAM_UNREACHABLE, False)


# Many at once


@on_both_loops
async def test_calls_beyond_the_pool_wait_for_a_connection_and_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CONNECTIONS", 3)
    async with Upstream(always(ok())) as upstream, Sending() as sending:
        assert await asyncio.gather(*(sending.ask(upstream.server()) for _ in range(40))) == [b"ok"] * 40
        assert len(upstream.visits) <= 3


@on_both_loops
async def test_calls_that_find_no_connection_in_time_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CONNECTIONS", 2)
    release = asyncio.Event()

    async def script(visit: Visit) -> None:
        while await visit.request() is not None:
            await release.wait()
            await visit.say(ok())

    async with Upstream(script) as upstream, Sending(Limits(upstream_connect_s=0.2)) as sending:
        holding = [asyncio.ensure_future(sending.ask(upstream.server())) for _ in range(2)]
        await until(lambda: len(upstream.requests) == 2)
        assert await failure(sending, upstream.server()) == (Reason.OVERLOADED, False)
        release.set()
        assert await asyncio.gather(*holding) == [b"ok", b"ok"]
        assert await sending.ask(upstream.server()) == b"ok"


@on_both_loops
async def test_a_waiter_that_gives_up_takes_nobodys_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CONNECTIONS", 1)
    release = asyncio.Event()

    async def script(visit: Visit) -> None:
        while await visit.request() is not None:
            await release.wait()
            await visit.say(ok())

    async with Upstream(script) as upstream, Sending() as sending:
        calls = [asyncio.ensure_future(sending.ask(upstream.server())) for _ in range(6)]
        await until(lambda: len(upstream.requests) == 1)
        for waiting in calls[1:5:2]:
            waiting.cancel()
        release.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [answer for answer in answers if not isinstance(answer, BaseException)] == [b"ok"] * 4
        assert len(upstream.requests) == 4


@on_both_loops
async def test_connections_that_fail_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CONNECTIONS", 1)
    async with Upstream(once(b"nonsense\r\n\r\n")) as upstream, Sending() as sending:
        results = await asyncio.gather(*(sending.ask(upstream.server()) for _ in range(5)), return_exceptions=True)
        assert [getattr(result, "reason", None) for result in results] == [Reason.UPSTREAM_INVALID] * 5


@on_both_loops
async def test_a_server_that_stalls_holds_up_no_other() -> None:
    async def stall(visit: Visit) -> None:
        await visit.closed()

    async with Upstream(stall) as stalled, Upstream(always(ok())) as good, Sending() as sending:
        stuck = [asyncio.ensure_future(sending.send(stalled.server())) for _ in range(300)]
        await until(lambda: len(stalled.visits) == pool_module.CONNECTIONS)
        for _ in range(20):
            assert await sending.ask(good.server()) == b"ok"
        for call in stuck:
            call.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
