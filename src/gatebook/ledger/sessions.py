"""What a session amounts to, from its entries in the log's order: the sealer closes sessions by it, the verifier checks those closings."""

import msgspec

from gatebook.ledger.entry import Entry, decode, instant_us
from gatebook.ledger.gist import Gist, Writer
from gatebook.model.errors import Reason
from gatebook.model.record import Draft, Origin, Resource, Who

SEALER = "sealer"
OPENING = frozenset({"call.intent", "stream.open"})
CLOSING = frozenset({"call.result", "stream.close"})
EPOCHS_TOLD = 128
"""Epochs that a `session.close` tells one by one: with what else is in it they leave a third of an entry free."""
_NAMES_BYTES = 5000


class OpenWork(msgspec.Struct, frozen=True):
    """A call or stream that has begun and not ended. `intent`: the entry that said so, or the leaf that it is in."""

    intent: Entry | bytes
    by: Writer

    def entry(self) -> Entry:
        return decode(self.intent) if isinstance(self.intent, bytes) else self.intent


class Session(msgspec.Struct):
    """Running totals. `entries`: (writer, epoch) → entries, `session.close` itself not counted. `whole`: no entry of it is known to lie before
    those that were counted."""

    name: str
    who: Who
    origin: Origin
    resource: Resource
    last_us: int = 0
    last_index: int = -1
    calls: int = 0
    refused: int = 0
    findings: int = 0
    entries: dict[Writer, int] = {}
    work: dict[str, OpenWork] = {}
    whole: bool = True

    def take(self, index: int, gist: Gist) -> None:
        """Count one more entry of this session, `index` in the log."""
        by, event, call = gist.writer, gist.event, gist.call
        self.entries[by] = self.entries.get(by, 0) + 1
        self.last_index = index
        # What the sealer adds by itself is no sign of life.
        if by[0] != SEALER and (at := instant_us(gist.time)) > self.last_us:
            self.last_us = at
        self.findings += gist.findings
        if event == "call.intent":
            self.calls += 1
        elif event == "call.refused":
            self.refused += 1
        if call is not None:
            if event in OPENING:
                self.work[call] = OpenWork(gist.leaf, by)
            elif event in CLOSING:
                self.work.pop(call, None)
        elif event == "call.result":
            self._answer_late(gist.entry().x.get("id", ""))

    def _answer_late(self, request_id: str | int | bool) -> None:
        """A result on a resumed stream names its call by JSON-RPC id only: the last one open with it, since a client that has reconnected
        may count anew."""
        for call, work in reversed(self.work.items()):
            asked = work.entry().q
            if asked is not None and asked.id == request_id:
                del self.work[call]
                return

    def totals(self) -> dict[str, str | int | bool]:
        """The facts of `session.close`: calls, refused, findings, and entries per writer's epoch (`entries WRITER EPOCH`). Where these are too many
        for one entry, their sum (`entries`) and how many they are (`epochs`)."""
        told = self.totals_of_each()
        names = [name for name in told if name.startswith("entries ")]
        if len(names) <= EPOCHS_TOLD and sum(map(len, names)) <= _NAMES_BYTES:
            return told
        summed = {"entries": sum(self.entries.values()), "epochs": len(self.entries)}
        return {"calls": self.calls, "refused": self.refused, "findings": self.findings, **summed}

    def totals_of_each(self) -> dict[str, str | int | bool]:
        """`totals` with every epoch, however many: so it was written, as far as an entry had room, before their number was limited."""
        counted = {f"entries {writer} {epoch}": count for (writer, epoch), count in sorted(self.entries.items())}
        return {"calls": self.calls, "refused": self.refused, "findings": self.findings, **counted}


class Sessions:
    """Every open session; closed ones are remembered for a while, so that a late entry continues their totals."""

    def __init__(self, remembered: int = 100_000, *, late: bool = False) -> None:
        """`late`: the log has entries before the first that `take` will get. A session that shows that some of them are its own is not `whole`."""
        self.open: dict[str, Session] = {}
        self.closed: dict[str, Session] = {}
        self.late = late
        self._remembered = remembered

    @classmethod
    def resume(cls, open_: list[Session], closed: list[Session], *, late: bool = False) -> "Sessions":
        """As they were when somebody noted `open` and `closed`, in their order."""
        sessions = cls(late=late)
        sessions.open = {session.name: session for session in open_}
        sessions.closed = {session.name: session for session in closed}
        return sessions

    @property
    def known(self) -> int:
        """How many it remembers, open or closed."""
        return len(self.open) + len(self.closed)

    def take(self, index: int, gist: Gist) -> Session | None:
        """Count one more entry, `index` in the log, in the log's order. The session it belongs to, which it may just have closed; None where it
        has none. A `session.close` that was counted before the session's last entry (`upto`) closes nothing: another one will."""
        name = gist.session
        if name is None:
            return None
        session = self.open.get(name)
        if session is None:
            session = self.closed.pop(name, None) or _begun(name, gist.entry())
            self.open[name] = session
        if self.late and session.whole and _went_before(session, gist):
            session.whole = False
        if gist.event != "session.close":
            session.take(index, gist)
        elif counted_all(session, gist.entry()):
            self.closed[name] = self.open.pop(name)
        return session

    def set_aside(self, now_us: int, idle_us: int) -> list[str]:
        """Sessions that would be closed if they were `whole` are as if they were closed: nobody knows what they amount to. Their names."""
        idle = [
            session.name
            for session in self.open.values()
            if not session.whole and not session.work and now_us - session.last_us > idle_us
        ]
        for name in idle:
            self.closed[name] = self.open.pop(name)
        return idle

    def forget(self) -> Session | None:
        """The longest closed session, which is no longer remembered, where there are too many; else None."""
        if len(self.closed) <= self._remembered:
            return None
        return self.closed.pop(next(iter(self.closed)))


def _begun(name: str, entry: Entry) -> Session:
    return Session(name, entry.who, entry.from_, entry.res)


def _went_before(session: Session, gist: Gist) -> bool:
    """True where this entry, before it is counted, tells of another of its session that was not: its writer has counted one already, or it ends
    what has not begun."""
    if gist.event in CLOSING and gist.call is not None and gist.call not in session.work:
        return True
    if gist.writer[0] == SEALER:
        # The sealer adds to what others have written.
        return session.last_index < 0
    return gist.writer not in session.entries and gist.entry().n != 1


def counted_all(session: Session, closing: Entry) -> bool:
    """True where `closing` (a `session.close`) was made after the session's last entry so far had its place."""
    upto = closing.x.get("upto")
    return isinstance(upto, int) and upto > session.last_index


def closings(
    sessions: Sessions, *, now_us: int, idle_us: int, size: int, alive: frozenset[Writer], most: int
) -> list[Draft]:
    """What is due at `now_us`: `unknown` results for what an ended writer left open, and `session.close` for idle sessions with nothing open.

    A session with work of a writer that is `alive` stays open: its outcome may still come. One that is not `whole` is never closed: its totals would
    be wrong, for ever. At most `most` drafts.
    """
    due: list[Draft] = []
    for session in sessions.open.values():
        if len(due) >= most:
            break
        if now_us - session.last_us <= idle_us or any(work.by in alive for work in session.work.values()):
            continue
        if session.work:
            due += [_unknown(session.name, work.entry()) for work in session.work.values()]
        elif session.whole:
            due.append(
                Draft(
                    event="session.close",
                    ok=True,
                    reason="idle",
                    who=session.who,
                    origin=session.origin,
                    resource=session.resource,
                    session=session.name,
                    detail={**session.totals(), "upto": size},
                )
            )
    return due


def _unknown(session: str, intent: Entry) -> Draft:
    """The outcome nobody saw: the call may have been executed."""
    return Draft(
        event="call.result" if intent.ev == "call.intent" else "stream.close",
        ok=False,
        reason=Reason.UNKNOWN,
        who=intent.who,
        origin=intent.from_,
        resource=intent.res,
        call=intent.call,
        session=session,
        policy=intent.pol,
        detail={"writer": intent.w.n, "epoch": intent.w.e, "sequence": intent.w.s},
    )
