"""No bytes bring the parsers to anything but a message or a plain refusal; what they take, every parser reads alike."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatebook.model.errors import Malformed
from gatebook.wire import jsonrpc
from gatebook.wire.jsonrpc import (
    Batch,
    BatchEnvelope,
    Envelope,
    Message,
    Request,
    parse_client,
    parse_server,
    readable,
    salvage_id,
)
from gatebook.wire.methods import target
from gatebook.wire.revisions import requested_version, revision_of
from gatebook.wire.strict_json import decode

TEXT = st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
IDS = st.integers() | TEXT
METHODS = st.sampled_from(
    ["tools/call", "ping", "completion/complete", "subscriptions/listen", "vendor/x", "notifications/x"]
)
PARAMS = st.dictionaries(
    st.sampled_from(["name", "uri", "ref", "notifications", "taskId", "_meta", "x"]), VALUES, max_size=4
)
SPACE = st.text(alphabet=" \t\r\n", max_size=3)


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """`value` as JSON in a layout of its own: whitespace anywhere, any character of a string perhaps as an escape."""

    def space() -> str:
        return draw(SPACE)

    match value:
        case dict():
            members = [
                f"{space()}{draw(written(k))}{space()}:{space()}{draw(written(v))}{space()}" for k, v in value.items()
            ]
            return "{" + (",".join(members) or space()) + "}"
        case list():
            return "[" + (",".join(f"{space()}{draw(written(item))}{space()}" for item in value) or space()) + "]"
        case str() if value.isascii() and draw(st.booleans()):
            return '"' + "".join(f"\\u{ord(sign):04x}" for sign in value) + '"'
        case _:
            return json.dumps(value, ensure_ascii=draw(st.booleans()))


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": draw(METHODS), "params": draw(PARAMS)}
    if draw(st.booleans()):
        message["id"] = draw(IDS)
    return message


def damaged(data: st.DataObject, whole: bytes) -> bytes:
    """`whole` with one to three places cut out, doubled, flipped in a bit, or with something put in: signs of JSON as often as any bytes."""
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body)))
        match data.draw(st.sampled_from(["cut", "double", "flip", "put"])):
            case "cut":
                del body[place : place + data.draw(st.integers(1, 5))]
            case "double":
                body[place:place] = body[place : place + 20]
            case "flip" if place < len(body):
                body[place] ^= 1 << data.draw(st.integers(0, 7))
            case _:
                signs = st.sampled_from([b"{", b"}", b'"', b",", b":", b"\\", b"\xff", b"9", b"0", b"-"])
                body[place:place] = data.draw(signs | st.binary(min_size=1, max_size=3))
    return bytes(body)


def parsed(body: bytes) -> Message | Batch | None:
    try:
        return parse_client(body)
    except Malformed:
        return None


@given(st.binary(max_size=200))
@example(b"")
@example(b"[" * 5000)
def test_arbitrary_bytes_are_a_message_or_malformed(body: bytes) -> None:
    parsed(body)
    salvage_id(body)
    with contextlib.suppress(Malformed):
        parse_server(body)


@given(st.text(alphabet='{}[]",:\\u0123d8c"jsonrpc2.id method-eE+ \n', max_size=120))
def test_bytes_that_look_like_json_are_a_message_or_malformed(text: str) -> None:
    test_arbitrary_bytes_are_a_message_or_malformed.hypothesis.inner_test(text.encode())  # type: ignore[attr-defined]


@given(requests().flatmap(written), st.data())
def test_a_damaged_message_is_a_message_or_malformed(text: str, data: st.DataObject) -> None:
    body = damaged(data, text.encode())
    message = parsed(body)
    if message is not None:
        assert json.loads(body) == msgspec.json.decode(body)


@given(requests().flatmap(lambda message: st.tuples(st.just(message), written(message))))
def test_what_is_taken_is_what_every_parser_reads(case: tuple[dict[str, Any], str]) -> None:
    message, text = case
    body = text.encode()
    got = parsed(body)
    if got is None:
        return
    assert not isinstance(got, Batch)
    assert got.raw == body
    assert json.loads(body) == msgspec.json.decode(body) == message
    assert getattr(got, "params", None) == message["params"]
    if isinstance(got, Request):
        assert json.loads(got.id) == message["id"]
        assert got.id in body


@given(VALUES, IDS)
def test_no_ordinary_arguments_are_refused(value: Any, id_: int | str) -> None:
    body = {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": {"name": "x", "arguments": {"a": value}}}
    got = parse_client(json.dumps(body).encode())
    assert isinstance(got, Request)
    assert got.params["arguments"] == {"a": value}


@given(st.lists(requests().flatmap(written), min_size=1, max_size=5), SPACE)
def test_the_slices_of_a_batch_put_together_are_the_batch(texts: list[str], space: str) -> None:
    body = f"{space}[{space}{f'{space},{space}'.join(texts)}{space}]{space}".encode()
    got = parsed(body)
    if got is None:
        return
    assert isinstance(got, Batch)
    assert [element.raw.decode() for element in got.elements] == texts
    assert [parse_client(element.raw) for element in got.elements] == list(got.elements)


@given(requests().flatmap(written))
def test_what_a_message_reaches_for_is_known_or_malformed(text: str) -> None:
    message = parsed(text.encode())
    if isinstance(message, Request):
        with contextlib.suppress(Malformed):
            target(message.method, message.params)
        with contextlib.suppress(Malformed):
            revision_of((), message)
        with contextlib.suppress(Malformed):
            requested_version((), message)


@given(requests().flatmap(written))
def test_a_servers_envelope_says_what_json_says(text: str) -> None:
    body = text.encode()
    try:
        got = parse_server(body)
    except Malformed:
        assert parsed(body) is None
        return
    assert isinstance(got, Envelope)
    said = json.loads(body)
    assert got.method == said["method"]
    assert (None if got.id is None else json.loads(got.id)) == said.get("id")


@given(VALUES, IDS, st.data())
def test_a_servers_answer_is_read_in_any_layout(value: Any, id_: int | str, data: st.DataObject) -> None:
    text = data.draw(written({"result": {"content": value, "isError": True}, "id": id_, "jsonrpc": "2.0"}))
    got = parse_server(text.encode())
    assert isinstance(got, Envelope)
    assert got.is_error
    assert json.loads(got.id or b"null") == id_
    batch = parse_server(f"[{text},{text}]".encode())
    assert isinstance(batch, BatchEnvelope)
    assert [element.raw.decode() for element in batch.elements] == [text, text]


@st.composite
def results(draw: st.DrawFn) -> bytes:
    """A result in one of the usual orders or nearly so: with any white space and ids, a member too many or too few, damaged in one place."""
    members = [f'"jsonrpc":{draw(written("2.0"))}', f'"id":{draw(IDS.flatmap(written))}']
    value = draw(
        st.dictionaries(st.sampled_from(["isError", "resultType", "id", "x"]), VALUES, max_size=3).flatmap(written)
    )
    members.insert(draw(st.sampled_from([0, 1, 2])), f'"result":{value}')
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        more = [
            '"id":1',
            '"result":{}',
            '"jsonrpc":"2.0"',
            '"ID":1',
            '"method":"x"',
            '"x":{}',
            '"\\u0069d":2',
            "}",
            "{",
            "",
        ]
        members.insert(draw(st.integers(0, len(members))), draw(st.sampled_from([*more, *members])))
    space = draw(SPACE)
    text = f"{space}{{{space}{f'{space},{space}'.join(members)}{space}}}{space}".encode()
    if draw(st.booleans()):
        return text
    place = draw(st.integers(0, len(text)))
    return text[:place] + draw(st.binary(max_size=2)) + text[place + draw(st.integers(0, 2)) :]


@given(results())
@example(b'{"result":{},"jsonrpc":"2.0","id":1,"result":{},"jsonrpc":"2.0","id":1}')
@example(b'{"jsonrpc":"2.0","id":1,"result":{},"id":2}')
@example(b'{"result":,"jsonrpc":"2.0","id":1}')
@example(b'{"result":{"a":"},"jsonrpc":"2.0","id":1}')
def test_a_result_in_a_usual_order_is_read_as_all_messages_are(body: bytes) -> None:
    try:
        body.decode()
        usual = jsonrpc._usual_result(body)
    except (UnicodeDecodeError, msgspec.DecodeError):
        with pytest.raises(Malformed):
            parse_server(body)
        return
    if usual is not None:
        assert usual == jsonrpc._envelope(body)


@example("\\ud83d and \ud83d, \U0001f600")
@given(st.text(st.characters(), max_size=12))
def test_halves_of_surrogate_pairs_are_replaced_and_no_other_character(text: str) -> None:
    written = json.dumps({text: [text, 1.5]}).encode()
    whole = json.loads(written)
    plain = json.loads(
        json.dumps(whole, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
    mended = readable(written)
    assert msgspec.json.decode(mended) == plain
    assert len(mended) == len(written) and (whole != plain or mended == written)


@given(value=st.dictionaries(TEXT, VALUES, max_size=4))
def test_what_is_written_the_shortest_way_needs_no_second_parser_to_be_read_alike(value: dict[str, Any]) -> None:
    body = msgspec.json.encode(value)
    with contextlib.suppress(Malformed):  # a number too large for some parsers
        assert decode(body) == json.loads(body, object_pairs_hook=lambda pairs: _once(pairs)) == value


@given(value=st.dictionaries(TEXT, VALUES, max_size=4), indent=st.sampled_from([None, 0, 2, "\t", " \r"]))
def test_white_space_between_the_tokens_changes_nothing(value: dict[str, Any], indent: int | str | None) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    with contextlib.suppress(Malformed):
        assert decode(body) == json.loads(body, object_pairs_hook=lambda pairs: _once(pairs)) == value


@given(
    keys=st.lists(st.sampled_from(["a", "b", "\\u0061"]), min_size=1, max_size=4),
    space=st.text(" \t\r\n", max_size=2),
)
def test_a_key_that_stands_twice_is_found_whatever_space_is_around_it(keys: list[str], space: str) -> None:
    members = f"{space},{space}".join(f'"{key}"{space}:{space}{n}' for n, key in enumerate(keys))
    body = f"{space}{{{space}{members}{space}}}{space}".encode()
    twice = len({json.loads(f'"{key}"') for key in keys}) < len(keys)
    try:
        decode(body)
    except Malformed:
        assert twice
    else:
        assert not twice


@given(keys=st.lists(st.sampled_from(["a", "b", "\\u0061"]), min_size=1, max_size=4))
def test_a_key_that_stands_twice_is_found_however_short_the_message_is_written(keys: list[str]) -> None:
    body = ("{" + ",".join(f'"{key}":{n}' for n, key in enumerate(keys)) + "}").encode()
    names = [json.loads(f'"{key}"') for key in keys]
    try:
        decode(body)
    except Malformed:
        assert len(set(names)) < len(names)
    else:
        assert len(set(names)) == len(names)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)
