"""What looks like card data where it begins and is nothing, whatever stands around it: most ids and clocks. Native code rules it out as it looks.

Said plainly here, for tests and to judge native code by (native/src/sieves.c). What is not ruled out `trigger.hits` judges, which comes to
the same of what is.
"""

import re
from enum import IntEnum

from gatebook.masking.networks import LONGEST, SHORTEST, evidence, luhn_valid
from gatebook.masking.words import IDS


class Sieve(IntEnum):
    """What may rule out a match of a pattern. The numbers are those of native code."""

    NONE = 0
    NUMBER = 1
    """Of a number with a firm prefix, with gaps or without: however its groups and those beside them are read, no length and check digit fit."""
    EXPONENT = 2
    """Of digits, an e and more digits: they stand within an id, because a letter or a quote is before them."""
    ELEMENT = 3
    """Of the name of a data element of ISO 8583: an id begins with it."""


_FARTHEST = 64
"""What is longer is not ruled out: native code does not read on for ever."""
_ESCAPE = len(rb"\u00e9.")
_DIGITS, _LAST_DIGITS = re.compile(rb"[0-9]+"), re.compile(rb"[0-9]+\Z")
_ID_LIKE_AN_ELEMENT = re.compile(IDS.pattern.encode())
_GROUPS = re.compile(rb"[0-9]+(?:[ \t._-]{1,3}[0-9]+)*")
_TAB_BEFORE, _TAB_BEHIND = re.compile(rb"\\t[ \t._-]{0,3}\Z"), re.compile(rb"[ \t._-]{0,3}\\{1,16}(?:(?<=\\{16})|t|\Z)")
_MANTISSA = re.compile(rb"(?<=[0-9])[eE]")


def rules_out(sieve: Sieve, text: bytes, first: int, end: int) -> bool:
    """Whether it does, of what a factor of the pattern admits in `text[first:end]`."""
    match sieve:
        case Sieve.NUMBER:
            return _no_number(text, first, end)
        case Sieve.EXPONENT:
            return _no_exponent(text, first, end)
        case Sieve.ELEMENT:
            place = text.find(b"de", first, end + 1)
            found = _ID_LIKE_AN_ELEMENT.match(text, place) if place >= 0 else None
            return found is not None and len(found.group()) <= _FARTHEST
        case Sieve.NONE:
            return False


def _no_number(text: bytes, first: int, end: int) -> bool:
    digit = _DIGITS.search(text, first, end)
    if digit is None:
        return False
    found = next(found for found in _GROUPS.finditer(text) if found.end() > digit.start())
    groups, before = _DIGITS.findall(found.group()), text[: found.start()]
    if len(found.group()) > _FARTHEST or _is_behind_escape(before):
        return False
    if _TAB_BEFORE.search(before) or _TAB_BEHIND.match(text, found.end()):
        return False
    read_as_one = (b"".join(groups[i:j]) for i in range(len(groups)) for j in range(i + 1, len(groups) + 1))
    return not any(_is_firm(digits) for digits in read_as_one)


def _is_firm(digits: bytes) -> bool:
    return SHORTEST <= len(digits) <= LONGEST and evidence(digits) == "firm" and luhn_valid(digits)


def _no_exponent(text: bytes, first: int, end: int) -> bool:
    mantissa = _MANTISSA.search(text, first, end)
    if mantissa is None:
        return False
    digits = _ending_in(text[: mantissa.start()])
    written = text[: mantissa.start() - len(digits)]
    before = written.removesuffix(b"-")
    if len(digits) > _FARTHEST or not before or _is_behind_escape(before):
        return False
    last = before[-1:]
    if last.isalpha():
        return not before.endswith(b"\\" + last)
    return last == b'"' or (last.isdigit() and before != written)


def _ending_in(text: bytes) -> bytes:
    """The digits at its end."""
    return last.group() if (last := _LAST_DIGITS.search(text)) else b""


def _is_behind_escape(text: bytes) -> bool:
    return b"\\u" in text[-_ESCAPE:] or text.removesuffix(b".").endswith(b"\\")
