"""The frames of a payload file: one session's data keys and payloads, as the sealer laid them down, and what is left of them where bytes are damaged."""

import re
from collections.abc import Iterator
from io import SEEK_END
from typing import Protocol

import msgspec

from gatebook.ledger import payload
from gatebook.ledger.framing import FRAME_BYTES, Frame, FrameKind, read_frame

_CHUNK_BYTES = 4 << 20
_LENGTH_BYTES = 4
_LARGEST_FRAME_BYTES = 2 << 20
"""No writer makes one of more than a mebibyte and what belongs around it."""
_FIRST_LOOK_BYTES, _LOOK_BYTES = 4 << 10, 64 << 10
_NAME = re.compile(r"[0-9a-f]{2}/([0-9a-f]{32})\.pay")
_STORED = (FrameKind.PAYLOAD, FrameKind.DATA_KEY)
_SPARE_BYTES, _SPARE_TIMES = 64 << 20, 8


class Bytes(Protocol):
    """What is needed of a file: a BinaryIO, or one that is read around its faults."""

    def read(self, count: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class Stored(msgspec.Struct, frozen=True):
    """A frame of a payload file, with its place and its content (sealed bytes or a wrapped key)."""

    kind: FrameKind
    place: payload.Place
    content: bytes
    start: int
    end: int

    @property
    def is_piece(self) -> bool:
        """Of a payload; else it is a data key."""
        return self.kind is FrameKind.PAYLOAD


class Damage(msgspec.Struct, frozen=True):
    """Bytes of a payload file, from offset `start` up to `end`, that are no frame of its session. `begun`: they end the file, and may be the
    beginning of a frame that its sealer is writing."""

    start: int
    end: int
    begun: bool


class UnfinishedFrame(payload.PayloadError):
    """A payload file ends within a frame: its sealer is writing it, or ended before it had. The next one writes it once more."""


def payload_name(session: str) -> str:
    """Where a session's payloads lie under the payload directory."""
    return f"{session[:2]}/{session}.pay"


def session_of(name: str) -> str | None:
    """The session whose payloads lie under that name, the inverse of `payload_name`; None where it is no session's."""
    match = _NAME.fullmatch(name)
    return match[1] if match is not None and payload_name(match[1]) == name else None


def stored_frames(file: Bytes) -> Iterator[Stored]:
    """The frames of a payload file. Raises PayloadError at the first byte that belongs to none, and UnfinishedFrame where one has only begun there."""
    for frame in frames_of(file):
        if frame.kind not in _STORED:
            raise payload.PayloadError(f"a frame of kind {frame.kind} before offset {frame.end}")
        yield _stored(frame)


def sound_frames(file: Bytes, start: int, session: bytes) -> Iterator[Stored]:
    """The frames of the payload file of `session` from offset `start` on, passing over whatever is none. Each bears the session's name right behind
    its head: where one is damaged the next is found by it. Raises PayloadError where the name is nearly everywhere and no frame: looking on would take for
    ever."""
    spare = _SPARE_BYTES + _SPARE_TIMES * file.seek(0, SEEK_END)
    offset = start
    while offset >= 0:
        found = _sound_frame(file, offset, session)
        if found is not None:
            yield found
            offset = found.end
            continue
        spare -= max(0, file.tell() - offset)
        looked_from = offset + 1
        offset = _next_head(file, looked_from, session)
        spare -= max(0, file.tell() - looked_from)
        if offset >= 0 > spare:
            raise payload.PayloadError(
                f"it is damaged throughout before offset {offset}: what is behind that was not looked at"
            )


def frames_and_damage(file: Bytes, session: bytes) -> Iterator[Stored | Damage]:
    """All of the payload file of `session`, in its order: every sound frame, and every stretch that is none. Linear in the file's length, whatever
    is in it. Raises PayloadError as `sound_frames` does; then what is behind the last frame was not looked at."""
    # Known before a frame is read: what a sealer appends meanwhile is no damage.
    size, end = file.seek(0, SEEK_END), 0
    for stored in sound_frames(file, 0, session):
        if stored.start > end:
            yield Damage(end, stored.start, begun=False)
        yield stored
        end = stored.end
    if end < size:
        file.seek(end)
        yield Damage(end, size, begun=_has_begun(file.read(_LENGTH_BYTES), size - end))


def _sound_frame(file: Bytes, offset: int, session: bytes) -> Stored | None:
    file.seek(offset)
    head = file.read(FRAME_BYTES + len(session))
    length = int.from_bytes(head[:4], "little")
    # No writer makes frames as long as a chunk, and a damaged length can say anything.
    if head[FRAME_BYTES:] != session or not len(session) < length < _CHUNK_BYTES:
        return None
    frame = read_frame(head + file.read(length - len(session)), 0)
    if frame is None or frame.kind not in _STORED:
        return None
    try:
        return _stored(frame, offset)
    except payload.PayloadError:
        return None


def _next_head(file: Bytes, offset: int, session: bytes) -> int:
    """Where the next frame at `offset` or behind it may begin; below 0 where none does. What is zeros, or of no kind that is stored here, is no head: a
    session may be named by bytes that are everywhere."""
    overlap = FRAME_BYTES + len(session) - 1
    base, data, look = offset, b"", _FIRST_LOOK_BYTES  # most damage is small, and the next frame near
    file.seek(base)
    while more := file.read(look):
        look = min(2 * look, _LOOK_BYTES)
        data += more
        found = (_first_head(data, bytes([kind]) + session) for kind in _STORED)
        if (at := min((each for each in found if each >= 0), default=-1)) >= 0:
            return base + at
        base, data = base + max(0, len(data) - overlap), data[-overlap:]
    return -1


def _first_head(data: bytes, mark: bytes) -> int:
    """Where in `data` the first head is that ends in `mark`, a kind and a session's name, and does not say that nothing follows; below 0 where none is."""
    at = FRAME_BYTES - 2
    while (at := data.find(mark, at + 1)) >= 0:
        if any(data[at - FRAME_BYTES + 1 : at - FRAME_BYTES + 5]):
            return at - FRAME_BYTES + 1
    return -1


def _stored(frame: Frame, base: int = 0) -> Stored:
    """`base`: of what `frame.end` counts from."""
    place, content = payload.read_stored_body(frame.body)
    end = base + frame.end
    return Stored(frame.kind, place, content, end - FRAME_BYTES - len(frame.body), end)


def frames_of(file: Bytes) -> Iterator[Frame]:
    """Frames from where `file` stands, with their offsets in it, reading a few megabytes at a time. Raises PayloadError where bytes are left that are no frame,
    UnfinishedFrame where they may be the beginning of one."""
    base, data = file.tell(), file.read(_CHUNK_BYTES)
    offset = 0
    while True:
        found = read_frame(data, offset)
        if found is None:
            more = file.read(_CHUNK_BYTES)
            if more and len(data) - offset < _CHUNK_BYTES:
                base, data, offset = base + offset, data[offset:] + more, 0
                continue
            if offset < len(data):
                left = data[offset:]
                kind = (
                    UnfinishedFrame
                    if not more and _has_begun(left[:_LENGTH_BYTES], len(left))
                    else payload.PayloadError
                )
                raise kind(f"what is at offset {base + offset} is no frame")
            return
        yield Frame(found.kind, found.body, base + found.end)
        offset = found.end


def _has_begun(beginning: bytes, left: int) -> bool:
    """Whether the last `left` bytes of a file may be the beginning of a frame. Only its length is asked: of a write that was torn the rest may be
    anything. Zeros are the beginning of none that was written."""
    length = int.from_bytes(beginning, "little")
    return 0 < length <= _LARGEST_FRAME_BYTES and FRAME_BYTES + length > left
