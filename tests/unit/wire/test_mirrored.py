"""Headers that repeat the body: MCP 2026-07-28, streamable HTTP, server validation; and how a value could hide."""

import base64
import json
from typing import Any

import pytest

from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Headers
from gatebook.wire.jsonrpc import Batch, Message, parse_client
from gatebook.wire.mirrored import check_mirrored, decoded, name_values, param_values, stated

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def message(method: str = "tools/call", *, meta: Any = META, notification: bool = False, **params: Any) -> Message:
    body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
    if meta is not None:
        params["_meta"] = meta
    if not notification:
        body["id"] = 1
    parsed = parse_client(json.dumps(body).encode())
    assert not isinstance(parsed, Batch)
    return parsed


def headers(
    version: str | None = "2026-07-28", method: str | None = "tools/call", name: bytes | None = b"echo"
) -> Headers:
    pairs = (
        (b"mcp-protocol-version", None if version is None else version.encode()),
        (b"mcp-method", None if method is None else method.encode()),
        (b"mcp-name", name),
    )
    return tuple((key, value) for key, value in pairs if value is not None)


def wrapped(text: str | bytes) -> bytes:
    return b"=?base64?" + base64.b64encode(text.encode() if isinstance(text, str) else text) + b"?="


def refused(sent: Headers, said: Message) -> Reason:
    with pytest.raises(Malformed) as caught:
        check_mirrored(stated(sent), said)
    return caught.value.reason


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (headers(), message(name="echo")),
        (headers(name=b" echo \t"), message(name="echo")),
        (headers(name=wrapped("echo")), message(name="echo")),
        (headers(name=wrapped("größe")), message(name="größe")),
        (headers(name=wrapped(" padded ")), message(name=" padded ")),
        (headers(name=wrapped("line1\nline2")), message(name="line1\nline2")),
        (headers(name=b"two words"), message(name="two words")),
        (headers(name=wrapped("=?base64?literal?=")), message(name="=?base64?literal?=")),
        (headers(name=b"=?base64?half"), message(name="=?base64?half")),
        (headers(name=b"=?base64?="), message(name="=?base64?=")),
        (headers(method="resources/read", name=b"file:///x"), message("resources/read", uri="file:///x")),
        (headers(method="prompts/get", name=b"p"), message("prompts/get", name="p")),
        (headers(method="tasks/get", name=b"t-1"), message("tasks/get", taskId="t-1")),
        (headers(method="tools/list", name=None), message("tools/list")),
        (headers(method="vendor/run", name=None), message("vendor/run")),
        (headers(method="vendor/run", name=b"anything"), message("vendor/run", name="other")),
        ((), message("notifications/cancelled", meta=None, notification=True, requestId=1)),
        (headers(method="notifications/x", name=None), message("notifications/x", notification=True)),
    ],
)
def test_headers_that_say_what_the_body_says_pass(sent: Headers, said: Message) -> None:
    check_mirrored(stated(sent), said)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (headers(version=None), message(name="echo")),
        (headers(version="2025-11-25"), message(name="echo")),
        (
            headers(version="2026-07-28"),
            message(name="echo", meta={"io.modelcontextprotocol/protocolVersion": "v999.0.0"}),
        ),
        (headers(version="2026-07-28"), message(name="echo", meta={"io.modelcontextprotocol/protocolVersion": 5})),
        (headers(method=None), message(name="echo")),
        (headers(method="tools/list"), message(name="echo")),
        (headers(method="Tools/Call"), message(name="echo")),
        (headers(method="TOOLS/CALL"), message(name="echo")),
        (headers(method=wrapped("tools/call").decode()), message(name="echo")),
        (headers(name=None), message(name="echo")),
        (headers(name=b"wrong"), message(name="echo")),
        (headers(name=b"Echo"), message(name="echo")),
        (headers(name=b""), message(name="echo")),
        (headers(name=b"echo, echo"), message(name="echo")),
        (headers(name=b"caf\xc3\xa9"), message(name="café")),
        (headers(name=b"caf\xe9"), message(name="café")),
        (headers(name=wrapped("cafe\u0301")), message(name="café")),
        (headers(name=b"a\x00b"), message(name="a\x00b")),
        (headers(name=b"a\x7fb"), message(name="a\x7fb")),
        (headers(name=b" padded "), message(name=" padded ")),
        (headers(name=wrapped(wrapped("echo"))), message(name="echo")),
        (headers(name=b"=?base64?ZWNobw=?="), message(name="echo")),
        (headers(name=b"=?base64?ZWNobw?="), message(name="echo")),
        (headers(name=b"=?base64?ZWNobx==?="), message(name="echo")),
        (headers(name=b"=?base64?ZWNo bw==?="), message(name="echo")),
        (headers(name=b"=?base64?ZWNobw==ZWNobw==?="), message(name="echo")),
        (headers(name=b"=?base64?_-8=?="), message(name="\xff")),
        (headers(name=wrapped(b"\xff")), message(name="\ufffd")),
        (headers(name=wrapped(b"\xed\xa0\x80")), message(name="x")),
        (headers(name=wrapped(b"\xef\xbb\xbfecho")), message(name="echo")),
        (headers(name=b"=?BASE64?ZWNobw==?="), message(name="=?BASE64?ZWNobw==?=")),
        (headers(name=b"=?Base64?ZWNobw==?="), message(name="echo")),
        ((*headers(), (b"mcp-name", b"echo")), message(name="echo")),
        ((*headers(), (b"mcp-name", b"other")), message(name="echo")),
        ((*headers(), (b"mcp-method", b"tools/call")), message(name="echo")),
        ((*headers(), (b"mcp-protocol-version", b"2026-07-28")), message(name="echo")),
        (headers(method="tools/list", name=b"echo"), message("tools/list")),
        (headers(method="tasks/get", name=None), message("tasks/get", taskId="t-1")),
        (headers(method="tasks/get", name=b"t-2"), message("tasks/get", taskId="t-1")),
        (headers(method="resources/read", name=b"file:///X"), message("resources/read", uri="file:///x")),
        (headers(method="vendor/other", name=None), message("vendor/run")),
        (headers(method="other", name=None), message("notifications/x", notification=True)),
        (headers(version="2025-11-25", method=None, name=None), message("notifications/x", notification=True)),
    ],
)
def test_headers_that_say_anything_else_are_refused(sent: Headers, said: Message) -> None:
    assert refused(sent, said) is Reason.HEADER_MISMATCH


@pytest.mark.parametrize("meta", [None, {}, {"progressToken": 1}])
def test_a_request_without_its_version_in_the_body_is_refused_as_the_specification_says(meta: Any) -> None:
    assert refused(headers(), message(name="echo", meta=meta)) is Reason.INVALID_PARAMS


def test_a_body_without_the_name_is_the_bodys_fault() -> None:
    assert refused(headers(), message()) is Reason.INVALID_PARAMS


def test_a_modern_client_sends_no_answers() -> None:
    answer = parse_client(b'{"jsonrpc":"2.0","id":1,"result":{}}')
    assert not isinstance(answer, Batch)
    assert refused(headers(), answer) is Reason.INVALID_REQUEST


def test_no_refusal_repeats_a_value() -> None:
    with pytest.raises(Malformed) as caught:
        check_mirrored(stated(headers(name=b"4111111111111111")), message(name="5500005555555559"))
    assert "4111" not in str(caught.value)
    assert "5500" not in str(caught.value)


def test_parameters_in_headers_are_decoded_for_inspection() -> None:
    sent = (
        (b"mcp-param-region", b" us-west1 "),
        (b"mcp-param-greeting", b"=?base64?SGVsbG8sIOS4lueVjA==?="),
        (b"mcp-params", b"no"),
        (b"x-mcp-param-a", b"no"),
    )
    assert param_values(sent) == (("region", "us-west1"), ("greeting", "Hello, 世界"))


def test_nothing_hides_in_a_second_wrapping() -> None:
    twice = wrapped(wrapped("4111111111111111"))
    assert [value for _, value in param_values(((b"mcp-param-a", twice),))][-1] == "4111111111111111"
    literal = wrapped("=?base64?literal?=")
    assert param_values(((b"mcp-param-a", literal),)) == (("a", "=?base64?literal?="),)


@pytest.mark.parametrize(
    "sent",
    [
        ((b"mcp-param-", b"x"),),
        ((b"mcp-param-a", b"x"), (b"mcp-param-a", b"x")),
        ((b"mcp-param-a", b"caf\xc3\xa9"),),
        ((b"mcp-param-a", b"a\rb"),),
        ((b"mcp-param-a", b"=?base64?%%%?="),),
        ((b"mcp-param-a", wrapped(b"\xff")),),
        ((b"mcp-param-a", b"=?bAse64?eA==?="),),
        ((b"mcp-param-a", wrapped(wrapped(wrapped(wrapped(wrapped("x")))))),),
    ],
)
def test_a_parameter_that_cannot_be_read_is_refused(sent: Headers) -> None:
    with pytest.raises(Malformed) as caught:
        param_values(sent)
    assert caught.value.reason is Reason.HEADER_MISMATCH


def test_a_name_is_unwrapped_for_inspection_as_often_as_it_is_wrapped() -> None:
    names = ((b"mcp-name", b"plain"), (b"mcp-name", wrapped(wrapped("größe"))), (b"mcp-method", b"x"))
    assert name_values(names) == ("plain", wrapped("größe").decode(), "größe")
    with pytest.raises(Malformed) as caught:
        name_values(((b"mcp-name", b"=?bAse64?eA==?="),))
    assert caught.value.reason is Reason.HEADER_MISMATCH


@pytest.mark.parametrize("text", ["", "x", "größe", " padded ", "=?base64?literal?=", "a\u0000b", "\U000e0041", "\r\n"])
def test_every_text_survives_its_wrapping(text: str) -> None:
    assert decoded(wrapped(text)) == text
