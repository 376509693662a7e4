"""ports.Upstreams: what every adapter must do, over every way to reach a server."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gatebook.model.deployment import Server
from gatebook.model.errors import Reason, UpstreamError
from gatebook.ports import UpstreamResponse, Upstreams
from tests.faults.certificates import Authority
from tests.faults.http_ends import on_both_loops, until
from tests.faults.upstream_ends import Script, Sending, Upstream, Visit, always, ok, once

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("way", ["tcp", "unix", "tls"])]


@asynccontextmanager
async def reached(way: str, script: Script) -> AsyncIterator[tuple[Upstream, Server]]:
    with tempfile.TemporaryDirectory() as name:  # short: a socket's path may have 108 bytes
        directory = Path(name)
        tls, ca_file, path = None, None, None
        if way == "tls":
            authority = Authority(directory)
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(*authority.issue("localhost"))
            ca_file = str(authority.certificate)
        elif way == "unix":
            path = directory / "s"
        async with Upstream(script, path=path, tls=tls) as upstream:
            yield upstream, upstream.server(ca_file=ca_file)


@on_both_loops
async def test_the_request_arrives_as_given_with_our_framing(way: str) -> None:
    async with reached(way, always(ok())) as (upstream, server), Sending() as sending:
        headers = (
            (b"content-type", b"application/json"),
            (b"authorization", b"Bearer secret"),
            (b"x-a", b"1"),
            (b"x-a", b"2"),
        )
        assert await sending.ask(server, b'{"id":1}', headers=headers) == b"ok"
        host = b"localhost" if way == "unix" else server.url.split("/")[2].encode()
        assert upstream.requests == [
            b"POST /mcp HTTP/1.1\r\nhost: " + host + b"\r\n"
            b"content-type: application/json\r\nauthorization: Bearer secret\r\nx-a: 1\r\nx-a: 2\r\n"
            b'accept-encoding: identity\r\ncontent-length: 8\r\n\r\n{"id":1}'
        ]


@on_both_loops
async def test_status_and_headers_are_here_before_the_body(way: str) -> None:
    more = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 418 Teapot\r\nX-Two: a \r\nx-two:b\r\nContent-Length: 4\r\n\r\nab")
        await more.wait()
        await visit.say(b"cd")
        await visit.closed()

    async with reached(way, script) as (_, server), Sending() as sending:
        upstreams: Upstreams = sending.upstreams
        assert upstreams is not None
        response: UpstreamResponse = await sending.send(server)
        assert response.status == 418
        assert response.headers == ((b"x-two", b"a"), (b"x-two", b"b"), (b"content-length", b"4"))
        body = response.body()
        assert await anext(body) == b"ab"
        more.set()
        assert b"".join([piece async for piece in body]) == b"cd"
        await response.close()


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (ok(b"sized"), b"sized"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: x\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nas of old", b"as of old"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok(b"final"), b"final"),
    ],
    ids=["content-length", "chunked", "until closed", "HTTP/1.0", "204", "after interim responses"],
)
@on_both_loops
async def test_a_body_is_whole_however_it_is_framed(way: str, raw: bytes, body: bytes) -> None:
    async with reached(way, once(raw)) as (_, server), Sending() as sending:
        assert await sending.ask(server) == body


@on_both_loops
async def test_a_connection_serves_again_when_its_answer_was_read(way: str) -> None:
    async with reached(way, always(ok(b"1"), ok(b"2"), ok(b"3"))) as (upstream, server), Sending() as sending:
        assert [await sending.ask(server) for _ in range(3)] == [b"1", b"2", b"3"]
        assert len(upstream.visits) == 1


@on_both_loops
async def test_a_connection_whose_answer_was_not_read_is_closed(way: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome")
        await visit.closed()
        visit.number = 0

    async with reached(way, script) as (upstream, server), Sending() as sending:
        response = await sending.send(server)
        await response.close()
        await response.close()
        await until(lambda: upstream.visits[0].number == 0)
        with pytest.raises(UpstreamError):
            [piece async for piece in response.body()]


@on_both_loops
async def test_letting_go_wakes_whoever_reads_the_body(way: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome")
        await visit.closed()

    async with reached(way, script) as (_, server), Sending() as sending:
        response = await sending.send(server)
        body = response.body()
        assert await anext(body) == b"some"
        reading = asyncio.ensure_future(anext(body))
        await asyncio.sleep(0)
        await response.close()
        with pytest.raises(UpstreamError) as caught:
            await reading
        assert caught.value.reason is Reason.CANCELLED


@pytest.mark.parametrize(
    "status", [b"300 Choices", b"301 Moved", b"302 Found", b"304 Not Modified", b"307 Temp", b"308 Perm"]
)
@on_both_loops
async def test_no_redirect_is_followed(way: str, status: bytes) -> None:
    raw = ok(b"", b"Location: http://127.0.0.1:1/", status=status)
    async with reached(way, always(raw)) as (upstream, server), Sending() as sending:
        with pytest.raises(UpstreamError) as caught:
            await sending.send(server)
        assert (caught.value.reason, caught.value.sent) == (Reason.UPSTREAM_REDIRECT, True)
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"GZIP", b"identity, gzip", b"x-unknown", b""])
@on_both_loops
async def test_no_content_coding_but_identity_is_accepted(way: str, coding: bytes) -> None:
    raw = ok(b"\x1f\x8b", b"Content-Encoding: " + coding)
    async with reached(way, always(raw)) as (_, server), Sending() as sending:
        with pytest.raises(UpstreamError) as caught:
            await sending.send(server)
        assert (caught.value.reason, caught.value.sent) == (Reason.UPSTREAM_INVALID, True)


@on_both_loops
async def test_identity_is_no_coding(way: str) -> None:
    async with reached(way, always(ok(b"plain", b"Content-Encoding: Identity"))) as (_, server), Sending() as sending:
        assert await sending.ask(server) == b"plain"


@on_both_loops
async def test_a_server_that_says_nothing_times_out_and_may_have_acted(way: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.closed()

    async with reached(way, script) as (_, server), Sending() as sending:
        with pytest.raises(UpstreamError) as caught:
            await sending.send(server, first_byte_s=0.1)
        assert (caught.value.reason, caught.value.sent) == (Reason.UPSTREAM_TIMEOUT, True)


@on_both_loops
async def test_a_body_that_stops_times_out(way: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome")
        await visit.closed()

    async with reached(way, script) as (_, server), Sending() as sending:
        with pytest.raises(UpstreamError) as caught:
            await sending.ask(server, idle_s=0.1)
        assert (caught.value.reason, caught.value.sent) == (Reason.UPSTREAM_TIMEOUT, True)


@on_both_loops
async def test_a_slow_consumer_is_no_slow_server(way: str) -> None:
    async with reached(way, once(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)) as (_, server), Sending() as sending:
        response = await sending.send(server, first_byte_s=0.2, idle_s=0.2)
        await asyncio.sleep(0.4)
        assert b"".join([piece async for piece in response.body()]) == b"x" * 1000


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ],
    ids=["short of its length", "no last chunk", "half a last chunk", "half a head", "nothing"],
)
@on_both_loops
async def test_an_answer_that_is_cut_is_broken_and_may_have_been_acted_on(way: str, raw: bytes) -> None:
    async with reached(way, once(raw)) as (upstream, server), Sending() as sending:
        with pytest.raises(UpstreamError) as caught:
            await sending.ask(server)
        assert (caught.value.reason, caught.value.sent) == (Reason.UPSTREAM_BROKEN, True)
        assert len(upstream.requests) == 1  # and is not asked again


@on_both_loops
async def test_a_reset_is_no_end_of_a_body(way: str) -> None:
    go = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await go.wait()
        if way == "unix":  # which knows no reset; a server that dies with unread input comes nearest
            visit.writer.transport.pause_reading()  # type: ignore[attr-defined]
        visit.reset()

    async with reached(way, script) as (upstream, server), Sending() as sending:
        response = await sending.send(server)
        body = response.body()
        assert await anext(body) == b"some"
        go.set()
        if way == "unix":
            await response.close()
            return
        with pytest.raises(UpstreamError) as caught:
            await anext(body)
        assert (caught.value.reason, caught.value.sent) == (Reason.UPSTREAM_BROKEN, True)
        assert len(upstream.requests) == 1


@on_both_loops
async def test_cancelling_closes_the_connection_before_the_head_and_within_the_body(way: str) -> None:
    async def script(visit: Visit) -> None:
        request = await visit.request() or b""
        if b"begin" in request:
            await visit.say(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await visit.closed()
        visit.number = 0

    async with reached(way, script) as (upstream, server), Sending() as sending:
        for body in (b"begin", b"nothing"):
            asking = asyncio.ensure_future(sending.ask(server, body))
            await until(lambda: bool(upstream.visits) and bool(upstream.visits[-1].requests))
            await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await until(lambda: upstream.visits[-1].number == 0)
            upstream.visits.clear()


@on_both_loops
async def test_nobody_at_home_means_not_sent(way: str) -> None:
    async with reached(way, always(ok())) as (_, server):
        pass
    async with Sending() as sending:
        with pytest.raises(UpstreamError) as caught:
            await sending.send(server)
        assert (caught.value.reason, caught.value.sent) == (Reason.UPSTREAM_UNREACHABLE, False)


@on_both_loops
async def test_after_close_nothing_is_sent_and_what_was_being_read_is_cut(way: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome")
        await visit.closed()

    async with reached(way, script) as (_, server), Sending() as sending:
        response = await sending.send(server)
        await sending.upstreams.close()
        with pytest.raises(UpstreamError):
            [piece async for piece in response.body()]
        with pytest.raises(UpstreamError) as caught:
            await sending.send(server)
        assert (caught.value.reason, caught.value.sent) == (Reason.DRAINING, False)


@on_both_loops
async def test_answers_with_one_head_have_each_its_own_body_however_it_comes(way: str) -> None:
    async def script(visit: Visit) -> None:
        for body in (b"one", b"two", b"six"):
            await visit.request()
            await visit.say(ok(body))
        await visit.request()
        head, body = ok(b"ten")[:-3], b"ten"
        for piece in (head[:10], head[10:], body[:1], body[1:]):
            await visit.say(piece)
            await asyncio.sleep(0.01)
        await visit.request()
        await visit.say(ok(b"end"))
        await visit.closed()

    async with reached(way, script) as (upstream, server), Sending() as sending:
        assert [await sending.ask(server) for _ in range(5)] == [b"one", b"two", b"six", b"ten", b"end"]
        assert len(upstream.visits) == 1


@on_both_loops
async def test_what_follows_an_answer_with_a_known_head_is_nobodys_answer(way: str) -> None:
    async with reached(way, always(ok(b"one"), ok(b"two") + ok(b"lie"))) as (upstream, server), Sending() as sending:
        assert [await sending.ask(server) for _ in range(3)] == [b"one", b"two", b"one"]
        assert len(upstream.visits) == 2


@on_both_loops
async def test_a_known_head_with_half_its_body_is_no_whole_answer(way: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.say(ok(b"one"))
        await visit.request()
        await visit.say(ok(b"one")[:-1])

    async with reached(way, script) as (_, server), Sending() as sending:
        assert await sending.ask(server) == b"one"
        with pytest.raises(UpstreamError) as caught:
            await sending.ask(server)
        assert caught.value.reason is Reason.UPSTREAM_BROKEN
