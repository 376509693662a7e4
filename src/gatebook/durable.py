"""Folders that survive a power loss: syncing a file says nothing about the name it has, nor about the folder that name is in."""

import os
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


def sync_folder(path: Path) -> None:
    """Names made or removed in `path` survive a power loss. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
