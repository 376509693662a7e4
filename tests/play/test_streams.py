"""Streams and sessions: what is recorded before what leaves, whose session it is, and what a hang-up means in each era."""

import asyncio
import json

import pytest

from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import EventStream, Headers, Reply
from tests.play.test_hostile_answers import INITIALIZE, INITIALIZED, NOTE, REQUEST, STREAM, event
from tests.play.test_one_call import CALL, MODERN_HEADERS, PAN, RESULT, modern_call
from tests.world import Play, whole
from tests.world_ledger import MemoryLedger

MODERN_RESULT = RESULT.replace(b'"a/1"', b"1")
RESUMES = ((b"last-event-id", b"7-3"),)
TOOLS = [{"name": name, "inputSchema": {}} for name in ("get_order", "delete_customer", "list_orders")]
LIST = json.dumps({"jsonrpc": "2.0", "id": "a/1", "result": {"tools": TOOLS}}).encode()


async def open_session(play: Play, upstream: bytes = b"upstream-session", token: str = "alice") -> bytes:
    """The client's handle of a session that it has just begun."""
    play.upstreams.extra_headers = ((b"mcp-session-id", upstream),)
    play.answers(b'{"jsonrpc":"2.0","id":0,"result":{}}')
    answer = await play.ask(INITIALIZE, token=token)
    play.upstreams.extra_headers = ()
    return dict(answer.headers)[b"mcp-session-id"]


def results(play: Play) -> list[str]:
    return [draft.reason for draft in play.drafts if draft.event == "call.result"]


async def streamed(play: Play, body: bytes = CALL, headers: Headers = (), method: str = "POST") -> EventStream:
    answer = await play.ask(body, headers=headers, method=method)
    assert isinstance(answer, EventStream)
    return answer


async def until(condition: object) -> None:
    async with asyncio.timeout(10):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0)


# GET and DELETE


async def test_a_get_stream_is_opened_in_the_book_forwarded_and_closed_with_totals() -> None:
    play = Play()
    handle = await open_session(play)
    play.answers(event(NOTE), b": ping\n\n", event(NOTE), content_type=STREAM)
    answer = await streamed(play, b"", ((b"mcp-session-id", handle), *RESUMES), "GET")
    assert await whole(answer) == event(NOTE) + b": ping\n\n" + event(NOTE)
    assert play.events[-5:] == ["stream.open", "sent", "upstream closed", "session.chunk", "stream.close"]
    headers = dict(play.sent[-1].headers)
    assert headers[b"last-event-id"] == b"7-3" and headers[b"mcp-session-id"] == b"upstream-session"
    opened, chunk, closed = play.drafts[-3:]
    assert opened.call is not None and opened.call == chunk.call == closed.call
    assert headers[b"gatebook-call-id"] == opened.call.encode() == dict(answer.headers)[b"gatebook-call-id"]
    assert (chunk.detail["events"], closed.detail["events"]) == (2, 2)
    assert closed.ok


async def test_a_server_that_says_a_great_deal_at_once_breaks_nothing() -> None:
    """An entry holds 8 KiB: notifications that came together are recorded in as many entries as they need."""
    play = Play()
    play.answers(event(NOTE) * 500 + event(RESULT), content_type=STREAM)
    assert await whole(await streamed(play)) == event(NOTE) * 500 + event(RESULT)
    chunks = [draft for draft in play.drafts if draft.event == "session.chunk"]
    assert sum(int(chunk.detail["events"]) for chunk in chunks) == sum(len(chunk.payloads) for chunk in chunks) == 500
    assert results(play) == ["completed"]
    book = MemoryLedger()
    for draft in play.drafts:
        await book.record(draft)  # raises where an entry would be too large


async def test_a_card_number_in_the_last_event_id_is_refused() -> None:
    play = Play()
    answer = await play.ask(b"", method="GET", headers=((b"last-event-id", PAN.encode()),))
    assert isinstance(answer, Reply) and b"cardholder data" in answer.body
    assert play.sent == [] and play.events == ["call.refused"] and PAN not in repr(play.journal)


async def test_delete_is_recorded_before_it_is_forwarded() -> None:
    play = Play()
    handle = await open_session(play)
    play.answers(b"", status=204, content_type=b"")
    answer = await play.ask(b"", method="DELETE", headers=((b"mcp-session-id", handle),))
    assert answer.status == 204
    assert play.events[-3:] == ["message.client", "sent", "upstream closed"]
    assert play.drafts[-1].resource.method == "DELETE session"
    assert dict(play.sent[-1].headers)[b"mcp-session-id"] == b"upstream-session"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_the_modern_era_has_neither_streams_by_get_nor_sessions(method: str) -> None:
    play = Play()
    answer = await play.ask(b"", method=method, headers=((b"mcp-protocol-version", b"2026-07-28"),))
    assert answer.status == 405 and play.sent == [] and play.events == ["call.refused"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "TRACE"])
async def test_other_http_methods_are_refused(method: str) -> None:
    play = Play()
    answer = await play.ask(CALL, method=method)
    assert answer.status == 405 and play.sent == [] and play.events == ["call.refused"]


# Whose session


@pytest.mark.parametrize(("method", "body"), [("POST", CALL), ("GET", b""), ("DELETE", b"")])
@pytest.mark.parametrize("case", ["another person", "forged", "cut", "the upstream's own", "twice", "empty", "longer"])
async def test_only_its_owner_has_a_session(case: str, method: str, body: bytes) -> None:
    play = Play()
    handle = await open_session(play)
    forged = handle[:-2] + (b"AA" if handle[-2:] != b"AA" else b"BB")
    headers: dict[str, tuple[bytes, ...]] = {
        "another person": (handle,), "forged": (forged,), "cut": (handle[:-4],), "the upstream's own": (b"upstream-session",),
        "twice": (handle, handle), "empty": (b"",), "longer": (handle + b"AAAA",),
    }  # fmt: skip
    token = "mallory" if case == "another person" else "alice"
    sent_before = len(play.sent)
    sent = tuple((b"mcp-session-id", value) for value in headers[case])
    answer = await play.ask(body, token=token, method=method, headers=sent)
    assert isinstance(answer, Reply) and answer.status == 404
    assert json.loads(answer.body)["error"]["code"] == -32001
    assert len(play.sent) == sent_before
    assert (play.drafts[-1].event, play.drafts[-1].reason) == ("call.refused", Reason.SESSION_UNKNOWN)
    assert play.drafts[-1].who.sub == token


async def test_a_modern_request_carries_no_session() -> None:
    play = Play()
    handle = await open_session(play)
    play.upstreams.extra_headers = ((b"mcp-session-id", b"new"),)
    play.answers(MODERN_RESULT)
    answer = await play.ask(modern_call(id="42"), headers=(*MODERN_HEADERS, (b"mcp-session-id", handle)))
    assert b"mcp-session-id" not in dict(play.sent[-1].headers)
    assert b"mcp-session-id" not in dict(answer.headers)


async def test_a_session_that_the_server_has_forgotten_is_gone_for_the_client_too() -> None:
    play = Play()
    handle = await open_session(play)
    play.answers(
        b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}', status=404
    )
    answer = await play.ask(CALL, headers=((b"mcp-session-id", handle),))
    assert isinstance(answer, Reply) and answer.status == 404 and b"Session not found" in answer.body


# What the server asks, and what the client answers


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "roots/list", "ping"])
@pytest.mark.parametrize("verb", ["POST", "GET"])
async def test_a_servers_request_is_in_the_book_before_it_is_delivered(verb: str, method: str) -> None:
    play = Play()
    asks = REQUEST.replace(b"sampling/createMessage", method.encode())
    play.answers(event(asks), *([event(RESULT)] if verb == "POST" else []), content_type=STREAM)
    answer = await streamed(play, CALL if verb == "POST" else b"", method=verb)
    first = await anext(answer.events)
    assert first == event(asks)
    assert play.events[-1] == "message.server"
    assert (play.drafts[-1].resource.method, play.drafts[-1].detail["id"]) == (method, "9")
    await whole(answer)


STRAY = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no"}}'
STRAYS = {
    "that answers a notification": (STRAY, 400, INITIALIZED, {}),
    "without any id": (STRAY.replace(b'"id":null,', b""), 400, INITIALIZED, {}),
    "that a failed request was answered with": (STRAY, 400, CALL, {}),
    "of a failed request that names another call": (STRAY.replace(b"null", b"7"), 404, CALL, {"id": "7"}),
    "that should be a call's answer": (STRAY, 200, CALL, {}),
}


@pytest.mark.parametrize(("error", "status", "body", "named"), STRAYS.values(), ids=STRAYS)
async def test_an_error_of_no_call_is_the_servers_own_and_never_a_calls_result(
    error: bytes, status: int, body: bytes, named: dict[str, str]
) -> None:
    play = Play()
    play.answers(error, status=status)
    answer = await play.ask(body)
    assert isinstance(answer, Reply) and (answer.status, answer.body) == (status, error)
    begun, said, ended = play.drafts
    assert (said.event, said.ok, said.reason) == ("message.server", False, Reason.ERROR_RESULT)
    assert said.detail == {**named, "error_code": -32000} and [each.body for each in said.payloads] == [error]
    assert begun.call == said.call == ended.call
    assert (ended.event, ended.reason) == (
        "call.result" if body == CALL else "message.client",
        Reason.UPSTREAM_INVALID,
    )


@pytest.mark.parametrize(("verb", "body"), [("POST", CALL), ("GET", b"")])
async def test_an_error_of_no_call_in_a_stream_is_in_the_book_before_it_is_delivered(verb: str, body: bytes) -> None:
    play = Play()
    play.answers(event(STRAY), *([event(RESULT)] if verb == "POST" else []), content_type=STREAM)
    answer = await streamed(play, body, method=verb)
    assert await anext(answer.events) == event(STRAY)
    assert (play.drafts[-1].event, play.drafts[-1].reason) == ("message.server", Reason.ERROR_RESULT)
    await whole(answer)
    assert results(play) == (["completed"] if verb == "POST" else [])


async def test_a_clients_answer_is_in_the_book_before_it_is_forwarded() -> None:
    play = Play()
    body = b'{"jsonrpc":"2.0","id":9,"result":{"action":"accept","content":{"name":"x"}}}'
    play.answers(b"", status=202, content_type=b"")
    answer = await play.ask(body)
    assert answer.status == 202 and play.events == ["message.client", "sent", "upstream closed"]
    assert play.sent[0].body == body and play.drafts[0].payloads[0].body == body


async def test_a_card_number_in_a_clients_answer_is_refused() -> None:
    play = Play()
    body = b'{"jsonrpc":"2.0","id":9,"result":{"content":{"card":"' + PAN.encode() + b'"}}}'
    answer = await play.ask(body)
    assert play.sent == [] and play.events == ["call.refused"] and PAN not in repr(play.journal)
    assert isinstance(answer, Reply) and PAN.encode() not in answer.body


async def test_an_unknown_notification_is_dropped_and_recorded() -> None:
    play = Play()
    answer = await play.ask(b'{"jsonrpc":"2.0","method":"notifications/vendor"}')
    assert answer.status == 202 and play.sent == []
    assert (play.events, play.drafts[0].reason) == (["call.refused"], Reason.METHOD_UNKNOWN)


# A stream resumed


async def test_a_response_on_a_resumed_stream_is_recorded_as_a_result_before_it_leaves() -> None:
    play = Play()
    play.answers(b"id: 7-4\n" + event(RESULT), content_type=STREAM)
    answer = await streamed(play, b"", RESUMES, "GET")
    piece = await anext(answer.events)
    assert piece == b"id: 7-4\n" + event(RESULT)
    assert play.events[-1] == "call.result" and play.drafts[-1].detail["id"] == '"a/1"'


async def test_a_list_on_a_resumed_stream_is_filtered_too() -> None:
    play = Play()
    play.answers(b"id: 7-4\n" + event(LIST), content_type=STREAM)
    seen = await whole(await streamed(play, b"", RESUMES, "GET"))
    assert b"get_order" in seen and b"list_orders" in seen and b"delete_customer" not in seen
    assert b"delete_customer" not in repr(play.drafts).encode()


@pytest.mark.parametrize(
    "lie",
    [
        LIST.replace(b'"tools"', b'"tools": [], "tools"'),
        LIST.replace(b'"tools"', b'"tools": {}, "\\u0074ools"'),
        LIST.replace(b'"delete_customer"', b'"get_order", "name": "delete_customer"'),
        LIST.replace(b'"delete_customer"', b"7"),
    ],
    ids=["a key twice", "an escaped key twice", "a name twice", "a name that is none"],
)
@pytest.mark.parametrize("resumed", [True, False])
async def test_a_list_that_can_be_read_in_two_ways_does_not_leave(lie: bytes, resumed: bool) -> None:
    play = Play()
    play.answers(event(lie), content_type=STREAM)
    ask = b'{"jsonrpc":"2.0","id":"a/1","method":"tools/list"}'
    answer = await (streamed(play, b"", RESUMES, "GET") if resumed else streamed(play, ask))
    seen = await whole(answer)
    assert b"delete_customer" not in seen and b"inputSchema" not in seen


async def test_a_server_may_hang_up_and_the_call_stays_open_in_the_book() -> None:
    play = Play()
    prime = b"id: 7-0\ndata:\n\n"
    play.answers(prime, content_type=STREAM)
    assert await whole(await streamed(play)) == prime
    assert results(play) == []


async def test_a_stream_that_cannot_be_resumed_and_ends_early_is_answered_with_an_error() -> None:
    play = Play()
    play.answers(event(NOTE), content_type=STREAM)
    seen = await whole(await streamed(play))
    assert b'"upstream_broken"' in seen and results(play) == [Reason.UPSTREAM_BROKEN]


# subscriptions/listen


def listen(**wanted: object) -> bytes:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    params = {"notifications": wanted, "_meta": meta}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}).encode()


LISTEN_HEADERS = ((b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"subscriptions/listen"))


@pytest.mark.parametrize(
    "uris",
    [
        ["customers://1"],
        ["orders://1", "customers://1"],
        ["orders://../customers"],
        ["orders://a/../b"],
        ["orders://%2e%2e/x"],
        ["orders://a\\b"],
        ["ORDERS://1"],
        ["orders://a/b"],
    ],
    ids=str,
)
async def test_one_forbidden_uri_refuses_the_whole_subscription(uris: list[str]) -> None:
    play = Play()
    answer = await play.ask(listen(resourceSubscriptions=uris), headers=LISTEN_HEADERS)
    assert isinstance(answer, Reply) and json.loads(answer.body)["error"]["code"] == 1
    assert play.sent == [] and play.events == ["call.refused"]


async def test_an_allowed_subscription_passes_event_by_event() -> None:
    play = Play()
    ack = b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}'
    held = asyncio.Event()
    play.answers(event(ack), held, content_type=STREAM)
    answer = await streamed(play, listen(resourceSubscriptions=["orders://1"], toolsListChanged=True), LISTEN_HEADERS)
    assert await anext(answer.events) == event(ack)
    await answer.events.aclose()  # type: ignore[attr-defined]
    assert results(play) == [Reason.CANCELLED] and play.events.count("upstream closed") == 1


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (None, Reason.COMPLETED),
        (UpstreamError(Reason.UPSTREAM_BROKEN, "gone", sent=True), Reason.UPSTREAM_BROKEN),
        (UpstreamError(Reason.UPSTREAM_TIMEOUT, "silent", sent=True), Reason.UPSTREAM_TIMEOUT),
    ],
)
async def test_a_subscription_ends_with_its_stream_and_no_error_is_put_behind_it(
    end: UpstreamError | None, reason: Reason
) -> None:
    play = Play()
    ack = b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}'
    play.answers(event(ack), *([] if end is None else [end]), content_type=STREAM)
    assert await whole(await streamed(play, listen(toolsListChanged=True), LISTEN_HEADERS)) == event(ack)
    assert results(play) == [reason]


# Hang-ups


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "between events"])
async def test_a_legacy_hang_up_cuts_nothing_off(waiting: bool) -> None:
    """The client left while the gate waited for the next event: the server goes on, and its answer is in the book."""
    play = Play()
    held = asyncio.Event()
    play.answers(event(NOTE), held, event(RESULT), content_type=STREAM)
    answer = await streamed(play)
    await anext(answer.events)
    if waiting:
        reading = asyncio.ensure_future(anext(answer.events))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    closing = asyncio.ensure_future(answer.events.aclose())  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    assert results(play) == [] and "upstream closed" not in play.events
    held.set()
    await closing
    assert results(play) == [Reason.COMPLETED] and play.events.count("upstream closed") == 1


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "between events"])
@pytest.mark.parametrize("verb", ["POST", "GET"])
async def test_a_hang_up_that_cancels_closes_the_server_and_is_recorded_once(verb: str, waiting: bool) -> None:
    play = Play()
    play.answers(event(NOTE), asyncio.Event(), event(MODERN_RESULT), content_type=STREAM)
    modern = verb == "POST"
    answer = await streamed(
        play, modern_call(id="42") if modern else b"", MODERN_HEADERS if modern else (), method=verb
    )
    await anext(answer.events)
    if waiting:
        reading = asyncio.ensure_future(anext(answer.events))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    await answer.events.aclose()  # type: ignore[attr-defined]
    await answer.events.aclose()  # type: ignore[attr-defined]
    ends = [draft for draft in play.drafts if draft.event in ("call.result", "stream.close")]
    assert [(draft.event, draft.reason) for draft in ends] == [
        ("call.result" if modern else "stream.close", Reason.CANCELLED)
    ]
    assert play.events.count("upstream closed") == 1


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
async def test_a_hang_up_while_the_result_is_being_recorded_makes_no_second_one(modern: bool) -> None:
    play = Play()
    durable = asyncio.Event()
    play.ledger.holds_on = lambda draft: durable if draft.event == "call.result" else None
    play.answers(event(MODERN_RESULT if modern else RESULT), content_type=STREAM)
    answer = await streamed(play, modern_call(id="42") if modern else CALL, MODERN_HEADERS if modern else ())
    reading = asyncio.ensure_future(anext(answer.events))
    await until(lambda: play.ledger.held)
    reading.cancel()
    closing = asyncio.ensure_future(answer.events.aclose())  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    durable.set()
    await closing
    assert results(play) == [Reason.COMPLETED]


async def test_a_legacy_hang_up_before_the_answer_cancels_nothing() -> None:
    play = Play()
    play.upstreams.hold = asyncio.Event()
    play.answers(RESULT)
    asking = asyncio.ensure_future(play.ask(CALL))
    await until(lambda: play.sent)
    play.gone.set()
    await asyncio.sleep(0)
    play.upstreams.hold.set()
    assert (await asking).status == 200
    assert results(play) == [Reason.COMPLETED]


async def test_a_modern_hang_up_while_a_body_is_read_cancels_too() -> None:
    play = Play()
    play.answers(b"{", asyncio.Event(), content_type=b"application/json")
    asking = asyncio.ensure_future(play.ask(modern_call(id="42"), headers=MODERN_HEADERS))
    await until(lambda: play.sent)
    play.gone.set()
    async with asyncio.timeout(10):
        await asking
    assert results(play) == [Reason.CANCELLED] and play.events.count("upstream closed") == 1


async def test_a_stream_keeps_its_callers_place_until_it_has_ended() -> None:
    play = Play()
    play.answers(event(NOTE), asyncio.Event(), content_type=STREAM)
    answer = await streamed(play, modern_call(id="42"), MODERN_HEADERS)
    assert sum(play.world.running.values()) == 1
    await answer.events.aclose()  # type: ignore[attr-defined]
    assert play.world.running == {}
