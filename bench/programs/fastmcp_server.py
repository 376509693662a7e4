"""A small MCP server for FastMCP's proxy, which numbers its own requests: the prepared answer, with the id that was asked for.

`python fastmcp_server.py PORT PLAIN_FILE CARD_FILE COUNT_FILE`; only the standard library. It counts tool calls in COUNT_FILE, a byte each.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

CARD_TOOL = "get_card"
VERSION = "2026-07-28"
SERVER = {"name": "upstream", "version": "1"}
SCHEMA = {"type": "object", "additionalProperties": True}


class Server:
    def __init__(self, plain: Path, card: Path, count: Path) -> None:
        self._plain: dict[str, Any]
        self._card: dict[str, Any]
        self._plain, self._card = json.loads(plain.read_bytes())["result"], json.loads(card.read_bytes())["result"]
        self._count = count.open("ab", buffering=0)

    def result(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "tools/call":
            self._count.write(b".")
            return self._card if params["name"] == CARD_TOOL else self._plain
        whole = {"resultType": "complete", "ttlMs": 3_600_000, "cacheScope": "private", "serverInfo": SERVER}
        if method == "tools/list":
            return {**whole, "tools": [{"name": name, "inputSchema": SCHEMA} for name in ("get_order", CARD_TOOL)]}
        capabilities: dict[str, Any] = {"tools": {}}
        if method == "initialize":
            return {"protocolVersion": params["protocolVersion"], "capabilities": capabilities, "serverInfo": SERVER}
        if method == "server/discover":
            return {**whole, "supportedVersions": [VERSION], "capabilities": capabilities}
        return whole

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                writer.write(self._answer(head, await reader.readexactly(_length(head))))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if not head.startswith(b"POST "):
            return b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"
        message = json.loads(body)
        if "id" not in message:
            return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
        result = self.result(message["method"], message.get("params", {}))
        said = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def main(port: str, plain: str, card: str, count: str) -> None:
    server = Server(Path(plain), Path(card), Path(count))
    async with await asyncio.start_server(server.serve, "127.0.0.1", int(port), backlog=1024) as listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
