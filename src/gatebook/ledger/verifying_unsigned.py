"""Frames in recordings that no entry names yet: of a writer who is at work they will be signed, of one whom nobody knows they never will."""

from collections.abc import Callable, Collection, Iterator

import msgspec

from gatebook.ledger.entry import decode
from gatebook.ledger.files import CannotJudge, Files
from gatebook.ledger.gist import Writer
from gatebook.ledger.payload import Place
from gatebook.ledger.payload_frames import payload_name
from gatebook.ledger.reading import leaves

Written = Callable[[str, str], int]
"""(writer, epoch) → its last sequence in the log."""

_MOST_EPOCHS = 10_000
_OTHERS = ("others", "")
"""Whose frames they are where somebody made up more epochs than any deployment has: counted together, and of nobody at work."""


class Frames(msgspec.Struct):
    """Of one writer's epoch, in all recordings. `highest`: the largest number of an entry that one of them belongs to; `where`: its file."""

    count: int
    highest: int
    where: str


class Unsigned:
    """What was found so far, by writer and epoch. Bounded, whatever lies there."""

    def __init__(self) -> None:
        self._of: dict[Writer, Frames] = {}

    @property
    def count(self) -> int:
        return sum(frames.count for frames in self._of.values())

    def add(self, place: Place) -> None:
        where = f"payloads/{payload_name(place.session)}"
        self._merge((place.writer, place.epoch), Frames(1, place.sequence, where))

    def add_all(self, others: "Unsigned") -> None:
        for writer, frames in others._of.items():
            self._merge(writer, frames)

    def nobodys(self, written: Written, at_work: Collection[Writer] | None) -> Iterator[tuple[Writer, Frames]]:
        """Those that nobody will sign: their writer has no segment, and its entries do not go so far. `at_work`: who has segments; where that is not
        known, whoever has an entry may go on."""
        for writer, frames in self._of.items():
            last = written(*writer)
            if frames.highest > last and (not last if at_work is None else writer not in at_work):
                yield writer, frames

    def _merge(self, writer: Writer, more: Frames) -> None:
        if writer not in self._of and len(self._of) >= _MOST_EPOCHS:
            writer = _OTHERS
        known = self._of.setdefault(writer, Frames(0, 0, more.where))
        known.count += more.count
        if more.highest > known.highest:
            known.highest, known.where = more.highest, more.where


def written_since(log: Files, start: int, end: int, before: Written) -> Written:
    """As `before`, and what the entries from `start` on have added, up to `end`. They are believed: the next verification judges them.
    Raises CannotJudge where they may not be read."""
    since: dict[Writer, int] = {}
    try:
        for _, leaf in leaves(log, start, end):
            by = decode(leaf).w
            since[by.n, by.e] = by.s
    except CannotJudge:
        raise  # nothing is said of frames by entries that others may read
    except (OSError, ValueError):
        pass  # as far as they can be read; then it is said of more frames that nobody knows them
    return lambda writer, epoch: since.get((writer, epoch)) or before(writer, epoch)
