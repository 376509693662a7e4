"""Reading a log without a lock and without trusting an index: entries by their place, searches by a walk, recordings by the private key."""

import contextlib
from array import array
from collections.abc import Callable, Iterator
from io import SEEK_END
from typing import BinaryIO

import msgspec

from gatebook.ledger import payload
from gatebook.ledger.checkpoint import Checkpoint, claimed
from gatebook.ledger.entry import Entry, Pay, decode
from gatebook.ledger.files import Files
from gatebook.ledger.framing import FRAME_BYTES, Frame, FrameKind, read_frame
from gatebook.ledger.merkle import TILE_WIDTH
from gatebook.ledger.tiles import parse_tile_name, read_bundle, tile_name
from gatebook.model.secret import Secret

_CHUNK_BYTES = 4 << 20
_LENGTH_BYTES = 4
_LARGEST_FRAME_BYTES = 2 << 20
"""No writer makes one of more than a mebibyte and what belongs around it."""
_LOOK_BYTES = 64 << 10
_STORED = (FrameKind.PAYLOAD, FrameKind.DATA_KEY)
_SPARE_BYTES, _SPARE_TIMES = 64 << 20, 8


class Indexed(msgspec.Struct, frozen=True):
    """An entry, its index in the log, and its bytes."""

    index: int
    entry: Entry
    leaf: bytes


class Stored(msgspec.Struct, frozen=True):
    """A frame of a payload file, with its place and its content (sealed bytes or a wrapped key)."""

    kind: FrameKind
    place: payload.Place
    content: bytes
    start: int
    end: int


class UnfinishedFrame(payload.PayloadError):
    """A payload file ends within a frame: its sealer is writing it, or ended before it had. The next one writes it once more."""


def head(log: Files) -> Checkpoint:
    """The state that the published checkpoint claims; nothing is verified. Raises FileNotFoundError where nothing was published yet."""
    return claimed(log.read("checkpoint"))


def archived_sizes(log: Files) -> "array[int]":
    """The sizes whose checkpoints are archived, ascending. A file that is not named for one is none of them."""
    sizes = array("Q")
    for name in log.names("checkpoints"):
        size = name.removeprefix("checkpoints/")
        if size.isascii() and size.isdecimal() and str(int(size)) == size and int(size) < 1 << 63:
            sizes.append(int(size))
    return array("Q", sorted(sizes))


def leaves(log: Files, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(index, entry bytes) for start ≤ index < end. Raises FileNotFoundError, BundleError."""
    for bundle in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
        first = bundle * TILE_WIDTH
        for offset, leaf in enumerate(_bundle(log, bundle, min(TILE_WIDTH, end - first))):
            if first + offset >= start:
                yield first + offset, leaf


def leaves_backwards(log: Files, end: int) -> Iterator[tuple[int, bytes]]:
    """(index, entry bytes) from end - 1 down to 0."""
    for bundle in range(-(-end // TILE_WIDTH) - 1, -1, -1):
        first = bundle * TILE_WIDTH
        found = _bundle(log, bundle, min(TILE_WIDTH, end - first))
        for offset in range(len(found) - 1, -1, -1):
            yield first + offset, found[offset]


def _bundle(log: Files, index: int, width: int) -> list[bytes]:
    """The first `width` entries of a bundle, from whichever of its files holds as many."""
    try:
        return read_bundle(index, width, log.read)
    except FileNotFoundError:
        wider = widest_partial(log, index)
        if wider < width:
            raise
        return read_bundle(index, wider, log.read)[:width]


def widest_partial(log: Files, index: int) -> int:
    """Entries in the widest partial file of a bundle; 0 where it has none."""
    found = (parse_tile_name(name) for name in log.names(f"{tile_name(None, index)}.p"))
    return max((tile[2] for tile in found if tile is not None), default=0)


def entries(log: Files, start: int = 0, end: int | None = None) -> Iterator[Indexed]:
    """Entries in the log's order, up to the published checkpoint where `end` is not given. Raises ValueError on one that is none."""
    for index, leaf in leaves(log, start, head(log).size if end is None else end):
        yield Indexed(index, decode(leaf), leaf)


def find(log: Files, *, call: str | None = None, session: str | None = None) -> Iterator[Indexed]:
    """The entries of a call, of a session, or of both. LIMIT: a walk over the whole log, without decoding what cannot match."""
    wanted = [name.encode() for name in (call, session) if name is not None]
    for index, leaf in leaves(log, 0, head(log).size):
        if all(name in leaf for name in wanted):
            entry = decode(leaf)
            if (call is None or entry.call == call) and (session is None or entry.sess == session):
                yield Indexed(index, entry, leaf)


def payload_name(session: str) -> str:
    """Where a session's payloads lie under the payload directory."""
    return f"{session[:2]}/{session}.pay"


def stored_frames(file: BinaryIO) -> Iterator[Stored]:
    """The frames of a payload file. Raises PayloadError at the first byte that belongs to none, and UnfinishedFrame where one has only begun there."""
    for frame in frames_of(file):
        if frame.kind not in _STORED:
            raise payload.PayloadError(f"a frame of kind {frame.kind} before offset {frame.end}")
        yield _stored(frame)


def sound_frames(file: BinaryIO, start: int, session: bytes) -> Iterator[Stored]:
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
        offset = _next_head(file, offset + 1, session)
        spare -= _LOOK_BYTES
        if spare < 0:
            raise payload.PayloadError(f"what is before offset {offset} is no frame, and damaged throughout")


def _sound_frame(file: BinaryIO, offset: int, session: bytes) -> Stored | None:
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


def _next_head(file: BinaryIO, offset: int, session: bytes) -> int:
    """Where the next frame at `offset` or behind it may begin; below 0 where none does. What is zeros, or of no kind that is stored here, is no head: a
    session may be named by bytes that are everywhere."""
    overlap = FRAME_BYTES + len(session) - 1
    base, data = offset, b""
    file.seek(base)
    while more := file.read(_LOOK_BYTES):
        data += more
        at = FRAME_BYTES - 1
        while (at := data.find(session, at + 1)) >= 0:
            if data[at - 1] in _STORED and any(data[at - FRAME_BYTES : at - FRAME_BYTES + 4]):
                return base + at - FRAME_BYTES
        base, data = base + max(0, len(data) - overlap), data[-overlap:]
    return -1


def _stored(frame: Frame, base: int = 0) -> Stored:
    """`base`: of what `frame.end` counts from."""
    place, content = payload.read_stored_body(frame.body)
    end = base + frame.end
    return Stored(frame.kind, place, content, end - FRAME_BYTES - len(frame.body), end)


def _until_broken(frames: Iterator[Stored]) -> Iterator[Stored]:
    """As many as there are: what nobody can read behind them takes nothing from them."""
    with contextlib.suppress(payload.PayloadError):
        yield from frames


def frames_of(file: BinaryIO) -> Iterator[Frame]:
    """Frames from where `file` stands, with their offsets in it, reading a few megabytes at a time. Raises PayloadError where bytes are left that are no frame,
    UnfinishedFrame where they may be the beginning of one."""
    base, data = file.tell(), file.read(_CHUNK_BYTES)
    offset = 0
    while True:
        found = read_frame(data, offset)
        if found is None:
            more = file.read(_CHUNK_BYTES)
            if more and len(data) - offset < 64 * _CHUNK_BYTES:
                base, data, offset = base + offset, data[offset:] + more, 0
                continue
            if offset < len(data):
                left = data[offset:]
                kind = UnfinishedFrame if _has_begun(left) else payload.PayloadError
                raise kind(f"{len(left)} bytes at offset {base + offset} are no frame")
            return
        yield Frame(found.kind, found.body, base + found.end)
        offset = found.end


def _has_begun(left: bytes) -> bool:
    """Whether the end of a file may be the beginning of a frame. Only its length is asked: of a write that was torn the rest may be anything.
    Zeros are the beginning of none that was written."""
    length = int.from_bytes(left[:_LENGTH_BYTES], "little")
    return 0 < length <= _LARGEST_FRAME_BYTES and FRAME_BYTES + length > len(left)


class Recordings:
    """Opens payloads with the private key. Keeps the data keys of the session last asked for; reads its file once per entry."""

    def __init__(self, payloads: Files, private: payload.PrivateKey) -> None:
        self._payloads, self._private = payloads, private
        self._session = ""
        self._keys: dict[str, Secret[bytes]] = {}
        self._offsets: dict[tuple[str, str, int, int], list[tuple[int, int]]] = {}

    def open(self, entry: Entry, pay: Pay) -> bytes:
        """The masked body of one of `entry`'s payloads, which is the one it committed to. Raises PayloadError, FileNotFoundError."""
        if entry.sess is None:
            raise payload.PayloadError("the entry is of no session")
        if entry.sess != self._session:
            self._learn(entry.sess)
        part = entry.pay.index(pay)
        place = payload.Place(entry.sess, entry.w.n, entry.w.e, entry.w.s, part, 0, 1)
        pieces = self._offsets.get((place.writer, place.epoch, place.sequence, part))
        data_key = self._keys.get(pay.key)
        if pieces is None or data_key is None:
            raise payload.PayloadError("the payload or its data key is not there")
        return payload.open_sealed(self._read(pieces), data_key, pay, place)

    def _learn(self, session: str) -> None:
        self._session, self._keys, self._offsets = session, {}, {}
        with self._payloads.open(payload_name(session)) as file:
            # Where bytes in the middle are damaged the others can be heard: each is what its entry committed to, or is not opened.
            frames = sound_frames(file, 0, bytes.fromhex(session))
            for stored in _until_broken(frames):
                place = stored.place
                if stored.kind is FrameKind.DATA_KEY:
                    key = payload.key_id(stored.content)
                    self._keys[key] = payload.open_data_key(stored.content, self._private, place)
                else:
                    where = (place.writer, place.epoch, place.sequence, place.part)
                    self._offsets.setdefault(where, []).append((stored.end - len(stored.content), len(stored.content)))

    def _read(self, pieces: list[tuple[int, int]]) -> bytes:
        with self._payloads.open(payload_name(self._session)) as file:
            found: list[bytes] = []
            for offset, length in pieces:
                file.seek(offset)
                found.append(file.read(length))
        return b"".join(found)


def opener(payloads: Files, private: payload.PrivateKey) -> Callable[[Entry, Pay], bytes | None]:
    """`Recordings.open` for those who show what can be shown: None where a payload is gone or does not open."""
    recordings = Recordings(payloads, private)

    def open_or_none(entry: Entry, pay: Pay) -> bytes | None:
        try:
            return recordings.open(entry, pay)
        except (payload.PayloadError, OSError):
            return None

    return open_or_none
