"""Starting a program in the sandbox as the runner does, and seeing from outside what is left of it."""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatebook.model.deployment import Command, Deployment
from gatebook.serve.runner.finding_host import find_host
from gatebook.serve.runner.launching import Child, Pipes, start
from gatebook.serve.runner.places import look
from gatebook.serve.runner.sandbox import Host, Launch, launch

HOST = find_host()
BUBBLEWRAP = HOST.bubblewrap is not None
HOW_TO_INSTALL = f"no sandbox on this machine ({HOST.why_not}); type: SYSTEM_PACKAGES=1 make test"
needs_bubblewrap = pytest.mark.skipif(not BUBBLEWRAP, reason=HOW_TO_INSTALL)
WITHOUT = Host(path=HOST.path, bubblewrap=None)
PROBE = str(Path(__file__).with_name("probe.py"))


def deployment_at(folder: Path, **more: Any) -> Deployment:
    """A deployment with its data directory in `folder`, as far as the sandbox asks for one."""
    data_dir = folder / "data"
    (data_dir / "log").mkdir(parents=True, exist_ok=True)
    (data_dir / "keys").mkdir(exist_ok=True)
    (data_dir / "keys" / "log.skey").write_text("the key of the log")
    given: dict[str, Any] = {
        "profile": "dev", "public_url": "http://localhost", "listen": (), "workers": 1, "origin": "localhost/dev",
        "payload_public_key": str(data_dir / "payloads.pub"), "log_key": str(data_dir / "keys" / "log.skey"),
    }  # fmt: skip
    return Deployment(data_dir=str(data_dir), **(given | more))


def planned(
    command: Command,
    deployment: Deployment,
    *,
    host: Host = HOST,
    config: Path | None = None,
    secrets: dict[str, str] | None = None,
    secret_files: dict[str, bytes] | None = None,
    private: str = "/nonexistent",
) -> Launch:
    places = look(command, deployment, config)
    return launch(command, host, places, secrets=secrets or {}, secret_files=secret_files or {}, private=private)


class Running:
    """A program that was started."""

    def __init__(self, child: Child, pipes: Pipes) -> None:
        self.child = child
        self.pipes = pipes

    async def line(self) -> str:
        return (await self.pipes.stdout.readline()).decode().rstrip("\n")

    async def to_its_end(self, typed: bytes = b"") -> tuple[int, bytes, bytes]:
        """Its return code, and what it said on both streams."""
        if typed:
            await self.pipes.write(typed)
        self.pipes.close_stdin()
        async with asyncio.timeout(60):
            out, said = await asyncio.gather(self.pipes.stdout.read(), self.pipes.stderr.read())
            return await self.child.exited, out, said


@contextlib.asynccontextmanager
async def started(plan: Launch, private: str | Path = "/nonexistent") -> AsyncIterator[Running]:
    """The program runs, started as the runner does; it is killed at the end."""
    child, pipes = await start(plan, Path(private), str(private))
    try:
        yield Running(child, pipes)
    finally:
        child.kill()
        await child.exited
        pipes.close()


async def probed(
    command: Command, deployment: Deployment, asked: dict[str, list[str]] | None = None, **given: Any
) -> dict[str, Any]:
    """What the probe tells when it is run as `command` says."""
    argv = (sys.executable, "-I", PROBE, json.dumps(asked or {}))
    private = tempfile.mkdtemp()
    plan = planned(msgspec.structs.replace(command, argv=argv), deployment, private=private, **given)
    async with started(plan, private) as running:
        code, out, said = await running.to_its_end()
    assert code == 0, said.decode()
    told: dict[str, Any] = json.loads(out)
    return told


def running(mark: str) -> list[int]:
    """Every process of this machine whose arguments hold `mark`; none that has ended."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
