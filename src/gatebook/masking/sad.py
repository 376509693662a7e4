"""Sensitive authentication data in text: tracks, verification codes, PINs and PIN blocks. Removed whole, never shown in part.

PCI DSS 3.3.1: none of it is kept after authorisation, not even encrypted. So nothing here can be switched off, and of a
track nothing of the discretionary data stays. A code is only digits, so it counts by the label beside it, within a few words.
"""

import re
from collections.abc import Iterator

from gatebook.masking.budget import UNBOUNDED, Budget
from gatebook.masking.edits import Edit, replaced
from gatebook.masking.networks import LONGEST, evidence, luhn_valid
from gatebook.masking.pans import NOWHERE, Surroundings, beside, is_tail_of_mask, masked
from gatebook.masking.patterns import compiled
from gatebook.masking.words import CARD_BESIDE, CVV_PHRASES, PLACE_BESIDE, TRACK_BESIDE, Kind, anywhere

REMOVED: dict[str, bytes] = {
    "track": b"[track removed]",
    "cvv": b"[cvv removed]",
    "pin": b"[pin removed]",
    "pin_block": b"[pin block removed]",
}

# ---- tracks (ISO/IEC 7813) and EMV fields
TRACK_2 = rb"[0-9]{12}(?:[=Dd]|\\+u003[dD])[0-9]{4}"
TRACK_1 = rb"[0-9]\^"
EMV_PAN = rb"5[Aa]0[6-9Aa][0-9]{11}"
_TRACK_2, _EMV_PAN = compiled(TRACK_2), compiled(EMV_PAN)
_TRACK_2_TAIL = re.compile(rb"[=Dd]([0-9]{4,400}+)[Ff]?\??(?:[0-9A-Fa-f](?![0-9A-Za-z]))?")
_LONGEST_TRACK_2 = 37
_YYMM_AND_SERVICE_CODE = 7
_TRACK_1 = re.compile(
    rb"%?[Bb]?([0-9][0-9 ]{10,22}[0-9])\^([^\^\r\n?]{0,40})\^(?:[0-9]{2}(?:0[1-9]|1[0-2])|\^)[0-9A-Za-z ^]{0,400}\??"
)


def tracks(text: bytes, around: Surroundings = NOWHERE, budget: Budget = UNBOUNDED) -> list[Edit]:
    """Every magnetic stripe image: track 1, track 2, and its equivalent in EMV tag 57; the card number in EMV tag 5A."""
    budget.spend(2 * text.count(b"^"))
    edits = [
        replaced(found.start(), found.end(), REMOVED["track"], "track")
        for found in (_TRACK_1.finditer(text) if b"^" in text else ())
        if luhn_valid(found.group(1).replace(b" ", b""))
    ]
    if b"=" in text or b"D" in text or b"d" in text:
        for hit in budget.counted(_TRACK_2.finditer(text), 6):
            edits += track_2(text, hit.end() - 5, among_cards=around.card or around.message)
    if b"5A" in text or b"5a" in text:
        for hit in budget.counted(_EMV_PAN.finditer(text), 3):
            edits += _emv_pan(text, hit.start())
    return edits


def track_2(text: bytes, sigil: int, *, among_cards: bool) -> list[Edit]:
    """The track around the separator at `sigil`: a card number before it, YYMM and service code behind it.

    `among_cards`: words for cards or payment messages are known to stand around the text; those beside the track are looked for here."""
    before = text[max(0, sigil - 400) : sigil]
    run = before[len(before.rstrip(b"0123456789")) :]
    tail = _TRACK_2_TAIL.match(text[sigil : sigil + 410])
    if tail is None or not 1 <= int(text[sigil + 3 : sigil + 5]) <= 12:
        return []
    start, end = sigil - len(run), sigil + tail.end()
    behind = len(tail.group(1))
    if not (
        _ends_in_card_number(run, hexadecimal=text[sigil : sigil + 1] != b"=")
        or _ends_behind_length(run, behind)
        or (_ends_in_certain_number(run, behind) and (among_cards or beside(TRACK_BESIDE, text, start, end)))
    ):
        return []
    start -= text[start - 1 : start] == b";"
    return [replaced(start, end, REMOVED["track"], "track")]


def _ends_in_card_number(run: bytes, *, hexadecimal: bool) -> bool:
    """All digits before the separator are a card number, or they end in one behind `57 LL`; then all of them go, since what
    a cut leaves could read as a number again."""
    if 12 <= len(run) <= 19 and luhn_valid(run) and (not hexadecimal or evidence(run) is not None):
        return True
    for length in range(12, min(20, len(run) + 1)):
        digits, before = run[-length:], run[:-length]
        tagged = before[-4:-2] == b"57" or (hexadecimal and len(before) <= 2)
        if tagged and evidence(digits) is not None and luhn_valid(digits):
            return True
    return False


def _ends_behind_length(run: bytes, behind: int) -> bool:
    """They end in one behind the two digits of a LLVAR field of ISO 8583: the length of the track, which the next field may
    follow without a gap, or of the number alone. `behind`: how many digits follow the separator."""
    for length in _certain_lengths(run, behind):
        told = run[-length - 2 : -length]
        if len(told) == 2 and (
            int(told) == length
            or length + 1 + _YYMM_AND_SERVICE_CODE <= int(told) <= min(_LONGEST_TRACK_2, length + 1 + behind)
        ):
            return True
    return False


def _ends_in_certain_number(run: bytes, behind: int) -> bool:
    return any(True for _ in _certain_lengths(run, behind))


def _certain_lengths(run: bytes, behind: int) -> Iterator[int]:
    """How long the number could be that the run ends in. Without expiry and service code behind it too many ids would end so."""
    if behind >= _YYMM_AND_SERVICE_CODE:
        for length in range(14, min(LONGEST, len(run)) + 1):
            if evidence(run[-length:]) == "firm" and luhn_valid(run[-length:]):
                yield length


def _emv_pan(text: bytes, tag: int) -> list[Edit]:
    """Tag 5A: one byte of length, the number in packed digits, padded with F."""
    width = 2 * int(text[tag + 2 : tag + 4], 16)
    value = text[tag + 4 : tag + 4 + width]
    digits = value.rstrip(b"Ff")
    if len(value) != width or not digits.isdigit() or not 14 <= len(digits) <= 19:
        return []
    if evidence(digits) != "firm" or not luhn_valid(digits):
        return []
    return [masked(text, [(tag + 4, tag + 4 + len(digits))])]


# ---- codes
# One search over the text finds the labels; the patterns below are only tried where one stands, and see what is before it.
_LABEL = compiled(
    rb"(?i:(?:card|atm|debit|credit)(?:'s)?[ _-]?pin|pin|encrypted|(?:de|field|bit)[ _-]?0?52|c[vsa][vcnd]|icvv|cid|"
    + anywhere(CVV_PHRASES)
    + b")"
)
_CAMEL = rb"(?:(?<![A-Za-z])|(?-i:(?<=[a-z])(?=[A-Z])))"
_WORD_ENDS = rb"(?-i:(?![a-z]))"
_GAP = rb"[\s\"'\\:=#|*<>()\[\]{}_-]{0,8}"
_FILLER = (
    rb"(?:is|was|are|code|codes|number|no|nr|num|value|val|of|for|on|the|this|my|your|his|her|their|our|card|cards|"
    rb"visa|mastercard|amex|as|est|ist|es|lautet|to|set|field|entered|here|please|use|it|equals|new|old|and|a)"
)
_LABELLED = _GAP + rb"(?:(?<![A-Za-z])" + _FILLER + rb"(?![A-Za-z])" + _GAP + rb"){0,5}"
# Not a part of another number, and not the head or tail of a card number that is masked already.
_NOT_BEFORE, _NOT_BEHIND = (
    rb"(?<![0-9])(?<!\*\*\*)(?<!\* \*)",
    rb"(?![0-9A-Za-z*]|[.:/-][0-9*]|,[0-9]{3}(?![0-9])|[ \t._-]{1,3}[0-9]*\*)",
)
_CODE = _NOT_BEFORE + rb"([0-9]{3,4})" + _NOT_BEHIND
_CVV_NAME = rb"(?:(?:cvv|cvc|cvn|cvd|csc|icvv|cav)[234]?(?:code|number|value|num|no)?|" + anywhere(CVV_PHRASES) + b")"
_CVV = re.compile(b"(?i:" + _CAMEL + _CVV_NAME + _WORD_ENDS + _LABELLED + b")" + _CODE)
_CID = re.compile(rb"(?i:" + _CAMEL + rb"cid" + _WORD_ENDS + _LABELLED + b")" + _CODE)
_CVV_BEHIND = re.compile(rb"(?<![0-9.,/-])([0-9]{3,4}) ?\((?i:the |her |his |card )?(?i:cvv|cvc|csc)2?\)")
# Number, expiry, code, as card dumps and form mails write them.
_AFTER_NUMBER = re.compile(
    rb"[0-9]([|;,/: ]{1,3})(?:0?[1-9]|1[0-2])[|/\\ -](?:20)?[2-4][0-9]([|;,: ]{1,3})([0-9]{3,4})(?![0-9A-Za-z]|[.,:/-][0-9])"
)
_PIN_VALUE = _NOT_BEFORE + rb"([0-9]{4,12})" + _NOT_BEHIND
_CARD_PIN = re.compile(
    rb"(?i:(?<![A-Za-z])(?:card|atm|debit|credit)(?:'s)?[ _-]?pin"
    + _WORD_ENDS
    + rb"(?! ?block)"
    + _LABELLED
    + b")"
    + _PIN_VALUE
)
_BARE_PIN = re.compile(rb"(?i:(?<![A-Za-z])pin)[\"'\\]{0,8}\s{0,2}[:=]\s{0,2}[\"'\\]{0,8}" + _PIN_VALUE)
_PIN_BLOCK = re.compile(
    rb"(?i:(?:pin[ _-]?(?:block|data)|encrypted[ _-]?pin|(?:(?<![A-Za-z0-9])de|(?-i:De|DE)|field|bit)[ _-]?0?52)(?![a-z0-9]))"
    + _GAP
    + rb"(?:(?:is|value|of)"
    + _GAP
    + rb"){0,2}([0-9A-Fa-f]{16})(?![0-9A-Za-z])"
)


def codes(text: bytes, numbers: list[Edit], budget: Budget = UNBOUNDED) -> list[Edit]:
    """Verification codes, PINs and PIN blocks by the words beside them, and codes behind the card `numbers` already found."""
    labels = budget.counted(_LABEL.finditer(text), 5)
    edits = [edit for hit in labels for edit in _labelled(text, *hit.span())]
    for number in numbers:
        after = _AFTER_NUMBER.match(text, number.end - 1, number.end + 24)
        if after:
            edits.append(replaced(*after.span(3), REMOVED["cvv"], "cvv"))
    return edits


def _labelled(text: bytes, at: int, end: int) -> Iterator[Edit]:
    """What the label in [at, end) speaks of, in front of it or behind."""
    code = _CVV.match(text, at) or _before_label(text, at, end) or _among(CARD_BESIDE, _CID, text, at)
    if code:
        yield replaced(*code.span(1), REMOVED["cvv"], "cvv")
    pin = _CARD_PIN.match(text, at) or _BARE_PIN.match(text, at)
    if pin and (pin.re is _CARD_PIN or not beside(PLACE_BESIDE, text, *pin.span())):
        yield replaced(*pin.span(1), REMOVED["pin"], "pin")
    if block := _PIN_BLOCK.match(text, at):
        yield replaced(*block.span(1), REMOVED["pin_block"], "pin_block")


def _before_label(text: bytes, at: int, end: int) -> "re.Match[bytes] | None":
    """The code in "123 (CVV)"; the shown digits in "411111******1111 (CVV)" are none."""
    found = _CVV_BEHIND.search(text, max(0, at - 12), end + 3)
    return None if found is None or is_tail_of_mask(text, found.start(1)) else found


def _among(words: "re.Pattern[bytes]", label: "re.Pattern[bytes]", text: bytes, at: int) -> "re.Match[bytes] | None":
    found = label.match(text, at)
    return found if found and beside(words, text, *found.span()) else None


# ---- the whole value, where its key or its column says what it is
_SPACED_CODE = re.compile(rb"\s*([0-9]{3,4})\s*")
_SPACED_PIN = re.compile(rb"\s*([0-9]{4,12})\s*")
_SPACED_BLOCK = re.compile(rb"\s*([0-9A-Fa-f]{16})\s*")


def by_name(text: bytes, kinds: frozenset[Kind]) -> Edit | None:
    """The removal of a value whose key or column names it sensitive authentication data, when it has the shape of that."""
    if "cvv" in kinds and (found := _SPACED_CODE.fullmatch(text)):
        return replaced(*found.span(1), REMOVED["cvv"], "cvv")
    if "pin" in kinds and (found := _SPACED_PIN.fullmatch(text)):
        return replaced(*found.span(1), REMOVED["pin"], "pin")
    if "pin_block" in kinds and (found := _SPACED_BLOCK.fullmatch(text)):
        return replaced(*found.span(1), REMOVED["pin_block"], "pin_block")
    if "track" in kinds and len(text) <= 400 and sum(48 <= c <= 57 for c in text) >= 12:
        return replaced(0, len(text), REMOVED["track"], "track")
    return None
