"""A client of both eras with nothing hidden: what it sends is what a test says, what it gets is what came."""

import contextlib
import http.client
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

from tests.e2e.life.deployed import Answered, Deployed

MODERN = "2026-07-28"
OLD = "2025-11-25"
_NUMBERS = itertools.count(1)


def message(method: str, params: dict[str, Any] | None = None, *, request: Any = None) -> bytes:
    """A request, or without `request` a notification."""
    found: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
    return json.dumps(found if request is None else {**found, "id": request}).encode()


class Client:
    """One caller at one server."""

    def __init__(self, gate: Deployed, server: str = "small", subject: str = "alice") -> None:
        self.gate = gate
        self.server = server
        self.token = gate.token(server, subject=subject)
        self.session: str | None = None

    def post(self, body: bytes, **headers: str) -> Answered:
        named = {"mcp-session-id": self.session} if self.session else {}
        return self.gate.ask(body, self.token, server=self.server, headers={**named, **headers})

    def initialize(self, capabilities: dict[str, Any] | None = None) -> Answered:
        """A session, where the answer says so."""
        info = {"name": "test", "version": "1"}
        params = {"protocolVersion": OLD, "capabilities": capabilities or {}, "clientInfo": info}
        self.session = None
        answered = self.post(message("initialize", params, request="init"))
        self.session = answered.headers.get("mcp-session-id")
        if self.session is not None:
            begun = self.post(message("notifications/initialized"))
            assert begun.status == 202, begun
        return answered

    def call(self, tool: str, *, request: Any = None, meta: dict[str, Any] | None = None, **arguments: Any) -> Answered:
        """tools/call within the session."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments, **({"_meta": meta} if meta else {})}
        return self.post(message("tools/call", params, request=next(_NUMBERS) if request is None else request))

    def modern(
        self, method: str, params: dict[str, Any] | None = None, *, request: Any = None, **headers: str
    ) -> Answered:
        """A request of 2026-07-28, which needs no session."""
        params = params or {}
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            **params.get("_meta", {}),
        }
        body = message(method, {**params, "_meta": meta}, request=next(_NUMBERS) if request is None else request)
        mirrored = {"mcp-protocol-version": MODERN, "mcp-method": method}
        if "name" in params:
            mirrored["mcp-name"] = params["name"]
        return self.gate.ask(body, self.token, server=self.server, headers={**mirrored, **headers})

    def modern_call(self, tool: str, *, request: Any = None, **arguments: Any) -> Answered:
        return self.modern("tools/call", {"name": tool, "arguments": arguments}, request=request)

    def delete(self) -> int:
        connection = self.gate.connect()
        with contextlib.closing(connection):
            headers = {**self.gate.headers_for(self.token), "mcp-session-id": self.session or ""}
            connection.request("DELETE", f"/{self.server}/mcp", headers=headers)
            return connection.getresponse().status

    @contextlib.contextmanager
    def listening(self) -> Iterator[http.client.HTTPResponse]:
        """The session's own stream."""
        connection = self.gate.connect()
        with contextlib.closing(connection):
            headers = {**self.gate.headers_for(self.token), "mcp-session-id": self.session or ""}
            connection.request("GET", f"/{self.server}/mcp", headers={**headers, "accept": "text/event-stream"})
            yield connection.getresponse()


class Calling(threading.Thread):
    """One call in a thread of its own. When joined: `answered`, or `broken` where the connection ended instead."""

    def __init__(self, client: Client, tool: str, **arguments: Any) -> None:
        super().__init__()
        self._client, self._tool, self._arguments = client, tool, arguments
        self.answered: Answered | None = None
        self.broken: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answered = self._client.call(self._tool, **self._arguments)
        except (OSError, http.client.HTTPException) as failure:
            self.broken = failure


def messages(answered: Answered) -> list[dict[str, Any]]:
    """What came, in order, be it a body or an event stream."""
    if answered.headers.get("content-type") != "text/event-stream":
        return [json.loads(answered.body)] if answered.body else []
    lines = answered.body.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def text(answered: Answered) -> str:
    """The text that a tool answered with."""
    found: str = messages(answered)[-1]["result"]["content"][0]["text"]
    return found


def next_message(stream: http.client.HTTPResponse) -> dict[str, Any]:
    """The next message of a stream that is open."""
    while line := stream.readline():
        if line.startswith(b"data: "):
            found: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            return found
    raise AssertionError("the stream ended")
