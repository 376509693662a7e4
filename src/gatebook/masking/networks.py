"""Card networks as data: which prefixes, at which lengths, and how far digits alone may be trusted.

Sources: braintree/credit-card-type (MIT), which publishes prefixes and lengths per network, with the networks' own public
BIN tables for Mir, RuPay, Troy, UATP, Uzcard, Humo and BelKart. A check digit is Luhn, ISO/IEC 7812-1 Annex B.
"""

import re
from bisect import bisect_right
from itertools import pairwise
from typing import Literal

Evidence = Literal["firm", "loose"]
SHORTEST, LONGEST = 12, 19

# Prefixes: "4" or a range "2221-2720", up to six digits. Firm: a valid check digit is enough. Loose: words must say card, too,
# because one number in ten has a valid check digit and these prefixes or lengths are shared with phones, clocks and ids.
FIRM: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("visa", "4", (16, 19)),
    ("mastercard", "51-55 2221-2720", (16,)),
    ("amex", "34 37", (15,)),
    ("discover", "6011 644-649 65", (16, 19)),
    ("diners", "300-305 3095 36 38 39", (14, 16, 19)),
    ("jcb", "3528-3589", (16, 17, 18, 19)),
    ("jcb before 1989", "2131 1800", (15,)),
    (
        "unionpay",
        "620 621000-621829 621840-621979 622000-622059 62207-62209 622010-622999 623-626 6270 6272 6276 "
        "627700-627779 627781-627799 6282-6289 6291 6292 810 8110-8171",
        (14, 15, 16, 17, 18, 19),
    ),
    ("maestro", "5018 5020 5038 5893 6304 6759 676", (14, 15, 16, 17, 18, 19)),
    ("mir", "2200-2204", (16, 17, 18, 19)),
    ("rupay", "60 65 81 82 508 353 356", (16,)),
    ("elo outside visa", "504175 506699-506778 509 627780 636297 636368 650-655", (16,)),
    ("hipercard and hiper", "606282 637095 637374 637433 637568 637599 637609 637612", (16,)),
    ("naranja", "589562", (16,)),
    ("verve", "506099-506198 507865-507964", (16, 18, 19)),
    ("troy, uzcard, humo, belkart", "9792 8600 9860 9112", (16,)),
)
LOOSE: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("visa at its old and its rare length", "4", (13, 18)),
    ("maestro, all of its room", "50 56-69", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("uatp", "1", (15,)),
)

_Intervals = tuple[list[int], list[int]]
Ranges = list[tuple[int, int]]


def _ranges(prefixes: str) -> list[tuple[int, int]]:
    """Inclusive ranges of the first six digits."""
    ranges = []
    for prefix in prefixes.split():
        low, _, high = prefix.partition("-")
        ranges.append((int(low.ljust(6, "0")), int((high or low).ljust(6, "9"))))
    return ranges


def _compiled(table: tuple[tuple[str, str, tuple[int, ...]], ...]) -> dict[int, _Intervals]:
    """Length → merged, sorted starts and ends."""
    by_length: dict[int, _Intervals] = {}
    for length in range(SHORTEST, LONGEST + 1):
        starts: list[int] = []
        ends: list[int] = []
        for low, high in sorted(r for _, prefixes, lengths in table if length in lengths for r in _ranges(prefixes)):
            if ends and low <= ends[-1] + 1:
                ends[-1] = max(ends[-1], high)
            else:
                starts.append(low)
                ends.append(high)
        by_length[length] = (starts, ends)
    return by_length


_FIRM, _LOOSE = _compiled(FIRM), _compiled(LOOSE)


def _within(intervals: _Intervals, prefix: int) -> bool:
    place = bisect_right(intervals[0], prefix) - 1
    return place >= 0 and prefix <= intervals[1][place]


def evidence(digits: bytes) -> Evidence | None:
    """How far prefix and length speak for a card number; None when no network issues such numbers. `digits`: ASCII, 12 to 19."""
    prefix = int(digits[:6])
    if _within(_FIRM[len(digits)], prefix):
        return "firm"
    return "loose" if _within(_LOOSE[len(digits)], prefix) else None


def firm_numbers() -> tuple[tuple[int, int, int], ...]:
    """All for which `evidence` is firm: their length, and from where to where their first six digits go, both included."""
    return tuple(
        (length, low, high) for length, (lows, highs) in _FIRM.items() for low, high in zip(lows, highs, strict=True)
    )


def ranges_by_lengths(*, loose: bool) -> dict[tuple[int, ...], Ranges]:
    """Inclusive ranges of the first six digits, under all the lengths that numbers of these prefixes have. No range is in it twice.

    `loose`: with the loose prefixes and lengths."""
    tables = (_FIRM, _LOOSE) if loose else (_FIRM,)
    edges = sorted(
        {edge for table in tables for starts, ends in table.values() for edge in (*starts, *(e + 1 for e in ends))}
    )
    ranges: dict[tuple[int, ...], Ranges] = {}
    for low, past in pairwise(edges):
        lengths = tuple(n for n in range(SHORTEST, LONGEST + 1) if any(_within(table[n], low) for table in tables))
        if lengths:
            ranges.setdefault(lengths, []).append((low, past - 1))
    return ranges


def two_digit_starts() -> list[str]:
    """The first two digits of every number in the table, save UATP's (a bare 1, found by its length instead)."""
    starts: set[int] = set()
    for _, prefixes, _lengths in FIRM + LOOSE[:-1]:
        for low, high in _ranges(prefixes):
            starts.update(range(low // 10_000, high // 10_000 + 1))
    return [f"{start:02d}" for start in sorted(starts)]


_PLAIN = bytes((c - 48) % 10 if 48 <= c <= 57 else 0 for c in range(256))
_DOUBLED = bytes((2 * (c - 48)) // 10 + (2 * (c - 48)) % 10 if 48 <= c <= 57 else 0 for c in range(256))


def luhn_valid(digits: bytes) -> bool:
    """True when the last digit is the Luhn check digit of the others. ASCII digits only."""
    return (sum(digits[-1::-2].translate(_PLAIN)) + sum(digits[-2::-2].translate(_DOUBLED))) % 10 == 0


_TENS = re.compile(b"[" + b"".join(b"\\x%02x" % tens for tens in range(0, 256, 10)) + b"]")


def luhn_valid_of(numbers: list[bytes]) -> list[bytes]:
    """Those of the numbers that `luhn_valid` holds valid, in order. All are of one length, 28 digits at most.

    Many at once: the sums of all numbers are added up side by side, each in a byte of one large integer."""
    if not numbers:
        return []
    length, joined = len(numbers[0]), b"".join(numbers)
    plain, doubled = joined.translate(_PLAIN), joined.translate(_DOUBLED)
    total = 0
    for place in range(length):
        value = plain if (length - place) % 2 else doubled
        total += int.from_bytes(value[place::length], "little")
    return [numbers[valid.start()] for valid in _TENS.finditer(total.to_bytes(len(numbers), "little"))]
