"""A writer's segment in bytes: a header page, then frames of length, CRC-32C, kind and body, then zeros.

A segment is preallocated with zeros, so a frame of length 0 is where writing stopped. Frames of one entry lie together, its leaf last:
an entry whose leaf is whole has all its payloads. Sequence of segments of one writer's epoch: every one but the last ends in TURN.
"""

import struct
from collections.abc import Callable, Iterator
from enum import IntEnum

import google_crc32c
import msgspec

from gatebook.model.errors import GatebookError

HEADER_BYTES = 4096
FRAME_BYTES = 9
VERSION = 1
_MAGIC = b"GBOOKSEG"
_HEADER = struct.Struct("<8sHxxIQQQ64s64s")
_FRAME = struct.Struct("<IIB")
_START = struct.Struct("<IB")
_CRC = struct.Struct("<I")
_pack_frame, _pack_start = _FRAME.pack, _START.pack
_value, _extend = google_crc32c.value, google_crc32c.extend


class FrameKind(IntEnum):
    LEAF = 1
    PAYLOAD = 2
    DATA_KEY = 3
    TURN = 4
    """The next segment of this epoch goes on."""
    END = 5
    """The writer closed: nothing comes after this in its epoch."""


_KINDS = {int(kind): kind for kind in FrameKind}
_LEAF, _TURN, _END = int(FrameKind.LEAF), int(FrameKind.TURN), int(FrameKind.END)
_STORED = frozenset({int(FrameKind.PAYLOAD), int(FrameKind.DATA_KEY)})


class SegmentError(GatebookError, ValueError):
    """A segment that we cannot read: not ours, damaged, or of a newer format."""


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """`number`: from 1 in its epoch. `first_sequence`: of the first leaf that can be in it. `tree_size`: of the checkpoint published when
    it was made: its entries have this index or a higher one."""

    writer: str
    epoch: str
    number: int
    first_sequence: int
    tree_size: int
    segment_bytes: int


class Frame(msgspec.Struct, frozen=True):
    kind: FrameKind
    body: bytes
    end: int
    """Offset after it."""


class Group(msgspec.Struct, frozen=True):
    """A leaf with the frames that belong to it (payloads, a data key), whole as stored."""

    leaf: bytes
    frames: tuple[bytes, ...]


class Taken(msgspec.Struct):
    """What `take_groups` found: whole groups, the offset after each one's leaf, frames whose leaf is still to come, the offset after the last
    frame, and how it ended: with TURN, with END, or (both False) with bytes that are no whole frame, or with the end of what was given."""

    groups: list[Group]
    ends: list[int]
    pending: list[bytes]
    offset: int
    turned: bool = False
    closed: bool = False


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an ended writer's segments end. `clean`: with its own last frame. `damaged`: within what was published. `beyond_mark`: leaves taken that were
    not published, `torn_bytes`: bytes after the last whole frame, `orphans`: whole frames whose leaf never came; `offset` in segment `segment`: where
    taking stopped."""

    clean: bool
    damaged: bool = False
    beyond_mark: int
    torn_bytes: int
    orphans: int
    segment: int
    offset: int


TURN_FRAME_BYTES = FRAME_BYTES + 1


def segment_name(writer: str, epoch: str, number: int) -> str:
    return f"{writer}-{epoch}-{number:06d}.seg"


def encode_header(header: SegmentHeader) -> bytes:
    """The header page, HEADER_BYTES long, its CRC-32C in the last four bytes."""
    fixed = _HEADER.pack(
        _MAGIC, VERSION, header.number, header.first_sequence, header.tree_size, header.segment_bytes,
        header.writer.encode(), header.epoch.encode(),
    )  # fmt: skip
    page = fixed.ljust(HEADER_BYTES - 4, b"\0")
    return page + _CRC.pack(google_crc32c.value(page))


def decode_header(page: bytes) -> SegmentHeader:
    """Raises SegmentError."""
    if len(page) < HEADER_BYTES or page[: len(_MAGIC)] != _MAGIC:
        raise SegmentError("not a segment")
    _, version, number, first, size, length, writer, epoch = _HEADER.unpack_from(page)
    if version != VERSION:
        raise SegmentError(f"segment format {version} is not known here (up to {VERSION})")
    if _CRC.unpack_from(page, HEADER_BYTES - 4)[0] != google_crc32c.value(page[: HEADER_BYTES - 4]):
        raise SegmentError("the header is damaged")
    if length <= HEADER_BYTES or not (writer + epoch).isascii():
        raise SegmentError("no writer makes such a header")
    return SegmentHeader(
        writer=writer.rstrip(b"\0").decode(),
        epoch=epoch.rstrip(b"\0").decode(),
        number=number,
        first_sequence=first,
        tree_size=size,
        segment_bytes=length,
    )


def frame(kind: FrameKind, body: bytes) -> bytes:
    """`body` (not empty) with its frame; the CRC covers length, kind and body."""
    length = len(body)
    return _pack_frame(length, _extend(_value(_pack_start(length, kind)), body), kind) + body


def frame_head(kind: FrameKind, place: bytes, content: bytes) -> bytes:
    """What stands before `place` and `content` in the frame whose body they are: where that is large, it need not be copied."""
    length = len(place) + len(content)
    return _pack_frame(length, _extend(_extend(_value(_pack_start(length, kind)), place), content), kind)


def apart(frames: bytes) -> list[bytes]:
    """Each of these whole frames, which lie one behind the other, by itself."""
    found, start = [], 0
    while start < len(frames):
        end = start + FRAME_BYTES + _FRAME.unpack_from(frames, start)[0]
        found.append(frames[start:end])
        start = end
    return found


def read_frame(data: bytes | memoryview, offset: int) -> Frame | None:
    """The frame at `offset`; None where none is whole and sound there: zeros, the end of `data`, or a torn write."""
    if offset + FRAME_BYTES > len(data):
        return None
    length, crc, kind = _FRAME.unpack_from(data, offset)
    end = offset + FRAME_BYTES + length
    known = _KINDS.get(kind)
    if length == 0 or end > len(data) or known is None:
        return None
    body = bytes(data[offset + FRAME_BYTES : end])
    if google_crc32c.extend(google_crc32c.value(_START.pack(length, kind)), body) != crc:
        return None
    return Frame(known, body, end)


def take_groups(data: bytes, base: int, pending: list[bytes], give_way: Callable[[], None] = lambda: None) -> Taken:
    """The frames of `data`, whose first byte is at offset `base` of a segment, as groups; `pending`: frames that came before.

    As `read_frame` over and over, in one loop: the sealer passes here with every frame there is. `give_way` is called after each group.
    """
    unpack, pack, value, extend = _FRAME.unpack_from, _START.pack, google_crc32c.value, google_crc32c.extend
    groups: list[Group] = []
    ends: list[int] = []
    found = Taken(groups, ends, pending, base)
    start, size = 0, len(data)
    while (content := start + FRAME_BYTES) <= size:
        length, crc, kind = unpack(data, start)
        end = content + length
        if length == 0 or end > size or kind not in _KINDS:
            break
        body = data[content:end]
        if extend(value(pack(length, kind)), body) != crc:
            break
        if kind == _LEAF:
            groups.append(Group(body, tuple(pending)))
            ends.append(base + end)
            pending = []
            give_way()
        elif kind in _STORED:
            pending.append(data[start:end])
        start = end
        if kind in (_TURN, _END):
            found.turned, found.closed = kind == _TURN, kind == _END
            break
    found.pending, found.offset = pending, base + start
    return found


def read_frames(data: bytes | memoryview, offset: int) -> Iterator[Frame]:
    """Frames from `offset` to the first that is not whole and sound."""
    while (found := read_frame(data, offset)) is not None:
        yield found
        offset = found.end


def used_bytes(data: bytes | memoryview, offset: int) -> int:
    """Bytes from `offset` to the last one that is not zero: what a torn write left behind."""
    return len(bytes(data[offset:]).rstrip(b"\0"))
