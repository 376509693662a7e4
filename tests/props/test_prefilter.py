"""What native code rules out is not there: no pattern of the first look matches, and no factor occurs."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatebook.masking import Secrets, mask, trigger
from gatebook.masking.documents import inspect_arguments_without_triggers, mask_without_triggers
from gatebook.masking.factors import ANY, END, START, Factor
from gatebook.masking.networks import firm_numbers
from gatebook.masking.prefilter import buckets, made, stand
from gatebook.masking.secrets import NO_SECRETS
from gatebook.masking.sieves import Sieve
from tests.examples import up_to
from tests.looking import EACH_WAY, InEachWay, first_look
from tests.props.masking_documents import CARDS, PIECES, documents
from tests.speeding import native

FIRST = first_look()
around = st.binary(max_size=70) | st.text('abcdefg 0123456789.,-\\"', max_size=70).map(str.encode)
columns = st.one_of(
    st.binary(min_size=1, max_size=4).map(lambda some: sum(1 << byte for byte in set(some))),
    st.sampled_from([ANY, ANY & ~(1 << 0x61), sum(1 << byte for byte in b"0123456789")]),
)


ids = st.one_of(
    st.sampled_from(CARDS).map(str.encode),
    st.sampled_from(CARDS).flatmap(lambda card: st.sampled_from("0123456789").map(lambda last: (card[:-1] + last).encode())),
    st.sampled_from(
        [
            b"4111 1111 1111 1111", b"3782-822463-10005", b"4111\\t1111\\t1111\\t1111", b"4111.1111.1111.1112", b"1234.", b"0.", b"\\u00e9", b"\\u00ab", b"\\u0034", b"\\u00",
            b"\\n", b"\\t", b"\\\\t", b"\\", b"\t", b" ", b"  ", b" - ", b"-", b".", b"_", b'"', b'\\"', b":", b",", b"]", b"e", b"E", b"e15", b"e+15", b"E-1", b"u", b"x",
            b"de52", b"de35", b"De45", b"DE52", b"de52bd13", b"-de45f000-", b"4.111111111111111", b"411111111111111.1e1", b"6200000000000000", b"411111000000111", b"\xc3\xa9",
        ]
    ),
    st.text("0123456789", min_size=1, max_size=20).map(str.encode),
    st.text("0123456789abcdef", min_size=1, max_size=34).map(str.encode),
)  # fmt: skip


def is_looked_at(text: bytes) -> bool:
    """Where native code has not looked first."""
    return trigger.hits(text, NO_SECRETS, seen=trigger._LOOK.seen(text), own_masks=True) != trigger.NOTHING


def is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


@st.composite
def factors(draw: Any) -> Factor:
    inner = draw(st.lists(columns, min_size=1, max_size=14))
    if draw(st.booleans()):
        inner.insert(0, START | draw(st.just(0) | columns))
    if draw(st.booleans()):
        inner.append(END | draw(st.just(0) | columns))
    return tuple(inner)


sieved = st.dictionaries(factors(), st.sampled_from(Sieve), min_size=1, max_size=12)


@settings(max_examples=up_to(400))
@given(sieved, st.just({}) | sieved, st.binary(max_size=150), st.data())
def test_native_code_says_of_factors_what_is_so(
    some: dict[Factor, Sieve], beside: dict[Factor, Sieve], text: bytes, data: st.DataObject
) -> None:
    # One of them, made of bytes that it admits, somewhere in the text: else hardly any would occur.
    if data.draw(st.booleans()):
        chosen = data.draw(st.sampled_from([*some, *beside]))
        written = bytes((column & ANY).bit_length() - 1 for column in chosen if column & ANY)
        at = 0 if chosen[0] & START else len(text) if chosen[-1] & END else data.draw(st.integers(0, len(text)))
        text = text[:at] + written + text[at:]
    issued = firm_numbers()
    asked = InEachWay(buckets(some), InEachWay(buckets(beside), issued=issued) if beside else None, issued)
    due = stand(some, text) or stand(beside, text)
    for way in asked.ways:
        said = way.may_hold(text)
        # In a long text in which many places look alike it may give up, and says perhaps.
        assert said is due if len(text) <= 36 else said or not due


@pytest.mark.parametrize("written", [b"a", b"ab", b"abcd", b"ab\x80\x81", b"\x80\x81ab", b"abcdefgh"])
def test_a_factor_is_seen_at_every_place_of_a_text_of_any_length(written: bytes) -> None:
    asked = InEachWay(buckets({tuple(1 << byte for byte in written): Sieve.NONE}))
    for length in range(150):
        for filler in (b"z", b"\xff"):
            assert not any(way.may_hold(filler * length) for way in asked.ways)
            for at in range(length - len(written) + 1):
                text = (filler * at + written).ljust(length, filler)
                assert asked.may_hold(text), text
                assert not any(way.may_hold(text.replace(written, written[:-1])) for way in asked.ways), text


@pytest.mark.parametrize("number", range(len(trigger._PATTERNS)))
@given(st.data())
@settings(max_examples=up_to(300))
def test_a_match_of_each_pattern_is_not_ruled_out(number: int, data: st.DataObject) -> None:
    matching = data.draw(st.from_regex(re.compile(trigger._PATTERNS[number]), fullmatch=True))
    text = data.draw(around) + matching + data.draw(around)
    assert FIRST.may_hold(text) or not is_looked_at(text)


@given(st.lists(st.sampled_from(PIECES).map(str.encode) | around, max_size=12).map(b"".join))
@settings(max_examples=up_to(500))
def test_what_is_ruled_out_no_pattern_finds(text: bytes) -> None:
    assert FIRST.may_hold(text) or not is_looked_at(text)


@given(st.lists(ids, max_size=9).map(b"".join))
@settings(max_examples=up_to(2000))
def test_no_number_is_ruled_out_in_whatever_it_stands(text: bytes) -> None:
    if FIRST.may_hold(text):
        return
    assert not is_looked_at(text)
    for body in (json.dumps({"a": text.decode()}).encode(), b'{"a":"%b"}' % text, b"[%b]" % text):
        if not FIRST.may_hold(body) and is_json(body):
            assert mask_without_triggers(body).findings == () and inspect_arguments_without_triggers(body) == ()


def test_ids_and_clocks_are_ruled_out() -> None:
    for text in (
        b'{"id": "4556e412-3485-4de5-9362-374621240721", "trace": "de52bd1382f950bf17cef9fec4111e12"}', b'{"order": "ORD-5024610828"}', b'"6649030522653866"',
        b'{"created": 1790000123456, "at": "2026-09-28T10:44:33.123Z", "price": 44.90, "phone": "+44 20 7946 0958"}', b"[4111111111111112, 3]",
    ):  # fmt: skip
        for times in (1, 300):
            assert not any(way.may_hold(text * times) for way in FIRST.ways), text


@given(
    documents(),
    st.binary(min_size=1, max_size=24) | st.binary(min_size=25, max_size=90),
    st.sets(st.integers(0, 89)) | st.just(set(range(90))),
    around,
)
@settings(max_examples=up_to(300))
def test_a_live_secret_is_not_ruled_out_in_any_spelling(
    body: bytes, value: bytes, escaped: set[int], beside: bytes
) -> None:
    secrets = Secrets((value,))
    assert secrets.sketch is not None
    first = made(EACH_WAY, {secrets.sketch: Sieve.NONE}, FIRST, most=8)
    percent = b"".join(b"%%%02x" % byte if place in escaped else b"%c" % byte for place, byte in enumerate(value))
    for spelling in (value, percent, base64.b64encode(b"x" + value)):
        for text in (spelling, beside + spelling + body):
            assert secrets.positions(text) or len(value) < 12
            assert first.may_hold(text) or not secrets.positions(text)
    for text in (body, body + beside):
        if secrets.positions(text) or is_looked_at(text):
            assert first.may_hold(text)


def test_it_rules_out_what_most_messages_are() -> None:
    text = b'{"content":[{"type":"text","text":"{\\"status\\": \\"paid\\", \\"quantity\\": 71, \\"note\\": \\"ledger silver account\\"}"}]}'
    for times in (1, 10, 2000):
        assert not any(way.may_hold(text * times) for way in FIRST.ways)


def test_what_the_first_look_rules_out_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger._first, "made", (EACH_WAY, FIRST))
    monkeypatch.setattr(trigger._LOOK, "seen", lambda text: pytest.fail("RE2 was asked"))
    with_secret, without = Secrets((b"hunter2-the-token",)), Secrets()
    for secrets in (with_secret, without):
        assert mask(b'{"note":"paid"}', secrets).findings == ()
    monkeypatch.undo()
    monkeypatch.setattr(trigger._first, "made", (EACH_WAY, FIRST))
    assert mask(b'{"note":"card 4111111111111111"}', without).body == b'{"note":"card 411111******1111"}'
    assert b"hunter2" not in mask(b'{"note":"hunter2-the-token"}', with_secret).body


@pytest.mark.parametrize("errs_at", [b"4111", b"cvv", b"*"])
def test_one_that_rules_out_what_is_card_data_does_not_look_first(
    errs_at: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful:
        def Prefilter(self, *_: object) -> "Forgetful":
            return self

        def may_hold(self, text: bytes, /) -> bool:
            return errs_at not in text

    monkeypatch.setattr(trigger._first, "made", None)
    assert not trigger.look_first_with(Forgetful())
    assert trigger._first.made is None


def test_what_is_no_text_is_left_to_the_patterns() -> None:
    for other in (bytearray(b"ab"), memoryview(b"ab"), "ab", None):
        assert FIRST.may_hold(other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given_buckets",
    [((b"",),), ((b"\0" * 33,),), ((b"\1" + b"\0" * 33,),), ((b"\0" + b"\0" * 33 * 17,),), (("x",),), ("x",), ((),) * 33, [()]],
)  # fmt: skip
def test_buckets_that_are_none_are_refused(given_buckets: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        native().Prefilter(given_buckets, None)
    with pytest.raises((ValueError, TypeError)):
        native().Prefilter((), "no prefilter")


def test_what_a_machine_cannot_is_refused() -> None:
    with pytest.raises(ValueError, match="at_once"):
        native().Prefilter((), None, (), native().PREFILTERS + 1)
