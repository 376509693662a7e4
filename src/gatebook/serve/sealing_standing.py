"""Where each writer and each session of a log stands: what its entries say beside their order."""

from gatebook.ledger.gist import Gist, Writer
from gatebook.ledger.merkle import Hash
from gatebook.ledger.remembering import Memory
from gatebook.ledger.sessions import SEALER, Sessions
from gatebook.ledger.shelving import PayloadFiles, Shelf
from gatebook.serve.sealing_ports import Tails


class Standing:
    """True of the entries that it followed, and before them of those of the memory that it resumed. Never a second truth: it all follows from the log.

    `cursors`: each writer's last sequence number in the log. `recovered`: the index of an epoch's `log.recover`, None while that is on its way.
    `awaited`: sessions whose closing is on its way. `shelf`: the sessions' payload files."""

    def __init__(self, payloads: PayloadFiles, tails: Tails) -> None:
        self._payloads, self._tails = payloads, tails
        self.cursors: dict[Writer, int] = {}
        self.recovered: dict[Writer, int | None] = {}
        self.sessions = Sessions()
        self.awaited: set[str] = set()
        self.shelf = Shelf(payloads, in_log=self._in_log)

    def resume(self, memory: Memory) -> None:
        """As it was when `memory` was made of it."""
        self.cursors, self.recovered = {**memory.cursors}, {**memory.recovered}
        self.sessions = Sessions.resume(memory.open, memory.closed, late=not memory.from_first)
        self.shelf = Shelf(self._payloads, memory.shelved, in_log=self._in_log)

    def begin(self, *, late: bool) -> None:
        """Nothing was followed yet. `late`: the log has entries before the first that will be."""
        self.cursors, self.recovered, self.sessions = {}, {}, Sessions(late=late)

    def follow(self, index: int, gist: Gist) -> None:
        """The entry `index` has its place."""
        self.cursors[gist.writer] = gist.sequence
        self.sessions.take(index, gist)
        if gist.writer[0] != SEALER:
            return
        if gist.session is not None:
            self.awaited.discard(gist.session)
            if gist.event == "session.close":
                self.shelf.forget(gist.session)
                self.sessions.forget()
        if gist.event == "log.recover":
            facts = gist.entry().x
            self.recovered[str(facts.get("writer")), str(facts.get("epoch"))] = index

    def memory(self, size: int, root: Hash, living: set[Writer]) -> Memory:
        """What `resume` takes up: all that was followed are the first `size` entries, with that root; `living`: epochs that have segments."""
        return Memory(
            size=size,
            root=root,
            cursors={writer: last for writer, last in self.cursors.items() if writer in living},
            recovered={writer: at for writer, at in self.recovered.items() if at is not None and writer in living},
            open=list(self.sessions.open.values()),
            closed=list(self.sessions.closed.values()),
            shelved=self.shelf.remember(),
            from_first=not self.sessions.late,
        )

    def _in_log(self, writer: Writer, sequence: int) -> bool:
        """That entry has its place. Of an epoch without segments all have; of one that is not in what was read, all before its oldest segment."""
        last = self.cursors.get(writer)
        if last is not None:
            return sequence <= last
        oldest = [tail.first_sequence for tail in self._tails.look() if (tail.writer, tail.epoch) == writer]
        return not oldest or sequence < oldest[0]
