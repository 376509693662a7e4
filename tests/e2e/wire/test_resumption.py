"""Streams that are left and taken up again: MCP 2025-11-25, basic/transports, resumability. The revision of 2026-07-28 has none."""

from collections.abc import Iterator

import pytest

from tests.e2e.attacks.recording import Asked, stream_head
from tests.e2e.wire.place import NOTE, Place, answer, event, events_then_end, kept

LEGACY = {"MCP-Protocol-Version": "2025-11-25"}
CALL = b'{"jsonrpc":"2.0","id":"long/1","method":"tools/call","params":{"name":"t","arguments":{}}}'
RESULT = b'{"jsonrpc":"2.0","id":"long/1","result":{"content":[]}}'
PRIMING = b"id: %b\nretry: 50\ndata:\n\n"
IDS = [
    b"1",
    b"stream-1/event-7?x=%2f&y",
    b"AAECAw==",
    b'"quoted", and more',
    b"z\xc3\xbcrich/\xf0\x9f\x98\x80",
    b"x" * 2000,
]


@pytest.mark.parametrize("identifier", IDS, ids=range(len(IDS)))
def test_a_call_is_left_by_its_server_and_answered_on_the_resumed_stream(place: Place, identifier: bytes) -> None:
    """The server hangs up after its priming event; the client comes back with its id, perhaps to the other worker."""
    seen: list[bytes] = []

    def script(asked: Asked) -> Iterator[bytes]:
        if asked.head.startswith(b"POST"):
            yield events_then_end(PRIMING % identifier)
        else:
            seen.extend(line for line in asked.head.split(b"\r\n") if line.lower().startswith(b"last-event-id:"))
            yield events_then_end(event(NOTE, b"id: 8"), event(RESULT, b"id: 9"))

    bearer = place.token()
    with place.playing(script):
        first = place.ask(CALL, bearer=bearer, headers=LEGACY)
        # Nothing is put in the answer's place: the call is not over.
        assert (first.status, first.body) == (200, PRIMING % identifier)
        again = {**LEGACY, "Accept": "text/event-stream", "Last-Event-ID": identifier.decode("latin-1")}
        for _ in range(6):  # each a connection of its own
            got = place.ask(bearer=bearer, headers=again, method="GET")
            assert (got.status, got.body) == (200, event(NOTE, b"id: 8") + event(RESULT, b"id: 9"))
    assert seen == [b"last-event-id: " + identifier] * 6


@pytest.mark.parametrize("end", ["at the end of an event", "within an event"])
def test_a_stream_that_breaks_can_be_resumed_from_its_last_whole_event(place: Place, end: str) -> None:
    """The connection to the server dies: the client gets what was whole, an end, and no error that would close its call."""

    def script(asked: Asked) -> Iterator[bytes]:
        if asked.head.startswith(b"POST"):
            yield stream_head() + event(NOTE, b"id: 5") + (b"id: 6\ndata: {" if end == "within an event" else b"")
        else:
            yield events_then_end(event(RESULT, b"id: 6"))

    bearer = place.token()
    with place.playing(script):
        first = place.ask(CALL, bearer=bearer, headers=LEGACY)
        assert (first.status, first.body) == (200, event(NOTE, b"id: 5"))
        again = {**LEGACY, "Accept": "text/event-stream", "Last-Event-ID": "5"}
        got = place.ask(bearer=bearer, headers=again, method="GET")
    assert (got.status, got.body) == (200, event(RESULT, b"id: 6"))


def test_a_resumed_call_ends_once_in_the_book(place: Place) -> None:
    def script(asked: Asked) -> Iterator[bytes]:
        yield events_then_end(PRIMING % b"0" if asked.head.startswith(b"POST") else event(RESULT, b"id: 1"))

    bearer = place.token("carol")
    with place.playing(script):
        left = place.attempt(lambda a: place.ask(CALL, bearer=bearer, headers=LEGACY, address=a))
        again = {**LEGACY, "Accept": "text/event-stream", "Last-Event-ID": "0"}
        came = place.attempt(lambda a: place.ask(bearer=bearer, headers=again, method="GET", address=a))
    closed = place.entries(lambda entries: len(entries) == 3, came.address)
    assert [entry.ev for entry in closed] == ["stream.open", "call.result", "stream.close"]
    assert (closed[1].x["id"], closed[1].out.reason) == ('"long/1"', "completed")
    begun = place.entries(bool, left.address)
    assert [entry.ev for entry in begun] == ["call.intent"]
    assert begun[0].sess == closed[1].sess


def test_a_stream_of_its_own_carries_what_the_server_says_unasked(place: Place) -> None:
    question = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    told = [b": hi\n\n", event(NOTE, b"id: a"), event(question, b"id: b"), b"retry: 10\n\n"]
    with place.playing(lambda asked: iter([events_then_end(*told)])):
        got = place.ask(bearer=place.token(), headers={**LEGACY, "Accept": "text/event-stream"}, method="GET")
    assert (got.status, got.body) == (200, b"".join(told))
    assert b"last-event-id" not in place.payments.asked[-1].head


def test_a_server_without_streams_says_so_in_its_own_words(place: Place) -> None:
    with place.playing(lambda asked: iter([kept(b"no", b"allow: POST", status=b"405 No", kind=b"text/plain")])):
        got = place.ask(bearer=place.token(), headers={**LEGACY, "Accept": "text/event-stream"}, method="GET")
    assert (got.status, got.body, got.headers["allow"]) == (405, b"no", "POST")


def test_a_session_spans_post_get_and_delete_under_one_handle(place: Place) -> None:
    """The server's id never leaves, the client's handle never arrives, whichever worker is asked."""
    theirs = b"s-1/!~"
    seen: list[bytes] = []

    def script(asked: Asked) -> Iterator[bytes]:
        seen.extend(line for line in asked.head.split(b"\r\n") if line.lower().startswith(b"mcp-session-id"))
        if asked.head.startswith(b"GET"):
            yield events_then_end(event(NOTE))
        elif asked.head.startswith(b"DELETE"):
            yield b"HTTP/1.1 204 No Content\r\n\r\n"
        else:
            yield kept(answer(asked), b"mcp-session-id: " + theirs)

    bearer = place.token()
    begin = (
        b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}'
    )
    with place.playing(script):
        handle = place.ask(begin, bearer=bearer).headers["mcp-session-id"]
        assert seen == [] and theirs.decode() not in handle
        headers = {**LEGACY, "Mcp-Session-Id": handle}
        for _ in range(8):
            got = place.ask(CALL, bearer=bearer, headers=headers)
            assert got.headers["mcp-session-id"] == handle
        streamed = place.ask(bearer=bearer, headers={**headers, "Accept": "text/event-stream"}, method="GET")
        assert streamed.body == event(NOTE)
        assert place.ask(bearer=bearer, headers=headers, method="DELETE").status == 204
    assert seen == [b"mcp-session-id: " + theirs] * 10
    with place.playing(lambda asked: iter([kept(b"", status=b"404 Not Found", kind=b"text/plain")])):
        assert place.ask(CALL, bearer=bearer, headers=headers).status == 404
