"""A look before the look: whether any of some patterns can occur in a text, many bytes at a time, by native code where a process has it.

It says no, or perhaps: no also where each match is nothing by its sieve (sieves.py). What it says no to need not be passed over by RE2, and most
messages are such; of the others RE2 says what it always said.
The code is handed in (`trigger.look_first_with`), because whether it is there and right is not this package's to say.
"""

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from gatebook.masking.factors import ANY, CHANCES, START, Factor, Inexpressible, admitted, factors, forget, places
from gatebook.masking.networks import firm_numbers
from gatebook.masking.sieves import Sieve, rules_out

BUCKETS: Final = 32
"""At most so many; each eight of them cost a text as much."""
_LOOK = 4
"""Columns of a factor that are looked at first, of all factors at once."""
_GATHERED, _FREE = 64, 1e-5
"""Buckets before the cheapest two are made one, again and again; how much likelier a bucket may become for nothing."""
_SHORT = 5
"""Columns of a factor that others are searched for."""

Buckets = tuple[tuple[bytes, ...], ...]


Issued = tuple[tuple[int, int, int], ...]
"""Card numbers that count: length, and the first six digits from and to."""


class Prefilter(Protocol):
    """Factors that native code looks for."""

    def may_hold(self, text: bytes, /) -> bool:
        """False: none of them occurs but where its sieve rules it out, nor any of those beside."""


class Native(Protocol):
    """The module `gatebook_speed`, as far as it looks for factors."""

    def Prefilter(self, buckets: Buckets, beside: Prefilter | None, issued: Issued, /) -> Prefilter: ...  # noqa: N802


class Perhaps:
    """Rules nothing out."""

    def may_hold(self, text: bytes, /) -> bool:
        return True


def made(
    native: Native, patterns: Mapping[bytes, Sieve], beside: Prefilter | None = None, *, most: int = BUCKETS
) -> Prefilter:
    """For all of the patterns, each with what may rule its matches out, and those of `beside`, which `native` made."""
    sieves: dict[Factor, Sieve] = {}
    try:
        for pattern, sieve in patterns.items():
            for factor in factors(pattern):
                sieves[factor] = sieve if sieves.get(factor, sieve) is sieve else Sieve.NONE
        return native.Prefilter(buckets(sieves, most), beside, firm_numbers())
    except Inexpressible:
        return Perhaps()
    finally:
        forget()
        for cache in (_likelihood, _halves, _admits):
            cache.cache_clear()


def stand(sought: Mapping[Factor, Sieve], text: bytes) -> bool:
    """Whether one of them occurs and is not ruled out, said plainly: for tests, and to judge native code by."""
    return any(
        not rules_out(sieve, text, max(first, 0), min(first + len(factor), len(text)))
        for factor, sieve in sought.items()
        for first in places(factor, text)
    )


def buckets(found: Mapping[Factor, Sieve], most: int = BUCKETS) -> Buckets:
    """As native code takes them: factors that look alike together. Of each factor the number of its anchor, which is the column at which it is
    looked for, that of its sieve, and 33 bytes for each column, little-endian.

    A bucket is looked into where the four columns from the anchors on, those of all its factors taken together, admit what stands there. Numbers
    are by themselves, and in few: where digits stand the sieve is asked first, and then nothing is left of most."""
    telling = _telling(found)
    numbers = [factor for factor in telling if found[factor] is Sieve.NUMBER]
    others = [factor for factor in telling if found[factor] is not Sieve.NUMBER]
    groups = _grouped(numbers, max(1, most // 8))
    groups += _grouped(others, most - len(groups))
    return tuple(tuple(_packed(anchor, found[factor], factor) for anchor, factor in group) for group in groups)


_Anchored = tuple[int, Factor]


def _grouped(some: Iterable[Factor], most: int) -> list[list[_Anchored]]:
    windows: dict[_Window, list[_Anchored]] = {}
    for factor in some:
        anchor, window = _anchored(factor)
        windows.setdefault(window, []).append((anchor, factor))
    groups: dict[_Window, list[_Anchored]] = {}
    for window in sorted(windows, key=_likelihood, reverse=True):
        best = min(groups, key=lambda other: _dearer(other, window), default=None)
        if best is None or (len(groups) < _GATHERED and _dearer(best, window) > _FREE):
            best = window
        _put(groups, _either(best, window), groups.pop(best, []) + windows[window])
    while len(groups) > most:
        one, other = min(itertools.combinations(groups, 2), key=lambda pair: _dearer(*pair) - _likelihood(pair[1]))
        _put(groups, _either(one, other), groups.pop(one) + groups.pop(other))
    return list(groups.values())


_Window = tuple[int, ...]
"""Of each of the columns that are looked at first the lower (bits 0 to 15) and the upper halves (16 to 31) of the bytes that it admits."""


def _telling(found: Mapping[Factor, Sieve]) -> list[Factor]:
    """Without those that cannot occur where a short one does not, unless that may be ruled out when they are not."""
    some = sorted(found, key=len)
    short = [factor for factor in some if len(factor) <= _SHORT]
    return [factor for factor in some if not any(_says_more(found, one, factor) for one in short)]


def _says_more(found: Mapping[Factor, Sieve], one: Factor, factor: Factor) -> bool:
    return one is not factor and found[one] in (Sieve.NONE, found[factor]) and _contains(factor, one)


def _contains(factor: Factor, other: Factor) -> bool:
    return any(admitted(factor[place:], other) for place in range(len(factor) - len(other) + 1))


def _anchored(factor: Factor) -> tuple[int, _Window]:
    """Where those of its columns begin that are least likely."""
    halves = [*map(_halves, factor), *[_halves(ANY)] * _LOOK]
    first = 1 if factor[0] & START else 0  # what stands before the text is not looked at
    last = max(first, len(factor) - _LOOK)
    windows = ((anchor, tuple(halves[anchor : anchor + _LOOK])) for anchor in range(first, last + 1))
    return min(windows, key=lambda anchored: _likelihood(anchored[1]))


def _put(groups: dict[_Window, list[_Anchored]], window: _Window, more: list[_Anchored]) -> None:
    groups[window] = groups.get(window, []) + more


def _packed(anchor: int, sieve: Sieve, factor: Factor) -> bytes:
    return bytes([anchor, sieve]) + b"".join(column.to_bytes(33, "little") for column in factor)


def _either(one: _Window, other: _Window) -> _Window:
    return tuple(map(operator.or_, one, other))


def _dearer(bucket: _Window, with_this: _Window) -> float:
    """How much more often the bucket would be looked into."""
    return _likelihood(_either(bucket, with_this)) - _likelihood(bucket)


@functools.lru_cache(maxsize=16384)
def _likelihood(window: _Window) -> float:
    return math.prod(map(_admits, window))


@functools.lru_cache(maxsize=1024)
def _halves(column: int) -> int:
    halves = (1 << (byte & 15) | 1 << (16 + (byte >> 4)) for byte in range(256) if column >> byte & 1)
    return functools.reduce(operator.or_, halves, 0)


@functools.lru_cache(maxsize=4096)
def _admits(halves: int) -> float:
    lower = [low for low in range(16) if halves >> low & 1]
    return sum(CHANCES[high * 16 + low] for high in range(16) if halves >> 16 + high & 1 for low in lower)
