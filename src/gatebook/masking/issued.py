"""The table of networks as patterns: digits that could be a number of theirs, by exact prefix and length, or in a printed shape.

START (candidates) admits every run of twelve digits that begins like a card number; that is every fifth id. These admit what has
the length for its prefix, too, so that most bodies full of ids and clocks hold no hit at all, and no work in Python.
"""

from gatebook.masking.candidates import EDGE, SHAPES
from gatebook.masking.networks import LONGEST, SHORTEST, Ranges, ranges_by_lengths

_BETWEEN = rb"(?:[ \t._-]|\\+t){1,3}"


def runs(*, loose: bool) -> bytes:
    """For RE2, over raw or decoded text: the edge before a number, and its digits. The caller looks whether a digit follows.

    `loose`: every prefix in the table, as words for cards make it count; else the firm ones."""
    return EDGE + b"(?:" + b"|".join(_run(*item) for item in ranges_by_lengths(loose=loose).items()) + b")"


def shapes(*, loose: bool) -> bytes:
    """The same for numbers with gaps between their groups, of which only the first two digits are looked at."""
    known = [_shape(shape, _heads(sum(shape), loose=loose)) for shape in SHAPES if loose or sum(shape) > 13]
    return EDGE + b"(?:" + b"|".join(known) + b")"


def _run(lengths: tuple[int, ...], ranges: Ranges) -> bytes:
    """Digits without a gap: one of the prefixes, filled up to one of the lengths, longest first."""
    alternatives = []
    for low, high in ranges:
        first, last = f"{low:06d}", f"{high:06d}"
        while first[-1:] == "0" and last[-1:] == "9":
            first, last = first[:-1], last[:-1]
        fills = b"|".join(b"[0-9]{%d}" % (length - len(first)) for length in sorted(lengths, reverse=True))
        alternatives.append(_between(first, last).encode() + b"(?:" + fills + b")")
    return b"|".join(alternatives)


def _between(first: str, last: str) -> str:
    """Digits from `first` to `last`, both of one length and included."""
    if not first or first == last:
        return first
    low, high, rest = int(first[0]), int(last[0]), len(first) - 1
    if low == high:
        return first[0] + _between(first[1:], last[1:])
    parts = []
    if first[1:].strip("0"):
        parts.append(first[0] + _between(first[1:], "9" * rest))
        low += 1
    if last[1:].strip("9"):
        parts.append(last[0] + _between("0" * rest, last[1:]))
        high -= 1
    if low <= high:
        parts.append(f"[{low}-{high}]" + "[0-9]" * rest)
    return "(?:" + "|".join(parts) + ")"


def _shape(shape: tuple[int, ...], heads: list[bytes]) -> bytes:
    groups = [b"(?:" + b"|".join(heads) + b")[0-9]{%d}" % (shape[0] - 2)]
    return _BETWEEN.join(groups + [b"[0-9]{%d}" % size for size in shape[1:]])


def _heads(length: int, *, loose: bool) -> list[bytes]:
    """The first two digits of the numbers of that length."""
    assert SHORTEST <= length <= LONGEST
    return sorted(
        {
            b"%02d" % head
            for lengths, ranges in ranges_by_lengths(loose=loose).items()
            if length in lengths
            for low, high in ranges
            for head in range(low // 10_000, high // 10_000 + 1)
        }
    )
