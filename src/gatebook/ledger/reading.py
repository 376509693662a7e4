"""Reading a log without a lock and without trusting an index: entries by their place, searches by a walk, recordings by the private key."""

import contextlib
from array import array
from collections.abc import Callable, Iterator

import msgspec

from gatebook.ledger import payload
from gatebook.ledger.checkpoint import Checkpoint, claimed
from gatebook.ledger.entry import Entry, Pay, decode
from gatebook.ledger.files import Files
from gatebook.ledger.framing import FrameKind
from gatebook.ledger.merkle import TILE_WIDTH
from gatebook.ledger.payload_frames import Stored, payload_name, sound_frames
from gatebook.ledger.tiles import parse_tile_name, read_bundle, tile_name
from gatebook.model.secret import Secret


class Indexed(msgspec.Struct, frozen=True):
    """An entry, its index in the log, and its bytes."""

    index: int
    entry: Entry
    leaf: bytes


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


def _until_broken(frames: Iterator[Stored]) -> Iterator[Stored]:
    """As many as there are: what nobody can read behind them takes nothing from them."""
    with contextlib.suppress(payload.PayloadError):
        yield from frames


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
