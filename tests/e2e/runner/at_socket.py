"""What the gate says to the runner at a server's socket, without a gate: one keeper with real processes, asked by ASGI."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gatebook.adapters.secrets import FileOrEnvironment
from gatebook.model.deployment import Command, Server
from gatebook.serve.runner.endpoint import Endpoint
from gatebook.serve.runner.keeper import Ground, Keeper, Slots
from tests.e2e.runner.client import MODERN, OLD, message
from tests.e2e.runner.configured import python
from tests.e2e.runner.starting import WITHOUT, deployment_at

IDLE_S = 600.0
_NUMBERS = itertools.count(1)


class Caller:
    """One caller of the gate's, at the server's socket: what the gate would send there."""

    def __init__(self, endpoint: Endpoint, name: str = "alice") -> None:
        self.endpoint, self.name = endpoint, name
        self.session = ""

    async def post(self, body: bytes, revision: str = OLD, more: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body. Raises BrokenOff where the answer breaks off."""
        headers = {
            "content-type": "application/json", "mcp-protocol-version": revision, "gatebook-caller": self.name,
            **({"mcp-session-id": self.session} if self.session else {}), **(more or {}),
        }  # fmt: skip
        scope = {
            "type": "http", "method": "POST", "path": "/mcp", "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        coming = [{"type": "http.request", "body": body}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if coming:
                return coming.pop()
            return await asyncio.Future()  # nobody hangs up

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        await self.endpoint(scope, receive, send)  # type: ignore[arg-type]
        named = dict(sent[0]["headers"])
        self.session = named.get(b"mcp-session-id", self.session.encode()).decode()
        return sent[0]["status"], b"".join(event.get("body", b"") for event in sent)

    async def initialize(self) -> int:
        info = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        return (await self.post(message("initialize", info, request="init")))[0]

    async def call(self, tool: str, **arguments: Any) -> tuple[int, bytes]:
        return await self.post(message("tools/call", {"name": tool, "arguments": arguments}, request=next(_NUMBERS)))

    async def modern_call(self, tool: str, more: dict[str, str] | None = None, **arguments: Any) -> tuple[int, bytes]:
        """`more`: headers beside those of every call."""
        meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
        params = {"name": tool, "arguments": arguments, "_meta": meta}
        return await self.post(message("tools/call", params, request=next(_NUMBERS)), MODERN, more)

    async def pid(self) -> int:
        return await self.number("pid")

    async def number(self, tool: str) -> int:
        """What the tool says, which is a number."""
        status, body = await self.call(tool)
        assert status == 200, body
        said = json.loads(body.decode().partition("data: ")[2])
        return int(said["result"]["content"][0]["text"])


@asynccontextmanager
async def serving(folder: Path, **more: Any) -> AsyncIterator[tuple[Endpoint, Keeper]]:
    command = Command(
        argv=tuple(python("small_server.py", "--calls", str(folder / "calls"))),
        sandbox="available",
        idle_s=IDLE_S,
        **more,
    )
    deployment = deployment_at(folder)
    directory = folder / "sockets"
    directory.mkdir()
    ground = Ground(
        host=WITHOUT, credentials=FileOrEnvironment(), deployment=deployment, config=folder / "gatebook.toml",
        directory=directory, slots=Slots(8),
    )  # fmt: skip
    keeper = Keeper(
        Server(name="small", url="unix:/nowhere:/mcp", resource="", audiences={}), command, deployment, ground
    )
    try:
        yield Endpoint(keeper, 1 << 20), keeper
    finally:
        await keeper.end()
        assert ground.slots.taken == 0
