"""What was measured, as data, and the arithmetic over rounds: medians, and ratios between servers of one round."""

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one server. `busy`: the share of a core that it used; below about 0.9 something else held it up."""

    calls_per_s: float
    p50_us: float
    p99_us: float
    cpu_us: float
    """User and system time for a call, µs."""
    rss_mib: float
    busy: float
    load_busy: float


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds of one server in one row."""

    rounds: tuple[Round, ...]
    paced_p99_us: tuple[float, ...] = ()
    """At 70 % of its own maximum, calls at random instants."""
    paced_rate: float = 0.0
    rss_idle_mib: float = 0.0

    def middle(self, field: str) -> float:
        """The median of `field` over the rounds."""
        values: list[float] = [getattr(one, field) for one in self.rounds]
        return median(values)

    @property
    def paced(self) -> float | None:
        return median(self.paced_p99_us) if self.paced_p99_us else None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `void`: why its figures say nothing. `extra`: figures that only this row has, units in their names."""

    row: str
    sides: dict[str, Side] = {}
    extra: dict[str, float] = {}
    void: str | None = None
    told: dict[str, str] = {}
    """What each server was told: its configuration as text."""


def ratio(sides: Mapping[str, Side], above: str, below: str, field: str = "calls_per_s") -> float | None:
    """The median over rounds of `above` / `below` in the same round: what the machine does to both falls out. None where one is missing."""
    if above not in sides or below not in sides:
        return None
    pairs = zip(sides[above].rounds, sides[below].rounds, strict=False)
    return middle_ratio([(getattr(one, field), getattr(other, field)) for one, other in pairs])


def paced_ratio(sides: Mapping[str, Side], above: str, below: str) -> float | None:
    """As `ratio`, of the p99 at 70 % load."""
    if above not in sides or below not in sides:
        return None
    return middle_ratio(list(zip(sides[above].paced_p99_us, sides[below].paced_p99_us, strict=False)))


def middle_ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    found = [above / below for above, below in pairs if below > 0]
    return median(found) if found else None
