"""A deployment whose processes a test can see, signal and kill, and whose log it can read afterwards."""

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import reading
from gatebook.ledger.entry import Entry
from gatebook.ledger.merkle import leaf_hash
from tests.e2e.gate import ISSUER_URL, Gate
from tests.issuing import Issuer

PATIENCE_S = 30.0
SEGMENTS = 3
"""Of a writer at rest: the one that it writes, and two spares."""
LEGACY = {"mcp-protocol-version": "2025-11-25"}
T = TypeVar("T")


def until(found: Callable[[], T], what: str, within_s: float = PATIENCE_S) -> T:
    """The first true value of `found`; asked again and again until the deadline."""
    deadline = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)
    return value


class Written(NamedTuple):
    """An entry of the sealed log, and its leaf's hash as a receipt names it (hex)."""

    entry: Entry
    leaf: str


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def receipt(self) -> str | None:
        """The leaf hash that the answer's receipt names."""
        return self.headers["gatebook-receipt"].split(" ")[1] if "gatebook-receipt" in self.headers else None

    @property
    def reason(self) -> str | None:
        """Why it was refused; None where it was not."""
        return json.loads(self.body).get("error", {}).get("data", {}).get("reason") if self.body else None


def call(tool: str, key: str, **arguments: Any) -> bytes:
    """The body of one tools/call."""
    params = {"name": tool, "arguments": {"key": key, **arguments}}
    return json.dumps({"jsonrpc": "2.0", "id": key, "method": "tools/call", "params": params}).encode()


class Deployed(Gate):
    """A `gatebook serve`; `tls` is what its clients trust, where it has a certificate."""

    tls: ssl.SSLContext | None = None

    @cached_property
    def public_url(self) -> str:
        """As the first configuration says: later ones are written while callers call."""
        return super().public_url

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self, timeout_s: float = PATIENCE_S) -> http.client.HTTPConnection:
        """A connection of one's own; not yet made."""
        if self.tls is not None:
            return http.client.HTTPSConnection("localhost", self.port, timeout=timeout_s, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def ask(
        self,
        body: bytes | None,
        token: str,
        *,
        connection: http.client.HTTPConnection | None = None,
        server: str = "counting",
        headers: dict[str, str] | None = None,
    ) -> Answered:
        """One POST, on a connection of its own where none is given."""
        with contextlib.ExitStack() as closing:
            if connection is None:
                connection = self.connect()
                closing.callback(connection.close)
            connection.request("POST", f"/{server}/mcp", body=body, headers=self.headers_for(token) | (headers or {}))
            response = connection.getresponse()
            return Answered(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def headers_for(self, token: str) -> dict[str, str]:
        return {
            "host": self.public_url.partition("://")[2],
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "authorization": f"Bearer {token}",
        } | LEGACY

    def get(self, path: str) -> int:
        """The status of a GET on a connection of its own; 0 where nobody answers."""
        connection = self.connect(5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    # Processes

    def rooms(self, kind: str) -> list[int]:
        """Process ids of the rooms of this kind (gate, desk, sealer) that run now."""
        return [pid for pid in children(self.pid) if kind in _arguments(pid)]

    def everyone(self) -> list[int]:
        """The supervisor and everything below it."""
        return [self.pid, *descendants(self.pid)]

    def until_segments_are_ready(self, workers: int) -> None:
        """Each worker has the segment that it writes and its two spares: these are made once it serves already, and each is an open file."""
        segments = self.data_dir / "segments"
        ready = workers * SEGMENTS
        until(lambda: len(list(segments.glob("gate-*.seg"))) >= ready, f"{ready} segments")

    def kill_everything(self) -> None:
        """SIGKILL for all, the supervisor first, so that nothing is restarted meanwhile."""
        for pid in self.everyone():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    # What it says and writes

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of diagnostics with this event."""
        lines = (self.directory / "gate.log").read_text().splitlines()
        spoken = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in spoken if line.get("event") == event]

    def log(self, *events: str) -> list[Written]:
        """The sealed entries, in order; of these events, where any are named."""
        found = reading.entries(LogFiles(self.data_dir / "log"))
        return [Written(one.entry, leaf_hash(one.leaf).hex()) for one in found if not events or one.entry.ev in events]

    def verify(self) -> None:
        """The log is intact, by the command an auditor uses."""
        self.verify_log("--payload-key", "data/keys/payloads.key")

    def verify_log(self, *more: str) -> None:
        """As `verify`; `more`: what the auditor has besides the key."""
        keys = ["--key", "data/log.vkey", *more]
        done = self.command("verify", "data", *keys, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def children(pid: int) -> list[int]:
    """Process ids of the direct children; none where `pid` is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def alive(pids: list[int]) -> list[int]:
    """Those that still run; a zombie has ended."""
    return [pid for pid in pids if _state(pid) not in ("", "Z")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def _said(directory: Path) -> bytes:
    return (directory / "gate.log").read_bytes()


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


@contextlib.contextmanager
def deployed(
    directory: Path,
    config: str,
    port: int,
    *,
    issuer: Issuer | None = None,
    tls: ssl.SSLContext | None = None,
    env: dict[str, str] | None = None,
    command: tuple[str, ...] = ("-m", "gatebook", "serve"),
) -> Iterator[Deployed]:
    """A deployment of which every worker listens; stopped at the end where the test has not. Nothing of it is left, however it ended."""
    directory.mkdir(parents=True, exist_ok=True)
    issuer = issuer or Issuer(ISSUER_URL, name="corp")
    (directory / "jwks.json").write_text(json.dumps(issuer.jwks()))
    (directory / "gatebook.toml").write_text(config)
    with (directory / "gate.log").open("ab") as log:
        before = log.tell()
        process = subprocess.Popen(
            [sys.executable, *command], cwd=directory, stdout=log, stderr=log, env={**os.environ, **(env or {})}
        )
    gate = Deployed(directory, port, issuer, process)
    gate.tls = tls
    family: list[int] = []
    try:
        # Not only the worker that answers: the others have opened all that they hold, too.
        until(lambda: process.poll() is not None or b"Gatebook serves" in _said(directory)[before:], "serving", 90)
        until(lambda: process.poll() is not None or gate.get("/readyz") == 200, "ready", 90)
        assert process.poll() is None, (directory / "gate.log").read_text()[-4000:]
        family = gate.everyone()
        yield gate
    finally:
        family = list({*family, *gate.everyone()})
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
        if process.poll() is None:
            process.kill()
            process.wait()
        with contextlib.suppress(AssertionError):
            until(lambda: not alive(family), "all ended", 10)
        left = alive(family)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, "processes outlived their supervisor"


def refusal(directory: Path, config: str, *, env: dict[str, str] | None = None) -> str:
    """What `gatebook serve` says when it refuses to start, with exit status 1 and no trace of a traceback."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "gatebook.toml").write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "gatebook", "serve"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said, said
    return said
