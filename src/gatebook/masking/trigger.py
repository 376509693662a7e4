"""Where a look is worth it: one linear search over the raw bytes, then a cheap sieve over what it hit.

Both are supersets of what the detectors can find in decoded leaves; properties hold them to it. Nothing hit means that
the message goes on untouched, as the same object. Most hits are ids and clocks, and the sieve ends those without a parse.
"""

from typing import NamedTuple

from gatebook.masking.candidates import START, Region, digits_of, readings, regions
from gatebook.masking.glued import LONG_RUN
from gatebook.masking.networks import evidence, luhn_valid
from gatebook.masking.patterns import compiled
from gatebook.masking.sad import EMV_PAN, TRACK_1, TRACK_2
from gatebook.masking.secrets import Secrets
from gatebook.masking.words import (
    CARD_NAMES,
    CVV_PHRASES,
    MESSAGE_NAMES,
    PIN_BLOCK_PHRASES,
    TRACK_PHRASES,
    anywhere,
    as_words,
)

_DATA_ELEMENT = (
    rb"(?:(?:^|[^A-Za-z0-9]|\\[bfnrt]|\\u[0-9A-Fa-f]{4})(?i:de)|De|DE)[^A-Za-z0-9]{0,4}0?(?:35|45|52)(?:[^0-9]|$)"
)
_SAD_PHRASES = tuple(p for p in PIN_BLOCK_PHRASES + TRACK_PHRASES if not p.startswith("de ")) + CVV_PHRASES
_SAD = b"|".join(
    [
        anywhere(("cvv", "card cvc", "card pin", *_SAD_PHRASES)),
        as_words(("cvc", "cvn", "cvd", "csc", "cav", "cid", "pin")),
        _DATA_ELEMENT,
    ]
)
# An ASCII letter, digit or separator written as an escape: no serialiser does it unasked, and it can hide any word.
_HIDDEN = rb"\\u00(?:09|2[0DdEe]|3[0-9]|[46][0-9A-Fa-f]|[57][0-9AaFf])"
_EXPONENT = rb"(?:^|[\s:,\[])-?[0-9]+(?:\.[0-9]+)?[eE]\+?1[0-9]"
_FIELDS = b"|".join([TRACK_2, TRACK_1, EMV_PAN, _EXPONENT])

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
_MASK = rb"[0-9*]\*[ \t._-]{0,3}(?:\\+t)?[0-9]|\*(?:\\+t|[ \t._-]){1,3}[0-9*]|(?:removed|redacted)\]"

_SAD_WORDS = compiled(_SAD + b"|" + _HIDDEN)
_CARD_WORDS = compiled(_CARD)
_FIELD_HITS = compiled(_FIELDS)
_LONG_RUN = compiled(LONG_RUN)
_ANY = compiled(b"|".join([START, _SAD, _HIDDEN, _FIELDS, LONG_RUN]))
_MASKED_BEFORE = compiled(_MASK + b"|" + _HIDDEN)


class Hits(NamedTuple):
    """Where to look in a document: in the keys and leaves over these positions (sorted), and, when `named`, in each leaf
    whose names (key, label or column) say authentication data, because such a name may stand far from the value."""

    named: bool
    positions: list[int]


NOTHING = Hits(False, [])


def worth_a_look(leaf: bytes, secrets: Secrets) -> bool:
    """False only when no detector can find anything in this decoded or raw text."""
    return _ANY.search(leaf) is not None or (secrets.trigger is not None and secrets.trigger.search(leaf) is not None)


def could_be_ours(text: bytes) -> bool:
    """False only when no mask of ours stands in the text; masked numbers are hits of the other trigger."""
    return _MASKED_BEFORE.search(text) is not None


def names_card_data(text: bytes) -> bool:
    """False only when no header in the text can name a column of card data."""
    return _SAD_WORDS.search(text) is not None or _CARD_WORDS.search(text) is not None


def hits(body: bytes, secrets: Secrets, *, among_cards: bool = False) -> Hits:
    """What to look at in a raw document. `among_cards`: names above it speak of cards, so that loose prefixes count."""
    positions = [hit.start() + 1 for hit in secrets.trigger.finditer(body)] if secrets.trigger else []
    if _ANY.search(body) is None:
        return Hits(False, positions)
    # Both ends: a phrase can begin in one leaf and swallow the label in the next.
    words = [place for hit in _SAD_WORDS.finditer(body) for place in (hit.start() + 1, hit.end() - 2)]
    among_cards = among_cards or bool(words) or _CARD_WORDS.search(body) is not None
    positions += words
    positions += [hit.start() + 1 for hit in _FIELD_HITS.finditer(body)]
    positions += [region.groups[0][0] for region in regions(body) if among_cards or _possible(body, region)]
    if among_cards:
        positions += [hit.start() for hit in _LONG_RUN.finditer(body)]
    positions.sort()
    return Hits(bool(words), positions)


def _possible(body: bytes, region: Region) -> bool:
    """Whether some reading is a card number without any word beside it, or the raw bytes hide how the digits go on."""
    if body[region.end : region.end + 1] in (b"\\", b"e", b"E"):
        return True
    for first, last in readings(body, region.groups):
        digits = digits_of(body, region.groups[first:last])
        if evidence(digits) == "firm" and luhn_valid(digits):
            return True
    return False
