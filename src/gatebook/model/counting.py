"""What a process counts while it works: plain integers, so that counting costs a call next to nothing. What it counts, it has done.

Nothing here holds a value of a caller's: keys are events, reasons and detectors of our own, and servers of the configuration.
"""

from bisect import bisect_left

import msgspec

from gatebook.model.record import Draft

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Upper bounds of the classes in which durations are counted. Seconds; what is longer has a class of its own."""
MOST_KEYS = 20_000
"""So many combinations are counted apart; a further one is not. 200 servers with every reason need fewer."""


class Durations:
    """How often something took how long: one count per class of BOUNDS_S and one beyond, and the sum of all. Seconds."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds


class Times:
    """Of the calls that a server answered: how long Gatebook took itself, and how long the server. By the server's name."""

    __slots__ = ("own", "upstream")

    def __init__(self) -> None:
        self.own: dict[str, Durations] = {}
        self.upstream: dict[str, Durations] = {}

    def add(self, server: str, own_s: float, upstream_s: float) -> None:
        if server not in self.own:
            self.own[server], self.upstream[server] = Durations(), Durations()
        self.own[server].add(own_s)
        self.upstream[server].add(upstream_s)


class Entries:
    """What one writer has put into the book, counted once it is durable."""

    __slots__ = ("attempts", "commits", "events", "findings")

    def __init__(self) -> None:
        self.events: dict[tuple[str, str | None, str], int] = {}
        """By (event, server, reason)."""
        self.attempts: dict[tuple[str | None, str], int] = {}
        """Failed authentications by (server, reason): one entry may stand for many."""
        self.findings: dict[tuple[str | None, str, str], int] = {}
        """By (server, event, detector)."""
        self.commits = Durations()

    def add(self, draft: Draft) -> None:
        key = (draft.event, draft.resource.server, draft.reason)
        before = self.events.get(key, 0)
        if before or len(self.events) < MOST_KEYS:
            self.events[key] = before + 1
        if draft.findings:
            self._add_findings(draft)
        if draft.event == "auth.failed":
            self._add_attempts(draft)

    def _add_findings(self, draft: Draft) -> None:
        for finding in draft.findings:
            key = (draft.resource.server, draft.event, finding.detector)
            self.findings[key] = self.findings.get(key, 0) + 1

    def _add_attempts(self, draft: Draft) -> None:
        key = (draft.resource.server, draft.reason)
        attempts = draft.detail.get("attempts", 1)
        self.attempts[key] = self.attempts.get(key, 0) + (attempts if isinstance(attempts, int) else 1)


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number of the family `name`, at these values of its labels."""

    name: str
    labels: tuple[str, ...]
    value: float


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """Durations of the family `name`, at these values of its labels: as in `Durations`."""

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    total_s: float

    def plus(self, other: "Spread") -> "Spread":
        counts = tuple(map(sum, zip(self.counts, other.counts, strict=True)))
        return Spread(self.name, self.labels, counts, self.total_s + other.total_s)


class Report(msgspec.Struct, frozen=True, array_like=True):
    """What one process has counted since it began, and what it holds now."""

    samples: tuple[Sample, ...] = ()
    spreads: tuple[Spread, ...] = ()
