"""Where a look is worth it: one linear pass over the raw bytes, then a cheap sieve over what it hit.

Both are supersets of what the detectors can find in decoded leaves; properties hold them to it. Nothing hit means that
the message goes on untouched, as the same object. Most hits are ids and clocks, and the sieve ends those without a parse.
"""

import re
import weakref
from collections.abc import Iterator
from itertools import chain, islice, product
from typing import NamedTuple

from gatebook.masking import glued, issued, prefilter, sad
from gatebook.masking.budget import UNBOUNDED, Budget
from gatebook.masking.candidates import Region, digits_of, readings, region_at, regions
from gatebook.masking.glued import LONG_RUN
from gatebook.masking.networks import LONGEST, SHORTEST, evidence, luhn_valid, luhn_valid_of
from gatebook.masking.numbers import whole
from gatebook.masking.pans import NOWHERE, Surroundings, looks_like_our_number
from gatebook.masking.patterns import Hit, Several, TooLarge, compiled
from gatebook.masking.prefilter import Native, Perhaps, Prefilter
from gatebook.masking.sad import EMV_PAN, TRACK_1, TRACK_2
from gatebook.masking.secrets import Secrets
from gatebook.masking.sieves import Sieve
from gatebook.masking.words import (
    CARD_NAMES,
    CVV_PHRASES,
    ID_CHARS,
    MESSAGE_NAMES,
    PAN_PHRASES,
    PIN_BLOCK_PHRASES,
    TRACK_PHRASES,
    anywhere,
    as_words,
)

_DATA_ELEMENT = (
    rb"(?:(?:^|[^A-Za-z0-9]|\\[bfnrt]|\\u[0-9A-Fa-f]{4})(?i:de)|De|DE)[^A-Za-z0-9]{0,4}0?(?:35|45|52)(?:[^0-9]|$)"
)
_SAD_PHRASES = tuple(p for p in PIN_BLOCK_PHRASES + TRACK_PHRASES if not p.startswith("de ")) + CVV_PHRASES
_SAD_NAMES = b"|".join(
    [
        anywhere(("cvv", "card cvc", "card pin", *_SAD_PHRASES)),
        as_words(("cvc", "cvn", "cvd", "csc", "cav", "cid", "pin")),
    ]
)
_SAD = _SAD_NAMES + b"|" + _DATA_ELEMENT
# An ASCII letter, digit or separator written as an escape: no serialiser does it unasked, and it can hide any word.
_HIDDEN = rb"\\u00(?:09|2[0DdEe]|3[0-9]|[46][0-9A-Fa-f]|[57][0-9AaFf])"
# A number token with an exponent, as it can stand in a document or in one inside a string; and the form that counts in text.
_SCIENTIFIC = (
    rb"(?:^|[\s:,\[]|\\[nrt]|\\u00[0-9A-Fa-f]{2})-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,3}|[0-9]\.[0-9]+[eE]\+?1[1-8]"
)

_SHORT_NAMES = tuple(name for name in (*CARD_NAMES, *MESSAGE_NAMES) if len(name) < 4 and name.isascii())
_LONG_NAMES = (
    "card",
    "visa",
    "amex",
    "maestro",
    "diners",
    "unionpay",
    "rupay",
    "kart",
    "cart",
    "tarjeta",
    "account number",
    "cc num",
    "cc no",
    "iso 8583",
)
_CARD = b"|".join([anywhere((*_LONG_NAMES, "track", "magstripe", "карт", "カード", "卡")), as_words(_SHORT_NAMES)])
_MASK = (
    rb"[0-9*]\*[ \t._-]{0,3}(?:\\+t)?[0-9]|\*(?:\\+t|[ \t._-]){1,3}[0-9*]|(?:removed|redacted)\]|\\u00(?:2[Aa]|5[BbDd])"
)
_OUR_NUMBER = rb"[0-9]{6}0{3,8}[01][0-9]{4}"

_RUNS = issued.runs(loose=False)
_SHAPES = issued.shapes(loose=False) + rb"|\\u[0-9A-Fa-f]{4}\.?[0-9]{14}"
_TRACKS = b"|".join([TRACK_2, TRACK_1, EMV_PAN])
# The same for the first pass, with less memory of what came before: a product of many such grows large on hostile input.
_EXPONENT = rb"[0-9][eE][+-]?[0-9]{1,3}(?:[\s,\]}\\]|$)|\.[0-9]+[eE]\+?1[1-8]"
_PATTERNS = (_RUNS, _SHAPES, _SAD, _HIDDEN, _TRACKS, _EXPONENT, _CARD, _MASK, _OUR_NUMBER)
_LOOK = Several(_PATTERNS)
_LOOKED_FOR_FIRST = {
    **dict.fromkeys((_SAD_NAMES, _HIDDEN, _TRACKS, _CARD, _MASK, _OUR_NUMBER), Sieve.NONE),
    _RUNS: Sieve.NUMBER,
    _SHAPES: Sieve.NUMBER,
    _DATA_ELEMENT: Sieve.ELEMENT,
    # As widely as _SCIENTIFIC: native code judges each place by itself, and one that it lets pass must not have let others be looked at.
    rb"[0-9][eE][+-]?[0-9]": Sieve.EXPONENT,
}
"""The same by native code, and what may rule a match out there."""
(
    _OF_RUNS,
    _OF_SHAPES,
    _OF_SAD,
    _OF_HIDING,
    _OF_TRACKS,
    _OF_EXPONENTS,
    _OF_CARDS,
    _OF_MASKS,
    _OF_OUR_NUMBERS,
    _OF_SECRETS,
) = range(10)

_SAD_WORDS = compiled(_SAD + b"|" + _HIDDEN)
_CARD_WORDS = compiled(_CARD)
_NAMES_A_NUMBER = compiled(anywhere(PAN_PHRASES) + b"|" + as_words(("pan",)) + b"|" + _HIDDEN)
_FIRM_NUMBERS = compiled(_RUNS + b"|" + issued.shapes(loose=False), longest=True)
_ALL_NUMBERS = compiled(issued.runs(loose=True) + b"|" + issued.shapes(loose=True), longest=True)
_TRACK_2_HITS, _OTHER_TRACKS = compiled(TRACK_2), compiled(TRACK_1 + b"|" + EMV_PAN)
_SCIENTIFIC_HITS = compiled(_SCIENTIFIC)
_TOKEN = re.compile(rb"(?:\\u00[0-9A-Fa-f]{2})?[^0-9]*?(-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]+)")
_REST = re.compile(rb"[0-9]*(\.?)")
_TAB_NEXT = re.compile(rb"[ \t._-]{0,3}\\+t")
_LONG_RUNS = compiled(LONG_RUN + b"[0-9]*")
_OUR_MASKS = compiled(_MASK)
_OUR_NUMBERS = compiled(rb"[0-9]*" + _OUR_NUMBER + rb"[0-9]*")


_DIGITS_ONLY = bytes(byte if 48 <= byte <= 57 else 32 for byte in range(256))
_MANY, _DENSE = 4, 160
"""From that many hits on, with no more bytes than these for each, all runs of digits are judged together."""


class Hits(NamedTuple):
    """Where to look in a document: in the keys and leaves over these positions (sorted), and, when `named`, in each leaf
    whose names (key, label or column) say authentication data, because such a name may stand far from the value."""

    named: bool
    positions: list[int]


NOTHING = Hits(False, [])


def names_card_data(text: bytes) -> bool:
    """False only when no header in the text can name a column of card data."""
    return _SAD_WORDS.search(text) is not None or _CARD_WORDS.search(text) is not None


def occurring(text: bytes, secrets: Secrets) -> list[int]:
    """The numbers of the patterns that occur in a raw document or a decoded text, for `hits`. Empty where that would give NOTHING for it below
    names that say nothing. Raises MaskingFailed."""
    first = secrets.prefilter or _prefilter_for(secrets)
    if first is not None and not first.may_hold(text):
        return []
    look = secrets.look or _look_for(secrets)
    seen = look.seen(text)
    # _LOOK knows no secrets: those that are not in its pass have one of their own.
    return [] if len(seen) == 1 and (look is not _LOOK or secrets.trigger is None) else seen


def hits(
    text: bytes,
    secrets: Secrets,
    around: Surroundings = NOWHERE,
    *,
    seen: list[int] | None = None,
    own_masks: bool = False,
    budget: Budget = UNBOUNDED,
) -> Hits:
    """What to look at in a raw document or a decoded text; the constant NOTHING when that is nothing.

    `around`: what the names above it say; `seen`: what is `occurring`, where that is known; `own_masks`: look for our masks, too. Raises
    MaskingFailed."""
    if seen is None:
        seen = occurring(text, secrets)
    # The mark at the end of _LOOK's patterns has the number of the secrets, which it does not look for: they are looked for here.
    positions = secrets.positions(text) if _OF_SECRETS in seen else []
    budget.spend(len(positions))
    if len(seen) <= 1 and not any(around):
        return Hits(named=False, positions=positions) if positions else NOTHING
    spans: list[tuple[int, int]] = []
    if _OF_SAD in seen or _OF_HIDING in seen:
        spans = [hit.span() for hit in budget.counted(_SAD_WORDS.finditer(text), 1)]
        spans = [span for span in spans if not _in_an_id(text, span)]
    named = bool(spans)
    among_cards = named or any(around) or _OF_CARDS in seen
    if named:
        # Both ends: a phrase can begin in one leaf and swallow the label in the next.
        positions += [place for start, end in spans for place in (start + 1, end - 2)]
    if _OF_TRACKS in seen:
        positions += _tracks(text, budget)
    if among_cards:
        around = Surroundings(True, around.strict or _NAMES_A_NUMBER.search(text) is not None)
        positions += _numbers(text, around, budget)
        positions += _glued(text, budget)
    elif _OF_RUNS in seen or _OF_SHAPES in seen:
        positions += _firm_numbers(text, budget, only_runs=_OF_SHAPES not in seen)
    if _OF_EXPONENTS in seen:
        positions += _exponents(text, around, budget, own_masks=own_masks)
    if own_masks and _OF_MASKS in seen:
        positions += [hit.start() + 1 for hit in budget.counted(_OUR_MASKS.finditer(text), 1)]
    if own_masks and _OF_OUR_NUMBERS in seen:
        positions += [
            hit.start() for hit in _OUR_NUMBERS.finditer(text) if looks_like_our_number(text[slice(*hit.span())])
        ]
    positions.sort()
    return Hits(named, positions) if named or positions else NOTHING


def _in_an_id(text: bytes, span: tuple[int, int]) -> bool:
    """Whether "data element 52" stands in hexadecimal digits that go on behind it, as in `"de52bd13-…"`: one id in some ten thousand
    begins so, and each would have every name of its document judged."""
    start, end = span
    element = _ELEMENT_OF_AN_ID.match(text, start, end + ID_CHARS)
    if element is None:
        return False
    before = text[max(0, element.start(1) - 1) : element.start(1)]
    return not before.isalnum() and before != b"\\"


_ELEMENT_OF_AN_ID = re.compile(rb"[^0-9A-Za-z\\]?(de(?:35|45|52)[a-f][0-9a-f]{3,}+)(?![0-9A-Za-z])")
_MOST_JOINED, _JOINED_MEMORY = 16, 16 << 20
_joined: "weakref.WeakSet[Secrets]" = weakref.WeakSet()
"""Secrets that are looked for in one pass with everything else. Not many, because each such automaton takes a megabyte."""


class _First:
    made: tuple[Native, Prefilter] | None = None


_first = _First()
_OWN_BUCKETS = 8


_SAMPLES = (
    b"4111111111111111", b"5555 5555 5555 4444", b"3782-822463-10005", b'"30569309025904"', b"4.111111111111111e15", b"\\u0034111111111111111",
    b";4111111111111111=29122010000000000000?", b"%B4111111111111111^A/B^2912201", b"411111******1111", b"[removed]", b"4111110000001111",
    b'"cvv": "987"', b" cvc2 ", b"card_number", b"DE 35: ", b"PIN block",
)  # fmt: skip
"""One of each kind, at the least; published test numbers."""


def look_first_with(native: Native) -> bool:
    """Once this has returned True `native` looks first, in this process: what it rules out is not looked for. False: it rules out what is card
    data, or it would rule out nothing. It takes half a second, and may be called in any thread."""
    everywhere = prefilter.made(native, _LOOKED_FOR_FIRST)
    if isinstance(everywhere, Perhaps):
        return False
    around = product(
        (b"", b" ", b"z" * 31 + b" ", b"z" * 300 + b" "), _SAMPLES, (b"", b" ", b" " + b"z" * 40, b" " + b"z" * 300)
    )
    if not all(everywhere.may_hold(b"".join(text)) for text in around):
        return False
    _first.made = native, everywhere
    return True


def _prefilter_for(secrets: Secrets) -> Prefilter | None:
    if _first.made is not None and secrets.prefilter is None:
        native, everywhere = _first.made
        own = secrets.sketch
        secrets.prefilter = (
            everywhere if own is None else prefilter.made(native, {own: Sieve.NONE}, everywhere, most=_OWN_BUCKETS)
        )
    return secrets.prefilter


def _look_for(secrets: Secrets) -> Several:
    """What to look with first: it finds the secrets, too, unless it is _LOOK."""
    if secrets.look is None:
        if secrets.trigger is None:
            secrets.look = _LOOK
            return _LOOK
        if len(_joined) >= _MOST_JOINED:
            return _LOOK
        try:
            secrets.look = Several((*_PATTERNS, secrets.trigger), memory=_JOINED_MEMORY)
            _joined.add(secrets)
        except TooLarge:
            secrets.look = _LOOK
    return secrets.look


def _firm_numbers(text: bytes, budget: Budget, *, only_runs: bool) -> Iterator[int]:
    """Digits with a firm prefix, of a length that it has, and with a valid check digit. The words beside them do not matter.

    `only_runs`: there are none with gaps between the digits, nor behind an escape. Then, where hits are dense, one look at all
    runs together costs less than one at each hit."""
    hits = _FIRM_NUMBERS.finditer(text)
    if only_runs:
        first = list(islice(hits, _MANY))
        if len(first) == _MANY and first[-1].end() < _MANY * _DENSE and not _some_run_is_valid(text):
            return iter(())
        hits = chain(first, hits)
    return _with_check_digit(text, budget.counted(hits, 2), NOWHERE, budget)


def _some_run_is_valid(text: bytes) -> bool:
    """Whether a whole run of digits, whatever stands around it, is a number with a firm prefix and a valid check digit."""
    by_length: dict[int, list[bytes]] = {length: [] for length in range(14, LONGEST + 1)}
    for run in [run for run in text.translate(_DIGITS_ONLY).split() if len(run) >= 14]:
        if len(run) <= LONGEST:
            by_length[len(run)].append(run)
    return any(evidence(digits) == "firm" for same in by_length.values() for digits in luhn_valid_of(same))


def _numbers(text: bytes, around: Surroundings, budget: Budget) -> Iterator[int]:
    """The same where words for cards stand somewhere. `around.strict`: where one names a card number, all that begin like one."""
    if around.strict:
        return (region.groups[0][0] for region in regions(text, budget))
    return _with_check_digit(text, budget.counted(_ALL_NUMBERS.finditer(text), 2), around, budget)


def _with_check_digit(text: bytes, hits: Iterator[Hit], around: Surroundings, budget: Budget) -> Iterator[int]:
    past = 0
    for hit in hits:
        start, end = hit.span()
        if start < past:
            continue
        digits = text[start:end] if start == 0 and text[:1].isdigit() else text[start + 1 : end]
        rest = _REST.match(text, end)
        if digits.isdigit() and rest and not rest.group(1):
            # One run behind a usual edge: when it ends here, prefix and length are right. A dot could be the next number's edge.
            if rest.end() == end and (luhn_valid(digits) or around.card) and _counts(digits, around):
                yield end - 1
            continue
        # The next number may begin within the region, so all of it is judged at once; where it goes on behind an escape, nobody can here.
        region = region_at(text, start)
        past = region.end
        escaped = b"\\" in digits or text.startswith(b"\\", start) or _TAB_NEXT.match(text, past)
        if escaped or _holds_number(text, region, around, budget):
            yield end - 1


def _holds_number(text: bytes, region: Region, around: Surroundings, budget: Budget) -> bool:
    return any(_counts(digits_of(text, region.groups[i:j]), around) for i, j in readings(text, region.groups, budget))


def _counts(digits: bytes, around: Surroundings) -> bool:
    """Whether 12 to 19 digits can be a card number, for all that is known of the words around (pans.is_card_number)."""
    kind = evidence(digits)
    if around.strict and len(digits) >= 14:
        return True
    if not around.card:
        return kind == "firm" and luhn_valid(digits)
    return kind is not None and (luhn_valid(digits) or (kind == "firm" and digits[:2] in (b"62", b"81")))


def _glued(text: bytes, budget: Budget) -> Iterator[int]:
    """Long runs in which a number of a payment message can lie."""
    for hit in _LONG_RUNS.finditer(text):
        start, end = hit.span()
        if _after_escape(text, start) or glued.windows(text, start, end, budget):
            yield start


def _tracks(text: bytes, budget: Budget) -> Iterator[int]:
    for hit in budget.counted(_TRACK_2_HITS.finditer(text), 5):
        start, end = hit.span()
        # Which words stand beside it only the decoded leaf shows.
        track = sad.track_2(text, end - 5, among_cards=True)
        if b"\\" in text[start:end] or track or _digits_after_escape(text, start):
            yield start
    for hit in budget.counted(_OTHER_TRACKS.finditer(text), 1):
        yield hit.start() + 1


def _exponents(text: bytes, around: Surroundings, budget: Budget, *, own_masks: bool) -> Iterator[int]:
    for hit in budget.counted(_SCIENTIFIC_HITS.finditer(text), 3):
        token = _TOKEN.match(text, *hit.span())
        value = whole(token.group(1)) if token else None
        if value is None or not SHORTEST <= len(value.digits) <= LONGEST:
            continue
        if _counts(value.digits, around) or (own_masks and looks_like_our_number(value.digits)):
            yield hit.end() - 1


def _after_escape(text: bytes, start: int) -> bool:
    """True when the digits that begin at `start` may begin in an escape (\\u00e9): then not all of them are the text's."""
    return b"\\u" in text[max(0, start - 5) : start]


def _digits_after_escape(text: bytes, end: int) -> bool:
    """The same for digits that end at `end`."""
    before = text[max(0, end - 400) : end]
    return _after_escape(text, end - len(before) + len(before.rstrip(b"0123456789")))
