"""What the entries themselves must say: form, the six fields, sequences without gaps, sessions that add up."""

from collections.abc import Callable

from gatebook.ledger.entry import Entry, decode, instant_us, lacking
from gatebook.ledger.gist import Gist, gist_of
from gatebook.ledger.sessions import Session, Sessions, counted_all
from gatebook.ledger.verifying_payloads import PayloadCheck

Say = Callable[[str, str], None]
"""(where, what): one problem."""


class EntryCheck:
    """Fed every entry in the log's order. Memory: one number per writer's epoch, and the sessions that are open or were closed lately."""

    def __init__(self, say: Say, origin: str, payloads: PayloadCheck) -> None:
        self._say, self._origin, self._payloads = say, origin, payloads
        self._sequences: dict[tuple[str, str], int] = {}
        self._counts: dict[str, dict[tuple[str, str], int]] = {}
        self._sessions = Sessions()
        self.loaded: set[str] = set()
        self.named: set[str] = set()
        self.development = False
        self.follows = ""

    def take(self, index: int, leaf: bytes) -> None:
        """Check one entry."""
        where = f"entry {index}"
        try:
            entry = decode(leaf)
            instant_us(entry.t)
        except ValueError as error:
            self._say(where, str(error))
            return
        if absent := lacking(entry):
            self._say(where, f"lacks {', '.join(absent)} (PCI DSS 10.2.2)")
        self._follow_writer(where, entry)
        if (index == 0) != (entry.ev == "log.init") or (index == 0 and entry.x.get("origin") != self._origin):
            self._say(where, "a log begins with its one log.init, of its own origin")
        if index == 0 and "previous_origin" in entry.x:
            self.follows = f"{entry.x['previous_origin']} at {entry.x.get('previous_size')} entries"
        if isinstance(config := entry.x.get("config_sha256"), str):
            self.named.add(config)
            if entry.ev == "config.load":
                self.loaded.add(config)
        self.development |= entry.prof == "dev"
        if entry.sess is not None:
            self._follow_session(where, index, entry, gist_of(entry, leaf), entry.sess)

    def finish(self) -> None:
        """Every session still known is checked to its end."""
        for name in [*self._sessions.closed, *self._sessions.open]:
            self._payloads.check(name, self.written)

    def written(self, writer: str, epoch: str) -> int:
        """The last sequence of this writer's epoch so far; 0 where it has none."""
        return self._sequences.get((writer, epoch), 0)

    def _follow_writer(self, where: str, entry: Entry) -> None:
        writer = (entry.w.n, entry.w.e)
        due = self._sequences.get(writer, 0) + 1
        if entry.w.s != due:
            self._say(where, f"{entry.w.n} {entry.w.e} wrote {entry.w.s} where {due} is due")
        self._sequences[writer] = entry.w.s

    def _follow_session(self, where: str, index: int, entry: Entry, gist: Gist, name: str) -> None:
        counts = self._counts.setdefault(name, {})
        writer = (entry.w.n, entry.w.e)
        # A writer forgets an idle session: when it is opened once more, counting begins anew, and `session.close` tells the sum.
        due = 1 if entry.ev == "session.open" else counts.get(writer, 0) + 1
        if entry.n != due:
            self._say(where, f"session {name}: {entry.w.n} counts {entry.n} where {due} is due")
        counts[writer] = entry.n or 0
        self._payloads.expect(index, entry)
        if entry.ev == "payload.shred":
            self._payloads.shredded(str(entry.x.get("session")))
        session = self._sessions.take(index, gist)
        if entry.ev == "session.close" and session is not None:
            self._close(where, entry, session)

    def _close(self, where: str, entry: Entry, session: Session) -> None:
        if counted_all(session, entry):
            told = {name: value for name, value in entry.x.items() if name != "upto"}
            if told not in (session.totals(), session.totals_of_each()):
                self._say(where, f"session {session.name} closes with {told}, but its entries give {session.totals()}")
        if (gone := self._sessions.forget()) is not None:
            self._counts.pop(gone.name, None)
            self._payloads.check(gone.name, self.written)
