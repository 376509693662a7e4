"""Event streams through the gate: cut anywhere, many events at once, each line end, comments, retries (WHATWG HTML §9.2.5)."""

import threading
from collections.abc import Iterator

import pytest

from tests.e2e.attacks.recording import Asked, stream_head
from tests.e2e.wire.place import (
    LAST_CHUNK,
    NOTE,
    Place,
    answer,
    chunk,
    event,
    events_then_end,
    modern,
    stream_begins,
)

BODY, HEADERS = modern("tools/call", "t", arguments={})
LEGACY = {"MCP-Protocol-Version": "2025-11-25"}
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"text":"\xc3\xbc\xf0\x9f\x98\x80"}}'
LINES = [
    b": hello", b"", b"id: 0", b"retry: 100", b"data:", b"",
    b"event: message", b"data:" + NOTE[:17], b":in between", b"data", b"data: " + NOTE[17:], b"x: y", b"", b"",
    b"data: " + RESULT, b"id", b"", b": bye", b"",
]  # fmt: skip
"""A comment, a priming event, a notification on three lines of data (a line break stands between two of its tokens), the result."""
ENDS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


def written(end: bytes) -> bytes:
    return b"".join(line + end for line in LINES)


def stream_of(pieces: list[bytes]) -> Iterator[bytes]:
    yield stream_begins()
    for piece in pieces:
        yield chunk(piece)
    yield LAST_CHUNK


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "after a byte order mark"])
def test_a_stream_cut_at_every_byte_arrives_whole(place: Place, end: bytes, mark: bytes) -> None:
    told = mark + written(end)
    pieces = [told[place_ : place_ + 1] for place_ in range(len(told))]
    with place.playing(lambda asked: stream_of(pieces)):
        got = place.ask(BODY, bearer=place.token(), headers=HEADERS)
    assert (got.status, got.body) == (200, told)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_stream_cut_in_two_at_any_place_arrives_whole(place: Place, end: bytes) -> None:
    told = written(end)
    bearer = place.token()
    for cut in range(1, len(told)):
        with place.playing(lambda asked, cut=cut: stream_of([told[:cut], told[cut:]])):
            got = place.ask(BODY, bearer=bearer, headers=HEADERS)
        assert (got.status, got.body) == (200, told), cut


def test_many_events_in_one_packet_arrive_in_order(place: Place) -> None:
    notes = [event(NOTE.replace(b"on it", b"number %d" % number)) for number in range(2000)]
    told = b"".join(notes) + b": done\n\n" + event(RESULT)
    with place.playing(lambda asked: stream_of([told])):
        got = place.ask(BODY, bearer=place.token(), headers=HEADERS)
    assert (got.status, got.body) == (200, told)


def test_line_ends_may_change_within_a_stream(place: Place) -> None:
    told = b"data: " + NOTE + b"\n\r\ndata: " + NOTE + b"\r\n\ndata: " + RESULT + b"\n\n"
    with place.playing(lambda asked: stream_of([told])):
        got = place.ask(BODY, bearer=place.token(), headers=HEADERS)
    assert (got.status, got.body) == (200, told)


@pytest.mark.parametrize("framing", ["chunks", "the connection's end"])
def test_what_has_no_end_of_its_own_is_dropped_as_a_client_would(place: Place, framing: str) -> None:
    """§9.2.6: an event without its blank line is discarded."""

    def script(asked: Asked) -> Iterator[bytes]:
        told = event(RESULT) + b"data: " + NOTE + b"\n"
        if framing == "chunks":
            yield from stream_of([told])
        else:
            yield stream_head() + told
            return

    with place.playing(script):
        got = place.ask(BODY, bearer=place.token(), headers=HEADERS)
    assert (got.status, got.body) == (200, event(RESULT))


def test_each_event_and_comment_leaves_before_the_next_is_there(place: Place) -> None:
    """Nothing waits for what comes behind it: the server goes on only when the client has what was said so far."""
    pieces = [b": are you there?\n\n", event(NOTE), b"id: 7\nretry: 3\ndata:\n\n", event(RESULT)]
    seen = [threading.Event() for _ in pieces]

    def script(asked: Asked) -> Iterator[bytes]:
        yield stream_begins()
        for piece, it in zip(pieces, seen, strict=True):
            yield chunk(piece)
            assert it.wait(20)
        yield LAST_CHUNK

    with place.playing(script), place.opened(BODY, place.token(), HEADERS) as got:
        for piece, it in zip(pieces, seen, strict=True):
            assert got.read(len(piece)) == piece
            it.set()
        assert got.read() == b""


def test_an_event_that_is_masked_keeps_its_other_lines_and_its_neighbours_every_byte(place: Place) -> None:
    before, behind = b": a\r\n\r\n" + event(NOTE), event(RESULT) + b": z\n\n"
    card = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"4111111111111111"}}'
    told = b"id: 5\r\nevent: message\r\ndata: %b\r\nretry: 9\r\n\r\n"
    with place.playing(lambda asked: stream_of([before + told % card + behind])):
        got = place.ask(BODY, bearer=place.token(), headers=HEADERS)
    assert got.body == before + told % card.replace(b"4111111111111111", b"411111******1111") + behind


@pytest.mark.parametrize("headers", [LEGACY, HEADERS], ids=["legacy", "modern"])
def test_a_stream_that_ends_without_its_answer_is_ended_with_an_error_for_the_call(
    place: Place, headers: dict[str, str]
) -> None:
    body = BODY if headers is HEADERS else b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}'
    with place.playing(lambda asked: stream_of([event(NOTE)])):
        got = place.ask(body, bearer=place.token(), headers=headers)
    assert got.body.startswith(event(NOTE)) and b'"reason":"upstream_broken"' in got.body
    assert b'"id":1,' in got.body


def test_streams_leave_their_connections_usable(place: Place) -> None:
    """Behind the gate too: a hundred streams one after the other need a few connections to the server."""
    bearer, before = place.token(), place.payments.connections
    with place.playing(lambda asked: iter([events_then_end(event(answer(asked)))])):
        assert {place.ask(BODY, bearer=bearer, headers=HEADERS).status for _ in range(100)} == {200}
    assert place.payments.connections - before <= 8
