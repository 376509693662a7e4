"""Triggers, sieve and skipping change nothing but the time; masking twice is masking once; types and other bytes stay."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatebook.masking import Masked, MaskingFailed, Secrets, inspect, inspect_arguments, is_clean, mask, mask_text
from gatebook.masking.documents import inspect_arguments_without_triggers, mask_without_triggers
from tests.looking import each_look
from tests.props.masking_documents import PIECES, documents, texts

__all__ = ["each_look"]
pytestmark = pytest.mark.usefixtures("each_look")


def outcome(door: Callable[..., Any], *arguments: Any) -> Any:
    """What the door returns, or the words of its refusal."""
    try:
        return door(*arguments)
    except MaskingFailed as refusal:
        return str(refusal)


@given(documents())
def test_looking_only_where_the_trigger_hits_finds_the_same(body: bytes) -> None:
    assert outcome(mask, body) == outcome(mask_without_triggers, body)


@given(documents(), st.sampled_from([(b"12",), (b"cvv: 1", b"\xc3\xa9"), (b"4111111111111111",), (b"card note",)]))
def test_the_same_holds_with_live_secrets(body: bytes, values: tuple[bytes, ...]) -> None:
    secrets = Secrets(values)
    assert outcome(mask, body, secrets) == outcome(mask_without_triggers, body, secrets)


@given(documents())
def test_looking_only_where_the_trigger_hits_refuses_the_same_arguments(body: bytes) -> None:
    assert outcome(inspect_arguments, body) == outcome(inspect_arguments_without_triggers, body)
    masked = outcome(mask, body)
    if isinstance(masked, Masked):
        assert inspect_arguments(masked.body) == outcome(inspect_arguments_without_triggers, masked.body)


@given(documents())
def test_masking_twice_is_masking_once(body: bytes) -> None:
    first = outcome(mask, body)
    if isinstance(first, Masked):
        again = mask(first.body)
        assert again.body is first.body and again.findings == ()


def shape(value: Any) -> Any:
    """Types and structure; keys only counted, since they may be masked."""
    match value:
        case dict():
            return [shape(member) for member in value.values()]
        case list():
            return [shape(element) for element in value]
        case bool() | None:
            return value
        case _:
            return type(value)


@given(documents())
def test_the_result_is_json_of_the_same_types(body: bytes) -> None:
    masked = outcome(mask, body)
    if isinstance(masked, Masked):
        assert shape(json.loads(masked.body)) == shape(json.loads(body))
        assert (masked.body is body) == (masked.findings == ())


@given(st.lists(documents(), min_size=1, max_size=3))
def test_what_stands_beside_a_finding_passes_byte_for_byte(parts: list[bytes]) -> None:
    quiet = b'[1.50, "\\u00e9\\/", {"k" :null} ]'
    body = b"[%b,\n%b]" % (quiet, b",".join(parts))
    masked = outcome(mask, body)
    if isinstance(masked, Masked):
        assert masked.body.startswith(b"[%b,\n" % quiet) and masked.body.endswith(b"]")


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([p.encode() for p in PIECES] + list(b'{}[],:"\\'.split() or [])), max_size=8).map(
        b"".join
    )
)
def test_whatever_the_bytes_only_a_refusal_comes_out(body: bytes) -> None:
    for door in (mask, inspect_arguments):
        outcome(door, body)


@given(texts | st.text())
@example("4111 1111 1111 1111a4111111111111111bcdefabcdefabcd589562929583\t1575")
def test_bare_text_is_masked_once_and_keeps_its_lines(text: str) -> None:
    masked, findings = mask_text(text)
    assert mask_text(masked) == (masked, ())
    assert masked.count("\n") == text.count("\n") or findings
    assert masked == text or findings


@given(documents())
def test_arguments_are_refused_exactly_when_something_would_be_masked_or_is_our_mask(body: bytes) -> None:
    masked, found = outcome(mask, body), outcome(inspect_arguments, body)
    if isinstance(masked, Masked) and masked.findings:
        assert found
        assert inspect_arguments(masked.body) or {f.detector for f in masked.findings} <= {
            "cvv",
            "pin",
            "pan",
            "pin_block",
        }


@given(documents(), st.sampled_from([(), (b"12",), (b"4111111111111111",)]))
def test_a_request_inspected_once_is_what_both_doors_say_of_it(body: bytes, values: tuple[bytes, ...]) -> None:
    secrets = Secrets(values)
    both = outcome(inspect, body, secrets)
    masked, findings = outcome(mask, body, secrets), outcome(inspect_arguments, body)
    if isinstance(masked, Masked) and isinstance(findings, tuple):
        assert (both.masked, both.findings) == (masked, findings)
        assert (both.masked.body is body) == (masked.body is body)
    else:
        assert both in (masked, findings)


@given(texts | st.text(), st.sampled_from([(), (b"12",), (b"4111111111111111",)]))
def test_a_text_is_clean_exactly_when_masking_it_finds_nothing(text: str, values: tuple[bytes, ...]) -> None:
    secrets = Secrets(values)
    raw = text.encode("utf-8", "surrogatepass")
    for _ in range(2):  # the second time it may be remembered
        if text.isascii():
            assert is_clean(raw, secrets) == (mask_text(text, secrets)[1] == ())
        elif mask_text(text, secrets)[1]:
            assert not is_clean(raw, secrets)


@given(st.binary(max_size=60))
def test_a_header_value_in_latin_1_is_clean_only_when_its_text_is(raw: bytes) -> None:
    if outcome(mask_text, raw.decode("latin-1")) != (raw.decode("latin-1"), ()):
        assert not is_clean(raw)
