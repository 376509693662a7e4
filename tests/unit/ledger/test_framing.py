"""Segments and frames in bytes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.ledger.framing import (
    HEADER_BYTES,
    FrameKind,
    SegmentError,
    SegmentHeader,
    apart,
    decode_header,
    encode_header,
    frame,
    frame_head,
    read_frame,
    read_frames,
    take_groups,
    used_bytes,
)

HEADER = SegmentHeader(
    writer="gate-0", epoch="01a2000000000badc0de", number=3, first_sequence=17, tree_size=70_000, segment_bytes=64 << 20
)
frames = st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(min_size=1, max_size=200)), max_size=6)


def test_a_header_reads_back_and_no_changed_one_does() -> None:
    page = encode_header(HEADER)
    assert len(page) == HEADER_BYTES
    assert decode_header(page) == HEADER
    for position in (0, 8, 9, 12, 20, 60, 130, 2_000, HEADER_BYTES - 1):
        changed = bytearray(page)
        changed[position] ^= 1
        with pytest.raises(SegmentError):
            decode_header(bytes(changed))


@pytest.mark.parametrize(
    "lie", [{"segment_bytes": 0}, {"segment_bytes": HEADER_BYTES}, {"writer": "g\u00e4te-0"}], ids=str
)
def test_a_header_that_no_writer_makes_is_refused_though_its_sum_is_right(lie: dict[str, object]) -> None:
    with pytest.raises(SegmentError, match="no writer"):
        decode_header(encode_header(msgspec.structs.replace(HEADER, **lie)))


def test_a_newer_format_is_refused_by_its_number() -> None:
    page = bytearray(encode_header(HEADER))
    page[8] = 2
    with pytest.raises(SegmentError, match="format 2"):
        decode_header(bytes(page))


@given(frames, st.integers(0, 50))
def test_frames_read_back_up_to_the_zeros(written: list[tuple[FrameKind, bytes]], zeros: int) -> None:
    data = b"".join(frame(kind, body) for kind, body in written)
    assert [(found.kind, found.body) for found in read_frames(data + bytes(zeros), 0)] == written


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=40))
def test_a_body_in_two_parts_has_the_head_of_the_whole(place: bytes, content: bytes) -> None:
    head = frame_head(FrameKind.PAYLOAD, place, content)
    assert head + place + content == frame(FrameKind.PAYLOAD, place + content)


@given(frames)
def test_what_lies_one_behind_the_other_is_taken_apart(written: list[tuple[FrameKind, bytes]]) -> None:
    each = [frame(kind, body) for kind, body in written]
    assert apart(b"".join(each)) == each


@given(frames.filter(bool), st.data())
def test_a_cut_ends_the_reading_at_a_whole_frame(written: list[tuple[FrameKind, bytes]], data: st.DataObject) -> None:
    whole = b"".join(frame(kind, body) for kind, body in written)
    cut = data.draw(st.integers(0, len(whole) - 1))
    found = [(each.kind, each.body) for each in read_frames(whole[:cut] + bytes(30), 0)]
    assert found == written[: len(found)]
    # Where only zeros were cut off, the zeros of the segment stand in their place and nothing is missing.
    assert len(found) < len(written) or not any(whole[cut:])


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_changed_byte_is_no_frame(body: bytes, data: st.DataObject) -> None:
    whole = bytearray(frame(FrameKind.LEAF, body))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert read_frame(bytes(whole), 0) is None


def test_what_a_torn_write_left_is_measured() -> None:
    assert used_bytes(bytes(10), 0) == 0
    assert used_bytes(b"\0\0ab\0\0", 1) == 3


@given(frames, st.integers(0, 1 << 40), st.integers(0, 30))
def test_groups_are_the_frames_before_each_leaf_up_to_the_last_whole_one(
    written: list[tuple[FrameKind, bytes]], base: int, lost: int
) -> None:
    data = b"".join(frame(kind, body) for kind, body in written)
    data = data[: max(0, len(data) - lost)] + bytes(20)
    groups: list[tuple[bytes, tuple[bytes, ...]]] = []
    ends: list[int] = []
    pending = [b"from before"]
    end, last = 0, None
    for found in read_frames(data, 0):
        last = found.kind
        if found.kind is FrameKind.LEAF:
            groups.append((found.body, tuple(pending)))
            ends.append(base + found.end)
            pending = []
        elif found.kind in (FrameKind.PAYLOAD, FrameKind.DATA_KEY):
            pending.append(data[end : found.end])
        end = found.end
        if found.kind in (FrameKind.TURN, FrameKind.END):
            break
    steps: list[None] = []
    taken = take_groups(data, base, [b"from before"], lambda: steps.append(None))
    assert len(steps) == len(groups)
    assert [(group.leaf, group.frames) for group in taken.groups] == groups
    assert (taken.ends, taken.pending, taken.offset) == (ends, pending, base + end)
    assert (taken.turned, taken.closed) == (last is FrameKind.TURN, last is FrameKind.END)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_changed_byte_ends_the_taking(body: bytes, data: st.DataObject) -> None:
    stored = frame(FrameKind.LEAF, body)
    position = data.draw(st.integers(0, len(stored) - 1))
    changed = bytearray(stored)
    changed[position] ^= data.draw(st.integers(1, 255))
    assert take_groups(bytes(changed), 7, []).offset == 7
