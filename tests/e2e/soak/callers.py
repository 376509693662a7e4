"""Clients made for load: raw HTTP/1.1 on few connections, each call by another of many sessions, and streams that are abandoned."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator

from tests.e2e.soak.upstream import PAN

CONNECTIONS = 24
CALLS_PER_CONNECTION = 250
ABANDONED_AT_ONCE = 20
MODERN = "2026-07-28"
# Of a hundred calls: what they ask for.
_MIX = ["card"] * 1 + ["fail"] * 2 + ["large"] * 1 + ["stream"] * 1
_META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


class Session:
    """One login of one person; `handle` is the gate's session id, from `initialize` on."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.handle = ""


class Callers:
    """`answered`: what came back, by tool. `wrong`: answers that should not be; there must be none."""

    def __init__(self, port: int, server: str, seed: int) -> None:
        self._port = port
        self._server = server
        self._random = random.Random(seed)
        self.answered: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.abandoned = 0
        self.singular = 2
        """Every how many-th call has a head of its own."""
        self._number = 0

    async def call(
        self, sessions: list[Session], newcomers: list[Session], calls: int, *, tool: str | None = None
    ) -> None:
        """Every newcomer says hello; then `calls` calls by all of them, of `tool` or mixed. The connections are closed when it returns."""
        work = self._work(sessions, newcomers, calls, tool)
        await asyncio.gather(*(self._connection(work) for _ in range(CONNECTIONS)))
        sessions += newcomers

    def _work(
        self, sessions: list[Session], newcomers: list[Session], calls: int, tool: str | None
    ) -> Iterator[tuple[Session, str]]:
        for newcomer in newcomers:
            yield newcomer, "initialize"
        everyone = sessions + newcomers
        for _ in range(calls):
            chosen = self._random.randrange(100)
            yield self._random.choice(everyone), tool or (_MIX[chosen] if chosen < len(_MIX) else "clean")

    async def _connection(self, work: Iterator[tuple[Session, str]]) -> None:
        """Calls until there is no more work, on one connection after another."""
        done = False
        while not done:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
            for _ in range(CALLS_PER_CONNECTION):
                if (next_ := next(work, None)) is None:
                    done = True
                    break
                try:
                    await self._one(*next_, reader, writer)
                except asyncio.IncompleteReadError as cut:
                    self.wrong.append(f"{next_[1]}: cut off: {cut.partial!r}")
                    break
            writer.close()
            await writer.wait_closed()

    async def _one(
        self, session: Session, tool: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._number += 1
        number = self._number
        writer.write(self._post(session, number, tool))
        status, head, body = await _answer(reader)
        if tool == "initialize":
            session.handle = _field(head, b"mcp-session-id").decode()
        good = status == 200 and b'"id":%d' % number in body and _field(head, b"gatebook-call-id")
        if not good or PAN in body or (tool == "card" and b"411111******1111" not in body):
            self.wrong.append(f"{tool}: {head!r} {body[:300]!r}")
        self.answered[tool] += 1

    async def abandon(self, sessions: list[Session], streams: int) -> None:
        """Streams of each kind, left without a word: before the answer, after its head, and in the middle of the events."""
        for start in range(0, streams, ABANDONED_AT_ONCE):
            numbers = range(start, min(start + ABANDONED_AT_ONCE, streams))
            await asyncio.gather(*(self._abandon(self._random.choice(sessions), number) for number in numbers))

    async def _abandon(self, session: Session, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._number += 1
        match number % 3:
            case 0:
                writer.write(self._get(session))
            case 1:
                writer.write(self._post(session, self._number, "stream"))
            case _:
                writer.write(self._post(session, self._number, "stream", modern=True))
        if number % 4:
            # One event at least; of a third kind, several.
            await reader.readuntil(b"data: ")
        if number % 4 > 2:
            for _ in range(3):
                await reader.readuntil(b"data: ")
        writer.transport.abort()
        self.abandoned += 1

    def _post(self, session: Session, number: int, tool: str, *, modern: bool = False) -> bytes:
        fields = ""
        message: dict[str, object] = {"jsonrpc": "2.0", "id": number, "method": "tools/call"}
        if tool == "initialize":
            client = {"name": "soaking", "version": "1"}
            params: dict[str, object] = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
            message |= {"method": "initialize", "params": params}
        else:
            params = {"name": tool, "arguments": {"order": f"A-{number}", "note": "as every day " * 8}}
            if modern:
                params["_meta"] = _META
                fields = f"mcp-method: tools/call\r\nmcp-name: {tool}\r\n"
            message["params"] = params
        body = json.dumps(message).encode()
        if number % self.singular == 0:
            # No two of these heads are alike, so whatever the gate remembers of heads is full after the first fifth.
            fields += f"x-request-id: {number}\r\n"
        version = MODERN if modern else "2025-11-25"
        fields += (
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nmcp-protocol-version: {version}\r\n"
        )
        return self._head("POST", session, fields, modern=modern) + body

    def _get(self, session: Session) -> bytes:
        return self._head("GET", session, "mcp-protocol-version: 2025-11-25\r\n")

    def _head(self, method: str, session: Session, fields: str, *, modern: bool = False) -> bytes:
        if session.handle and not modern:
            fields += f"mcp-session-id: {session.handle}\r\n"
        return (
            f"{method} /{self._server}/mcp HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n"
            f"accept: application/json, text/event-stream\r\nauthorization: Bearer {session.token}\r\n{fields}\r\n"
        ).encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _field(head, b"content-length")
    if length:
        body = await reader.readexactly(int(length))
    else:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    return int(head[9:12]), head, body


def _field(head: bytes, name: bytes) -> bytes:
    at = head.find(b"\r\n" + name + b": ")
    return b"" if at < 0 else head[at + len(name) + 4 :].split(b"\r\n", 1)[0]
