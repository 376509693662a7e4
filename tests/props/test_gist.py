"""Native code reads in an entry what Python reads, or nothing; and no text that Python refuses."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatebook.ledger import entry
from gatebook.ledger.gist import gist_of, read_gist, reading_with
from gatebook.model.record import Draft
from tests.examples import up_to
from tests.props.test_entry_composing import drafts
from tests.props.test_speed import numbered, plain, plain_drafts
from tests.speeding import EPOCH, WRITER, native
from tests.world_ledger import a_draft

BY = (WRITER, EPOCH)
pays = st.lists(
    st.builds(entry.Pay, bytes=st.integers(0, 2**40), c=plain, key=plain, part=plain, x=plain), max_size=3
).map(tuple)
PIECES = (b"", b'"', b",", b"{", b"}", b"[", b"]", b":", b"\\", b" ", b"0", b"-", b"1.0", b"null", b"true", b"false", b'"a":"b",', b"\xc3\xa9", b"\x7f", b"\x00",
          b'"call":"c",', b'"dlp":{},', b'"n":1,')  # fmt: skip
edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=3)


def leaf_of(draft: Draft, told: dict[str, Any], pay: tuple[entry.Pay, ...], *, development: bool = False) -> bytes:
    return entry.compose(
        draft, unix_us=told["unix_us"], clock=told["clock"], identifier="01a2157c-962f-7000-8000-000000000000",
        written=entry.Written(n=WRITER, e=EPOCH, s=told["number"]), count=told["count"], pay=pay, development=development,
    )  # fmt: skip


def by_c(leaf: bytes) -> Any:
    return native().gist(leaf, *BY)


def assert_same_or_none(leaf: bytes) -> None:
    if by_c(leaf) is not None:
        assert reading_with(native())(leaf, BY) == read_gist(leaf)


@given(plain_drafts, numbered, pays, st.booleans())
@settings(max_examples=up_to(300))
def test_of_a_plain_entry_it_reads_the_same(
    draft: Draft, told: dict[str, Any], pay: tuple[entry.Pay, ...], development: bool
) -> None:
    leaf = leaf_of(draft, told, pay, development=development)
    assert by_c(leaf) is not None
    assert_same_or_none(leaf)


@given(drafts, numbered, pays)
@settings(max_examples=up_to(300))
def test_of_any_entry_it_reads_the_same_or_nothing(
    draft: Draft, told: dict[str, Any], pay: tuple[entry.Pay, ...]
) -> None:
    leaf = leaf_of(draft, told, pay)
    assert_same_or_none(leaf)
    assert reading_with(native())(leaf, BY) == read_gist(leaf) == gist_of(entry.decode(leaf), leaf)


@given(plain_drafts, numbered, pays, edits)
@settings(max_examples=up_to(1000))
def test_of_a_text_that_is_nearly_an_entry_it_reads_the_same_or_nothing(
    draft: Draft, told: dict[str, Any], pay: tuple[entry.Pay, ...], changes: list[tuple[int, int, bytes]]
) -> None:
    leaf = leaf_of(draft, told, pay)
    for place, gone, put in changes:
        at = place % (len(leaf) + 1)
        leaf = leaf[:at] + put + leaf[at + gone :]
    assert_same_or_none(leaf)


def a_leaf(**changes: Any) -> bytes:
    draft = a_draft(2, detail={"b": 1, "a": "t", "c": True})
    made = entry.decode(
        leaf_of(draft, {"unix_us": 1, "clock": entry.Clocked(src="none", off=0, ok=False), "number": 7, "count": 3}, ())
    )
    return msgspec.json.encode(msgspec.structs.replace(made, **changes), order="deterministic")  # fmt: skip


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b'"clk":', b'"call":null,"clk":'), (b'"ev":', b'"dlp":{},"ev":'), (b'"res":', b'"q":null,"res":'), (b'"x":{"a":"t","b":1,"c":true}', b'"x":{}'),
        (b'"a":"t","b":1', b'"b":1,"a":"t"'), (b'"a":"t",', b'"a":"t","a":"t",'), (b'"b":1,', b'"b":1.0,'), (b'"b":1,', b'"b":01,'), (b'"b":1,', b'"b":-0,'),
        (b'"b":1,', b'"b":null,'), (b'"v":1', b'"v":2'), (b'"v":1', b'"v":1,"v":1'), (b'"s":7', b'"s":"7"'), (b'"s":7', b'"s":7,"z":1'), (b'"a":"t"', b'"a":"\\u0074"'),
        (b'"a":"t"', b'"a": "t"'), (b'"iss":', b'"declared":false,"iss":'), (b'"iss":', b'"amr":[],"iss":'), (b'"kind":"person"', b'"kind":"robot"'),
        (b'"off":0', b'"off":true'), (b'"ok":false', b'"ok":0'), (b"}", b"}\n"), (b'{"', b' {"'), (b'"t":"', b'"t":"\xc3'), (b'"out":', b'"pay":[],"out":'),
    ],
)  # fmt: skip
def test_what_is_not_in_canonical_form_is_left_to_python_which_refuses_it(was: bytes, now: bytes) -> None:
    leaf = a_leaf()
    assert by_c(leaf) is not None
    changed = now.join(leaf.rsplit(was, 1)) if was == b"}" else leaf.replace(was, now, 1)
    assert changed != leaf and by_c(changed) is None
    with pytest.raises(ValueError, match=r"."):
        read_gist(changed)


@given(st.binary(max_size=60), st.integers(0, 1500))
@example(b"", 1500)
@settings(max_examples=up_to(300))
def test_an_entry_that_breaks_off_is_none(more: bytes, kept: int) -> None:
    leaf = a_leaf()
    text = leaf[:kept] + more
    if text != leaf:
        assert_same_or_none(text)
        if len(text) < len(leaf):
            assert by_c(text) is None


def test_another_writers_entry_is_left_to_python() -> None:
    leaf = a_leaf()
    for writer, epoch in ((WRITER, EPOCH[:-1]), (WRITER + "1", EPOCH), ("", ""), ("é", EPOCH)):
        assert native().gist(leaf, writer, epoch) is None
        assert reading_with(native())(leaf, (writer, epoch)).writer == BY


@pytest.mark.parametrize("told", [(), (b"",), (b"", "a", "b", "c"), ("", "a", "b"), (bytearray(), "a", "b")])
def test_what_is_no_leaf_is_refused_in_words(told: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"gist\(leaf, writer, epoch\)"):
        native().gist(*told)
