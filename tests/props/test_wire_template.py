"""A message that is read by the template of an earlier one is read as `parse_client` reads it, or not at all."""

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gatebook.wire import template
from gatebook.wire.jsonrpc import Request, parse_client
from gatebook.wire.template import Template, filled, template_of
from tests.props.test_wire_messages import IDS, VALUES, damaged, parsed, written

ARGUMENTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=3)
PLAIN_IDS = st.integers(0, 10**18 - 1) | st.text(alphabet='abcXYZ019 ,:{}[]"-', max_size=8).filter(
    lambda text: '"' not in text
)
TOP = ("jsonrpc", "id", "method", "params")
INNER = ("name", "arguments", "_meta")


def message(order: tuple[tuple[str, ...], tuple[str, ...]], identity: Any, arguments: Any) -> dict[str, Any]:
    inner = {"name": "x", "arguments": arguments, "_meta": {"a": "b", "c": [1, {"arguments": {}}]}}
    params = {name: inner[name] for name in order[1]}
    top = {"jsonrpc": "2.0", "id": identity, "method": "tools/call", "params": params}
    return {name: top[name] for name in order[0]}


ORDERS = st.tuples(st.permutations(TOP).map(tuple), st.permutations(INNER).map(tuple))


def made_of(body: bytes) -> Template:
    request = parse_client(body)
    assert isinstance(request, Request)
    found = template_of(request)
    assert found is not None
    return found


@given(ORDERS, PLAIN_IDS, ARGUMENTS, PLAIN_IDS, ARGUMENTS, st.sampled_from([(",", ":"), (", ", ": ")]))
def test_the_same_message_with_another_id_and_other_arguments_is_read_by_the_template(
    order: Any, first: Any, before: Any, second: Any, after: Any, separators: tuple[str, str]
) -> None:
    one, other = (
        json.dumps(message(order, identity, arguments), separators=separators, ensure_ascii=False).encode()
        for identity, arguments in ((first, before), (second, after))
    )
    assume(parsed(one) is not None and parsed(other) is not None)
    assert filled(made_of(one), other) == parse_client(other)


@given(ORDERS, IDS, ARGUMENTS, st.data())
def test_what_a_template_reads_is_what_the_parser_reads(
    order: Any, identity: Any, arguments: Any, data: st.DataObject
) -> None:
    one = data.draw(written(message(order, identity, arguments))).encode()
    request = parsed(one)
    assume(isinstance(request, Request))
    found = template_of(request)  # type: ignore[arg-type]
    assume(found is not None)
    assert found is not None
    holes = [
        data.draw(written(data.draw(IDS)) | st.text(alphabet='{}[]",:\\0123456789e.-aid ', max_size=12)).encode(),
        data.draw(written(data.draw(ARGUMENTS)) | st.text(alphabet='{}[]",:\\0123456789e.-aid ', max_size=24)).encode(),
    ]
    if not found.id_first:
        holes.reverse()
    other = found.before + holes[0] + found.between + holes[1] + found.after
    got = filled(found, other)
    assert got is None or got == parsed(other)


@given(ORDERS, PLAIN_IDS, ARGUMENTS, st.data())
def test_a_damaged_message_is_read_as_the_parser_reads_it_or_not_at_all(
    order: Any, identity: Any, arguments: Any, data: st.DataObject
) -> None:
    one = json.dumps(message(order, identity, arguments)).encode()
    assume(parsed(one) is not None)
    body = damaged(data, one)
    got = filled(made_of(one), body)
    assert got is None or got == parsed(body)


CALL = '{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"x","arguments":%s}}'
TEMPLATE = made_of((CALL % ("1", '{"a":1}')).encode())


READERS: dict[str, Callable[[Template, bytes], object]] = {"Python": filled}
with contextlib.suppress(ImportError):
    import gatebook_speed

    READERS["C"] = lambda known, body: gatebook_speed.Template(
        known.before, known.between, known.after, known.id_first
    ).fill(body)
reading = pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())


@reading
@pytest.mark.parametrize(
    "identity",
    ["01", "-1", "1.0", "null", " 1", "1 ", "1e3", '"a\\u0041"', '"é"', '"a\x7f"', '"a\x1f"', '"a"b"', '"', "9" * 19, '"' + "a" * 65 + '"', "", "true", "1x"],
)  # fmt: skip
def test_an_id_that_could_be_written_otherwise_is_read_the_long_way(
    read: Callable[[Template, bytes], object], identity: str
) -> None:
    assert read(TEMPLATE, (CALL % (identity, "{}")).encode()) is None


@reading
@pytest.mark.parametrize("identity", ["0", "1", "9" * 18, '""', '" ~"', '"' + "a" * 64 + '"'])
def test_a_plain_id_is_read_by_the_template(read: Callable[[Template, bytes], object], identity: str) -> None:
    assert read(TEMPLATE, (CALL % (identity, "{}")).encode()) is not None


@reading
@pytest.mark.parametrize(
    "arguments",
    [
        '{"a":1,"a":2}', '{"a":1}}', '{"a":1},"name":"y","x":{}', "{}}{", "[]", "null", "7", '"{}"', " {}", "{} ", '{"a":"\\ud800"}', '{"a":1e400}',
        '{"a":' + "1" * 309 + "}", '{"a":NaN}', '{"a":01}', "{", '{"a":' + "[" * 62 + "]" * 62 + "}", '{"a":"\x1f"}', '{"a":"\n"}',
    ],
)  # fmt: skip
def test_arguments_that_are_no_strict_object_are_read_the_long_way(
    read: Callable[[Template, bytes], object], arguments: str
) -> None:
    assert read(TEMPLATE, (CALL % (2, arguments)).encode()) is None


@reading
@pytest.mark.parametrize("place", [0, 5, 12, -1, -2])
def test_a_body_that_begins_or_ends_otherwise_is_read_the_long_way(
    read: Callable[[Template, bytes], object], place: int
) -> None:
    body = bytearray((CALL % (2, "{}")).encode())
    assert read(TEMPLATE, bytes(body)) is not None
    body[place] = ord("x")
    assert read(TEMPLATE, bytes(body)) is None


@reading
def test_arguments_that_look_like_what_stands_before_the_id_are_arguments(
    read: Callable[[Template, bytes], object],
) -> None:
    turned = '{"params":{"name":"x","arguments":%s},"method":"x","id":%s,"jsonrpc":"2.0"}'
    known = made_of((turned % ("{}", 1)).encode())
    within = '{"params":{"arguments":{}},"method":"x","id":3,"a":{"b":{}},"method":"y"}'.replace(',"method":"y"', "")
    assert read(known, (turned % (within, 2)).encode()) is not None


@reading
def test_the_depth_is_that_of_the_whole_message(read: Callable[[Template, bytes], object]) -> None:
    deepest = (CALL % (2, '{"a":' + "[" * 61 + "]" * 61 + "}")).encode()
    assert read(TEMPLATE, deepest) is not None
    assert filled(TEMPLATE, deepest) == parse_client(deepest)


def test_a_large_template_is_not_kept():
    beside = '"_meta":{"a":"%s"}' % ("b" * template.MAX_TEMPLATE_BYTES)
    request = parse_client((CALL[:-2] % (1, "{}") + "," + beside + "}}").encode())
    assert isinstance(request, Request)
    assert template_of(request) is None


def test_without_arguments_there_is_no_template():
    request = parse_client(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert isinstance(request, Request)
    assert template_of(request) is None


@pytest.mark.parametrize("id_first", [True, False])
def test_a_search_for_the_cut_does_not_grow_with_the_body(id_first: bool) -> None:
    """A caller chooses his template, and the body that comes next: a search of the whole took 29 ms, four times for each message."""
    gap = b" " * 1900

    def body(inner: bytes, outer: bytes) -> bytes:
        params = b'"params":{"name":"x","arguments":{}' + inner + b"}"
        members = (b'"id":' + outer + b"1", params) if not id_first else (params, b'"id":1' + outer)
        return b'{"jsonrpc":"2.0","method":"tools/call",' + b",".join(members[:: -1 if id_first else 1][::-1]) + b"}"

    for made in (made_of(body(b"", gap)), made_of(body(gap, b""))):
        hostile = body(b" " * 62_000, gap[1:]), body(b" " * 62_000, gap), body(gap[1:], b" " * 62_000)
        for each in hostile:
            assert filled(made, each) in (None, parse_client(each))
        begun = time.thread_time()
        for _ in range(40):
            for each in hostile:
                filled(made, each)
        assert time.thread_time() - begun < 1.5, "120 of them"
