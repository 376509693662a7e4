"""Card numbers glued to the other fields of a payment message, where no whole group shows them."""

import re

from gatebook.masking.budget import UNBOUNDED, Budget
from gatebook.masking.edits import Edit, Piece
from gatebook.masking.networks import evidence, luhn_valid
from gatebook.masking.pans import Surroundings, beside
from gatebook.masking.words import MESSAGE_BESIDE

LONG_RUN = rb"[0-9]{18}"
_RUN = re.compile(rb"[0-9]{18,}+")
_EXPIRY = re.compile(rb"[2-4][0-9](?:0[1-9]|1[0-2])")
_LENGTH = re.compile(rb"(?=(1[4-9]))")


def card_numbers(text: bytes, around: Surroundings, budget: Budget = UNBOUNDED) -> list[Edit]:
    """Windows in runs of 18 digits and more, only where words say payment message: length and number (the LLVAR fields of
    ISO 8583), number and YYMM. Never in bare text, where a long run holds valid windows by chance.

    Of such a run only the numbers' own six and four stay: the rest beside them could read as a number again.
    """
    edits: list[Edit] = []
    for run in _RUN.finditer(text):
        start, end = run.span()
        if around.card or around.message or beside(MESSAGE_BESIDE, text, start, end):
            numbers = windows(text, start, end, budget)
            if numbers:
                edits.append(_starred(start, end, numbers))
    return edits


def windows(text: bytes, start: int, end: int, budget: Budget = UNBOUNDED) -> list[tuple[int, int]]:
    """Spans of the numbers in the run, in order, none overlapping."""
    spans: list[tuple[int, int]] = []
    for length in (16, 15, 19, 14, 18, 17):
        if _EXPIRY.match(text, start + length, end) and _certain(text[start : start + length]):
            spans.append((start, start + length))
            break
    for counted in budget.counted(_LENGTH.finditer(text, start, end), 1):
        at = counted.start() + 2
        past = at + int(counted.group(1))
        if past <= end and (not spans or at >= spans[-1][1]) and _certain(text[at:past]):
            spans.append((at, past))
    return spans


def _starred(start: int, end: int, numbers: list[tuple[int, int]]) -> Edit:
    pieces: list[Piece] = []
    hidden = start
    for first, past in numbers:
        pieces.append((hidden, first, b"*" * (first - hidden)))
        pieces.append((first + 6, past - 4, b"*" * (past - first - 10)))
        hidden = past
    pieces.append((hidden, end, b"*" * (end - hidden)))
    return Edit(start=start, end=end, pieces=tuple(pieces), detector="pan", action="masked")


def _certain(digits: bytes) -> bool:
    return evidence(digits) == "firm" and luhn_valid(digits)
