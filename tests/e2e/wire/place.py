"""The gate of these tests, the server behind it, and messages as bytes."""

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.attacks.ground import JSON_HEADERS, PATIENCE_S, Ground
from tests.e2e.attacks.recording import Asked, RecordingServer, reply
from tests.e2e.gate import ISSUER_URL, config_for, free_port
from tests.e2e.life.deployed import Deployed, deployed
from tests.issuing import Issuer

VERSION = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
NOTE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"on it"}}'
LAST_CHUNK = b"0\r\n\r\n"
_ID = re.compile(rb'"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9]+)')

MORE = """[[role]]
name = "readers"
match = [ { issuer = "corp", group = "readers" } ]
allow = [ { server = "payments", tools = ["tool-1*"] } ]
[limits]
calls_per_principal = 8
buffered_bytes = 16777216
response_bytes = 8388608
"""


class WireServer(RecordingServer):
    """A recording server that keeps its connections until the gate closes them, or it has said that it closes them itself. `connections`: how many there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = 0

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        with contextlib.suppress(OSError), connection:
            closes = False
            while not closes:
                head, body = self._request(connection)
                asked = Asked(head, body, connection)
                self.asked.append(asked)
                for piece in self.script(asked):
                    connection.sendall(piece)
                    closes = closes or b"connection: close\r\n" in piece


class Place(Ground):
    """The ground of the attacks, with a gate under which everybody may do everything."""

    gate: Deployed
    payments: WireServer

    def token(self, subject: str = "alice", *, server: str = "payments", **claims: Any) -> str:
        return super().token(subject, server=server, **{"groups": ("everybody",), **claims})

    @contextlib.contextmanager
    def opened(
        self, body: bytes | None, bearer: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """One request (GET without a body) on a connection of its own, as far as the answer's head; it is hung up at the end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            sent = {**JSON_HEADERS, "Authorization": f"Bearer {bearer}", **(headers or {})}
            connection.request("GET" if body is None else "POST", "/payments/mcp", body=body, headers=sent)
            yield connection.getresponse()


def raw_id(message: bytes) -> bytes:
    """The id token of a message, as it stands."""
    found = _ID.search(message)
    assert found is not None, message
    return found[1]


def answer(asked: Asked, value: bytes = b"{}") -> bytes:
    """A result, under the id as it came."""
    return b'{"jsonrpc":"2.0","id":' + raw_id(asked.body) + b',"result":' + value + b"}"


def kept(body: bytes, *fields: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    """A whole HTTP answer after which the connection may be used again."""
    return reply(body, *fields, status=status, kind=kind).replace(b"connection: close\r\n", b"", 1)


def stream_begins(*fields: bytes) -> bytes:
    """The head of an event stream in chunks."""
    head = (b"HTTP/1.1 200 OK", b"content-type: text/event-stream", b"transfer-encoding: chunked", *fields)
    return b"\r\n".join((*head, b"", b""))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: bytes, *fields: bytes) -> bytes:
    return b"".join(field + b"\n" for field in fields) + b"data: " + data + b"\n\n"


def events_then_end(*events: bytes) -> bytes:
    """A whole event stream."""
    return stream_begins() + b"".join(chunk(each) for each in events) + LAST_CHUNK


def modern(method: str, name: str | None = None, **params: Any) -> tuple[bytes, dict[str, str]]:
    """A request of 2026-07-28, id 1, and the headers that repeat it."""
    headers = {"MCP-Protocol-Version": VERSION, "Mcp-Method": method}
    if name is not None:
        params["name"] = headers["Mcp-Name"] = name
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
    return json.dumps(message).encode(), headers


@contextlib.contextmanager
def place(directory: Path) -> Iterator[Place]:
    """The gate runs; behind `shapes` is the same server as behind `payments`, but no bodies are recorded. At the end the gate is stopped, its log verified, and nothing that was nobody's fault was reported."""
    port = free_port()
    issuer = Issuer(ISSUER_URL, name="corp")
    with WireServer() as server:
        config = config_for(port, {"payments": server.url, "shapes": server.url}, more=MORE)
        config = config.replace('name = "shapes"\n', 'name = "shapes"\nrecord = "shape"\n')
        with deployed(directory / "gate", config, port, issuer=issuer) as gate:
            yield Place(gate, issuer, server)
            assert gate.stop() == 0
            gate.verify()
            assert gate.said("bug") == []
