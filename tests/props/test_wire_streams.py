"""An event stream is the same events however it is cut, and no byte of it is lost."""

import contextlib
import itertools

from hypothesis import given
from hypothesis import strategies as st

from gatebook.model.errors import Malformed
from gatebook.wire.sse import Event, EventSplitter, rewrite

LINES = st.sampled_from([
    b"data: x", b"data:", b"data", b"data: {\"a\":1}", b"id: 7", b"event: message", b"retry: 5", b": c", b":", b"x: y", b"",
    b"\xef\xbb\xbf", b"\xef\xbb\xbfdata: z", b"data: \xff\x00",
])  # fmt: skip
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def with_ends(ends: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.tuples(LINES, ends).map(b"".join), max_size=14).map(b"".join)


# One way to end lines, or both that cannot be confused; and everything, for which a refusal is an answer.
CLEAR = st.one_of(with_ends(st.sampled_from([b"\n", b"\r\n"])), with_ends(st.just(b"\r")), with_ends(st.just(b"\n")))
ANY = with_ends(ENDS) | st.binary(max_size=60) | st.text(alphabet="\r\ndata: \ufeff", max_size=60).map(str.encode)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(places)]


def split(cut: list[bytes]) -> tuple[list[Event], bytes]:
    splitter = EventSplitter(1 << 20)
    events = [event for piece in cut for event in splitter.feed(piece)]
    return events + splitter.finish(), splitter.rest()


def reference(stream: bytes) -> list[bytes]:
    """The data of each event, read line by line as WHATWG HTML §9.2.6 tells it."""
    if stream.startswith(b"\xef\xbb\xbf"):
        stream = stream[3:]
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    dispatched: list[bytes] = []
    data: list[bytes] = []
    for line in lines[:-1]:
        if not line:
            if data:
                dispatched.append(b"\n".join(data))
            data = []
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            name, value = line, b""
        if name == b"data":
            data.append(value[1:] if value.startswith(b" ") else value)
    return dispatched


@given(CLEAR, st.lists(st.integers(0, 400), max_size=12))
def test_every_way_of_cutting_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    assert split(pieces(stream, cuts)) == split([stream])


@given(CLEAR)
def test_the_events_are_those_of_the_standard(stream: bytes) -> None:
    assert [event.data for event in split([stream])[0] if event.data is not None] == reference(stream)


@given(ANY, st.lists(st.integers(0, 400), max_size=12))
def test_no_byte_is_lost_and_no_stream_brings_anything_but_malformed(stream: bytes, cuts: list[int]) -> None:
    with contextlib.suppress(Malformed):
        events, rest = split(pieces(stream, cuts))
        assert b"".join(event.raw for event in events) + rest == stream
        assert [event.data for event in events if event.data is not None] == reference(stream)


@given(ANY)
def test_a_stream_is_refused_whole_or_in_bytes_alike(stream: bytes) -> None:
    def refused(cut: list[bytes]) -> bool:
        try:
            split(cut)
        except Malformed:
            return True
        return False

    assert refused([stream]) == refused([stream[place : place + 1] for place in range(len(stream))])


@given(CLEAR, st.text(alphabet='abc \n:{}"', max_size=20).map(str.encode))
def test_a_rewritten_event_differs_in_its_data_alone(stream: bytes, data: bytes) -> None:
    for event in split([stream])[0]:
        if event.data is None:
            continue
        if event.raw.startswith(b"\xef\xbb\xbf") and not event.bom:
            continue  # alone, below, it would stand at a stream's beginning and mean something else
        changed = rewrite(event, data)
        (again,) = (found for found in split([changed])[0] if found.data is not None)
        assert again.data == data
        assert (again.id, again.event, again.retry) == (event.id, event.event, event.retry)
