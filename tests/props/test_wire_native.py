"""What native code reads, Python's parsers read alike; what it leaves, they read. Whoever calls the gate writes these bytes."""

import gc
import json
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatebook.model.errors import Malformed
from gatebook.wire import native as wire_native
from gatebook.wire.jsonrpc import Envelope, parse_server
from gatebook.wire.strict_json import decode
from gatebook.wire.template import filled, template_of
from tests.examples import up_to
from tests.fuzz import corpus
from tests.props.test_wire_messages import VALUES, damaged, parsed, results, written
from tests.props.test_wire_template import ARGUMENTS, ORDERS, PLAIN_IDS, made_of, message
from tests.speeding import native

NATIVE = native()
PLAIN_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters='"\\' + "".join(map(chr, range(32)))), max_size=12
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18) + 1, 10**18 - 1) | PLAIN_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN_TEXT, inner, max_size=4),
    max_leaves=12,
)
LIKE_JSON = st.text(alphabet='{}[]",:\\u0123456789d8c truefalsn-+.eE\t\n', max_size=60)


def by_python(text: bytes) -> object:
    try:
        return decode(text)
    except Malformed:
        return NotImplemented


def result_by_python(body: bytes) -> object:
    assert wire_native.in_use() is None
    try:
        said = parse_server(body)
    except Malformed:
        return None
    return (said.id, said.is_error, said.result_type) if isinstance(said, Envelope) else None


def result_agrees(body: bytes) -> bool:
    """Whether the result was read natively; then as Python reads it."""
    found = NATIVE.result(body)
    if found is not None:
        assert found == result_by_python(body)
    return found is not None


def agrees(text: bytes) -> bool:
    """Whether the text was read natively; then as Python reads it, to the type of each number."""
    assert wire_native.in_use() is None
    read = NATIVE.read(text)
    if read is not NotImplemented:
        assert repr(read) == repr(by_python(text))
    return read is not NotImplemented


@given(PLAIN, st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans(), st.sampled_from([b"", b" ", b"\r\n\t"]))
def test_a_plain_text_is_read_natively(value: Any, separators: tuple[str, str], indented: bool, space: bytes) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=separators, indent=1 if indented else None)
    assert agrees(space + text.encode() + space)


@given(VALUES.flatmap(written))
@settings(max_examples=up_to(300))
def test_a_text_in_any_layout_is_read_alike_or_left(text: str) -> None:
    agrees(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=60) | LIKE_JSON.map(str.encode))
@example(b'{"a":1,"b":2,"a":3}')
@example(b'{"a":1,"\xc3\xa9":2,"\xc3\xa9":3}')
@example(b'"\xc0\x80"')
@example(b'"\xf4\x90\x80\x80"')
@example(b'"\x7f"')
@example(b"\x00")
@example(b'{"a":1}\x00')
@settings(max_examples=up_to(500))
def test_any_bytes_are_read_alike_or_left(text: bytes) -> None:
    agrees(text)


@given(PLAIN, st.data())
@settings(max_examples=up_to(300))
def test_a_damaged_text_is_read_alike_or_left(value: Any, data: st.DataObject) -> None:
    agrees(damaged(data, json.dumps(value, ensure_ascii=False).encode()))


@pytest.mark.parametrize("target", ["client_message", "server_message", "masked_document", "planted"])
def test_what_was_found_by_fuzzing_is_read_alike_or_left(target: str) -> None:
    kept = list(corpus.entries(target))
    assert kept
    for entry in kept:
        agrees(entry)


@pytest.mark.parametrize("levels", [63, 64, 65, 10_000])
@pytest.mark.parametrize(("begins", "ends"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_no_more_levels_are_read_than_python_reads(levels: int, begins: bytes, ends: bytes) -> None:
    assert agrees(begins * (levels - 1) + b"[]" + ends * (levels - 1)) is (levels <= 64)
    agrees(begins * levels)


@pytest.mark.parametrize("code", range(0x80))
def test_each_sign_in_a_string(code: int) -> None:
    """What JSON would escape, and what ends a string, is left."""
    assert agrees(b'["a%cb"]' % code) is (code >= 0x20 and chr(code) not in '"\\')


@pytest.mark.parametrize("digits", range(1, 24))
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_is_read_as_far_as_it_is_surely_exact(sign: str, digits: int) -> None:
    for first in "19":
        assert agrees(f"{sign}{first * digits}".encode()) is (digits <= 18)


@given(ORDERS, PLAIN_IDS, ARGUMENTS, PLAIN_IDS | st.integers() | st.none(), st.data())
@settings(max_examples=up_to(300))
def test_a_template_is_filled_alike_or_the_body_left(
    order: Any, first: Any, before: Any, second: Any, data: st.DataObject
) -> None:
    one = json.dumps(message(order, first, before)).encode()
    if parsed(one) is None:
        return
    known = made_of(one)
    filler = NATIVE.Template(known.before, known.between, known.after, known.id_first)
    junk = st.text(alphabet='{}[]",:\\0123456789e.-aid ', max_size=24)
    holes = [
        json.dumps(second).encode() if data.draw(st.booleans()) else data.draw(junk).encode(),
        json.dumps(data.draw(ARGUMENTS)).encode() if data.draw(st.booleans()) else data.draw(junk).encode(),
    ]
    if not known.id_first:
        holes.reverse()
    body = known.before + holes[0] + known.between + holes[1] + known.after
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(body)))
        body = body[:place] + body[place + data.draw(st.integers(0, 40)) :]
    found, wanted = filler.fill(body), filled(known, body)
    if found is not None:
        assert wanted is not None
        assert found == (wanted.id, wanted.arguments, wanted.params["arguments"])


@given(ORDERS, PLAIN_IDS, st.dictionaries(PLAIN_TEXT, PLAIN, max_size=3))
def test_a_plain_call_fills_its_template_natively(order: Any, identity: Any, arguments: Any) -> None:
    body = json.dumps(message(order, identity, arguments), ensure_ascii=False).encode()
    if parsed(body) is None:
        return
    known = made_of(body)
    found = NATIVE.Template(known.before, known.between, known.after, known.id_first).fill(body)
    assert found is not None and found[2] == arguments


@given(results())
@settings(max_examples=up_to(500))
@example(b'{"jsonrpc":"2.0","id":1,"result":{},"id":1}')
@example(b'{"jsonrpc":"2.0","id":1,"result":{"isError":false,"isError":true}}')
@example(b'{"jsonrpc":"2.0","id":1,"result":{"is\\u0045rror":true}}')
@example(b'{"jsonrpc":"2.0","id":1,"result":{"resultType":"\\u0041"}}')
@example(b'{"jsonrpc":"2.0","id":1,"result":{"resultType":1}}')
@example(b'{"jsonrpc":"2.0","id":1,"result":{},}')
@example(b'{"jsonrpc":"2.0","id":01,"result":{}}')
@example(b"{}")
@example(b"{")
def test_a_result_is_read_alike_or_left(body: bytes) -> None:
    result_agrees(body)


@given(st.binary(max_size=60) | LIKE_JSON.map(str.encode))
@settings(max_examples=up_to(300))
def test_any_bytes_in_a_result_are_read_alike_or_left(inside: bytes) -> None:
    result_agrees(inside)
    for around in (
        b'{"jsonrpc":"2.0","id":1,"result":{"a":%b}}',
        b'{"result":%b,"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"result":{%b}}',
    ):
        result_agrees(around % inside)


PIECES = st.sampled_from(
    ["x", "words ", "\\\\", '\\"', "\\n", "\\/", "\\t", "\\u00e9", "\\ud7ff", "y" * 61, "\\\\" * 31]
)
ODD = st.sampled_from(
    ["\\", "\\q", "\\ud800", "\\uD83D\\uDE00", "\\u12", "\n", "\x00", "\x1f", "\x7f", "\u00e9", '"', ""]
)


@given(st.lists(PIECES, max_size=40), ODD, st.lists(PIECES, max_size=12), st.integers(0, 64))
@settings(max_examples=up_to(500))
def test_a_string_of_a_result_is_passed_alike_wherever_its_escapes_stand(
    before: Any, odd: str, behind: Any, shift: int
) -> None:
    """Sixty-four bytes are looked at together: each escape may stand at an end of them."""
    text = "z" * shift + "".join(before)
    for inside in (text, text + odd + "".join(behind)):
        body = b'{"jsonrpc":"2.0","id":1,"result":{"a":"%b"}}' % inside.encode()
        found = result_agrees(body)
        if inside == text:
            assert found
        elif not found and odd not in ("\u00e9", "\\uD83D\\uDE00"):
            assert result_by_python(body) is None


@given(
    st.dictionaries(PLAIN_TEXT, VALUES, max_size=3),
    PLAIN_IDS,
    st.booleans(),
    st.permutations(["jsonrpc", "id", "result"]),
    st.sampled_from([None, 1]),
)
def test_a_result_in_ascii_is_read_natively(
    value: Any, identity: Any, fails: bool, order: list[str], indent: int | None
) -> None:
    members = {"jsonrpc": "2.0", "id": identity, "result": {**value, "isError": fails, "resultType": "task"}}
    body = json.dumps({name: members[name] for name in order}, indent=indent).encode()
    if b"\\ud" in body or any("\\" in json.dumps(name) for name in value):
        result_agrees(body)
    else:
        assert NATIVE.result(body) == (json.dumps(identity).encode(), fails, "task")


@pytest.mark.parametrize("target", ["client_message", "server_message", "masked_document", "planted"])
def test_no_result_found_by_fuzzing_is_read_otherwise(target: str) -> None:
    for entry in corpus.entries(target):
        result_agrees(entry)
        result_agrees(b'{"jsonrpc":"2.0","id":1,"result":{"a":%b}}' % entry)


@pytest.mark.parametrize("levels", [63, 64, 65, 100_000])
@pytest.mark.parametrize(("begins", "ends"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_result_is_passed_over_to_a_depth(levels: int, begins: bytes, ends: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":{"a":%b1%b}}' % (begins * levels, ends * levels)
    assert result_agrees(body) is (levels <= 64)
    result_agrees(body[:-levels])


@pytest.mark.parametrize(
    "value",
    ["[1}", '{"a":1]', "[[1}]", '[{"a":[1}]', '{"a":{"b":1]}', "[1,]", '{"a":1,}', "[,1]", '{"a"}', '{"a":}', "{1:2}", "[1 2]", '{"a":1 "b":2}', "]", "}"],
)  # fmt: skip
def test_brackets_and_commas_that_do_not_fit_are_left(value: str) -> None:
    for around in ('{"jsonrpc":"2.0","id":1,"result":{"a":%s}}', '{"result":%s,"jsonrpc":"2.0","id":1}'):
        assert NATIVE.result((around % value).encode()) is None and NATIVE.read(value.encode()) is NotImplemented


def test_a_servers_result_is_read_by_what_is_in_use() -> None:
    plain, other = (
        b'{"jsonrpc":"2.0","id":1,"result":{"isError":true}}',
        '{"jsonrpc":"2.0","id":1,"result":{"a":"\u00e9"}}'.encode(),
    )
    wanted = parse_server(plain), parse_server(other)
    wire_native.use(NATIVE)
    try:
        assert (parse_server(plain), parse_server(other)) == wanted
        with pytest.raises(Malformed):
            parse_server(plain[:-1])
    finally:
        wire_native.use(None)


def test_a_body_that_is_cut_anywhere_is_left() -> None:
    """Also where less is there than the template alone: under a sanitizer this shows that nothing beyond the end is looked at."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"a":"b"}}}'
    known = made_of(body)
    filler = NATIVE.Template(known.before, known.between, known.after, known.id_first)
    assert filler.fill(body) is not None
    for end in range(len(body)):
        assert filler.fill(body[:end]) is None and filler.fill(body[end + 1 :]) is None


def test_what_is_in_use_is_asked_first_and_python_reads_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    class Watched:
        Template = NATIVE.Template
        result = NATIVE.result

        @staticmethod
        def read(text: bytes) -> object:
            asked.append(text)
            return NATIVE.read(text)

    wire_native.use(Watched())
    try:
        assert decode(b'{"a":1}') == {"a": 1} and decode(b'{"a":1.5}') == {"a": 1.5}
        with pytest.raises(Malformed):
            decode(b'{"a":1,"a":2}')
        known = made_of(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{}}}')
        assert known.quick is not None
        for arguments in (b'{"a":1}', b'{"a":1.5}'):
            body = b'{"jsonrpc":"2.0","id":2,"method":"x","params":{"arguments":%b}}' % arguments
            assert filled(known, body) == parsed(body)
    finally:
        wire_native.use(None)
    assert len(asked) >= 5


def test_no_memory_is_lost_by_what_is_left() -> None:
    """Every way out of the reader gives back what it made."""
    texts = [
        b'{"a":[1,{"b":"c"}],"d":"\xff"}',
        b'{"a":1,"a":1}',
        b'[["x","y",',
        b'{"a":{"b":[1,2.5]}}',
        b'"' + b"x" * 2000,
        b'{"a":"b"} 1',
    ]
    filler = NATIVE.Template(b'{"id":', b',"arguments":', b"}", True)
    bodies = [b'{"id":1,"arguments":%b}' % text for text in texts] + [b'{"id":1,"arguments":{"a":"b"}}', b""]

    results_ = [b'{"jsonrpc":"2.0","id":1,"result":{"resultType":%b}}' % stated for stated in (b'"a"', b"1", b'"\\n"')]

    def work() -> None:
        for text in texts:
            assert NATIVE.read(text) is NotImplemented
        for body in bodies:
            filler.fill(body)
            NATIVE.result(body)
        for result in results_:
            NATIVE.result(result)

    work()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(2000):
        work()
    gc.collect()
    assert abs(sys.getallocatedblocks() - before) < 200


@pytest.mark.parametrize(
    "told", [(), (b"a", b"", b"c", True), ("a", b"b", b"c", True), (b"a", b"b", b"c"), (b"a", b"b", b"c", True, 1)]
)
def test_a_template_wants_its_three_parts(told: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        NATIVE.Template(*told)


@pytest.mark.parametrize("body", [None, "text", bytearray(b"{}"), memoryview(b"{}"), 1])
def test_what_are_no_bytes_is_left(body: Any) -> None:
    assert NATIVE.read(body) is NotImplemented
    assert NATIVE.result(body) is None
    assert NATIVE.Template(b"{", b",", b"}", True).fill(body) is None


def test_a_template_of_a_request_is_the_natives_too() -> None:
    request = parsed(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{}}}')
    wire_native.use(NATIVE)
    try:
        known = template_of(request)  # type: ignore[arg-type]
    finally:
        wire_native.use(None)
    assert known is not None and isinstance(known.quick, NATIVE.Template)
