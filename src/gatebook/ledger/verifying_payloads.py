"""Payload files against the entries that name what is in them, byte for byte, and with the private key also what is inside."""

import re
from collections.abc import Callable, Iterable, Iterator

import msgspec

from gatebook.ledger import payload
from gatebook.ledger.entry import Entry, Pay
from gatebook.ledger.files import Files
from gatebook.ledger.joining import Where
from gatebook.ledger.payload_frames import (
    Damage,
    UnfinishedFrame,
    frames_and_damage,
    payload_name,
    session_of,
    stored_frames,
)
from gatebook.ledger.reading_around import ReadAround
from gatebook.ledger.verifying_recording import RecordingCheck
from gatebook.ledger.verifying_unsigned import Unsigned, Written

Say = Callable[[str, str], None]

_SESSION = re.compile(r"[0-9a-f]{32}")
_MOST_TOLD = 1001
"""Of what is wrong with one file, before what its entries miss: as many as a report has room for, and one that says there are more."""


class _Due(msgspec.Struct):
    """What one session's file must hold: (writer, epoch, sequence, part) → entry index and `Pay`; keys likewise → index, id, SHA-256."""

    pays: dict[Where, tuple[int, Pay]] = {}
    keys: dict[Where, tuple[int, str, str]] = {}


class PayloadCheck:
    """Collects what entries expect, session by session, and compares it with the files. Without `files` it only counts, in `unseen`.

    `again` are sessions whose file did not fit: a sealer may have been writing it; they are compared once more by `retry`. `unsigned`: frames that no entry
    names yet, `begun`: frames that are not whole yet, where nothing is wrong with their file.
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
        self.opened = self.locked = 0
        self.unsigned = Unsigned()
        self.begun = 0

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
        unsigned, begun = Unsigned(), 0
        try:
            with self._files.open(name) as file:
                for stored in stored_frames(file):
                    place = stored.place
                    if payload_name(place.session) != name or place.sequence <= written(place.writer, place.epoch):
                        return "belongs to no session in the log"
                    unsigned.add(place)
        except UnfinishedFrame:
            begun = 1
        except FileNotFoundError:
            return None
        except (payload.PayloadError, OSError) as error:
            return f"belongs to no session in the log, and cannot be read: {error}"
        self.unsigned.add_all(unsigned)
        self.begun += begun
        return None

    def _compare(self, session: str, due: _Due, written: Written) -> list[tuple[str, str]]:
        name = f"payloads/{payload_name(session)}"
        problems: list[tuple[str, str]] = []
        reading = RecordingCheck(dict(due.pays), dict(due.keys), written, self._private)
        assert self._files is not None
        try:
            with self._files.open(payload_name(session)) as opened:
                self.found_files += session not in self.again
                file = ReadAround(opened)
                try:
                    for found in frames_and_damage(file, bytes.fromhex(session)):
                        what = reading.pass_over(found) if isinstance(found, Damage) else reading.take(found)
                        if len(problems) < _MOST_TOLD:
                            problems += [(name, each) for each in what]
                    problems += [(name, each) for each in reading.finish()]
                finally:
                    problems = [*((name, str(each)) for each in file.unreadable), *problems]
        except FileNotFoundError:
            if session in self._shredded:
                return []
        except (payload.PayloadError, OSError) as error:
            reading.damaged = True
            problems.append((name, str(error)))
        problems += [(f"entry {index}", f"{what} {reading.lost} {name}") for index, what in reading.missing()]
        if not problems:
            self.unsigned.add_all(reading.unsigned)
            self.begun += reading.begun
            self.opened += reading.opened
            self.locked += reading.locked
        return problems
