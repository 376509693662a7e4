"""Locks that say that somebody is at work (flock). Each ends with its process, however that ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(path: Path) -> Iterator[int]:
    """While it lasts, the lock on `path` is ours, a file that is made where it is absent. Gives its descriptor: whoever inherits that holds on.
    Raises BlockingIOError where somebody else has it, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def held(path: Path) -> bool:
    """Whether a living process holds this lock. It is tried for a moment, and shared: two who ask do not take each other for a holder.

    LIMIT: who asks for it `alone` within those microseconds is told that somebody has it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
