"""Reading a log without a lock and without trusting an index: entries by their place, searches by a walk, recordings by the private key."""

import contextlib
from array import array
from collections.abc import Callable, Iterator

import msgspec

from gatebook.ledger import payload
from gatebook.ledger.checkpoint import Checkpoint, claimed
from gatebook.ledger.entry import Entry, Pay, decode
from gatebook.ledger.files import Files
from gatebook.ledger.joining import Joined, Joining, Where, is_named, most_bytes, where_of
from gatebook.ledger.merkle import TILE_WIDTH
from gatebook.ledger.payload_frames import Stored, payload_name, sound_frames
from gatebook.ledger.reading_around import ReadAround, Unreadable
from gatebook.ledger.tiles import parse_tile_name, read_bundle, tile_name
from gatebook.model.secret import Secret

_Named = tuple[str, str, str]
"""(writer, epoch, id) of a data key."""


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


class Opened(msgspec.Struct, frozen=True):
    """What became of one payload: its masked body, or None where it does not open. `remark`: why it does not, or what else must be said of it; empty
    where nothing."""

    body: bytes | None
    remark: str = ""


class Recordings:
    """Opens payloads with the private key. Keeps where those of the session last asked for lie: its file is read once, and each payload when it is
    asked for."""

    def __init__(self, payloads: Files, private: payload.PrivateKey) -> None:
        self._payloads, self._private = payloads, private
        self._session = ""
        self._wrapped: dict[_Named, int] = {}
        self._keys: dict[_Named, Secret[bytes]] = {}
        self._joined: dict[Where, list[Joined]] = {}
        self._unreadable: list[Unreadable] = []

    def open(self, entry: Entry, pay: Pay) -> bytes:
        """The masked body of one of `entry`'s payloads, which is the one it committed to, whatever else lies in its place. Raises PayloadError,
        OSError; FileNotFoundError where the session has no file."""
        return self.open_among(entry, pay)[0]

    def open_among(self, entry: Entry, pay: Pay) -> tuple[bytes, list[int]]:
        """As `open`; and the offsets of what else lies in its place. No entry names that: somebody put it there."""
        if entry.sess is None:
            raise payload.PayloadError("the entry is of no session")
        if entry.sess != self._session:
            self._learn(entry.sess)
        there = self._joined.get((entry.w.n, entry.w.e, entry.w.s, entry.pay.index(pay)), [])
        for joined in there:
            if joined.length <= most_bytes(pay) and is_named(pay, sealed := self._sealed(joined)):
                body = payload.open_sealed(sealed, self._key(entry, pay), pay, joined.first)
                return body, [each.start for each in there if each is not joined]
        if not there:
            raise payload.PayloadError(self._not_there("it"))
        raise payload.PayloadError(f"what lies at offset {there[0].start} in its place is not what the entry names")

    def _learn(self, session: str) -> None:
        self._session, self._wrapped, self._keys, self._joined = "", {}, {}, {}
        joining = Joining(lambda _: 0)
        with self._payloads.open(payload_name(session)) as opened:
            file = ReadAround(opened)
            # Where bytes in the middle are damaged the others can be heard: each is what its entry committed to, or is not opened.
            for stored in _until_broken(sound_frames(file, 0, bytes.fromhex(session))):
                joining.breaks_off(stored)
                if not stored.is_piece:
                    place = stored.place
                    self._wrapped.setdefault((place.writer, place.epoch, payload.key_id(stored.content)), stored.start)
                elif (joined := joining.take(stored)) is not None:
                    self._joined.setdefault(where_of(joined.first), []).append(joined)
        self._session, self._unreadable = session, file.unreadable

    def _not_there(self, what: str) -> str:
        first = f"; of the session's file {self._unreadable[0]}" if self._unreadable else ""
        return f"{what} is not there{first}"

    def _key(self, entry: Entry, pay: Pay) -> Secret[bytes]:
        named = (entry.w.n, entry.w.e, pay.key)
        if named not in self._keys:
            if named not in self._wrapped:
                raise payload.PayloadError(self._not_there(f"its data key {pay.key}"))
            [stored] = self._frames(self._wrapped[named], None)
            self._keys[named] = payload.open_data_key(stored.content, self._private, stored.place)
        return self._keys[named]

    def _sealed(self, joined: Joined) -> bytes:
        return b"".join(stored.content for stored in self._frames(joined.start, joined.end))

    def _frames(self, start: int, end: int | None) -> list[Stored]:
        """The frame at `start`, and all behind it up to `end`."""
        with self._payloads.open(payload_name(self._session)) as file:
            found: list[Stored] = []
            for stored in sound_frames(file, start, bytes.fromhex(self._session)):
                found.append(stored)
                if end is None or stored.end >= end:
                    break
        return found


def opener(payloads: Files, private: payload.PrivateKey) -> Callable[[Entry, Pay], Opened]:
    """`Recordings.open_among` for those who show what can be shown."""
    recordings = Recordings(payloads, private)

    def opened(entry: Entry, pay: Pay) -> Opened:
        try:
            body, others = recordings.open_among(entry, pay)
        except FileNotFoundError:
            return Opened(None, "the file of the session is gone")
        except OSError as error:
            return Opened(None, f"the file of the session cannot be read: {error.strerror}")
        except payload.PayloadError as error:
            return Opened(None, str(error))
        return Opened(body, _planted(others) if others else "")

    return opened


def _planted(others: list[int]) -> str:
    more = f", and {len(others) - 1} more" if len(others) > 1 else ""
    return (
        f"what is shown is what was signed; something else was put in its place, at offset {others[0]} of the session's file{more}: "
        "`gatebook verify` judges that"
    )
