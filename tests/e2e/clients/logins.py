"""Real clients that log in by themselves: they are told a URL, and somebody's browser.

`browse(url, stop_at)` is that browser: it goes where the client sends it, and returns the first address that begins with `stop_at`; where
that is None the client listens itself, and the browser goes to the end.
"""

import asyncio
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.e2e import nodejs
from tests.e2e.clients.visits import HERE, INSPECTOR, Failure, Visit

Browse = Callable[[str, str | None], str]
REDIRECT = "http://127.0.0.1:7777/callback"
MCP_REMOTE = nodejs.NODE_MODULES / "mcp-remote" / "dist" / "proxy.js"
TIMEOUT_S = 60


def typescript_v1(url: str, browse: Browse, tool: str, client_id: str | None = None, **arguments: object) -> Visit:
    """The TypeScript SDK 1.x, with its own OAuth. `client_id` None: it registers itself."""
    return _scripted("typescript_v1_login.mjs", url, browse, tool, client_id, arguments)


def typescript_v2(url: str, browse: Browse, tool: str, client_id: str | None = None, **arguments: object) -> Visit:
    """The TypeScript SDK 2.x, with its own OAuth. `client_id` None: it registers itself."""
    return _scripted("typescript_v2_login.mjs", url, browse, tool, client_id, arguments)


def _scripted(
    script: str, url: str, browse: Browse, tool: str, client_id: str | None, arguments: dict[str, object]
) -> Visit:
    asked: dict[str, Any] = {"url": url, "redirect": REDIRECT, "tool": tool, "arguments": arguments}
    if client_id is not None:
        asked["client_id"] = client_id
    process = subprocess.Popen(
        [str(nodejs.node()), str(HERE / script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=nodejs.node_environment(),
    )  # fmt: skip
    killer = threading.Timer(TIMEOUT_S, process.kill)
    killer.start()
    try:
        told = _say(process, asked)
        if "authorize" in told:
            came = browse(told["authorize"], REDIRECT)
            told = _say(process, {"query": urlsplit(came).query})
    finally:
        killer.cancel()
        process.kill()
        process.communicate()
    error = Failure(**told["error"]) if told["error"] else None
    return Visit(protocol=told["protocol"], tools=told["tools"], result=told["result"], error=error)


def _say(process: "subprocess.Popen[str]", value: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(value) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, "the client ended without a word"
    found: dict[str, Any] = json.loads(line)
    return found


class _Watching(threading.Thread):
    """Reads what a client prints, and sends the browser to the first authorization URL in it. `failed`: what the browser met."""

    def __init__(self, lines: Iterable[str], browse: Browse) -> None:
        super().__init__(daemon=True)
        self._lines = lines
        self._browse = browse
        self.text = ""
        self.failed: BaseException | None = None
        self.start()

    def run(self) -> None:
        sent = False
        for line in self._lines:
            self.text += line
            found = re.search(r"https?://\S+/oauth/authorize\?\S+", line)
            if found and not sent:
                sent = True
                try:
                    self._browse(found[0], None)
                except BaseException as failure:
                    self.failed = failure


def inspector(arguments: list[str], browse: Browse, *, home: Path) -> "subprocess.CompletedProcess[str]":
    """The Inspector's command line, which prints where to log in and waits for the answer itself."""
    silent = home / "nothing"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o700)
    environment = nodejs.node_environment() | {
        "HOME": str(home),
        "MCP_AUTO_OPEN_ENABLED": "true",
        "BROWSER": str(silent),
    }
    process = subprocess.Popen(
        [str(nodejs.node()), str(INSPECTOR), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    watching = _Watching(process.stderr, browse)
    killer = threading.Timer(TIMEOUT_S, process.kill)
    killer.start()
    stdout = process.stdout.read()
    process.wait()
    killer.cancel()
    watching.join(5)
    process.stdout.close()
    process.stderr.close()
    assert watching.failed is None, watching.failed
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, watching.text)


def mcp_remote(arguments: list[str], browse: Browse, tool: str, given: dict[str, Any], *, home: Path) -> str:
    """One tool call by a client that speaks stdio only (the Python SDK's) through mcp-remote; the result as JSON."""
    return asyncio.run(_through_mcp_remote(arguments, browse, tool, given, home))


async def _through_mcp_remote(
    arguments: list[str], browse: Browse, tool: str, given: dict[str, Any], home: Path
) -> str:
    silent = home / "nothing"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o700)
    environment = nodejs.node_environment() | {
        "HOME": str(home), "MCP_REMOTE_CONFIG_DIR": str(home / "kept"), "BROWSER": str(silent),
    }  # fmt: skip
    program = StdioServerParameters(command=str(nodejs.node()), args=[str(MCP_REMOTE), *arguments], env=environment)
    log = home / "mcp-remote.txt"
    with log.open("w") as errors, log.open() as reading:
        watching = _Watching(_followed(reading), browse)
        try:
            async with asyncio.timeout(TIMEOUT_S), Client(stdio_client(program, errlog=errors)) as client:
                result = await client.call_tool(tool, given)
        except BaseException as failure:
            raise AssertionError(f"{watching.failed or failure!r}\n{log.read_text()}") from failure
    assert watching.failed is None, watching.failed
    return msgspec.json.encode(result.model_dump(mode="json", by_alias=True, exclude_none=True)).decode()


def _followed(file: IO[str]) -> Iterable[str]:
    """The lines of a file that still grows, until it is closed."""
    pause = threading.Event()
    line = ""
    while not file.closed:
        try:
            line += file.readline()
        except ValueError:
            return
        if line.endswith("\n"):
            yield line
            line = ""
        else:
            pause.wait(0.05)
