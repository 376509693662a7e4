"""A client of before 2026-07-28, one session at a time, that says what it was answered."""

import http.client
import json
from typing import Any

from tests.e2e.life.deployed import Answered, Deployed

HELLO = {
    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
}  # fmt: skip


class Session:
    """`begun`: the answer to `initialize`; where it is no result, there is no session. Everything goes over one connection."""

    def __init__(
        self, gate: Deployed, server: str, token: str, connection: http.client.HTTPConnection | None = None
    ) -> None:
        self._gate, self._server, self._token = gate, server, token
        self.connection = connection or gate.connect(60)
        self._headers: dict[str, str] = {}
        self._number = 0
        self.begun = self.ask("initialize", HELLO)
        self._headers = {"mcp-session-id": self.begun.headers.get("mcp-session-id", "")}
        if self.open:
            self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    @property
    def open(self) -> bool:
        return "protocolVersion" in result(self.begun) and "mcp-session-id" in self.begun.headers

    def ask(self, method: str, params: dict[str, Any]) -> Answered:
        self._number += 1
        return self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})

    def call(self, tool: str, arguments: dict[str, Any], key: str | None = None) -> Answered:
        """One tools/call; `key`: its JSON-RPC id."""
        params = {"name": tool, "arguments": arguments}
        if key is None:
            return self.ask("tools/call", params)
        return self._send({"jsonrpc": "2.0", "id": key, "method": "tools/call", "params": params})

    def end(self) -> int:
        """DELETE; its status. The connection is closed."""
        headers = self._gate.headers_for(self._token) | self._headers
        self.connection.request("DELETE", f"/{self._server}/mcp", headers=headers)
        answer = self.connection.getresponse()
        answer.read()
        self.connection.close()
        return answer.status

    def _send(self, message: dict[str, Any]) -> Answered:
        body = json.dumps(message).encode()
        return self._gate.ask(body, self._token, connection=self.connection, server=self._server, headers=self._headers)


def result(answered: Answered) -> dict[str, Any]:
    """The result of an answer, which came as a body or as an event stream; an error gives an empty one."""
    lines = [answered.body.decode()]
    if answered.headers.get("content-type", "").startswith("text/event-stream"):
        lines = [line.removeprefix("data:") for line in lines[0].splitlines() if line.startswith("data:")]
    for line in lines:
        found = json.loads(line) if line.strip() else {}
        if "result" in found:
            return dict(found["result"])
    return {}
