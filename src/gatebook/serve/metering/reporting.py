"""A room's report: what it counted, by the names of the catalogue."""

from collections.abc import Iterator

from gatebook.gate.hints import OTHER_WORDS
from gatebook.model.counting import Durations, Entries, Sample, Spread, Times
from gatebook.model.errors import Reason
from gatebook.model.record import SENT_BY_CALLERS
from gatebook.serve.diagnostics import SAID
from gatebook.serve.holding import resident_bytes

_REASONS = frozenset({str(reason) for reason in Reason} | OTHER_WORDS.keys())
_RECEIPTS = ("call.intent", "message.client", "stream.open")

ALERTED = (
    "bug", "certificate.refused", "config.refused", "desk.provider_silent", "keys.refused", "masking.failed", "room.ended", "room.failed",
)  # fmt: skip
"""Counted from nothing on: a counter that appears with its first event shows no increase to whoever watches for one."""


def process() -> Iterator[Sample]:
    """What every room reports: its memory, and how often it has said what."""
    yield Sample("gatebook_room_memory_bytes", (), resident_bytes())
    for event, times in (dict.fromkeys(ALERTED, 0) | SAID).items():
        yield Sample("gatebook_diagnostics", (event,), times)


def entries(counted: Entries) -> Iterator[Sample]:
    """What one writer put into the book. Servers are named where a worker wrote: there they are those of the configuration."""
    sums: dict[tuple[str, tuple[str, ...]], int] = {}

    def add(name: str, labels: tuple[str, ...], times: int) -> None:
        sums[name, labels] = sums.get((name, labels), 0) + times

    for (event, server, reason), times in counted.events.items():
        add("gatebook_entries", (event,), times)
        if event in _RECEIPTS and reason == Reason.PERMITTED:
            add("gatebook_receipts", (server or "",), times)
        elif event == "call.result":
            add("gatebook_calls", (server or "", _known(reason)), times)
        elif event == "call.refused":
            add("gatebook_refusals", (server or "", _known(reason)), times)
        elif event in ("login.completed", "login.refused"):
            add("gatebook_logins", (event, _known(reason)), times)
        elif event in ("token.issued", "token.refused"):
            add("gatebook_tokens", (event, _known(reason)), times)
    for (server, reason), times in counted.attempts.items():
        add("gatebook_authentication_failures", (server or "", _known(reason)), times)
    for (server, event, detector), times in counted.findings.items():
        direction = "request" if event in SENT_BY_CALLERS else "answer"
        add("gatebook_findings", (server or "", direction, detector), times)
    yield from (Sample(name, labels, times) for (name, labels), times in sums.items())


def commits(counted: Entries) -> Spread:
    return spread("gatebook_commit_seconds", (), counted.commits)


def times(counted: Times) -> Iterator[Spread]:
    for server, durations in counted.own.items():
        yield spread("gatebook_own_seconds", (server,), durations)
    for server, durations in counted.upstream.items():
        yield spread("gatebook_upstream_seconds", (server,), durations)


def spread(name: str, labels: tuple[str, ...], durations: Durations) -> Spread:
    return Spread(name, labels, tuple(durations.counts), durations.total_s)


def _known(reason: str) -> str:
    """A closed set, also should an entry one day say more."""
    return reason if reason in _REASONS else "other"
