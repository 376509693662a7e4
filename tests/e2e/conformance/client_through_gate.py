"""The SDK's own conformance client, sent through a gate: what the suite runs as the client under test.

    python -m tests.e2e.conformance.client_through_gate DIRECTORY URL

The suite appends the URL of its mock server. A running gate in DIRECTORY gets that as one more server (a reload), and the client, which comes
with the SDK's source package, is run against the gate with the token that `gate.json` in DIRECTORY holds for that server.
"""

import fcntl
import json
import os
import runpy
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.e2e.conformance.client_suite import CLIENT
from tests.e2e.gate import config_for

CONNECTIONS_TO_BOTH_WORKERS = 24
PATIENCE_S = 20


def server_name(scenario: str, revision: str) -> str:
    """The name under which the gate has the mock server of one run."""
    return f"{scenario}-{revision}".replace("_", "-")


def main(directory: Path, mock: str) -> None:
    name = server_name(os.environ["MCP_CONFORMANCE_SCENARIO"], os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"])
    gate: dict[str, Any] = json.loads((directory / "gate.json").read_text())
    base = f"http://127.0.0.1:{gate['port']}"
    with (directory / "reloading").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        add_server(directory, gate["port"], name, mock)
        os.kill(gate["pid"], signal.SIGHUP)
        wait_for_both_workers(f"{base}/.well-known/oauth-protected-resource/{name}/mcp")
    send_token(gate["tokens"][name])
    sys.argv = [str(CLIENT), f"{base}/{name}/mcp"]
    runpy.run_path(str(CLIENT), run_name="__main__")


def add_server(directory: Path, port: int, name: str, url: str) -> None:
    """The configuration has this server too, beside those of the runs before."""
    listed = directory / "servers.json"
    servers = (json.loads(listed.read_text()) if listed.exists() else {}) | {name: with_path(url)}
    listed.write_text(json.dumps(servers))
    new = directory / "gatebook.new"
    new.write_text(config_for(port, servers))
    new.replace(directory / "gatebook.toml")


def with_path(url: str) -> str:
    """A server's URL names its whole endpoint; some mock servers are at the root and leave it out."""
    return url if urlsplit(url).path else f"{url}/"


def wait_for_both_workers(metadata: str) -> None:
    """Every new connection, whichever worker takes it, finds the server."""
    deadline = time.monotonic() + PATIENCE_S
    found = 0
    while found < CONNECTIONS_TO_BOTH_WORKERS:
        try:
            with urllib.request.urlopen(metadata, timeout=PATIENCE_S):
                found += 1
        except urllib.error.HTTPError:
            found = 0
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def send_token(token: str) -> None:
    """From now on every HTTP client of this process sends it."""
    made = httpx2.AsyncClient.__init__

    def make(self: httpx2.AsyncClient, *arguments: Any, headers: Any = None, **options: Any) -> None:
        made(self, *arguments, headers={**(headers or {}), "Authorization": f"Bearer {token}"}, **options)

    httpx2.AsyncClient.__init__ = make  # type: ignore[method-assign]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
