"""An MCP server made for load: answers by template, streams on demand, counts what it executes. Runs on the caller's event loop."""

import asyncio
import json
import re

PAN = b"4111111111111111"
EVENTS = 12
EVENT_S = 0.05
_ID = re.compile(rb'"id": ?("[^"]*"|[0-9]+)')
_TOOL = re.compile(rb'"name": ?"([a-z]+)"')
_TEXT = b"An order like any other: %d pieces, sent on 2026-11-22 to the usual address. " % 3
_CLEAN = json.dumps({"content": [{"type": "text", "text": (_TEXT * 12).decode()}]}).encode()
_ANSWERS = {
    b"clean": _CLEAN,
    b"card": _CLEAN[:-4] + b"Paid by " + PAN + b'"}]}',
    b"large": json.dumps({"content": [{"type": "text", "text": _TEXT.decode() * 1200}]}).encode(),
    b"fail": b'{"content":[{"type":"text","text":"no such order"}],"isError":true}',
}
_NOTE = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"still at it"}}\n\n'
_HELLO = b'{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"soaked","version":"1"}}'


class Counts:
    """`calls`: tools executed. `streams`: streams open at this moment. `connections`: of the gate's, open at this moment."""

    def __init__(self) -> None:
        self.calls = self.streams = self.connections = 0


class SoakedServer(asyncio.Protocol):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._buffer = bytearray()
        self._stream: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._counts.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._counts.connections -= 1
        if self._stream is not None:
            self._stream.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            self._request(head, body)

    def _request(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get"):
            self._begin(None)
            return
        identifier = _ID.search(body)
        if identifier is None:
            self._transport.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        elif b'"initialize"' in body:
            self._answer(identifier[1], _HELLO, b"mcp-session-id: soaked-1\r\n")
        else:
            self._counts.calls += 1
            tool = _TOOL.search(body)
            if tool is None or tool[1] == b"stream":
                self._begin(identifier[1])
            else:
                self._answer(identifier[1], _ANSWERS[tool[1]])

    def _answer(self, identifier: bytes, result: bytes, fields: bytes = b"") -> None:
        body = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (identifier, result)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (
            fields,
            len(body),
        )
        self._transport.write(head + body)

    def _begin(self, identifier: bytes | None) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self._counts.streams += 1
        self._stream = asyncio.get_running_loop().create_task(self._events(identifier))
        self._stream.add_done_callback(self._ended)

    def _ended(self, stream: "asyncio.Task[None]") -> None:
        self._counts.streams -= 1
        self._stream = None

    async def _events(self, identifier: bytes | None) -> None:
        """Without an id: a GET stream, which ends with its reader."""
        number = 0
        while identifier is None or number < EVENTS:
            number += 1
            self._piece(_NOTE)
            await asyncio.sleep(EVENT_S)
        self._piece(b'data: {"jsonrpc":"2.0","id":%b,"result":%b}\n\n' % (identifier, _CLEAN))
        self._transport.write(b"0\r\n\r\n")

    def _piece(self, data: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
