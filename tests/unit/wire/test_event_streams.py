"""Event streams in pieces. The cases are data: tests/vectors/wire/event_streams.json."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gatebook.model.errors import Malformed, Reason
from gatebook.wire.sse import Event, EventSplitter, rewrite

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors/wire/event_streams.json").read_text(encoding="utf-8")
)
FIELDS = ("data", "id", "event", "retry")


def split(pieces: Iterable[bytes], limit: int = 1 << 20) -> tuple[list[Event], bytes]:
    splitter = EventSplitter(limit)
    events = [event for piece in pieces for event in splitter.feed(piece)]
    events += splitter.finish()
    return events, splitter.rest()


def expected(case: dict[str, Any]) -> tuple[list[Event], bytes]:
    events: list[Event] = []
    for event in case["events"]:
        fields = {name: None if event.get(name) is None else event[name].encode() for name in FIELDS}
        bom = not events and case["stream"].startswith("\ufeff")
        events.append(Event(raw=event["raw"].encode(), bom=bom, **fields))
    return events, case["rest"].encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_a_stream_is_split_as_the_standard_says_wherever_it_is_cut(case: dict[str, Any]) -> None:
    stream = case["stream"].encode()
    assert split([stream]) == expected(case)
    for cut in range(len(stream) + 1):
        assert split([stream[:cut], stream[cut:]]) == expected(case)
    assert split(stream[place : place + 1] for place in range(len(stream))) == expected(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_no_byte_is_lost_or_added(case: dict[str, Any]) -> None:
    events, rest = split([case["stream"].encode()])
    assert b"".join(event.raw for event in events) + rest == case["stream"].encode()


def test_a_whole_event_is_given_as_soon_as_its_last_byte_is_here() -> None:
    splitter = EventSplitter(1 << 10)
    assert splitter.feed(b"data: x\r\n\r") == []
    assert [event.data for event in splitter.feed(b"\n")] == [b"x"]
    assert [event.raw for event in splitter.feed(b":\r\n")] == [b":\r\n"]


def test_a_stream_of_cr_alone_waits_for_nothing() -> None:
    splitter = EventSplitter(1 << 10)
    assert [event.data for event in splitter.feed(b"data: x\r\r")] == [b"x"]
    assert [event.raw for event in splitter.feed(b":\r")] == [b":\r"]


@pytest.mark.parametrize("stream", [b"data: x\rdata: y\r\ndata: z\r\n\r\n", b"data: x\r\r\n", b"data: x\ry\r\n"])
def test_a_stream_that_could_be_cut_in_two_ways_is_refused_wherever_it_is_cut(stream: bytes) -> None:
    for cut in range(len(stream)):
        splitter = EventSplitter(1 << 10)
        with pytest.raises(Malformed) as caught:
            splitter.feed(stream[:cut]) + splitter.feed(stream[cut:])
        assert caught.value.reason is Reason.UPSTREAM_INVALID


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_an_event_above_the_limit_is_refused_before_it_is_whole(piece: int, end: bytes) -> None:
    stream = b"data: " + b"x" * 200 + end
    with pytest.raises(Malformed) as caught:
        split((stream[place : place + piece] for place in range(0, len(stream), piece)), limit=100)
    assert caught.value.reason is Reason.UPSTREAM_TOO_LARGE


def test_the_limit_is_for_each_event_not_for_the_stream() -> None:
    events, _ = split([b"data: 12345678\n\n" * 1000], limit=16)
    assert len(events) == 1000
    with pytest.raises(Malformed):
        split([b"data: 12345678\n\n" * 1000], limit=15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stream", "piece"),
    [
        (b"data: " + b"x" * 2_000_000 + b"\n\n", 50),
        (b"data: x\n" * 250_000 + b"\n", 50),
        (b"data: x\r" * 250_000 + b"\r", 50),
        (b"data: x\r\n" * 250_000 + b"\r\n", 50),
        (b"data: x\n" * 250_000 + b"\n", 1 << 24),
        (b"data: x\r" * 250_000 + b"\r", 1 << 24),
        (b"data: x\n\n" * 100_000, 1 << 24),
        (b"\n" * 200_000, 1 << 24),
    ],
    ids=lambda value: repr(value[:16]) if isinstance(value, bytes) else str(value),
)
def test_two_megabytes_take_linear_time_in_small_pieces_and_in_one(stream: bytes, piece: int) -> None:
    splitter = EventSplitter(1 << 24)
    before = time.thread_time()
    raw = [
        event.raw for start in range(0, len(stream), piece) for event in splitter.feed(stream[start : start + piece])
    ]
    raw += [event.raw for event in splitter.finish()]
    assert time.thread_time() - before < 4
    assert b"".join(raw) == stream


def test_a_rewritten_event_keeps_every_other_line_byte_for_byte() -> None:
    (event,) = EventSplitter(1 << 10).feed(
        b"\xef\xbb\xbfid:7\r\n: c\r\ndata:old\r\nretry:  5\r\ndata: old\r\nx\r\n\r\n"
    )
    assert rewrite(event, b'{"new":1}') == b'\xef\xbb\xbfid:7\r\n: c\r\ndata: {"new":1}\r\nretry:  5\r\nx\r\n\r\n'


def test_a_rewritten_first_line_keeps_the_byte_order_mark() -> None:
    (event,) = EventSplitter(1 << 10).feed(b"\xef\xbb\xbfdata: a\n\n")
    assert rewrite(event, b"b") == b"\xef\xbb\xbfdata: b\n\n"


@pytest.mark.parametrize("data", [b"", b"a", b" a", b"a\nb", b"a\n", b"\n\na", b"data: x", b":x"])
def test_rewritten_data_is_read_again_as_it_was_meant(data: bytes) -> None:
    (event,) = EventSplitter(1 << 10).feed(b"id: 7\nevent: message\ndata: a\ndata: b\n\n")
    (again,) = EventSplitter(1 << 10).feed(rewrite(event, data))
    assert (again.data, again.id, again.event) == (data, b"7", b"message")


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\r", b"\n\n"])
def test_no_line_end_in_new_data_makes_a_second_event(end: bytes) -> None:
    (event,) = EventSplitter(1 << 10).feed(b"data: a\n\n")
    (again,) = EventSplitter(1 << 10).feed(rewrite(event, b"x" + end + b"data: y"))
    assert again.data == b"x\n\ndata: y"


def test_an_event_without_data_is_not_given_any() -> None:
    with pytest.raises(ValueError, match="without data"):
        rewrite(Event(raw=b": c\n"), b"x")


@pytest.mark.parametrize(
    "stream", [b"data: a\rdata: b\n\n", b"data: a\nid: 7\rdata: b\n\n", b"data: a\r: c\rdata: b\n\n"]
)
def test_a_rewritten_event_ends_where_it_ended_though_lines_between_cr_and_lf_are_gone(stream: bytes) -> None:
    """CR of one line and LF of the next would join into one line end: the event would go on into the next one."""
    [event] = EventSplitter(1000).feed(stream)
    changed = rewrite(event, b"new")
    [again] = EventSplitter(1000).feed(changed)
    assert (again.data, again.id, again.raw) == (b"new", event.id, changed)
