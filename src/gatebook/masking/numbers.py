"""JSON numbers that are card numbers or codes: they stay numbers, so that schemas and clients of the answer keep working."""

import re
from typing import NamedTuple

from gatebook.masking.edits import Edit, replaced
from gatebook.masking.networks import LONGEST, SHORTEST
from gatebook.masking.pans import Surroundings, is_card_number, looks_like_our_number, masked_number
from gatebook.masking.words import Kind

_NUMBER = re.compile(rb"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,3}))?")


class Whole(NamedTuple):
    """A number token that has a whole value other than 0: its digits from the first that is not 0 on, how many zeros stand before that one as
    it is written, and how many digits before the point."""

    sign: bytes
    zeros: int
    digits: bytes
    written: int


def whole(token: bytes) -> Whole | None:
    """The token read as a whole number of at most 19 digits, in plain (`4111...`), pandas (`4111....0`) or exponent form (`4.111e15`,
    `0.4111e16`); else None. LIMIT: an exponent of four digits and more."""
    match = _NUMBER.fullmatch(token)
    if match is None:
        return None
    sign, before, fraction, exponent = match.groups()
    every = before + (fraction or b"")
    digits = every.lstrip(b"0")
    zeros = len(every) - len(digits)
    length = len(before) + int(exponent or 0) - zeros
    if not digits or not 1 <= length <= LONGEST or digits[length:].strip(b"0"):
        return None
    return Whole(sign, zeros, digits[:length].ljust(length, b"0"), len(before))


def is_card(digits: bytes, around: Surroundings) -> bool:
    """A number has no words beside it, only its keys."""
    return SHORTEST <= len(digits) <= LONGEST and is_card_number(digits, around, lambda: False)


def number_edit(token: bytes, start: int, kinds: frozenset[Kind], around: Surroundings) -> Edit | None:
    """The change to a number token that begins at `start`, or None. A code becomes 0, or 0.0 where it was no integer."""
    value = whole(token)
    if value is None:
        return None
    end = start + len(token)
    if "cvv" in kinds and len(value.digits) <= 4:
        return replaced(start, end, zero(token), "cvv")
    if "pin" in kinds and 4 <= len(value.digits) <= 12:
        return replaced(start, end, zero(token), "pin")
    if "pin_block" in kinds and len(value.digits) >= 12:
        return replaced(start, end, zero(token), "pin_block")
    if not is_card(value.digits, around):
        return None
    return replaced(start, end, _rewritten(token, value), "pan", "masked")


def our_number(token: bytes) -> bool:
    """True for a number that masking wrote: it comes back in arguments when a client acts on what it was shown."""
    value = whole(token)
    return value is not None and looks_like_our_number(value.digits)


def zero(token: bytes) -> bytes:
    """0 in the type that JSON parsers give the token: a float where it has a point or an exponent."""
    return b"0" if token.lstrip(b"-").isdigit() else b"0.0"


def _rewritten(token: bytes, value: Whole) -> bytes:
    """The masked digits in the form of the token: the same sign, point, fraction of zeros and exponent."""
    digits = b"0" * value.zeros + masked_number(value.digits)
    mantissa, mark, exponent = re.split(rb"([eE]|\Z)", token, maxsplit=1)
    number, fraction = digits[: value.written].ljust(value.written, b"0"), digits[value.written :]
    places = len(mantissa) - mantissa.index(b".") - 1 if b"." in mantissa else 0
    fraction = fraction[: max(places, len(fraction.rstrip(b"0")))].ljust(places, b"0")
    return value.sign + number + (b"." + fraction if fraction else b"") + mark + exponent
