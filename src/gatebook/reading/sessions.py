"""Sessions, counted from their entries."""

import msgspec

from gatebook.ledger.entry import Entry
from gatebook.model.record import Who
from gatebook.reading.book import Book


class Line(msgspec.Struct):
    """One session."""

    session: str
    who: Who
    server: str | None
    began: str
    last: str
    closed: bool = False
    calls: int = 0
    refused: int = 0
    findings: int = 0

    def take(self, entry: Entry) -> None:
        self.last = max(self.last, entry.t)
        self.calls += entry.ev == "call.intent"
        self.refused += entry.ev == "call.refused"
        self.findings += sum(entry.dlp.values())
        self.closed = entry.ev == "session.close"  # a later entry goes on with it


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """As a desk tells them."""

    sessions: tuple[Line, ...]


def collect(book: Book) -> list[Line]:
    """Every session in the log, in the order of their first entries."""
    lines: dict[str, Line] = {}
    for located in book.forwards(containing='"sess":'):
        entry = located.entry
        if entry.sess is None:
            continue
        line = lines.get(entry.sess)
        if line is None:
            line = lines[entry.sess] = Line(entry.sess, entry.who, entry.res.server, entry.t, entry.t)
        line.take(entry)
    return list(lines.values())


def last_seen(book: Book, limit: int) -> list[Line]:
    """At most `limit` sessions, those last seen, in that order."""
    return sorted(collect(book), key=lambda line: line.last)[-limit:]
