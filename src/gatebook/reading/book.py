"""A sealed log and its recordings, and the walks over them."""

from collections.abc import Iterator

import msgspec

from gatebook.ledger import reading
from gatebook.ledger.checkpoint import Checkpoint
from gatebook.ledger.entry import decode
from gatebook.ledger.files import Files
from gatebook.ledger.merkle import leaf_hash
from gatebook.reading.playback import Located
from gatebook.reading.selection import Selection


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found: `entries` in the log's order, and whether there are older ones. `before`: where the next search goes on."""

    entries: tuple[Located, ...]
    more: bool
    before: int


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """`log`: the sealed log; `payloads`: the recordings beside it; `head`: the checkpoint that it published, as claimed.

    Every method raises ValueError or OSError on a damaged log."""

    log: Files
    payloads: Files
    head: Checkpoint

    def forwards(self, *, containing: str = "") -> Iterator[Located]:
        """Entries in the log's order, only those whose bytes hold `containing` (plain ASCII; it narrows, the caller decides).

        LIMIT: a walk over the whole log."""
        needle = containing.encode()
        for index, leaf in reading.leaves(self.log, 0, self.head.size):
            if needle in leaf:
                yield Located(entry=decode(leaf), index=index, leaf=leaf_hash(leaf).hex())

    def backwards(self, before: int | None = None) -> Iterator[Located]:
        """The newest first, of those whose index is below `before`."""
        end = self.head.size if before is None else min(before, self.head.size)
        for index, leaf in reading.leaves_backwards(self.log, end):
            yield Located(entry=decode(leaf), index=index, leaf=leaf_hash(leaf).hex())

    def about(self, *, call: str | None = None, session: str | None = None) -> list[Located]:
        """The entries of one call or one session, in the log's order."""
        return [
            Located(entry=found.entry, index=found.index, leaf=leaf_hash(found.leaf).hex())
            for found in reading.find(self.log, call=call, session=session)
        ]

    def newest(
        self, selection: Selection, limit: int, *, before: int | None = None, at_most: int | None = None
    ) -> Found:
        """The newest `limit` entries wanted, of those below `before`. `at_most`: how many are looked at, so that no search lasts for ever."""
        found: list[Located] = []
        reached = self.head.size if before is None else min(before, self.head.size)
        for looked_at, each in enumerate(self.backwards(before)):
            if at_most is not None and looked_at == at_most:
                return Found(entries=tuple(found[::-1]), more=True, before=reached)
            if selection.wants(each.entry):
                if len(found) == limit:
                    return Found(entries=tuple(found[::-1]), more=True, before=reached)
                found.append(each)
            reached = each.index if each.index is not None else reached
        return Found(entries=tuple(found[::-1]), more=False, before=0)

    def session_named(self, beginning: str) -> str | None:
        """The one session whose id begins so; None where there is none, or several."""
        names = {
            each.entry.sess
            for each in self.forwards(containing=beginning)
            if (each.entry.sess or "").startswith(beginning)
        } - {None}
        return names.pop() if len(names) == 1 else None
