"""The serving side as a well-behaved client meets it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gatebook.gate.leaving import Gone
from gatebook.model.deployment import Limits
from gatebook.model.http import Answer, Arrival, EventStream, Reply
from tests.faults.http_ends import Served, on_both_loops, until

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


def streaming(*items: bytes, failure: Exception | None = None, started: asyncio.Event | None = None) -> EventStream:
    async def events() -> AsyncIterator[bytes]:
        for item in items:
            yield item
            if started is not None:
                await started.wait()
        if failure is not None:
            raise failure

    return EventStream(status=200, headers=((b"content-type", b"text/event-stream"),), events=events())


@on_both_loops
async def test_an_arrival_holds_the_request_and_the_reply_gets_a_length_and_a_date() -> None:
    async with Served() as served:
        client = await served.connect()
        await client.send(b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nContent-Length: 3\r\n\r\nabc")
        received = await client.answer()
        [arrival] = served.arrivals
        assert (arrival.method, arrival.target, arrival.body) == ("POST", b"/a?b=c", b"abc")
        assert arrival.header(b"x-one") == b"1"
        assert (arrival.client_ip, arrival.tls) == ("127.0.0.1", False)
        assert (received.status, received.body) == (200, b"abc")
        assert [name for name, _ in received.headers] == [b"content-type", b"date", b"content-length"]


@on_both_loops
async def test_requests_sent_together_are_answered_one_at_a_time_and_in_order() -> None:
    running = most = 0

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0 if arrival.target == b"/2" else 0.01)
        running -= 1
        return Reply(status=200, body=arrival.target)

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(b"".join(GET % target for target in (b"/1", b"/2", b"/3")))
        assert [(await client.answer()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]
    assert most == 1


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"PATCH"])
@on_both_loops
async def test_every_method_but_connect_comes_to_the_answer(method: bytes) -> None:
    async with Served() as served:
        client = await served.connect()
        await client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n" + GET % b"/next")
        received = await client.answer(to_head=method == b"HEAD")
        assert received.header(b"content-length") == b"1"
        assert received.body == (b"" if method == b"HEAD" else b"/")
        assert (await client.answer()).body == b"/next"


@on_both_loops
async def test_a_client_that_asks_for_100_continue_gets_it_after_the_head_was_judged() -> None:
    async with Served() as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"ab")
        assert (await client.answer()).body == b"ab"
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.answer()).status == 413


@on_both_loops
async def test_http_1_0_is_answered_once() -> None:
    async with Served() as served:
        client = await served.connect()
        await client.send(b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET % b"/more")
        received = await client.answer()
        assert (received.header(b"connection"), received.body) == (b"close", b"/old")
        assert await client.rest() == b""
        assert len(served.arrivals) == 1


@on_both_loops
async def test_204_and_304_have_neither_body_nor_length() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return Reply(status=int(arrival.target[1:]), body=b"dropped")

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/204" + GET % b"/304" + GET % b"/202")
        for _ in range(2):
            assert (await client.answer()).header(b"content-length") is None
        assert (await client.answer()).body == b"dropped"


@on_both_loops
async def test_framing_headers_of_an_answer_are_the_shells_own() -> None:
    headers = ((b"content-length", b"99"), (b"transfer-encoding", b"chunked"), (b"connection", b"x"), (b"x-kept", b"1"))

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return Reply(status=200, headers=headers, body=b"ab")

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/")
        received = await client.answer()
        assert [name for name, _ in received.headers] == [b"x-kept", b"date", b"content-length"]
        assert received.body == b"ab"


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b", b"a\r", b"a\n", b"a\r\n"])
@on_both_loops
async def test_a_header_that_would_begin_another_is_never_written(value: bytes) -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        headers = ((b"x", value),)
        return (
            Reply(status=200, headers=headers)
            if arrival.target == b"/r"
            else EventStream(status=200, headers=headers, events=streaming(b"x").events)
        )

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/r")
        assert (await client.answer()).status == 500
        await client.send(GET % b"/s")
        assert await client.rest() == b""
        assert len(served.rescued) == 2


@on_both_loops
async def test_an_answer_that_raises_becomes_the_last_resorts_reply_and_the_connection_lives() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        if arrival.target == b"/bug":
            raise RuntimeError("bug")
        return Reply(status=200, body=b"fine")

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/bug" + GET % b"/")
        received = await client.answer()
        assert (received.status, received.body) == (500, b"rescued")
        assert (await client.answer()).body == b"fine"
        assert [str(failure) for failure in served.rescued] == ["bug"]


@on_both_loops
async def test_events_leave_one_by_one_as_chunks() -> None:
    started = asyncio.Event()

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return streaming(b"data: 1\n\n", b"", b"data: 2\n\n", started=started)

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/" + GET % b"/")
        head = await client.head()
        assert b"transfer-encoding: chunked\r\n" in head
        assert b"content-length" not in head
        assert await client.chunk() == b"data: 1\n\n"
        started.set()
        assert [chunk async for chunk in client.chunks()] == [b"data: 2\n\n"]
        assert (await client.answer()).body == b"data: 1\n\ndata: 2\n\n"


@on_both_loops
async def test_a_stream_that_raises_is_cut_before_its_last_chunk() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return streaming(b"data: 1\n\n", failure=RuntimeError("bug"))

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(GET % b"/")
        await client.head()
        assert await client.rest() == b"9\r\ndata: 1\n\n\r\n"
        assert [str(failure) for failure in served.rescued] == ["bug"]


@on_both_loops
async def test_http_1_0_gets_a_stream_that_ends_with_the_connection() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return streaming(b"data: 1\n\n", b"data: 2\n\n")

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert b"transfer-encoding" not in await client.head()
        assert await client.rest() == b"data: 1\n\ndata: 2\n\n"


@on_both_loops
async def test_head_gets_the_head_of_a_stream_and_no_event() -> None:
    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        return streaming(b"data: 1\n\n") if arrival.method == "HEAD" else Reply(status=200, body=b"next")

    async with Served(answer) as served:
        client = await served.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + GET % b"/")
        assert b"text/event-stream" in await client.head()
        assert (await client.answer()).body == b"next"


@on_both_loops
async def test_a_trusted_proxy_is_believed_and_nobody_else() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.7, 203.0.113.9\r\n\r\n"
    for trusted, expected in ((("127.0.0.0/8",), "203.0.113.9"), (("10.0.0.0/8",), "127.0.0.1"), ((), "127.0.0.1")):
        async with Served(trusted_proxies=trusted) as served:
            client = await served.connect()
            await client.send(request)
            await client.answer()
            assert served.arrivals[0].client_ip == expected


# The end


@on_both_loops
async def test_draining_closes_idle_connections_and_lets_answers_end() -> None:
    release = asyncio.Event()

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        await release.wait()
        return Reply(status=200, body=b"finished")

    async with Served(answer) as served:
        idle, busy, half = [await served.connect() for _ in range(3)]
        await busy.send(GET % b"/")
        await half.send(b"GET /half HTTP/1.1\r\n")
        await until(lambda: bool(served.arrivals) and served.registry.buffered_bytes > len(GET % b"/"))
        draining = asyncio.create_task(served.registry.drain(20))
        assert await idle.rest() == b""
        await half.send(b"Host: a\r\n\r\n")
        release.set()
        for client in (busy, half):
            received = await client.answer()
            assert (received.header(b"connection"), received.body) == (b"close", b"finished")
            assert await client.rest() == b""
        assert await draining == 0


@on_both_loops
async def test_what_does_not_end_in_time_loses_its_client_and_may_still_record() -> None:
    story: list[str] = []

    async def events() -> AsyncIterator[bytes]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            story.append("stream closed")

    async def answer(arrival: Arrival, gone: Gone) -> Answer:
        if arrival.target == b"/stream":
            return EventStream(status=200, headers=(), events=events())
        await gone.wait()
        story.append("call recorded")
        return Reply(status=200)

    async with Served(answer) as served:
        stream, call = await served.connect(), await served.connect()
        await stream.send(GET % b"/stream")
        await stream.head()
        await call.send(GET % b"/call")
        await until(lambda: len(served.arrivals) == 2)
        assert await served.registry.drain(0.05, settle_s=20) == 2
        assert not served.registry.connections
    assert sorted(story) == ["call recorded", "stream closed"]


@on_both_loops
async def test_nobody_is_admitted_while_draining() -> None:
    async with Served(limits=Limits()) as served:
        await served.registry.drain(0)
        late = await served.connect()
        assert await late.rest() == b""
        assert served.registry.turned_away == 1
