"""The words that stand beside card data, in the languages we know, and what a key or a column of that name holds.

One list serves two readers: exact patterns for decoded text, and wide patterns for raw JSON, where a letter may be written
as an escape. The wide ones must match wherever the exact ones can; a property test holds them to it.
"""

import functools
import re
from typing import Literal

Kind = Literal["cvv", "cid", "pin", "pin_block", "track", "pan", "card", "message", "binary"]
SAD_KINDS: frozenset[Kind] = frozenset(("cvv", "cid", "pin", "pin_block", "track"))

# Card verification codes: CVV2, CVC2, CAV2, CID, CVN2 (PCI DSS 3.3.1.2). "cid" counts only among other card words.
CVV_NAMES = ("cvv", "cvc", "cvn", "cvd", "csc", "icvv", "cav")
CVV_PHRASES = (
    "card verification",
    "verification value",
    "security code",
    "card code",
    "code de sécurité",
    "cryptogramme",
    "código de seguridad",
    "codigo de seguridad",
    "código de segurança",
    "codigo de seguranca",
    "kartenprüfnummer",
    "kartenpruefnummer",
    "prüfnummer",
    "prüfziffer",
    "sicherheitscode",
    "codice di sicurezza",
    "beveiligingscode",
    "veiligheidscode",
    "kod bezpieczeństwa",
    "güvenlik kodu",
    "код безопасности",
    "セキュリティコード",
    "安全码",
)
PIN_BLOCK_PHRASES = ("pin block", "de 52", "de 052", "field 52", "bit 52", "encrypted pin")
TRACK_PHRASES = (
    "track 1",
    "track 2",
    "track data",
    "track one",
    "track two",
    "de 35",
    "de 45",
    "magstripe",
    "magnetic stripe",
)
PAN_PHRASES = (
    "card number",
    "card no",
    "card num",
    "card nbr",
    "cc number",
    "cc num",
    "cc no",
    "primary account number",
    "kartennummer",
    "numero de tarjeta",
    "número de tarjeta",
    "numéro de carte",
    "numero carta",
    "número do cartão",
    "kart numarası",
    "номер карты",
    "カード番号",
    "卡号",
)
CARD_NAMES = (
    "card", "cards", "cardholder", "creditcard", "debitcard", "pan", "visa", "mastercard", "amex", "maestro", "diners",
    "jcb", "unionpay", "rupay", "carte", "cartes", "karte", "karten", "kreditkarte", "kart", "karta", "kartu", "carta",
    "tarjeta", "cartão", "cartao", "карта", "карты", "карте", "карту",
)  # fmt: skip
CARD_PARTS = ("カード", "卡", "kartennummer", "cardnumber", "cardno", "cardholder", "creditcard", "debitcard")
# A message of a payment switch or terminal: here digits may be glued together (length, number, expiry).
MESSAGE_NAMES = (
    "iso8583",
    "iso 8583",
    "emv",
    "tlv",
    "track",
    "track1",
    "track2",
    "magstripe",
    "pan",
    "card",
)

_MESSAGE_KEYS = frozenset(("emv", "tlv"))

# A key with one of these tells something about the data, it does not hold it: cvv_result, card_number_last4, pin_attempts.
_ABOUT = frozenset(
    "result results response resp status check checked match matched matches present provided required verified valid "
    "validation error errors length len count policy failed fail attempts attempt enabled flag type indicator last4 last "
    "hash token tokens masked bin expiry exp expires created updated at date time reference ref message reason brand".split()
)
_PLACES = frozenset("gpio board port led address postal postcode zip city street state country map location".split())
_TOKENS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\dA-Za-z_]+|[0-9]+")
LONGEST_KEY = 64
ID_CHARS = 128
IDS = re.compile(r"(?<![0-9A-Za-z\\])de(?:35|45|52)[a-f][0-9a-f]{3,}+(?![0-9A-Za-z])")
"""Hexadecimal ids that begin like the name of a data element of ISO 8583 and are none."""


def tokens(key: bytes) -> list[str]:
    """The words of a key: `cardCvv_2` → card, cvv, 2. Empty when it is too long to be a name, or holds a note of ours."""
    if len(key) > LONGEST_KEY or b" removed]" in key or b" redacted]" in key:
        return []
    text = key.decode("utf-8", "replace")
    if not text.isascii():
        text = text.lower()
        return re.findall(r"[^\W\d_]+|[0-9]+", text)
    if "de" in text:
        text = IDS.sub(" ", text)
    return [word.lower() for word in _TOKENS.findall(text)]


def _packed(phrases: tuple[str, ...]) -> frozenset[str]:
    return frozenset(phrase.replace(" ", "") for phrase in phrases)


_PACKED: dict[tuple[str, ...], frozenset[str]] = {
    phrases: _packed(phrases) for phrases in (CVV_PHRASES, PIN_BLOCK_PHRASES, TRACK_PHRASES, PAN_PHRASES)
}

_FIRST_WORDS = {phrases: frozenset(phrase.split(" ")[0] for phrase in phrases) for phrases in _PACKED}


def _holds(words: str, phrases: tuple[str, ...]) -> bool:
    """One of the phrases stands among the words, or is all of them, written together."""
    if words.replace(" ", "") in _PACKED[phrases]:
        return True
    if _FIRST_WORDS[phrases].isdisjoint(words.split(" ")):
        return False
    padded = f" {words} "
    return any(f" {phrase} " in padded for phrase in phrases)


def kinds(key: bytes) -> frozenset[Kind]:
    """What a key or column of this name holds; "card" when it only says that cards are the matter, "message" when payment messages are."""
    return _kinds_of_a_word(key) if len(key) <= _LONGEST_WORD and key.translate(None, _OF_WORDS) == b"" else _kinds(key)


_LONGEST_WORD = 32
_OF_WORDS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"


def _kinds(key: bytes) -> frozenset[Kind]:
    if key in (b"data", b"blob"):
        return frozenset({"binary"})
    found = tokens(key)
    if not found:
        return frozenset()
    words = " ".join(found)
    named: set[Kind] = set()
    if not _ABOUT.intersection(found):
        named = _values_named(found, words)
    if named or not {*CARD_NAMES}.isdisjoint(found) or any(part in words for part in CARD_PARTS):
        named.add("card")
    if not _MESSAGE_KEYS.isdisjoint(found) or "iso 8583" in words:
        named.add("message")
    return frozenset(named)


_kinds_of_a_word = functools.lru_cache(maxsize=512)(_kinds)
"""Remembered, because servers use the same names in each answer. Such a name has no digit, so that no card number is ever among them."""


def _values_named(found: list[str], words: str) -> set[Kind]:
    if _holds(words, PIN_BLOCK_PHRASES):
        return {"pin_block"}
    if _holds(words, TRACK_PHRASES):
        return {"track"}
    if not {*CVV_NAMES}.isdisjoint(found) or _holds(words, CVV_PHRASES) or _glued_cvv(found):
        return {"cvv"}
    if "cid" in found:
        return {"cid"}
    if found == ["pin"] or ("pin" in found and not {"card", "atm", "debit"}.isdisjoint(found)) or "cardpin" in found:
        return {"pin"}
    return {"pan"} if "pan" in found or _holds(words, PAN_PHRASES) else set()


def _glued_cvv(found: list[str]) -> bool:
    return any("cvv" in word or word.startswith("cardcvc") for word in found if len(word) <= 12)


def about_places(keys: list[bytes]) -> bool:
    """True when the neighbours of a `pin` speak of boards or postal addresses: then it is not a card's PIN."""
    return any(not _PLACES.isdisjoint(tokens(key)) for key in keys)


def _character(char: str) -> bytes:
    """One character of a phrase as it may stand in UTF-8 or in raw JSON; a space stands for any short gap or none."""
    if char == " ":
        return rb"[^A-Za-z]{0,4}"
    if char.isascii():
        return re.escape(char.encode())
    forms = {char.lower(), char.upper()}
    return (
        b"(?:" + b"|".join(re.escape(f.encode()) + rb"|\\+u%04x" % ord(f) for f in sorted(forms) if len(f) == 1) + b")"
    )


def anywhere(phrases: tuple[str, ...]) -> bytes:
    """A pattern for any of the phrases, in any case, escaped or not, without regard to word boundaries."""
    return b"(?i:" + b"|".join(b"".join(map(_character, phrase)) for phrase in phrases) + b")"


def as_words(names: tuple[str, ...]) -> bytes:
    """A pattern for any of the ASCII names standing alone or as a part of a camelCase name, in raw JSON."""
    alone = b"|".join(re.escape(name.encode()) for name in names)
    camel = b"|".join(re.escape(form.encode()) for name in names for form in (name.capitalize(), name.upper()))
    edge = rb"(?:^|[^A-Za-z]|\\[bfnrt]|\\u[0-9A-Fa-f]{4})"
    return edge + b"(?i:" + alone + b")(?:[^a-z]|$)|[A-Za-z](?:" + camel + b")(?:[^a-z]|$)"


def _beside(names: tuple[str, ...], parts: tuple[str, ...] = ()) -> "re.Pattern[bytes]":
    ascii_names = b"|".join(re.escape(n.encode()) for n in names if n.isascii())
    others = [anywhere((n,)) for n in (*names, *parts) if not n.isascii()]
    # What masking itself writes is no word of the text: `[track removed]` must not make more of what stands beside it.
    whole = rb"(?<![A-Za-z])(?i:" + ascii_names + rb")(?![a-z])(?! removed\])|[a-z](?:Card|Pan)(?![a-z])"
    return re.compile(b"|".join([whole, *others]))


CARD_BESIDE = _beside(CARD_NAMES, CARD_PARTS)
MESSAGE_BESIDE = _beside(MESSAGE_NAMES)
TRACK_BESIDE = re.compile(
    CARD_BESIDE.pattern + b"|" + MESSAGE_BESIDE.pattern + rb"|(?<![A-Za-z])(?i:de|field|bit|f)[ _-]{0,2}0?35(?![0-9])"
)
"""What names the data element 35 of ISO 8583, which is track 2, too."""
PLACE_BESIDE = re.compile(rb"(?i:gpio|address|postal|postcode|\bzip|city|street|road|india|delhi|mumbai)")
