"""A real `gatebook serve` in processes of its own, on loopback, for one test."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.issuing import Issuer

START_S = 40
ISSUER_URL = "http://127.0.0.1/idp"


def _ports() -> Iterator[int]:
    """Each only once, and below those that the system gives to whoever connects: one of those may be taken between the question and its use, or be
    the answer twice. Several test processes begin apart."""
    begin = random.SystemRandom().randrange(10_000, 32_000)
    yield from range(begin, 32_000)
    yield from range(10_000, begin)


_UNASKED = _ports()


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens, another each time."""
    for port in _UNASKED:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("this run has used up all its ports")


def token(
    issuer: Issuer, audience: str, *, subject: str = "alice", groups: tuple[str, ...] = ("everybody",), **claims: Any
) -> str:
    """A person's access token of now, good for an hour."""
    now = int(time.time())
    base: dict[str, Any] = {"aud": audience, "sub": subject, "groups": list(groups), "azp": "test-client"}
    return issuer.token(**{**base, "iat": now, "exp": now + 3600, "nbf": None, **claims})


class Gate:
    """A running gate. `url(server)` is where clients connect; `token(...)` is one that it accepts."""

    def __init__(self, directory: Path, port: int, issuer: Issuer, process: "subprocess.Popen[bytes]") -> None:
        self.directory = directory
        self.port = port
        self.issuer = issuer
        self.process = process

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def config(self) -> Path:
        return self.directory / "gatebook.toml"

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, server: str) -> str:
        return f"{self.base}/{server}/mcp"

    def token(self, server: str, **claims: Any) -> str:
        return token(self.issuer, f"{self.public_url}/{server}/mcp", **claims)

    @property
    def public_url(self) -> str:
        for line in self.config.read_text().splitlines():
            if line.startswith("public_url"):
                return str(line.partition("=")[2].strip().strip('"'))
        raise AssertionError("the configuration has no public_url")

    def post(
        self, server: str, message: object, *, token: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One POST; (status, lower-case headers, body)."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        request = urllib.request.Request(self.url(server), data=body, method="POST")
        for name, value in {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            **(headers or {}),
        }.items():
            request.add_header(name, value)
        if token is not None:
            request.add_header("authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, {k.lower(): v for k, v in answer.headers.items()}, answer.read()

    def stop(self) -> int:
        """SIGTERM; the exit status. Everything written is sealed when this returns."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def command(self, *arguments: str, check: bool = True, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """`gatebook ARGUMENTS` as a user types it, in the gate's directory."""
        done = subprocess.run(
            [sys.executable, "-m", "gatebook", *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"gatebook {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


def config_for(
    port: int, servers: dict[str, str], *, public_url: str | None = None, workers: int = 2, more: str = ""
) -> str:
    """A dev configuration: everybody may do everything on every server."""
    text = f'''profile = "dev"
public_url = "{public_url or f"http://127.0.0.1:{port}"}"
listen = ["127.0.0.1:{port}"]
workers = {workers}
data_dir = "data"
[log]
origin = "localhost/test"
segment_bytes = 8388608
[[issuer]]
name = "corp"
url = "{ISSUER_URL}"
kind = "person"
jwks_file = "jwks.json"
'''
    for name, url in servers.items():
        text += f'[[server]]\nname = "{name}"\nurl = "{url}"\n'
    everything = 'tools = ["**"], resources = ["**"], prompts = ["**"], methods = ["**"]'
    allows = ", ".join(f'{{ server = "{name}", {everything} }}' for name in servers)
    return (
        text
        + f'[[role]]\nname = "everybody"\nmatch = [ {{ issuer = "corp", group = "everybody" }} ]\nallow = [ {allows} ]\n'
        + more
    )


@contextlib.contextmanager
def running(
    directory: Path, config: str, port: int, *, issuer: Issuer | None = None, env: dict[str, str] | None = None
) -> Iterator[Gate]:
    """A gate with this configuration, ready; stopped and reaped at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    issuer = issuer or Issuer(ISSUER_URL, name="corp")
    (directory / "jwks.json").write_text(json.dumps(issuer.jwks()))
    (directory / "gatebook.toml").write_text(config)
    log = (directory / "gate.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "gatebook", "serve"],
        cwd=directory,
        stdout=log,
        stderr=log,
        env={**os.environ, **(env or {})},
    )
    gate = Gate(directory, port, issuer, process)
    try:
        _until_ready(gate)
        yield gate
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
        if process.poll() is None:
            process.kill()
            process.wait()
        log.close()


def _until_ready(gate: Gate) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if gate.process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{gate.base}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the gate did not become ready:\n" + (gate.directory / "gate.log").read_text()[-4000:])
