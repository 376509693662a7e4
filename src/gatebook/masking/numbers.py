"""JSON numbers that are card numbers or codes: they stay numbers, so that schemas and clients of the answer keep working."""

import re
from typing import NamedTuple

from gatebook.masking.edits import Edit, replaced
from gatebook.masking.networks import LONGEST, SHORTEST
from gatebook.masking.pans import Surroundings, is_card_number, looks_like_our_number, masked_number
from gatebook.masking.words import Kind

_NUMBER = re.compile(rb"(-?)([0-9]{1,40})(?:\.([0-9]{1,40}))?(?:[eE]([+-]?[0-9]{1,3}))?")


class Whole(NamedTuple):
    """A number token that has a whole value: its digits, and how many of them stand before the point as it is written."""

    sign: bytes
    digits: bytes
    written: int


def whole(token: bytes) -> Whole | None:
    """The token read as a whole number, in plain (`4111...`), pandas (`4111....0`) or exponent form (`4.111e15`); else None."""
    if len(token) > 64:
        return None
    match = _NUMBER.fullmatch(token)
    if match is None:
        return None
    sign, before, fraction, exponent = match.groups()
    fraction = fraction or b""
    length = len(before) + int(exponent or 0)
    every = before + fraction
    if not 1 <= length <= LONGEST or every[length:].strip(b"0"):
        return None
    return Whole(sign, every[:length].ljust(length, b"0"), len(before))


def is_card(digits: bytes, around: Surroundings) -> bool:
    """A number has no words beside it, only its keys."""
    return SHORTEST <= len(digits) <= LONGEST and is_card_number(digits, around, lambda: False)


def number_edit(token: bytes, start: int, kinds: frozenset[Kind], around: Surroundings) -> Edit | None:
    """The change to a number token that begins at `start`, or None. A code becomes 0, and keeps its `.0` if it has one."""
    value = whole(token)
    if value is None:
        return None
    end = start + len(token)
    significant = value.digits.lstrip(b"0")
    if "cvv" in kinds and 1 <= len(significant) <= 4:
        return replaced(start, end, _zero(token), "cvv")
    if "pin" in kinds and 4 <= len(significant) <= 12:
        return replaced(start, end, _zero(token), "pin")
    if "pin_block" in kinds and len(significant) >= 12:
        return replaced(start, end, _zero(token), "pin_block")
    if not is_card(value.digits, around):
        return None
    return replaced(start, end, _rewritten(token, value), "pan", "masked")


def our_number(token: bytes) -> bool:
    """True for a number that masking wrote: it comes back in arguments when a client acts on what it was shown."""
    value = whole(token)
    return value is not None and looks_like_our_number(value.digits)


def _zero(token: bytes) -> bytes:
    return b"0.0" if b"." in token else b"0"


def _rewritten(token: bytes, value: Whole) -> bytes:
    """The masked digits in the form of the token: the same sign, point, fraction of zeros and exponent."""
    digits = masked_number(value.digits)
    mantissa, mark, exponent = re.split(rb"([eE]|\Z)", token, maxsplit=1)
    number, fraction = digits[: value.written].ljust(value.written, b"0"), digits[value.written :]
    places = len(mantissa) - mantissa.index(b".") - 1 if b"." in mantissa else 0
    fraction = fraction[: max(places, len(fraction.rstrip(b"0")))].ljust(places, b"0")
    return value.sign + number + (b"." + fraction if fraction else b"") + mark + exponent
