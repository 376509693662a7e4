"""Where digits could be a card number: whole groups, as people print and read them.

A candidate is a whole group of 12 to 19 digits, or neighbouring groups of a known printed shape with the same separator
between them: never a part of a longer run, so that `7 4111... 29.99` is read as people read it. LIMIT: ASCII digits and
separators (space, tab, dash, dot, underscore) only.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gatebook.masking.budget import UNBOUNDED, Budget
from gatebook.masking.networks import LONGEST, SHORTEST, two_digit_starts
from gatebook.masking.patterns import compiled
from gatebook.model import possessive

# Where a card number can start: after a non-digit, and not as the fraction of a number below 1000. Wide: no check of length.
EDGE = rb"(?:^|[^0-9.]|(?:^|[^0-9])\.|[0-9]{4}\.|\\u[0-9A-Fa-f]{4}\.?)"
_GAP = rb"(?:[ \t._-]|\\+t){0,3}"
_HEADS = b"|".join(b"%b%b%b" % (head[:1].encode(), _GAP, head[1:].encode()) for head in two_digit_starts())
_UATP = rb"1[0-9]{14}(?:[^0-9]|$)|1[0-9]{3}" + _GAP + rb"[0-9]{5}" + _GAP + rb"[0-9]{6}(?:[^0-9]|$)"
START = EDGE + b"(?:(?:" + _HEADS + b")(?:" + _GAP + rb"[0-9]){10}|" + _UATP + rb")"

_START = compiled(START)
_REGION = possessive.compiled(rb"[0-9]++(?:[ \t._-]{1,3}+[0-9]++)*+")
_GROUP = re.compile(rb"[0-9]+")

# How card numbers are printed and typed, longest first; twelve and thirteen digits only count among card words.
SHAPES = sorted(
    [
        (4, 4, 4, 4, 3), (4, 4, 4, 4, 2), (4, 4, 4, 4, 1), (6, 13), (4, 4, 4, 4), (8, 8), (4, 12), (12, 4), (6, 10),
        (6, 6, 4), (4, 4, 8), (4, 8, 4), (4, 6, 5), (4, 5, 6), (4, 4, 4, 3), (4, 6, 4), (4, 4, 4, 2), (4, 4, 4, 1),
        (4, 4, 5), (4, 3, 3, 3), (4, 4, 4),
    ],
    key=sum,
    reverse=True,
)  # fmt: skip
_BY_COUNT = {count: frozenset(bytes(s) for s in SHAPES if len(s) == count) for count in {len(s) for s in SHAPES}}
_COUNTS = sorted(_BY_COUNT, reverse=True)

Group = tuple[int, int]


class Region(NamedTuple):
    """Digit groups that only separators hold apart; `end` is where the last of them ends."""

    groups: list[Group]
    end: int


def regions(text: bytes, budget: Budget = UNBOUNDED) -> Iterator[Region]:
    """Every stretch of digit groups in which a card number can start, left to right; work grows with the text, no faster."""
    hit = _START.search(text)
    while hit is not None:
        budget.spend(2)
        region = region_at(text, hit.start())
        if region.groups:
            yield region
        hit = _START.search(text, region.end) if len(text) - region.end >= SHORTEST else None


def region_at(text: bytes, edge: int) -> Region:
    """The region behind an edge (EDGE) that begins at `edge` and has digits behind it."""
    escaped = text.startswith(b"\\u", edge)
    region = _REGION.search(text, edge + (6 if escaped else 0))
    start, end = region.span() if region else (len(text), len(text))
    if text[start:end].isdigit():
        groups = [(start, end)]
    else:
        groups = [found.span() for found in _GROUP.finditer(text, start, end)]
    # Four digits and a dot can be the end of a longer group. The last digit of an escape belongs to none.
    if not escaped and start > 0 and 48 <= text[start - 1] <= 57:
        del groups[:1]
    return Region(groups, end)


def readings(text: bytes, groups: list[Group], budget: Budget = UNBOUNDED) -> Iterator[tuple[int, int]]:
    """Every way to read the groups as one card number: [first, past the last) group, by start, most groups first."""
    if len(groups) == 1:
        if SHORTEST <= groups[0][1] - groups[0][0] <= LONGEST:
            yield 0, 1
        return
    budget.spend(4 * len(groups))
    lengths = bytes(min(end - start, 99) for start, end in groups)
    for first, length in enumerate(lengths):
        if length > 12:
            if length <= LONGEST:
                yield first, first + 1
            continue
        for count in _COUNTS:
            if lengths[first : first + count] in _BY_COUNT[count] and _one_gap(text, groups[first : first + count]):
                yield first, first + count
        if length == SHORTEST:
            yield first, first + 1


def _one_gap(text: bytes, groups: list[Group]) -> bool:
    """The same separator between all groups; how many spaces go with it does not matter."""
    gap = text[groups[0][1] : groups[1][0]].strip(b" ")
    return all(text[groups[i][1] : groups[i + 1][0]].strip(b" ") == gap for i in range(1, len(groups) - 1))


def digits_of(text: bytes, groups: list[Group]) -> bytes:
    return b"".join(text[start:end] for start, end in groups)
