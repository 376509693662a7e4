"""The data directory is ours alone: of two deployments that write one log, the second must not start."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from gatebook.durable import make_folder
from gatebook.model.errors import ConfigurationError

LAST_RUN_S = 15.0
"""How long the rooms of a supervisor that was killed may still take to end."""


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """One deployment per data directory, for as long as this process lives."""
    try:
        make_folder(data_dir)
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        raise ConfigurationError(
            (f"data_dir {data_dir}: {failure.strerror}; make it writable for this user",)
        ) from failure
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as failure:
        os.close(descriptor)
        raise ConfigurationError(
            (f"data_dir {data_dir}: another deployment runs here; stop it, or give this one a directory of its own",)
        ) from failure
    try:
        yield
    finally:
        os.close(descriptor)


async def last_run_ended(data_dir: Path) -> None:
    """The sealer of a supervisor that was killed may still be signing what it found; it ends by itself. Raises ConfigurationError."""
    path = data_dir / "log" / ".lock"
    deadline = asyncio.get_running_loop().time() + LAST_RUN_S
    while _is_locked(path):
        if asyncio.get_running_loop().time() > deadline:
            raise ConfigurationError((f"{path}: a sealer of an earlier run still holds it; end that process",))
        await asyncio.sleep(0.05)


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
