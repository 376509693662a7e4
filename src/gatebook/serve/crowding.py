"""Who makes room where there is none: whoever has the most of what is short, and nobody else. Pure.

Nobody is known yet when a connection comes, so what counts as one is where it comes from. LIMIT: behind a proxy or one address of many, all are
one; there, of the quiet ones that one goes whose time would be up first.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol, TypeVar

SHARE = 32
"""Of a source that has very many connections, one in so many goes at once: looking through all of them for each that comes would be an attack's work."""


class Present(Protocol):
    """A connection, for whoever decides which one goes."""

    source: str

    @property
    def ends_at(self) -> float | None:
        """When its time is up, if nothing comes; None while a request is being answered, which nobody takes from it."""


C = TypeVar("C", bound=Present)


def who_goes(present: Iterable[C], comes: str) -> list[C]:
    """Those that are closed so that one more from `comes` finds room: quiet ones of the source that has the most, with the one that comes, soonest
    to end first. None where that would take from somebody who has no more than `comes`."""
    counts = Counter({comes: 1})
    quiet: dict[str, list[tuple[float, int, C]]] = {}
    for number, each in enumerate(present):
        counts[each.source] += 1
        if (ends_at := each.ends_at) is not None:
            quiet.setdefault(each.source, []).append((ends_at, number, each))
    source = max(quiet, key=lambda each: (counts[each], each == comes), default=comes)
    if source not in quiet or (source != comes and counts[source] <= counts[comes]):
        return []
    found = sorted(quiet[source], key=lambda each: each[:2])
    return [each for _, _, each in found[: max(1, len(found) // SHARE)]]
