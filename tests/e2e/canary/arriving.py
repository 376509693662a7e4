"""Every place of a request that can hold something: one raw request each, with the load planted in that place.

`served`: the gate lets it through (the load was masked, or sits where nobody forwards it). All others are refused.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.e2e.canary import plants
from tests.e2e.canary.plants import PLAIN, load, text
from tests.issuing import base64url

JSON = ("Content-Type: application/json", "Accept: application/json, text/event-stream")
MODERN = "2026-07-28"


class Sent(NamedTuple):
    name: str
    raw: bytes
    served: bool = False


def call(marker: str, arguments: object, *, tool: str = "look", **members: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": marker,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
        **members,
    }


class Requests:
    """Puts requests together. `bearer` is a good token; `host` the gate's."""

    def __init__(self, host: str, bearer: str) -> None:
        self._host = host
        self._bearer = bearer

    def raw(
        self, message: object, *fields: str, line: str = "POST /shop/mcp HTTP/1.1", bearer: str | None = None
    ) -> bytes:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        authorization = f"Authorization: Bearer {self._bearer if bearer is None else bearer}"
        lines = [line, f"Host: {self._host}", *([authorization] if bearer != "" else []), "Connection: close"]
        if not line.startswith("GET"):
            lines.append(f"Content-Length: {len(body)}")
        if not any(field.lower().startswith("content-type") for field in fields):
            lines += JSON
        return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1") + body

    def everywhere(self) -> Iterator[Sent]:
        yield from self._arguments()
        yield from self._message()
        yield from self._headers()
        yield from self._unreadable()

    def _arguments(self) -> Iterator[Sent]:
        marker = "arguments-refused"
        yield Sent(marker, self.raw(call(marker, load(marker))))
        marker = "arguments-masked"
        yield Sent(marker, self.raw(call(marker, load(marker), tool="note")), served=True)
        marker = "arguments-allowed"
        yield Sent(marker, self.raw(call(marker, load(marker), tool="pay")), served=True)
        marker = "arguments-deep"
        yield Sent(marker, self.raw(call(marker, {"a": [[{"b": json.dumps({"c": json.dumps(load(marker))})}]]})))
        marker = "arguments-large"
        yield Sent(marker, self.raw(call(marker, [load(marker), "x" * 100_000, load(marker)], tool="pay")), served=True)
        escaped = call("arguments-escaped", {"card": "@@"})
        yield Sent(
            "arguments-escaped",
            self.raw(json.dumps(escaped).replace("@@", "".join(f"\\u{ord(c):04x}" for c in PLAIN)).encode()),
        )

    def _message(self) -> Iterator[Sent]:
        """In each part of the message that is not an argument."""
        yield Sent("id", self.raw(call(PLAIN, {})))
        yield Sent("id-number", self.raw(call("-", {}, id=int(PLAIN))))
        yield Sent("tool", self.raw(call("tool", {}, tool=f"look {PLAIN}")))
        yield Sent("method", self.raw(call("method", {}, method=f"tools/{PLAIN}")))
        yield Sent("unknown-member", self.raw(call("unknown-member", {}, extra=load("unknown-member"))))
        uri = {"jsonrpc": "2.0", "id": "uri", "method": "resources/read", "params": {"uri": f"cards://{PLAIN}/x"}}
        yield Sent("uri", self.raw(uri))
        meta = {"name": "look", "arguments": {}, "_meta": {"progressToken": text("progress")}}
        yield Sent("progress-token", self.raw(call("progress-token", {}, params=meta)))
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": text("client"), "version": "1"},
        }
        yield Sent("client-info", self.raw({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": hello}))
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"reason": text("notification")}}
        yield Sent("notification", self.raw(note))
        answered = {"jsonrpc": "2.0", "id": 7, "result": load("answer-of-the-client")}
        yield Sent("answer-of-the-client", self.raw(answered))
        batch = [call("batch", load("batch"), id=1), call("batch", {}, id=2)]
        yield Sent("batch", self.raw(batch, "MCP-Protocol-Version: 2025-03-26"))

    def _headers(self) -> Iterator[Sent]:
        """In each header and in the target. What the gate neither forwards nor records lets the call pass."""
        for name, served in {
            "User-Agent": True,
            "Cookie": True,
            "Traceparent": True,
            "Tracestate": True,
            "Baggage": True,
            "Referer": True,
            "X-Unknown": True,
            "X-Forwarded-For": True,
            "X-Forwarded-User": True,
            "Accept-Language": True,
            "Mcp-Name": False,
            "Mcp-Param-Card": False,
            "Last-Event-ID": False,
            "Mcp-Session-Id": False,
            "MCP-Protocol-Version": False,
            "Mcp-Method": True,
            "Origin": False,
            "Expect": False,
            "Content-Encoding": False,
            "Transfer-Encoding": False,
            "Content-Type": False,
            "Authorization": False,
        }.items():
            marker = f"header-{name.lower()}"
            yield Sent(marker, self.raw(call(marker, {}), f"{name}: {text(marker)}"), served)
        query = "/shop/mcp?access_token=@&card=" + PLAIN
        yield Sent(
            "query", self.raw(call("query", {}), line=f"POST {query.replace('@', self._bearer)} HTTP/1.1"), served=False
        )
        yield Sent("path", self.raw(call("path", {}), line=f"POST /{PLAIN}/mcp HTTP/1.1"))
        yield Sent("path-below", self.raw(call("path", {}), line=f"POST /shop/mcp/{PLAIN} HTTP/1.1"))
        yield Sent("http-method", self.raw(call("method", {}), line=f"{PLAIN} /shop/mcp HTTP/1.1"))
        stream = f"Last-Event-ID: {text('last-event-id')}"
        yield Sent("resumption", self.raw(b"", stream, line="GET /shop/mcp HTTP/1.1"))

    def _unreadable(self) -> Iterator[Sent]:
        """What never becomes a call: broken JSON, broken HTTP, broken tokens."""
        body = json.dumps(call("broken", load("broken"))).encode()
        yield Sent("json-cut", self.raw(body[:-20]))
        yield Sent("json-twice", self.raw(body + body))
        yield Sent("json-doubled-key", self.raw(body[:-1] + b', "id": "' + PLAIN.encode() + b'"}'))
        yield Sent("json-not-text", self.raw(body.replace(b"plain", b"\xff\xfe")))
        yield Sent("json-deep", self.raw(b"[" * 5000 + body + b"]" * 5000))
        yield Sent("too-large", self.raw(body + b" " * (2 << 20)))
        yield Sent("text", self.raw(text("text").encode(), "Content-Type: text/plain"))
        yield Sent("no-http", (text("no-http") + "\r\n\r\n").encode())
        yield Sent("folded", self.raw(b"{}", f"X-Folded: a\r\n {text('folded')}"))
        yield Sent("length-twice", self.raw(b"{}", f"Content-Length: {PLAIN}"))
        yield Sent("long-header", self.raw(b"{}", "X-Long: " + text("long") * 500))
        for name, token in {
            "no-token": "",
            "token-of-text": text("token"),
            "token-cut": self._bearer[:-8],
            "token-with-a-card-as-key-id": _unsigned({"alg": "ES256", "kid": PLAIN}, {"iss": "http://127.0.0.1/idp"}),
            "token-with-a-card-as-issuer": _unsigned({"alg": "ES256"}, {"iss": PLAIN, "sub": PLAIN}),
            "token-unsigned": _unsigned({"alg": "none"}, {"iss": "http://127.0.0.1/idp", "sub": plants.CREDENTIAL}),
        }.items():
            yield Sent(name, self.raw(call(name, load(name)), bearer=token))


def _unsigned(header: object, claims: object) -> str:
    return ".".join((base64url(json.dumps(header).encode()), base64url(json.dumps(claims).encode()), "c2ln"))
