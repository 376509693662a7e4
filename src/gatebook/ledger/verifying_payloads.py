"""Payload files against the entries that name what is in them, byte for byte, and with the private key also what is inside."""

import re
from collections.abc import Callable, Iterable, Iterator

import msgspec

from gatebook.ledger import payload
from gatebook.ledger.entry import Entry, Pay
from gatebook.ledger.files import Files
from gatebook.ledger.framing import FrameKind
from gatebook.ledger.payload_frames import (
    Damage,
    Stored,
    UnfinishedFrame,
    frames_and_damage,
    payload_name,
    session_of,
    stored_frames,
)
from gatebook.model.secret import Secret

Say = Callable[[str, str], None]
Written = Callable[[str, str], int]
"""(writer, epoch) → its last sequence in the log."""

_SESSION = re.compile(r"[0-9a-f]{32}")
_Where = tuple[str, str, int, int]
_AROUND_BYTES = 256
"""More than there is around a body when it is sealed: its part's name, a salt, a tag."""
_MOST_TOLD = 1001
"""Of what is wrong with one file, before what its entries miss: as many as a report has room for, and one that says there are more."""


class _Due(msgspec.Struct):
    """What one session's file must hold: (writer, epoch, sequence, part) → entry index and `Pay`; keys likewise → index, id, SHA-256."""

    pays: dict[_Where, tuple[int, Pay]] = {}
    keys: dict[_Where, tuple[int, str, str]] = {}


class PayloadCheck:
    """Collects what entries expect, session by session, and compares it with the files. Without `files` it only counts, in `unseen`.

    `again` are sessions whose file did not fit: a sealer may have been writing it; they are compared once more by `retry`.
    """

    def __init__(self, say: Say, files: Files | None, private: payload.PrivateKey | None) -> None:
        self._say, self._files, self._private = say, files, private
        self._due: dict[str, _Due] = {}
        self._shredded: set[str] = set()
        self._seen = bytearray()
        self.again: dict[str, _Due] = {}
        self.found_files = 0
        self.payloads = 0
        self.unseen = 0
        self.opened = 0
        self.pending = 0

    def expect(self, index: int, entry: Entry) -> None:
        """`entry` has its session's payloads, or opens its session."""
        if entry.sess is None or not (entry.pay or entry.ev == "session.open"):
            return
        due = self._due.setdefault(entry.sess, _Due())
        written = (entry.w.n, entry.w.e, entry.w.s)
        if entry.ev == "session.open":
            due.keys[(*written, 0)] = (index, str(entry.x.get("key")), str(entry.x.get("key_sha256")))
        for part, pay in enumerate(entry.pay):
            due.pays[(*written, part)] = (index, pay)
        if self._files is None:
            self.unseen += len(entry.pay)
        else:
            self.payloads += len(entry.pay)

    def shredded(self, session: str) -> None:
        """An entry says that this session's payloads were deleted: none of them is due."""
        self._shredded.add(session)

    def check(self, session: str, written: Written) -> None:
        """Compare one session's file; frames above what `written` knows are not in the log yet."""
        due = self._due.pop(session, None)
        # Two names of one session would count twice, and a name that is none cannot have a file.
        if due is None or not _SESSION.fullmatch(session) or self._files is None:
            return
        self._seen += bytes.fromhex(session)
        if self._compare(session, due, written):
            self.again[session] = due

    def retry(self, written: Written) -> None:
        """Compare once more what did not fit, and say what still does not."""
        for session, due in self.again.items():
            for where, what in self._compare(session, due, written):
                self._say(where, what)
        self.again = {}

    def found_all_of(self, names: Iterable[str]) -> bool:
        """Whether as many files were found for sessions as there are `names`, and each has a session's name: of a link to a folder the number alone
        would not tell."""
        count = 0
        for name in names:
            if session_of(name) is None:
                return False
            count += 1
        return count == self.found_files

    def strays(self, names: Iterable[str]) -> Iterator[str]:
        """Those of `names` that are of no session in the log. Asked only where their number differs: it takes memory for each session."""
        seen = {bytes(self._seen[at : at + 16]) for at in range(0, len(self._seen), 16)}
        for name in names:
            session = session_of(name)
            if session is None or bytes.fromhex(session) not in seen:
                yield name

    def stray(self, name: str, written: Written) -> str | None:
        """What is wrong with a file of no session in the log; None where all its frames are not in the log yet, the last perhaps not whole, or
        where it is gone by now."""
        if self._files is None:
            return None
        if session_of(name) is None:
            return "is not accounted for"
        frames = 0
        try:
            with self._files.open(name) as file:
                for stored in stored_frames(file):
                    place = stored.place
                    if payload_name(place.session) != name or place.sequence <= written(place.writer, place.epoch):
                        return "belongs to no session in the log"
                    frames += 1
        except UnfinishedFrame:
            frames += 1
        except FileNotFoundError:
            return None
        except (payload.PayloadError, OSError) as error:
            return f"belongs to no session in the log, and cannot be read: {error}"
        self.pending += frames
        return None

    def _compare(self, session: str, due: _Due, written: Written) -> list[tuple[str, str]]:
        name = f"payloads/{payload_name(session)}"
        problems: list[tuple[str, str]] = []
        reading = _Reading(dict(due.pays), dict(due.keys), written, self._private)
        assert self._files is not None
        try:
            with self._files.open(payload_name(session)) as file:
                self.found_files += session not in self.again
                for found in frames_and_damage(file, bytes.fromhex(session)):
                    what = reading.pass_over(found) if isinstance(found, Damage) else reading.take(found)
                    if len(problems) < _MOST_TOLD:
                        problems += [(name, each) for each in what]
                problems += [(name, each) for each in reading.finish()]
        except FileNotFoundError:
            if session in self._shredded:
                return []
        except (payload.PayloadError, OSError) as error:
            reading.damaged = True
            problems.append((name, str(error)))
        problems += [(f"entry {index}", f"{what} {reading.lost} {name}") for index, what in reading.missing()]
        self.pending += reading.pending if not problems else 0
        self.opened += reading.opened if not problems else 0
        return problems


class _Reading:
    """One pass over a payload file; what fits is taken out of `pays` and `keys`. `damaged`: some of it could not be read."""

    def __init__(
        self,
        pays: dict[_Where, tuple[int, Pay]],
        keys: dict[_Where, tuple[int, str, str]],
        written: Written,
        private: payload.PrivateKey | None,
    ) -> None:
        self._pays, self._keys = pays, keys
        self._written, self._private = written, private
        self._data_keys: dict[str, Secret[bytes]] = {}
        self._payload: _Payload | None = None
        self._behind_damage = False
        self._changed: set[_Where] = set()
        self.damaged = False
        self.pending = 0
        self.opened = 0

    def pass_over(self, damage: Damage) -> list[str]:
        """What is wrong with bytes that are no frame. Pieces on both sides of them may still be one payload: its digest tells."""
        if damage.begun:
            # What no entry names yet. Where it was the frame of one, that entry's payload is missing, and is said to be.
            self.pending += 1
            return []
        self.damaged = self._behind_damage = True
        return [f"{damage.end - damage.start} bytes at offset {damage.start} are no frame of its session"]

    def take(self, stored: Stored) -> list[str]:
        """What is wrong with the next frame."""
        place, told = stored.place, []
        if self._payload is not None and not (stored.kind is FrameKind.PAYLOAD and self._payload.goes_on_with(place)):
            told = self._unless_behind_damage(f"a payload before offset {stored.start} is not whole")
            self._payload = None
        if place.sequence > self._written(place.writer, place.epoch):
            self.pending += 1
            return told
        if stored.kind is FrameKind.DATA_KEY:
            return told + self._take_key(stored)
        if self._payload is None:
            if place.piece != 0:
                return told + self._unless_behind_damage(f"a payload before offset {stored.end} begins in its middle")
            due = self._pays.get(_where(place))
            self._payload = _Payload(place, place, 0 if due is None else due[1].bytes + _AROUND_BYTES)
        self._behind_damage = False
        whole = self._payload
        whole.add(stored)
        if place.piece + 1 < place.pieces:
            return told
        self._payload = None
        return told + self._take_payload(whole, stored.end)

    def finish(self) -> list[str]:
        return self._unless_behind_damage("the last payload is not whole") if self._payload is not None else []

    def missing(self) -> Iterator[tuple[int, str]]:
        """(entry index, what of it) for all that did not come, neither as it was nor changed."""
        yield from (
            (index, f"its {pay.part}") for where, (index, pay) in self._pays.items() if where not in self._changed
        )
        yield from ((index, f"the data key {key}") for index, key, _ in self._keys.values())

    @property
    def lost(self) -> str:
        """Where that is, in words that a file's name follows."""
        return "is damaged in, or gone from," if self.damaged else "is not in"

    def _unless_behind_damage(self, what: str) -> list[str]:
        """Pieces that damage has parted from theirs are not told one by one."""
        return [] if self._behind_damage else [what]

    def _take_key(self, stored: Stored) -> list[str]:
        place, self._behind_damage = stored.place, False
        where = _where(place)
        if (place.piece, place.pieces) != (0, 1) or where not in self._keys:
            return [f"a data key before offset {stored.end} that no entry names"]
        _, key, digest = self._keys[where]
        if payload.digest(stored.content) != digest or payload.key_id(stored.content) != key:
            return [f"the data key before offset {stored.end} is not the one of its entry"]
        del self._keys[where]
        if self._private is not None:
            try:
                self._data_keys[key] = payload.open_data_key(stored.content, self._private, place)
            except payload.PayloadError as error:
                return [str(error)]
        return []

    def _take_payload(self, whole: "_Payload", end: int) -> list[str]:
        where = _where(whole.first)
        if where not in self._pays:
            return [f"a payload before offset {end} that no entry names"]
        index, pay = self._pays[where]
        sealed = b"".join(whole.content)
        # Before all else: whoever can write files can lay any frame under any name, but none with the digest that was signed.
        if payload.digest(sealed) != pay.x:
            self._changed.add(where)
            return [f"the {pay.part} of entry {index} has changed bytes"]
        del self._pays[where]
        if self._private is None:
            return []
        data_key = self._data_keys.get(pay.key)
        if data_key is None:
            return [f"the {pay.part} of entry {index} is whole, but its data key {pay.key} does not come before it"]
        try:
            payload.open_sealed(sealed, data_key, pay, whole.first)
        except payload.PayloadError as error:
            return [f"the {pay.part} of entry {index}: {error}"]
        self.opened += 1
        return []


class _Payload(msgspec.Struct):
    """One that is being read, piece by piece. `room`: bytes that it may still have; below 0 its content is forgotten, or whoever can write files could
    have us hold a whole file."""

    first: payload.Place
    last: payload.Place
    room: int
    content: list[bytes] = []

    def goes_on_with(self, place: payload.Place) -> bool:
        return place == msgspec.structs.replace(self.last, piece=self.last.piece + 1)

    def add(self, stored: Stored) -> None:
        """Take the next piece."""
        self.last = stored.place
        self.room -= len(stored.content)
        if self.room < 0:
            self.content = []
        elif stored.content:
            self.content.append(stored.content)


def _where(place: payload.Place) -> _Where:
    return (place.writer, place.epoch, place.sequence, place.part)
