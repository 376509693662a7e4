"""How often one source may begin something that costs: a bucket for each, and a bounded number of buckets."""

from gatebook.model.bounded import Bounded

SOURCES_KEPT = 4096


class Pace:
    """`most` acts at once from one source, and `most` more in each `per_s` seconds. Beyond SOURCES_KEPT sources the oldest is forgotten."""

    def __init__(self, most: int, per_s: float) -> None:
        self._most = float(most)
        self._rate = most / per_s
        self._levels = Bounded[str, tuple[float, float]](SOURCES_KEPT)

    def allows(self, source: str, now_s: float) -> bool:
        """Whether one more act of `source` may begin now; it is counted if so."""
        level, since = self._levels.pop(source, (self._most, now_s))
        level = min(self._most, level + max(0.0, now_s - since) * self._rate)
        allowed = level >= 1.0
        self._levels.keep(source, (level - 1.0 if allowed else level, now_s))
        return allowed
