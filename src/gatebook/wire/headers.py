"""Which headers cross the gate, either way: allow-lists. What is not named here stays on its side.

Names are lower-case bytes, as the HTTP shell makes them; values are looked at without the whitespace around them (RFC 9110 §5.5).
"""

from typing import Final

from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Headers

MCP_PARAM: Final = b"mcp-param-"
OWS: Final = b" \t"

_REQUEST: Final = frozenset({
    b"content-type", b"accept", b"accept-language", b"user-agent",
    b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"last-event-id",
    b"traceparent", b"tracestate", b"baggage",
})  # fmt: skip
"""`mcp-session-id` is set by the gate: the client's is sealed. `accept-encoding` too: compressed bodies are not inspected."""

_RESPONSE: Final = frozenset({
    b"content-type", b"mcp-protocol-version", b"cache-control", b"x-accel-buffering", b"retry-after", b"allow",
})  # fmt: skip


def forwardable_request_headers(headers: Headers, credential_header: str | None) -> Headers:
    """The client's headers that go on to the server, in order, bytes as they stood.

    Never `credential_header`, the header the gate injects: a client must not be able to send a second one. Raises
    Malformed(BAD_REQUEST) where `Connection` names a header that would go on (RFC 9110 §7.6.1): a server that is not told the
    protocol version reads the same body by other rules than the ones it was judged by.
    """
    injected = credential_header.lower().encode() if credential_header is not None else None
    forwarded = tuple((name, value) for name, value in headers if _goes_on(name) and name != injected)
    nominated = _nominated(headers)
    if nominated and any(name in nominated for name, _ in forwarded):
        raise Malformed(Reason.BAD_REQUEST, "The Connection header names a header that must reach the server.")
    return forwarded


def forwardable_response_headers(headers: Headers) -> Headers:
    """The server's headers that go on to the client. Never cookies, challenges, redirects, its name, or hop-by-hop headers."""
    nominated = _nominated(headers)
    return tuple((name, value) for name, value in headers if name in _RESPONSE and name not in nominated)


def private_cache_control(value: bytes) -> bytes:
    """`value` of Cache-Control, unless it lets shared caches keep an answer to a request with a credential (RFC 9111 §3.5): then `private`.

    Every answer of the gate is one caller's: what another may see differs."""
    directives = {directive.partition(b"=")[0].strip(OWS).lower() for directive in value.split(b",")}
    kept_by_nobody = directives & {b"no-store", b"private"}
    shared = directives & {b"public", b"s-maxage"} or (b"must-revalidate" in directives and not kept_by_nobody)
    return b"private" if shared else value


def mirrors(name: bytes) -> bool:
    """Whether a header repeats what the body says (2026-07-28). Revisions before it have none, so nobody compares one that comes."""
    return name in (b"mcp-method", b"mcp-name") or name.startswith(MCP_PARAM)


def media_type(headers: Headers) -> str | None:
    """The one media type of the body, lower-case, without parameters.

    None where it is absent, stands twice, is not readable, or names a charset other than UTF-8: the other side would then
    decode other characters than those that were inspected.
    """
    values = [value for name, value in headers if name == b"content-type"]
    if len(values) != 1:
        return None
    kind, *parameters = values[0].lower().split(b";")
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip(OWS) == b"charset" and value.strip(OWS).strip(b'"') not in (b"utf-8", b"utf8"):
            return None
    kind = kind.strip(OWS)
    if kind.count(b"/") != 1 or not kind.isascii() or b"," in kind or b" " in kind or b"\t" in kind:
        return None
    return kind.decode()


def accepts(headers: Headers, wanted: str) -> bool:
    """Whether the client takes a body of media type `wanted` (lower-case). Without an Accept header: yes (RFC 9110 §12.5.1).

    The most specific range that matches decides; weight 0 is a refusal.
    """
    values = [value for name, value in headers if name == b"accept"]
    if not values:
        return True
    weights = dict(_range(part) for part in b",".join(values).lower().split(b",") if part.strip(OWS))
    family = wanted.partition("/")[0]
    for candidate in (wanted, f"{family}/*", "*/*"):
        if candidate.encode() in weights:
            return weights[candidate.encode()]
    return False


def _range(part: bytes) -> tuple[bytes, bool]:
    """One range of Accept, and whether its weight lets anything through."""
    kind, *parameters = (piece.strip(OWS) for piece in part.split(b";"))
    weights = [piece[2:].strip(OWS) for piece in parameters if piece[:2] == b"q="]
    return kind, not any(weight.rstrip(b"0") in (b"", b"0.", b"0") for weight in weights)


def _goes_on(name: bytes) -> bool:
    return name in _REQUEST or name.startswith(MCP_PARAM)


def _nominated(headers: Headers) -> frozenset[bytes]:
    values = [value for name, value in headers if name == b"connection"]
    return frozenset(name.strip(OWS).lower() for value in values for name in value.split(b","))
