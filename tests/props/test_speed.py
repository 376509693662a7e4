"""A record is the same bytes whichever way it was composed; what the native way does not know it leaves alone."""

import calendar
import datetime
import functools
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatebook.ledger import entry
from gatebook.ledger.framing import apart
from gatebook.model.finding import Action, Detector, Finding
from gatebook.model.record import Asked, Draft, Event, Origin, Payload, PolicyRef, Resource, Who
from tests.examples import up_to
from tests.props.test_entry_composing import ascii_keys, drafts, exact, texts
from tests.speeding import TwoWays, native
from tests.world_ledger import a_draft

native()

PIECE_BYTES = 4096
plain = st.text(st.characters(min_codepoint=32, max_codepoint=127, exclude_characters='"\\'), max_size=40)
told = plain.filter(bool)
maybe = st.none() | plain
parts = st.sampled_from(["request", "response", "event", "message"])
bodies = st.binary(max_size=300) | st.builds(
    lambda size, byte: bytes([byte]) * size,
    st.integers(0, 3 * PIECE_BYTES) | st.integers(30_000, 40_000),
    st.integers(0, 255),
)
payloads = st.lists(st.builds(Payload, part=parts, body=bodies), max_size=4).map(tuple)
findings = st.builds(
    Finding, detector=st.sampled_from(get_args(Detector)), action=st.sampled_from(get_args(Action)), pointer=texts
)
plain_drafts = st.builds(
    Draft, event=st.sampled_from(get_args(Event)), ok=st.booleans(), reason=told, call=maybe, session=maybe, credential=maybe,
    who=st.builds(
        Who, acr=maybe, acting_for=maybe, agent=maybe, amr=st.lists(plain, max_size=3).map(tuple), auth_time=st.none() | exact,
        declared=st.booleans(), iss=told, kind=st.sampled_from(["person", "job"]), login=maybe, sub=told,
    ),
    origin=st.builds(Origin, client=maybe, ip=told), resource=st.builds(Resource, kind=told, method=maybe, name=maybe, server=maybe),
    policy=st.none() | st.builds(PolicyRef, config=plain, decision=st.just("deny"), rule=plain, snapshot=exact),
    asked=st.none() | st.builds(Asked, fp=maybe, id=maybe, kid=maybe, shape=st.dictionaries(plain, plain, max_size=6)),
    findings=st.lists(findings, max_size=30).map(tuple), payloads=payloads,
    detail=st.dictionaries(plain, plain | st.booleans() | exact, max_size=6),
)  # fmt: skip
numbered = st.fixed_dictionaries(
    {
        "unix_us": st.integers(0, 253_402_300_799_999_999),
        "number": st.integers(1, entry.MAX_INTEGER),
        "count": st.none() | st.integers(1, 2**40),
        "clock": st.builds(entry.Clocked, src=plain, off=exact, ok=st.booleans()),
    }
)


@functools.cache
def ways(development: bool) -> TwoWays:
    return TwoWays(piece_bytes=PIECE_BYTES, development=development)


@given(plain_drafts, numbered, st.booleans())
@settings(max_examples=up_to(300))
def test_plain_drafts_are_composed_natively_to_the_same_bytes(
    draft: Draft, given_: dict[str, Any], development: bool
) -> None:
    both = ways(development)
    assert both.by_c(draft, **given_) == both.by_python(draft, **given_)


@given(drafts, payloads, numbered, st.booleans())
@settings(max_examples=up_to(300))
def test_every_draft_becomes_the_same_bytes_or_is_left_to_python(
    draft: Draft, recorded: tuple[Payload, ...], given_: dict[str, Any], development: bool
) -> None:
    draft, both = msgspec.structs.replace(draft, payloads=recorded), ways(development)
    wanted = both.by_python(draft, **given_)
    assert both.by_c(draft, **given_) in (None, wanted)
    assert both.by_both(draft, **given_) == wanted


odd: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text(), max_size=2) | st.just(object())
    | st.dictionaries(texts, st.integers() | st.text(max_size=9000) | st.none(), max_size=3) | st.builds(Origin, ip=texts) | st.just(())
    | st.lists(st.builds(Payload, part=texts, body=st.binary() | st.binary().map(bytearray)), max_size=6).map(tuple)
    | st.dictionaries(ascii_keys, st.text(), min_size=33, max_size=40) | st.lists(st.integers(), max_size=3).map(tuple)
)  # fmt: skip


@given(st.sampled_from(["", "who", "origin", "resource", "policy", "asked", "clock", "payload"]), st.data(), odd)
@example("who", None, "")
@settings(max_examples=up_to(500))
def test_a_member_of_any_other_kind_is_never_written_differently(
    within: str, data: st.DataObject | None, value: Any
) -> None:
    """Structs do not look at what they are given. Whatever Python does with it, the other way does the same or nothing."""
    draft, both, clock = a_draft(session="0" * 32), ways(False), entry.Clocked(src="kernel", off=0, ok=True)
    object_: Any = {"": draft, "clock": clock, "payload": draft.payloads[0]}.get(within) or getattr(draft, within)
    name = data.draw(st.sampled_from(object_.__struct_fields__)) if data is not None else "iss"
    changed = msgspec.structs.replace(object_, **{name: value})
    match within:
        case "":
            draft = changed
        case "clock":
            clock = changed
        case "payload":
            draft = msgspec.structs.replace(draft, payloads=(changed,))
        case _:
            draft = msgspec.structs.replace(draft, **{within: changed})
    try:
        wanted: Any = both.by_python(draft, clock=clock)
    except Exception as error:  # a length of no tuple, an encoder that knows no object: not of our making
        wanted = type(error)
    try:
        given_: Any = both.by_c(draft, clock=clock)
    except TypeError:
        # Of this test's own making: no chance can be drawn for payloads that cannot be counted.
        assert not isinstance(draft.payloads, tuple)
        return
    assert given_ in (None, wanted)


@pytest.mark.parametrize("code", range(0x90))
def test_each_character_at_each_place_of_a_word(code: int) -> None:
    """What JSON would escape is left alone wherever it stands; anything else of ASCII is written."""
    for length in (1, 7, 8, 9, 17):
        for place in range(length):
            draft = a_draft(reason="a" * place + chr(code) + "a" * (length - place - 1))
            made = ways(False).by_c(draft)
            if code < 0x20 or chr(code) in '"\\' or code > 0x7F:
                assert made is None
            else:
                assert made == ways(False).by_python(draft)


@pytest.mark.parametrize("value", [entry.MAX_INTEGER, -entry.MAX_INTEGER])
@pytest.mark.parametrize("beyond", [0, 1, 2**62, 2**64])
@pytest.mark.parametrize("member", ["detail", "auth_time", "snapshot", "off"])
def test_an_integer_that_not_every_reader_keeps_exact_is_left_to_python(value: int, beyond: int, member: str) -> None:
    value += beyond if value > 0 else -beyond
    draft, clock = a_draft(), entry.Clocked(src="kernel", off=0, ok=True)
    match member:
        case "detail":
            draft = a_draft(detail={"a": value})
        case "auth_time":
            draft = a_draft(who=msgspec.structs.replace(draft.who, auth_time=value))
        case "snapshot":
            draft = a_draft(policy=msgspec.structs.replace(draft.policy, snapshot=value))
        case _:
            clock = msgspec.structs.replace(clock, off=value)
    wanted = None if beyond else ways(False).by_python(draft, clock=clock)
    assert ways(False).by_c(draft, clock=clock) == wanted


@pytest.mark.parametrize("part", ["", "other", "request ", "REQUEST", "é", "x" * 300, None, b"request"])
def test_a_part_of_a_call_that_there_is_not_is_left_to_python(part: Any) -> None:
    assert ways(False).by_c(a_draft(payloads=(Payload(part=part, body=b""),))) is None


@pytest.mark.parametrize("kinds", [1, 31, 32, 33, 500])
@pytest.mark.parametrize("length", [3, 57, 58, 2000])
def test_more_kinds_of_findings_than_there_are_and_longer_names_are_left_to_python(kinds: int, length: int) -> None:
    names: Any = [f"{kind:0{length}}" for kind in range(kinds)]
    found = tuple(Finding(detector=name, action="masked", pointer="") for name in (*names, *names))
    draft = a_draft(findings=found)
    assert ways(False).by_both(draft) == ways(False).by_python(draft)
    if length + len(":masked") > 64 or kinds > 32:
        assert ways(False).by_c(draft) is None
    if (kinds, length) == (1, 3):
        assert ways(False).by_c(draft) is not None


@pytest.mark.parametrize("beyond", [-1, 0, 1, 2])
def test_an_entry_may_be_eight_kibibytes_long_and_no_longer(beyond: int) -> None:
    without = ways(False).by_c(a_draft(reason=" ", detail={"a": "x"}))
    assert without is not None
    room = entry.MAX_ENTRY_BYTES - (len(apart(without[0])[-1]) - 9)
    draft = a_draft(reason=" ", detail={"a": "x" * (1 + room + beyond)})
    wanted = ways(False).by_python(draft)
    assert ways(False).by_c(draft) == (None if beyond > 0 else wanted)
    assert ways(False).by_both(draft) == wanted


def test_every_day_has_its_date() -> None:
    ends = [datetime.datetime(year, month, day, 23, 59, 59, 0, datetime.UTC) for year in (2000, 2096, 2100, 2400, 4000, 9999)
            for month, day in ((2, 28), (2, 29), (3, 1), (12, 31)) if (month, day) != (2, 29) or calendar.isleap(year)]  # fmt: skip
    days = [day * 86_400_000_000 for day in range(0, 50_000, 11)]
    for unix_us in (*days, *(int(end.timestamp()) * 1_000_000 + 999_999 for end in ends)):
        assert ways(False).by_c(a_draft(payloads=()), unix_us=unix_us) == ways(False).by_python(
            a_draft(payloads=()), unix_us=unix_us
        )
    assert ways(False).by_c(a_draft(), unix_us=253_402_300_800_000_000) is None
    assert ways(False).by_c(a_draft(), unix_us=-1) is None


@pytest.mark.parametrize("count", range(-60, 20))
@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_bodies_that_end_near_the_end_of_a_piece(pieces: int, count: int) -> None:
    """The tag falls into the last piece, into a piece of its own, or across two."""
    body = bytes(index % 251 for index in range(pieces * PIECE_BYTES + count))
    draft = a_draft(payloads=(Payload(part="event", body=body),))
    assert ways(False).by_c(draft) == ways(False).by_python(draft)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1024, 16_343, 16_344, 16_345, 32_767, 32_768, 200 << 10, 3 << 20])
@pytest.mark.parametrize("piece_bytes", [1, 17, 4096, 1 << 20])
def test_bodies_of_all_sizes(size: int, piece_bytes: int) -> None:
    if size > 20_000 and piece_bytes < 4096:
        size = 20_000 + size % 100
    both = TwoWays(piece_bytes=piece_bytes)
    draft = a_draft(payloads=(Payload(part="response", body=bytes(index % 253 for index in range(size))),))
    assert both.by_c(draft) == both.by_python(draft)


@given(st.binary(max_size=70), st.binary(max_size=70))
def test_the_checksum_without_the_processors_instruction_is_the_same(first: bytes, second: bytes) -> None:
    import google_crc32c

    module = native()
    begun = module.crc32c_by_table(0, first)
    assert module.crc32c_by_table(begun, second) == google_crc32c.value(first + second)
