"""Lists are filtered without touching what is kept; headers never bring anything but Malformed."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gatebook.model.errors import Malformed
from gatebook.wire.build import error, filtered_list, shape
from gatebook.wire.headers import accepts, forwardable_request_headers, forwardable_response_headers, media_type
from gatebook.wire.jsonrpc import Request, parse_server
from gatebook.wire.mirrored import check_mirrored, decoded, name_values, param_values
from gatebook.wire.revisions import revision_of

NAMES = st.sampled_from(["a", "b", "é", "名", "a b", "x\\y", '"', "\u2028"])
REST = st.dictionaries(st.sampled_from(["title", "inputSchema", "x"]), st.text(max_size=5) | st.integers(), max_size=3)
LAYOUTS = st.sampled_from([None, 0, 3])
HEADER_NAMES = st.sampled_from([
    b"mcp-name", b"mcp-method", b"mcp-protocol-version", b"mcp-param-a", b"mcp-param-", b"content-type", b"accept", b"connection",
    b"authorization", b"cookie",
])  # fmt: skip
HEADERS = st.lists(
    st.tuples(
        HEADER_NAMES, st.binary(max_size=20) | st.binary(max_size=12).map(lambda value: b"=?base64?" + value + b"?=")
    ),
    max_size=6,
).map(tuple)


@st.composite
def elements(draw: st.DrawFn) -> str:
    members: dict[str, Any] = {**draw(REST), "name": draw(NAMES), **draw(REST)}
    return json.dumps(members, indent=draw(LAYOUTS), ensure_ascii=draw(st.booleans()))


@given(st.lists(elements(), max_size=6), st.sets(NAMES), st.booleans(), st.sampled_from(["", '"cacheScope":"public",']))
def test_no_byte_of_a_kept_element_is_changed(texts: list[str], seen: set[str], private: bool, scope: str) -> None:
    head, tail = f'{{"jsonrpc":"2.0","id":1,"result":{{{scope}"tools":[', '],"nextCursor" : "\\u0061"}}'
    body = (head + " ,\n".join(texts) + tail).encode()
    kept = [text for text in texts if json.loads(text)["name"] in seen]
    changed, dropped = filtered_list(body, "tools", lambda name, _element: name in seen, "name", private)
    assert dropped == len(texts) - len(kept)
    assert json.loads(changed)["result"]["tools"] == [json.loads(text) for text in kept]
    assert json.loads(changed)["result"].get("cacheScope") == ("private" if private or scope else None)
    if dropped:
        assert f'"tools":[{",".join(kept)}]'.encode() in changed
        assert changed.endswith(b',"nextCursor" : "\\u0061"}}')
    elif not private and not scope:
        assert changed is body
    parse_server(changed)


@given(st.binary(max_size=120), st.booleans())
def test_a_list_from_arbitrary_bytes_is_a_list_or_malformed(noise: bytes, inside: bool) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[%b]}}' % noise if inside else noise
    with contextlib.suppress(Malformed):
        filtered_list(body, "tools", lambda _name, _element: False, "name", True)


@given(st.text(max_size=20), st.integers(-(2**31), 2**31), st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_an_error_is_read_back_by_every_parser(message: str, code: int, data: dict[str, str]) -> None:
    body = error(b'"a\\/b"', code, message, data)
    assert json.loads(body) == {
        "jsonrpc": "2.0",
        "id": "a/b",
        "error": {"code": code, "message": message, "data": data},
    }
    parse_server(body)


@given(st.dictionaries(st.text(max_size=80), st.integers() | st.text() | st.none(), max_size=80))
def test_a_shape_is_ascii_bounded_and_holds_no_run_of_eight_digits(arguments: dict[str, Any]) -> None:
    shaped = shape(arguments)
    assert len(shaped) <= 64
    for name, kind in shaped.items():
        assert name.isascii()
        assert len(name) <= 64
        assert kind in ("string", "integer", "null")


@given(HEADERS)
def test_no_headers_bring_anything_but_malformed(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    request = Request(raw=b"", id=b"1", method="tools/call", params={"name": "a", "_meta": {}})
    media_type(headers)
    accepts(headers, "application/json")
    forwardable_response_headers(headers)
    for act in (
        lambda: forwardable_request_headers(headers, "mcp-param-a"),
        lambda: check_mirrored(headers, request),
        lambda: param_values(headers),
        lambda: name_values(headers),
        lambda: revision_of(headers, request),
    ):
        with contextlib.suppress(Malformed):
            act()


@given(st.binary(max_size=30))
def test_a_header_value_is_read_or_malformed(value: bytes) -> None:
    for candidate in (value, b"=?base64?" + value + b"?="):
        with contextlib.suppress(Malformed):
            decoded(candidate).encode()
