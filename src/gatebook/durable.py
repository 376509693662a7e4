"""Folders and files that survive a power loss: syncing a file says nothing about the name it has, nor about the folder that name is in."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def make_folder(path: Path, mode: int = 0o700) -> None:
    """`path` is a folder, and is one after a power loss; so are those above it that were missing. Raises OSError.

    Also where it was there: whoever made it may have died before its name was durable."""
    if not path.parent.exists():
        make_folder(path.parent, mode)
    existed = path.is_dir()
    path.mkdir(mode=mode, exist_ok=True)
    try:
        sync_folder(path.parent)
    except PermissionError:
        if not existed:
            raise  # else it was made by somebody who may write where we may not even read


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors name a file: `path` where the system names none, as it does where an open one is read or written."""
    try:
        yield
    except OSError as failure:
        if failure.filename is not None:
            raise
        raise OSError(failure.errno, failure.strerror, str(path)) from failure


def sync_folder(path: Path) -> None:
    """Names made or removed in `path` survive a power loss. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes, *, mode: int) -> None:
    """`path` has this content and mode, durably, and never half of it. Who owned it owns it, where this process may give it away. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    # Born with its mode: between a creation and a chmod somebody could open it.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                owner = path.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fchmod(file.fileno(), mode)  # whatever the process masks
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
