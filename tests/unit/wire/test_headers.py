"""Which headers cross the gate. What is not named does not cross."""

import pytest

from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Headers
from gatebook.wire.headers import accepts, forwardable_request_headers, forwardable_response_headers, media_type

NEVER_UP = (
    b"authorization", b"proxy-authorization", b"proxy-connection", b"cookie", b"x-api-key", b"api-key", b"host", b"origin",
    b"referer", b"forwarded", b"x-forwarded-for", b"x-forwarded-user", b"x-forwarded-email", b"x-real-ip", b"x-auth-request-user",
    b"remote-user", b"via", b"mcp-session-id", b"accept-encoding", b"content-encoding", b"content-length", b"transfer-encoding",
    b"te", b"trailer", b"upgrade", b"connection", b"keep-alive", b"expect", b"range", b"sec-fetch-site", b"mcp-param",
    b"mcp_name", b"gatebook-call-id", b"x-http-method-override", b"x-original-url",
)  # fmt: skip
NEVER_DOWN = (
    b"set-cookie", b"www-authenticate", b"proxy-authenticate", b"server", b"location", b"content-location", b"refresh", b"link",
    b"alt-svc", b"strict-transport-security", b"access-control-allow-origin", b"content-length", b"transfer-encoding",
    b"content-encoding", b"connection", b"keep-alive", b"upgrade", b"trailer", b"via", b"mcp-session-id", b"gatebook-receipt",
    b"clear-site-data", b"authorization",
)  # fmt: skip


@pytest.mark.parametrize("name", NEVER_UP, ids=bytes.decode)
def test_a_clients_header_does_not_reach_the_server(name: bytes) -> None:
    assert forwardable_request_headers(((name, b"x"), (b"accept", b"*/*")), None) == ((b"accept", b"*/*"),)


@pytest.mark.parametrize("name", NEVER_DOWN, ids=bytes.decode)
def test_a_servers_header_does_not_reach_the_client(name: bytes) -> None:
    assert forwardable_response_headers(((name, b"x"), (b"retry-after", b"1"))) == ((b"retry-after", b"1"),)


def test_what_goes_on_keeps_its_order_its_repeats_and_its_bytes() -> None:
    sent = (
        (b"mcp-param-b", b" \xff "), (b"content-type", b"application/json"), (b"mcp-name", b"=?base64?eA==?="),
        (b"baggage", b"a=1"), (b"baggage", b"b=2"), (b"last-event-id", b"7"), (b"traceparent", b"00-x"),
        (b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"), (b"user-agent", b"x"),
    )  # fmt: skip
    assert forwardable_request_headers(sent, "Authorization") == sent


@pytest.mark.parametrize("injected", ["mcp-param-token", "Mcp-Param-Token", "MCP-PARAM-TOKEN"])
def test_a_client_cannot_send_the_header_that_the_gate_injects(injected: str) -> None:
    assert forwardable_request_headers(((b"mcp-param-token", b"forged"), (b"mcp-param-a", b"x")), injected) == (
        (b"mcp-param-a", b"x"),
    )


@pytest.mark.parametrize(
    "value", [b"mcp-protocol-version", b"close, Mcp-Name", b"Content-Type ,keep-alive", b"MCP-PARAM-A"]
)
def test_connection_takes_no_header_away_that_the_judgement_rested_on(value: bytes) -> None:
    sent = (
        (b"connection", value), (b"mcp-protocol-version", b"2026-07-28"), (b"mcp-name", b"x"),
        (b"content-type", b"application/json"), (b"mcp-param-a", b"x"),
    )  # fmt: skip
    with pytest.raises(Malformed) as caught:
        forwardable_request_headers(sent, None)
    assert caught.value.reason is Reason.BAD_REQUEST


def test_connection_may_name_what_does_not_cross_anyway() -> None:
    sent = ((b"connection", b"keep-alive, x-internal"), (b"accept", b"*/*"), (b"x-internal", b"1"))
    assert forwardable_request_headers(sent, None) == ((b"accept", b"*/*"),)


def test_a_response_header_that_connection_names_is_hop_by_hop() -> None:
    assert forwardable_response_headers(((b"connection", b"Cache-Control"), (b"cache-control", b"no-store"))) == ()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((b"application/json",), "application/json"),
        ((b" Application/JSON ; charset=UTF-8",), "application/json"),
        ((b'application/json;charset="utf-8"',), "application/json"),
        ((b"text/event-stream",), "text/event-stream"),
        ((b"application/json; boundary=x",), "application/json"),
        ((b"application/json; charset=utf-16",), None),
        ((b"application/json; charset=utf-8; charset=utf-7",), None),
        ((b"application/json;charset = iso-8859-1",), None),
        ((b"application/json", b"text/plain"), None),
        ((b"application/json", b"application/json"), None),
        ((b"application/json, text/plain",), None),
        ((b"application",), None),
        ((b"application/json text/plain",), None),
        ((b"applic\xe4tion/json",), None),
        ((b"",), None),
        ((), None),
    ],
)
def test_the_media_type_is_one_and_in_utf_8_or_it_is_none(values: tuple[bytes, ...], expected: str | None) -> None:
    assert media_type(tuple((b"content-type", value) for value in values)) == expected


@pytest.mark.parametrize(
    ("values", "json", "stream"),
    [
        ((), True, True),
        ((b"application/json, text/event-stream",), True, True),
        ((b"application/json", b"text/event-stream"), True, True),
        ((b"Application/JSON;q=0.5",), True, False),
        ((b"*/*",), True, True),
        ((b"text/*",), False, True),
        ((b"*/*;q=0, text/event-stream",), False, True),
        ((b"application/json;q=0, */*",), False, True),
        ((b"application/json; Q=0.000, */*;q=0.1",), False, True),
        ((b"application/*;q=0, application/json;q=0.001",), True, False),
        ((b"text/html",), False, False),
        ((b"",), False, False),
        ((b",,;q=1",), False, False),
        ((b"application/jsonx",), False, False),
    ],
)
def test_accept_is_read_by_the_most_specific_range(values: tuple[bytes, ...], json: bool, stream: bool) -> None:
    headers: Headers = tuple((b"accept", value) for value in values)
    assert (accepts(headers, "application/json"), accepts(headers, "text/event-stream")) == (json, stream)
