"""A planted card number does not survive: any network and length, any usual shape, any position in a document."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.masking import inspect_arguments, mask, mask_text
from tests.looking import each_look
from tests.props.masking_documents import card_numbers, printed

__all__ = ["each_look"]
pytestmark = pytest.mark.usefixtures("each_look")


AROUND = st.sampled_from(["", "paid with ", "7 ", "PAN ", "card_", "X", "ref:", "\n", "é", "a.b ", "("])
BEHIND = st.sampled_from(["", ".", " 29.99", " 12/27", ",", "X", "_2026.pdf", "\n", "é", ")", " 123"])
GAPS = st.sampled_from(["", " ", "-", ".", "_", "  ", " - ", "\t"])


def in_string(number: str) -> bytes:
    return json.dumps({"rows": [{"note": number}]}).encode()


def in_key(number: str) -> bytes:
    return json.dumps({"totals": {number: 12.5, "other": 1}}).encode()


def in_json_in_string(number: str) -> bytes:
    return json.dumps({"text": json.dumps([{"n": json.dumps({"deep": number})}])}).encode()


def in_escapes(number: str) -> bytes:
    return b'{"n":"' + "".join(f"\\u{ord(char):04X}" for char in number).encode() + b'"}'


def in_a_large_array(number: str) -> bytes:
    quiet = [{"name": "x" * 40, "tags": ["a", {"b": [1]}]}] * 8
    return json.dumps([*quiet, {"n": [number]}, *quiet]).encode()


POSITIONS: list[Callable[[str], bytes]] = [in_string, in_key, in_json_in_string, in_escapes, in_a_large_array]


def digits_left(body: bytes) -> str:
    """All digits of the document, as its strings and numbers show them, nothing between."""
    text = body.decode()
    for _ in range(4):
        text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code.group(1), 16)), text)
    return re.sub(r"[^0-9]", "", text)


@given(card_numbers(), GAPS, AROUND, BEHIND, st.sampled_from(POSITIONS))
def test_no_printed_card_number_survives(
    number: str, gap: str, before: str, behind: str, position: Callable[[str], bytes]
) -> None:
    body = position(before + (printed(number, gap) if gap else number) + behind)
    masked = mask(body)
    assert number not in digits_left(masked.body)
    assert number not in digits_left(repr(masked.findings).encode())
    assert masked.findings and inspect_arguments(body)
    json.loads(masked.body)


@given(card_numbers(), st.sampled_from(["{}", "-{}", "{}.0", "{}.00"]), st.booleans())
def test_no_card_number_survives_as_a_number(number: str, form: str, nested: bool) -> None:
    body = ('[1,{"amount":' + form.format(number) + "}]").encode()
    masked = mask(json.dumps({"text": body.decode()}).encode() if nested else body)
    assert number not in digits_left(masked.body)
    value = json.loads(json.loads(masked.body)["text"] if nested else masked.body)[1]["amount"]
    assert isinstance(value, float if "." in form else int)
    assert str(abs(int(value)))[:6] == number[:6]


@given(card_numbers(), st.booleans())
def test_no_card_number_survives_in_exponent_form(number: str, upper: bool) -> None:
    mark = "E+" if upper else "e"
    token, small = f"{number[0]}.{number[1:]}{mark}{len(number) - 1}", f"0.00{number}{mark}{len(number) + 2}"
    for body in (f"[{token}]".encode(), json.dumps([token]).encode(), f"[{small}]".encode()):
        masked = mask(body)
        assert number not in digits_left(masked.body) and masked.findings
        json.loads(masked.body)


@given(card_numbers(), GAPS, AROUND, BEHIND)
def test_no_card_number_survives_in_bare_text(number: str, gap: str, before: str, behind: str) -> None:
    text, findings = mask_text(before + (printed(number, gap) if gap else number) + behind)
    assert number not in digits_left(text.encode()) and findings


@given(card_numbers(), GAPS)
def test_what_is_shown_is_six_digits_and_four_and_the_separators(number: str, gap: str) -> None:
    shape = printed(number, gap) if gap else number
    text, _ = mask_text(shape)
    assert len(text) == len(shape)
    stripped = [char for char in text if char.isdigit() or char == "*"]
    assert "".join(stripped) == number[:6] + "*" * (len(number) - 10) + number[-4:]


SERVICE_AND_MORE = st.from_regex(r"[0-9]{3,13}", fullmatch=True)


@given(card_numbers(), st.sampled_from("=D"), SERVICE_AND_MORE, st.sampled_from(POSITIONS), st.booleans())
def test_no_track_survives_behind_its_length(
    number: str, sigil: str, rest: str, position: Callable[[str], bytes], of_number: bool
) -> None:
    track = f"{number}{sigil}2912{rest}"
    body = position(f"{len(number) if of_number else len(track)}{track}")
    masked = mask(body)
    assert number not in digits_left(masked.body) and "2912" + rest not in digits_left(masked.body)
    assert (
        [found.detector for found in masked.findings]
        == [found.detector for found in inspect_arguments(body)]
        == ["track"]
    )


@given(card_numbers(), st.sampled_from("=D"), SERVICE_AND_MORE, st.from_regex(r"[0-9]{1,20}", fullmatch=True))
def test_no_track_survives_among_the_digits_of_a_payment_message(
    number: str, sigil: str, rest: str, before: str
) -> None:
    track = f"{before}{number}{sigil}2912{rest}"
    for body in (
        f'["iso 8583 {track}"]',
        f'["{track} is track 2"]',
        f'{{"card":{{"raw":"{track}"}}}}',
        f'["F35 {track}"]',
    ):
        masked = mask(body.encode())
        assert "2912" + rest not in digits_left(masked.body) and number not in digits_left(masked.body)
