"""Card numbers in text: prefix by length by check digit, what is certainly something else, and how they are masked."""

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from gatebook.masking.budget import UNBOUNDED, Budget
from gatebook.masking.candidates import Group, Region, digits_of, readings, regions
from gatebook.masking.edits import Edit, Piece
from gatebook.masking.networks import LONGEST, SHORTEST, evidence, luhn_valid, two_digit_starts
from gatebook.masking.words import CARD_BESIDE

NEAR = 40
Span = tuple[int, int]

_UUID = re.compile(rb"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")
_HEX = b"0123456789ABCDEFabcdef"
_HASH_LENGTHS = frozenset({32, 40, 48, 56, 64, 96, 128})
_FRACTION = re.compile(rb"(?<![0-9])[0-9]{1,3}\.\Z")
_FOUR_BEFORE = re.compile(rb"(?<![0-9])[0-9]{4}([ \t._-]{1,3})\Z")
_FOUR_AFTER = re.compile(rb"([ \t._-]{1,3})([0-9]{4})(?![0-9])")
# The four digits behind a mask are its tail: with the groups that follow them they are no card number.
_MASK_BEFORE = re.compile(rb"(?:[0-9][ \t._-]{0,3}(?:\*[ \t._-]{0,3}){3,11}|(?:\*[ \t._-]{0,3}){7,11})\*\Z")
_TAIL_BEFORE = re.compile(_MASK_BEFORE.pattern.removesuffix(rb"\Z") + rb"[ \t._-]{0,3}\Z")
_MASK_ENDS = (b"*", b" ", b"\t", b".", b"_", b"-")
_EXPIRY_OR_YEAR = re.compile(rb"(?:0[1-9]|1[0-2])[2-4][0-9]|20[2-4][0-9]")
_EXPONENT = re.compile(rb"[eE]\+?(1[1-8])(?![0-9])")


class Surroundings(NamedTuple):
    """What is known about a leaf from outside it: does a key above speak of cards, does its own key say card number, does a key above speak
    of the messages of payment switches and terminals."""

    card: bool = False
    strict: bool = False
    message: bool = False


NOWHERE = Surroundings()


def is_card_number(digits: bytes, around: Surroundings, card_near: Callable[[], bool]) -> bool:
    """The decision. 12 to 19 ASCII digits.

    Valid check digit and firm prefix: always. Loose prefix or length: among card words. No valid check digit: UnionPay and
    RuPay room (62, 81) among card words, and any known prefix at 14 digits and more under a key that says card number.
    """
    if digits.count(digits[:1]) == len(digits):
        return False
    kind = evidence(digits)
    if kind is not None and luhn_valid(digits):
        return kind == "firm" or around.card or around.strict or card_near()
    if len(digits) < 14 or looks_like_our_number(digits):
        return False
    if around.strict:
        return digits[:2].decode() in _KNOWN_HEADS
    return kind == "firm" and digits[:2] in (b"62", b"81") and (around.card or card_near())


_KNOWN_HEADS = frozenset(two_digit_starts())


def looks_like_our_number(digits: bytes) -> bool:
    """True for the form a masked JSON number has: prefix, zeros with a 0 or 1 last, four digits, no valid check digit."""
    middle = digits[6:-4]
    return (
        14 <= len(digits) <= LONGEST
        and middle[:-1].strip(b"0") == b""
        and middle[-1:] in b"01"
        and not luhn_valid(digits)
    )


def shown(length: int) -> tuple[int, int]:
    """How many digits stay, in front and behind: never more than six and four (PCI DSS 3.4.1), of thirteen and fewer only four."""
    return (0, 4) if length <= 13 else (6, 4)


def masked(text: bytes, groups: list[Group]) -> Edit:
    """Stars for the middle digits, separators kept, so that widths and tables hold."""
    length = sum(end - start for start, end in groups)
    front, behind = shown(length)
    pieces: list[Piece] = []
    seen = 0
    for start, end in groups:
        first, last = max(start, start + front - seen), min(end, start + length - behind - seen)
        if first < last:
            pieces.append((first, last, b"*" * (last - first)))
        seen += end - start
    return Edit(start=groups[0][0], end=groups[-1][1], pieces=tuple(pieces), detector="pan", action="masked")


def card_numbers(text: bytes, around: Surroundings = NOWHERE, budget: Budget = UNBOUNDED) -> list[Edit]:
    """Every card number that stands in decoded text as digits of its own, as edits in order, none overlapping."""
    edits: list[Edit] = []
    spared: list[tuple[Span, Edit]] = []
    for region in regions(text, budget):
        past = 0
        for first, last in readings(text, region.groups, budget):
            if first < past:
                continue
            budget.spend(10)
            if not _accepted(text, region.groups, first, last, around, follows=past == first > 0):
                continue
            edit = masked(text, region.groups[first:last])
            token = _token_around(text, edit.start, edit.end)
            if token is None:
                edits.append(edit)
                past = last
            else:
                spared.append((token, edit))
        if past <= len(region.groups) - 2:
            edits += _in_exponent_form(text, region, around)
    return _with_those_that_lose_their_token(edits, spared) if spared and edits else edits


def _with_those_that_lose_their_token(edits: list[Edit], spared: list[tuple[Span, Edit]]) -> list[Edit]:
    """`edits`, in order, and what was spared in a token that one of them reaches into: masked, that is a token no more, and a second look
    would find the number. Two tokens never overlap."""
    ends = [edit.end for edit in edits]

    def reached(start: int, end: int) -> bool:
        place = bisect_right(ends, start)
        return place < len(edits) and edits[place].start < end

    lost: list[Edit] = []
    for token, edit in spared:
        beside = not lost or lost[-1].end <= edit.start
        if beside and reached(*token) and not reached(edit.start, edit.end):
            lost.append(edit)
    return sorted([*edits, *lost], key=lambda edit: edit.start)


def _accepted(text: bytes, groups: list[Group], first: int, last: int, around: Surroundings, *, follows: bool) -> bool:
    """`follows`: a card number of the same stretch ends where this one begins; then neither is a row of a matrix."""
    start, end = groups[first][0], groups[last - 1][1]

    def card_near() -> bool:
        return beside(CARD_BESIDE, text, start, end)

    if not is_card_number(digits_of(text, groups[first:last]), around, card_near):
        return False
    if _FRACTION.search(text[max(0, start - 5) : start]):
        return False
    if last - first > 1 and _MASK_BEFORE.search(text[max(0, start - NEAR) : start]):
        return False
    if last - first != 4 or follows or not _in_row_of_fours(text, groups[first:last]):
        return True
    following = digits_of(text, groups[last : last + 4])
    pair = len(following) == 16 and evidence(following) == "firm" and luhn_valid(following)
    return pair or around.card or card_near()


def is_tail_of_mask(text: bytes, start: int) -> bool:
    """Whether the digits that begin at `start` are the last ones of a card number that is masked already."""
    return text[start - 1 : start] in _MASK_ENDS and _TAIL_BEFORE.search(text[max(0, start - NEAR) : start]) is not None


def beside(words: "re.Pattern[bytes]", text: bytes, start: int, end: int) -> bool:
    """True when one of the words stands within 40 bytes of [start, end)."""
    return bool(words.search(text[max(0, start - NEAR) : start]) or words.search(text[end : end + NEAR]))


def _token_around(text: bytes, start: int, end: int) -> Span | None:
    """Where the UUID, or the hexadecimal token as long as a digest, stands that [start, end) lies in; None where it lies in none."""
    low = max(0, start - 37)
    for uuid in _UUID.finditer(text[low : end + 37]):
        if low + uuid.start() <= start and end <= low + uuid.end():
            return low + uuid.start(), low + uuid.end()
    before, after = text[max(0, start - 129) : start], text[end : end + 129]
    front, behind = len(before) - len(before.rstrip(_HEX)), len(after) - len(after.lstrip(_HEX))
    if front + behind > 0 and front + behind + end - start in _HASH_LENGTHS:
        return start - front, end + behind
    return None


def _in_row_of_fours(text: bytes, groups: list[Group]) -> bool:
    """Part of a longer row of four-digit groups: a matrix. One expiry or year behind the number does not make a row."""
    start, end = groups[0][0], groups[-1][1]
    gap = text[groups[0][1] : groups[1][0]]
    before = _FOUR_BEFORE.search(text[max(0, start - 8) : start])
    if before and before.group(1) == gap:
        return True
    after = _FOUR_AFTER.match(text[end : end + 8])
    if after is None or after.group(1) != gap:
        return False
    return not _EXPIRY_OR_YEAR.fullmatch(after.group(2)) or bool(_FOUR_AFTER.match(text[end + after.end() : end + 16]))


def _in_exponent_form(text: bytes, region: Region, around: Surroundings) -> list[Edit]:
    """`4.111111111111111e15`: the digits are a card number's when the exponent makes them whole. The number stays a number."""
    groups = region.groups[-2:]
    match = _EXPONENT.match(text[region.end : region.end + 6])
    if (
        match is None
        or len(groups) < 2
        or text[groups[0][1] : groups[1][0]] != b"."
        or groups[0][1] - groups[0][0] != 1
    ):
        return []
    (start, _), (fraction, end) = groups
    digits = digits_of(text, groups)
    length = int(match.group(1)) + 1
    if not max(SHORTEST, len(digits)) <= length <= LONGEST:
        return []
    whole = digits.ljust(length, b"0")
    if not is_card_number(whole, around, lambda: beside(CARD_BESIDE, text, start, end)):
        return []
    number = masked_number(whole)
    pieces = ((start, start + 1, number[:1]), (fraction, end, number[1:]))
    return [Edit(start=start, end=end, pieces=pieces, detector="pan", action="masked")]


def masked_number(digits: bytes) -> bytes:
    """Digits of the same count that stay a number: prefix, zeros, last four, and a middle digit that breaks the check digit.

    Thirteen and fewer show no prefix: a 1 stands in front, where no network issues such numbers.
    """
    if len(digits) <= 13:
        return b"1" + b"0" * (len(digits) - 5) + digits[-4:]
    zeros = b"0" * (len(digits) - 11)
    number = digits[:6] + zeros + b"0" + digits[-4:]
    return digits[:6] + zeros + b"1" + digits[-4:] if luhn_valid(number) else number
