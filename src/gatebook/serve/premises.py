"""The data directory is ours alone: of two deployments that write one log, the second must not start."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from gatebook.durable import make_folder
from gatebook.locks import alone, held
from gatebook.model.deployment import RESTORING
from gatebook.model.errors import ConfigurationError

LAST_RUN_S = 15.0
"""How long the rooms of a supervisor that was killed may still take to end."""


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[int]:
    """One deployment per data directory, for as long as this process lives, or whoever is given the descriptor."""
    with contextlib.ExitStack() as held_on:
        try:
            make_folder(data_dir)
            descriptor = held_on.enter_context(alone(data_dir / "lock"))
        except BlockingIOError as failure:
            raise ConfigurationError(
                (
                    f"data_dir {data_dir}: another deployment runs here; stop it, or give this one a directory of its own",
                )
            ) from failure
        except OSError as failure:
            raise ConfigurationError(
                (f"data_dir {data_dir}: {failure.strerror}; make it writable for this user",)
            ) from failure
        yield descriptor


@contextlib.contextmanager
def kept(descriptor: int) -> Iterator[None]:
    """The lock is ours until the end; `descriptor` may come from the process whose place we took."""
    try:
        yield
    finally:
        os.close(descriptor)


def require_restored(data_dir: Path) -> None:
    """What lies in `data_dir` is whole, as far as a restore put it there. Raises ConfigurationError."""
    if (data_dir / RESTORING).exists():
        raise ConfigurationError(
            (
                f"data_dir {data_dir}: a restore was broken off; type it again, into an empty directory (--in-place: as it is)",
            )
        )


def wait_for_last_run(data_dir: Path, stop: threading.Event) -> None:
    """The sealer of a supervisor that was killed may still be signing what it found; it ends by itself. Returns early where `stop` is set.
    Raises ConfigurationError. Asked by the sealer: nobody else need be able to read its lock."""
    path = data_dir / "log" / ".lock"
    deadline = time.monotonic() + LAST_RUN_S
    while held(path) and not stop.wait(0.05):
        if time.monotonic() > deadline:
            raise ConfigurationError((f"{path}: a sealer of an earlier run still holds it; end that process",))
