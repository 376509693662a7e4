"""What every match of a pattern must contain, as short sequences of byte classes: where none of them occurs, the pattern does not, either.

They are worked out of the pattern itself, so that there is no second list of words and prefixes which could fall behind the first. They may
promise less than the pattern demands, never more: what cannot be expressed is left out of a sequence, or ends it. Of all that could be said of
a pattern what is least likely in a usual document is chosen; so the figures of likelihood below decide how fast a look is, and never what it finds.
"""

import functools
import math
import operator
import re
from collections.abc import Iterable, Iterator
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

START: Final = 1 << 256
END: Final = 1 << 257
"""Before the first byte of a text and behind its last one stands something that only `^` and `$` admit."""
ANY: Final = (1 << 256) - 1
LONGEST: Final = 16
"""Columns of a factor."""

Factor = tuple[int, ...]
"""A set for each column: bit b for byte b, START, END."""

_SHORTER, _FEW = 8, 130
"""Where a pattern gives more than so many, its factors are made no longer than this."""
_MOST, _STARTS = 512, 32
"""Ways of a sequence that are gone on with; places at which one may begin: a live secret can be a long one."""
_MORE, _WRITTEN_OUT = 2, 8
"""Of a part that may repeat without end so many repetitions more than it must have are written out; more of them end the sequence. Of others all, up to so many."""
_ENOUGH, _SELDOM, _BESIDE = 1e-15, 1e-5, 0.01
"""How unlikely a factor is that need not be longer: in any case; or where others of its kind are a hundred times as likely."""


class Inexpressible(ValueError):
    """Nothing can be said of what a match of this pattern contains."""


def factors(pattern: bytes) -> tuple[Factor, ...]:
    """Any text in which RE2 finds the pattern (Latin-1, the whole text at once) holds one of these. Raises Inexpressible."""
    if b"[:" in pattern or b"{," in pattern:
        raise Inexpressible("RE2 reads this otherwise than the standard library does")
    try:
        parsed = _parser.parse(pattern)
    except re.error as error:
        raise Inexpressible(f"RE2 may know this pattern, and the standard library does not: {error.msg}") from None
    parts = _parts(parsed, fold=_folds(parsed.state.flags))
    found = _Writing(_SHORTER).best(parts)
    if len(found) <= _FEW:
        found = _Writing(LONGEST).best(parts)
    if not found or not all(map(_tells, found)):
        raise Inexpressible(f"a match of this pattern of {len(pattern)} bytes may contain anything")
    return tuple(found)


def _tells(factor: Factor) -> bool:
    """Whether there are texts in which it does not occur, by a column that is surely within the text."""
    within = [column for column in factor if not column & (START | END)]
    return any(column != ANY for column in within)


def places(factor: Factor, text: bytes) -> Iterator[int]:
    """Where it occurs, from -1 (before the text) on, said plainly: for tests, and to judge native code by."""
    columns = [START, *(1 << byte for byte in text), END]
    for first in range(len(columns) - len(factor) + 1):
        if all(map(operator.and_, factor, columns[first : first + len(factor)])):
            yield first - 1


class _Branches(NamedTuple):
    of: "tuple[list[_Part], ...]"


class _Repeat(NamedTuple):
    least: int
    most: int
    of: "list[_Part]"


_Part = int | _Branches | _Repeat
"""A column, or what is made of others."""


def _parts(nodes: Iterable[tuple[Any, Any]], *, fold: bool) -> list[_Part]:
    """What the standard library's parser says, without groups and flags."""
    parts: list[_Part] = []
    for kind, of in nodes:
        if kind is _constants.SUBPATTERN:
            _, added, removed, inner = of
            parts += _parts(inner, fold=(fold or _folds(added)) and not removed & re.IGNORECASE)
        elif kind is _constants.BRANCH:
            parts.append(_Branches(tuple(_parts(branch, fold=fold) for branch in of[1])))
        elif kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            least, most, inner = of
            parts.append(_Repeat(int(least), int(most), _parts(inner, fold=fold)))
        else:
            parts.append(_column(kind, of, fold=fold))
    return parts


def _folds(flags: int) -> bool:
    if flags & (re.MULTILINE | re.LOCALE | re.VERBOSE):
        raise Inexpressible("such flags are not known here")
    return bool(flags & re.IGNORECASE)


def _column(kind: Any, of: Any, *, fold: bool) -> int:
    if kind is _constants.LITERAL:
        return _folded(1 << int(of)) if fold else 1 << int(of)
    if kind is _constants.NOT_LITERAL:
        return ANY & ~(1 << int(of))
    if kind is _constants.ANY:
        return ANY
    if kind is _constants.AT and of in (_constants.AT_BEGINNING, _constants.AT_BEGINNING_STRING):
        return START
    if kind is _constants.AT and of in (_constants.AT_END, _constants.AT_END_STRING):
        return END
    if kind is _constants.IN:
        negated = of[0][0] is _constants.NEGATE
        column: int = functools.reduce(operator.or_, (_members(*item) for item in of[negated:]))
        # What is in no set that was folded is in none that was not, so without folding more is admitted here, never less.
        return ANY & ~column if negated else _folded(column) if fold else column
    raise Inexpressible(f"{kind} is not known here")


def _members(kind: Any, of: Any) -> int:
    if kind is _constants.LITERAL:
        return 1 << int(of)
    if kind is _constants.RANGE:
        return (1 << int(of[1]) + 1) - (1 << int(of[0]))
    # As RE2 has them: to the standard library a vertical tab is space, too.
    known = {_constants.CATEGORY_SPACE: b" \t\n\r\f", _constants.CATEGORY_DIGIT: b"0123456789"}
    if kind is _constants.CATEGORY and of in known:
        return sum(1 << byte for byte in known[of])
    raise Inexpressible(f"{kind} {of} is not known here")


def _folded(column: int) -> int:
    """With the other case of each letter of Latin-1, and of the two signs among them that have none."""
    for upper in (*range(0x41, 0x5B), *range(0xC0, 0xDF)):
        if column >> upper & 1 or column >> (upper | 0x20) & 1:
            column |= 1 << upper | 1 << (upper | 0x20)
    return column


_Way = tuple[Factor, bool]
"""How a match can begin, and whether that is all of it, so that what follows stands right behind."""


class _Writing(NamedTuple):
    """Writes out what a sequence of parts must contain, in factors of at most `longest` columns."""

    longest: int

    def best(self, parts: list[_Part]) -> list[Factor]:
        """Of all places at which one can begin to write down what follows, that whose factors are least likely."""
        if len(parts) == 1 and isinstance(parts[0], _Branches):
            return _lean(factor for branch in parts[0].of for factor in self.best(branch))
        choices = [self._beginnings(parts[first:]) for first in range(min(len(parts), _STARTS))]
        for place, part in enumerate(parts[:_STARTS]):
            if isinstance(part, _Repeat) and part.least:  # its last repetition, and what follows
                choices.append(self._beginnings([*part.of, *parts[place + 1 :]]))
        return min(choices, key=lambda some: sum(map(_likelihood, some)), default=[()])

    def _beginnings(self, parts: list[_Part]) -> list[Factor]:
        return _lean(factor for factor, _ in self._ways(parts))

    def _ways(self, parts: Iterable[_Part]) -> list[_Way]:
        """Each match of the sequence begins with one of them."""
        ways: list[_Way] = [((), True)]
        for part in parts:
            ways = self._joined(ways, self._ways_of(part))
            if not any(whole for _, whole in ways):
                break
        return ways

    def _ways_of(self, part: _Part) -> list[_Way]:
        if isinstance(part, int):
            return [((part,), True)]
        if isinstance(part, _Branches):
            return _lean_ways(way for branch in part.of for way in self._ways(branch))
        once = _lean_ways(self._ways(part.of))
        ways: list[_Way] = [((), True)]
        for _ in range(min(part.least, self.longest)):
            ways = self._joined(ways, once)
        more = part.most - part.least
        every = list(ways)
        for _ in range(more if more <= _WRITTEN_OUT else _MORE):
            ways = self._joined(ways, once)
            every += ways
        if more > _WRITTEN_OUT:
            every += [(factor, False) for factor, _ in ways]
        return _lean_ways(every)

    def _joined(self, ways: list[_Way], nexts: list[_Way]) -> list[_Way]:
        """Each whole way with each of what can follow, unless it is unlikely enough as it is."""
        whole = sorted((factor for factor, complete in ways if complete), key=_likelihood, reverse=True)
        enough = max(_ENOUGH, min(_SELDOM, _likelihood(whole[0]) * _BESIDE)) if whole else 1.0
        longer = [factor for factor in whole[: max(1, _MOST // max(1, len(nexts)))] if _likelihood(factor) > enough]
        joined = [(factor, False) for factor in whole[len(longer) :]]
        joined += [way for way in ways if not way[1]]
        for factor in longer:
            for more, complete in nexts:
                if factor and more and (factor[-1] & END or (factor[0] & START and more[0] & START)):
                    joined.append((factor, False))  # `$` and what may follow it, `^` twice: nothing is said of that
                    continue
                if factor and more and more[0] & START:
                    if not more[0] & ~START:
                        continue  # `^` behind a byte: there is no such match
                    more = (more[0] & ~START, *more[1:])
                both = factor + more
                joined.append((both[: self.longest], complete and len(both) <= self.longest))
        return joined


def _lean_ways(ways: Iterable[_Way]) -> list[_Way]:
    whole: list[Factor] = []
    cut: list[Factor] = []
    for factor, complete in ways:
        (whole if complete else cut).append(factor)
    return [*((factor, True) for factor in _merged(whole)), *((factor, False) for factor in _lean(cut))]


def _lean(many: Iterable[Factor]) -> list[Factor]:
    """Fewer that say the same: none that begins as another one does."""
    kept: list[Factor] = []
    for factor in sorted(_merged(many), key=len):
        if not any(admitted(factor, other) for other in kept):
            kept.append(factor)
    return kept


def admitted(factor: Factor, by: Factor) -> bool:
    """Whether wherever `factor` begins `by` does, too."""
    return all(map(operator.eq, map(operator.or_, factor, by), by)) and len(by) <= len(factor)


def _merged(many: Iterable[Factor]) -> list[Factor]:
    """Those that differ in one column only are one."""
    left = dict.fromkeys(many)
    again = len(left) > 1
    while again:
        again = False
        for place in range(max(map(len, left))):
            alike: dict[tuple[Factor, Factor], int] = {}
            merged: dict[Factor, None] = {}
            for factor in left:
                if len(factor) > place:
                    around = factor[:place], factor[place + 1 :]
                    alike[around] = alike.get(around, 0) | factor[place]
                else:
                    merged[factor] = None
            merged |= {(*before, column, *after): None for (before, after), column in alike.items()}
            again = again or len(merged) < len(left)
            left = merged
    return list(left)


_LETTERS = zip(
    b" etaoinsrhldcumfpgwybvkxjqz",
    (140, 80, 55, 55, 50, 50, 45, 45, 40, 30, 30, 25, 25, 20, 20, 15, 15, 12, 12, 12, 10, 7, 5, 2, 1, 1, 1),
    strict=True,
)
_PER_MILLE = (
    dict(_LETTERS) | dict.fromkeys(b"0123456789", 20) | dict.fromkeys(b'",:', 30) | dict.fromkeys(b"\\.{}[]-_", 10)
)
CHANCES: Final = tuple(_PER_MILLE.get(byte, 1 if 32 <= byte < 127 else 0.01) / 1000 for byte in range(256))
"""How often a byte stands in a usual document, roughly; a digit, beside another one."""


def forget() -> None:
    """Nothing of what was asked for is kept: it may have been a live secret."""
    _likelihood.cache_clear()
    _chance.cache_clear()


@functools.lru_cache(maxsize=4096)
def _likelihood(factor: Factor) -> float:
    return math.prod(map(_chance, factor))


@functools.lru_cache(maxsize=1024)
def _chance(column: int) -> float:
    return min(1.0, sum(chance for byte, chance in enumerate(CHANCES) if column >> byte & 1)) + 1e-6
