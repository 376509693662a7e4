"""One visit of a real client: connect with a bearer token, list the tools, call one, tell what came.

Every client script reads one JSON object from stdin and writes one to stdout:

    in   {"url", "token", "era": "auto" | "legacy" | "modern", "tool": name or null, "arguments": {…}}
    out  {"protocol": revision, "tools": [name, …], "result": the call's result or null,
          "error": null or {"at": "connect" | "list" | "call", "code": JSON-RPC or HTTP code or null, "message"}}
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.e2e import nodejs

HERE = Path(__file__).parent
INSPECTOR = nodejs.NODE_MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
VISIT_TIMEOUT_S = 60

Era = Literal["auto", "legacy", "modern"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    at: Literal["connect", "list", "call"]
    code: int | None
    message: str


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What a client saw. `protocol` is None where it does not tell; `result` None where no tool was called."""

    protocol: str | None = None
    tools: list[str] = field(default_factory=list)
    result: dict[str, Any] | None = None
    error: Failure | None = None

    @property
    def text(self) -> str:
        """The result's text blocks, one a line."""
        blocks = self.result["content"] if self.result else []
        return "\n".join(block["text"] for block in blocks if block["type"] == "text")


def python_sdk(url: str, token: str, tool: str | None = None, *, era: Era = "auto", **arguments: object) -> Visit:
    """The Python SDK, `mcp` 2.x; negotiates all revisions."""
    return _scripted([sys.executable, str(HERE / "python_sdk.py")], url, token, tool, era, arguments)


def typescript_v2(url: str, token: str, tool: str | None = None, *, era: Era = "auto", **arguments: object) -> Visit:
    """The TypeScript SDK 2.x, `@modelcontextprotocol/client`; negotiates both eras."""
    return _scripted([str(nodejs.node()), str(HERE / "typescript_v2.mjs")], url, token, tool, era, arguments)


def typescript_v1(url: str, token: str, tool: str | None = None, *, era: Era = "auto", **arguments: object) -> Visit:
    """The TypeScript SDK 1.x, `@modelcontextprotocol/sdk`; knows only the legacy era, whatever `era` says."""
    return _scripted([str(nodejs.node()), str(HERE / "typescript_v1.mjs")], url, token, tool, era, arguments)


def _scripted(command: list[str], url: str, token: str, tool: str | None, era: Era, arguments: object) -> Visit:
    request = {"url": url, "token": token, "era": era, "tool": tool, "arguments": arguments}
    answer = _run(command, json.dumps(request))
    if answer.returncode != 0:
        raise RuntimeError(f"{command[-1]} failed:\n{answer.stdout}{answer.stderr}")
    told = json.loads(answer.stdout)
    error = Failure(**told["error"]) if told["error"] else None
    return Visit(protocol=told["protocol"], tools=told["tools"], result=told["result"], error=error)


def inspector(
    url: str, token: str, method: str, *options: str, home: Path, era: Era = "auto"
) -> subprocess.CompletedProcess[str]:
    """The Inspector's command line: one method, its result as JSON on stdout. `home` takes the files it keeps.

    For example `inspector(url, token, "tools/call", "--tool-name", "echo", "--tool-args-json", '{"text": "x"}', …)`.
    """
    target = ["--cli", url, "--transport", "http", "--header", f"Authorization: Bearer {token}", "--protocol-era", era]
    silent = ["--format", "json", "--quiet", "--stored-auth-only"]
    command = [str(nodejs.node()), str(INSPECTOR), *target, *silent, "--method", method, *options]
    return _run(command, "", {"HOME": str(home)})


def _run(command: list[str], stdin: str, extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = nodejs.node_environment() | dict(extra or {})
    return subprocess.run(
        command, input=stdin, env=environment, capture_output=True, text=True, timeout=VISIT_TIMEOUT_S, check=False
    )
