"""One line of stdio: what is read of it, and what stands beside it in HTTP. The gate's own reader is the judge of the headers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatebook.cli.connecting import messages
from gatebook.cli.connecting.messages import Agreed, NotAMessage
from gatebook.wire.mirrored import decoded

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def line(method: str | None = "tools/call", *, modern: bool = True, **params: Any) -> bytes:
    given = {**params, "_meta": META} if modern else params
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": given}).encode()


@given(st.text())
def test_whatever_is_wrapped_the_gate_reads_back(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # no UTF-8: the gate refuses the body before any header
    written = messages.encoded(text)
    assert written.isascii() and written.isprintable() and written == written.strip()
    assert decoded(written.encode()) == text


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "get_order", "arguments": {}}, "get_order"),
        ("resources/read", {"uri": "file:///a"}, "file:///a"),
        ("prompts/get", {"name": "p"}, "p"),
        ("tools/list", {}, None),
        ("tools/call", {"name": 3}, None),
    ],
)
def test_a_modern_message_is_mirrored_in_its_headers(method: str, params: dict[str, Any], name: str | None) -> None:
    message = messages.read(line(method, **params))
    headers = messages.headers_of(message, Agreed(session="s", version="2025-06-18"), {})
    assert (headers["mcp-protocol-version"], headers["mcp-method"]) == ("2026-07-28", method)
    assert headers.get("mcp-name") == name
    assert "mcp-session-id" not in headers


def test_a_legacy_message_goes_with_its_session() -> None:
    headers = messages.headers_of(messages.read(line(modern=False)), Agreed(session="s", version="2025-06-18"), {})
    assert (headers["mcp-session-id"], headers["mcp-protocol-version"]) == ("s", "2025-06-18")
    assert not {"mcp-method", "mcp-name"} & headers.keys()
    assert (
        not {"mcp-session-id", "mcp-protocol-version"}
        & messages.headers_of(messages.read(line("initialize", modern=False)), Agreed(), {}).keys()
    )


def test_marked_arguments_are_mirrored_once_the_tools_are_known() -> None:
    schema = {
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"properties": {"flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
            "bad": {"type": "string", "x-mcp-header": "no token"},
            "other": {"type": "string"},
        }
    }
    marks = messages.marks_of({"tools": [{"name": "t", "inputSchema": schema}, {"name": 1}, "x"]})
    message = messages.read(
        line(name="t", arguments={"region": "zürich", "deep": {"flag": True}, "bad": "b", "other": "o"})
    )
    headers = messages.headers_of(message, Agreed(), marks)
    assert decoded(headers["mcp-param-region"].encode()) == "zürich"
    assert headers["mcp-param-flag"] == "true"
    assert len([name for name in headers if name.startswith("mcp-param-")]) == 2


def test_the_body_is_the_same_json_in_one_line() -> None:
    raw = b'{"jsonrpc": "2.0",\n "id": 12345678901234567890, "method": "x", "params": {"n": 1.50e3}}'
    assert messages.read(raw).raw == b'{"jsonrpc":"2.0","id":12345678901234567890,"method":"x","params":{"n":1.50e3}}'


@pytest.mark.parametrize("raw", [b"", b"x", b"[]", b"1", b'{"id":1}', b'{"jsonrpc":"1.0"}', b"\xff", b"[" * 100_000])
def test_what_is_no_message_is_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(NotAMessage):
        messages.read(raw)


def test_an_error_without_an_id_is_handed_to_the_request_it_answers() -> None:
    answer = messages.answer_in(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}', "a")
    assert answer is not None and json.loads(answer)["id"] == "a"
    assert messages.answer_in(b"<html>", 1) is None
    assert messages.answer_in(b'{"error":"invalid_token"}', 1) is None
