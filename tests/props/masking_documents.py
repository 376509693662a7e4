"""Generated JSON documents of the kind that tools return, with what a masker must find and what it must leave alone."""

import json
from typing import Any

from hypothesis import strategies as st

from gatebook.masking.networks import FIRM, luhn_valid

CARDS = [
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    "30569309025904",
    "4222222222222",
    "6759649826438453",
]
WORDS = [
    "card",
    "cvv",
    "pin",
    "cid",
    "note",
    "visa 4",
    "track",
    "Ünïcode",
    "\\",
    '"',
    "\n",
    "\t",
    "/",
    "12",
    "2027",
    "a",
    "é",
    "卡",
    "code",
]
PIECES = [
    *CARDS, *WORDS, "4111 1111 1111 1111", "3782-822463-10005", "cvv: 123", "CVC2 is 4321", "card pin 1234", "pin=4321",
    ";4111111111111111=29122010000000000?", "%B4111111111111111^DOE/JANE^2912201000000?", "57114111111111111111D29122010000",
    "5A084111111111111111", "4.111111111111111e15", "164111111111111111", "411111******1111", "id,cvv\n1,123\n2,456", "security code 123",
    "4111111111111111|12|29|123", "1700000000000", "1.4111111111111111", "550e8400-e29b-41d4-a716-446655440000", "code de sécurité : 123",
    "é.4111111111111111", "…4111111111111111", "3426960000150921.", "14933578164692554.", "1234.4111111111111111", "4392561129355664",
    "a4111111111111111bcdefabcdefabcd", "0.5309136012499991", "411111******1111", "6062826786276634", "4.2222222e15", "n°.",
    "589562929583\t1575", "16411111111111111129120", "3782822463100051.4111111111111111", "1.4111111111111111e15", "411111000000111",
    "4111 1111 1111 1111 5555 5555 5555 4444", "1234 4111 1111 1111 1111", "6200000000000000", " ", ",", "-", ".", "=", "^", ":", "|",
    "374111111111111111=29122010000000000000", "994111111111111111=2912201", "374111111111111111D2912201", "iso 8583", "F35", "%31%32", "cvv%3a+1",
    "020164111111111111111000", "02029344111111111111111001",
]  # fmt: skip
KEYS = [
    "a", "cvv", "cvc2", "card", "card_number", "pan", "pin", "cid", "gpio", "data", "blob", "name", "value", "columns", "rows", "track2",
    "cvv_result", "pin_block", "cardCvv", "code de sécurité", "x/y", "~", "number", "fields", "values", "label", "content", "emv", "iso8583", *CARDS[:2], "4111 1111 1111 1111",
]  # fmt: skip

texts = st.lists(st.sampled_from(PIECES), max_size=6).flatmap(
    lambda pieces: st.sampled_from(["", " ", ": ", ","]).map(lambda gap: gap.join(pieces))
)
our_numbers = st.sampled_from([4111110000001111, 378282000010005, 30569300005904])
whole_numbers = (
    our_numbers | st.sampled_from([int(card) for card in CARDS]) | st.integers(0, 10_000) | st.integers(10**12, 10**19)
)
scalars = st.none() | st.booleans() | whole_numbers | whole_numbers.map(float) | st.floats(0, 1) | texts


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(KEYS) | texts
    nested = inner.flatmap(
        lambda value: st.booleans().map(lambda ascii_only: json.dumps(value, ensure_ascii=ascii_only))
    )
    return st.lists(inner, max_size=4) | st.dictionaries(keys, inner | nested, max_size=4)


values = st.recursive(scalars, _containers, max_leaves=12)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """One JSON document as bytes; sometimes with every character of its strings written as an escape."""
    content = draw(values)
    text = json.dumps(content, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 1])))
    if draw(st.integers(0, 3)) == 0:
        letter = draw(st.sampled_from("41 cvpinde/-"))
        text = _escaped(text, letter)
    return text.encode()


def _escaped(text: str, letter: str) -> str:
    """The letter as an escape, inside strings only: numbers and structure stay."""
    parts, inside, at = [], False, 0
    while at < len(text):
        width = 2 if text[at] == "\\" else 1
        unit = text[at : at + width]
        inside ^= unit == '"'
        parts.append(f"\\u{ord(letter):04x}" if inside and unit == letter else unit)
        at += width
    return "".join(parts)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    """A number of any network with a firm prefix, at any of its lengths from 14 on, with a valid check digit."""
    _name, prefixes, lengths = draw(st.sampled_from(FIRM))
    length = draw(st.sampled_from([length for length in lengths if length >= 14]))
    low, _, high = draw(st.sampled_from(prefixes.split())).partition("-")
    prefix = str(draw(st.integers(int(low), int(high or low))))
    body = prefix + "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=length, max_size=length)))
    checked = (body[: length - 1] + check for check in "0123456789")
    return next(number for number in checked if luhn_valid(number.encode()))


def printed(number: str, gap: str) -> str:
    """The number as it stands on a card of its length, with `gap` between the groups."""
    sizes = {
        14: (4, 6, 4),
        15: (4, 6, 5),
        16: (4, 4, 4, 4),
        17: (4, 4, 4, 4, 1),
        18: (4, 4, 4, 4, 2),
        19: (4, 4, 4, 4, 3),
    }
    groups, at = [], 0
    for size in sizes[len(number)]:
        groups.append(number[at : at + size])
        at += size
    return gap.join(groups)
