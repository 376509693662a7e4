"""A database in a folder of another user, for root.

Root opens none there: SQLite makes files beside a database, and gives what it finds under their names to the database's owner. Where the kernel permits
second names of any file (fs.protected_hardlinks = 0), that was the log's key for a desk that had been taken over.
"""

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

from gatebook.cli.backing.manifest import BackupUnusable
from gatebook.serve.dropping import become


def by_its_owner(database: Path, uid: int, gid: int) -> bytes:
    """The database as of one moment, read by a process of its owner. Raises BackupUnusable, OSError."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as told:
                try:
                    become(uid, gid)
                    told.write(_copied(database))
                    status = 0
                except (sqlite3.Error, OSError) as failure:
                    told.write(str(failure).encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        said = told.read()
    if os.waitpid(child, 0)[1] != 0:
        raise BackupUnusable(f"{database} cannot be read by its owner: {said.decode('utf-8', 'replace')}")
    return said


def _copied(database: Path) -> bytes:
    source = sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)
    with contextlib.closing(source) as here, contextlib.closing(sqlite3.connect(":memory:")) as there:
        here.backup(there)
        return there.serialize()


def close_to_others(folder: Path) -> None:
    """Nobody but root gets into the folder any more, and nothing in it is a link or has another name. Raises BackupUnusable, OSError; does nothing
    where root has no part in it."""
    if os.geteuid() != 0 or not folder.exists():
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid == 0:
            return
        os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, 0o700)
        for name in [entry.name for entry in os.scandir(descriptor)]:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode) and (not stat.S_ISREG(status.st_mode) or status.st_nlink > 1):
                raise BackupUnusable(
                    f"{folder / name} is a link, or has another name elsewhere: look who made it, and remove it"
                )
    finally:
        os.close(descriptor)
