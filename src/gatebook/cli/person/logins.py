"""What this user's logins gave: one file, readable by its owner alone, and a lock, so that many processes share one refresh token.

$XDG_STATE_HOME/gatebook/logins.json     default: ~/.local/state/gatebook/logins.json
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gatebook.cli.person.errors import PersonError
from gatebook.durable import replace_file

FORMAT = 1


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a desk gave for one resource. Its tokens are secrets: nothing prints this."""

    desk: str
    client_id: str
    access_token: str
    expires_at: float
    refresh_token: str | None

    def __repr__(self) -> str:
        return f"Given(desk={self.desk!r}, …)"


class Logins(msgspec.Struct, kw_only=True):
    """`desk`: the one last logged in at, which commands ask where none is named. `given`: by resource."""

    v: int = FORMAT
    desk: str | None = None
    given: dict[str, Given] = {}


class LoginFile:
    """The file, whether it is there or not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_user(cls) -> "LoginFile":
        base = os.environ.get("XDG_STATE_HOME", "")
        # XDG Base Directory Specification: a relative path there is invalid and ignored.
        root = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
        return cls(root / "gatebook" / "logins.json")

    def read(self) -> Logins:
        """What is kept; nothing where there is no file. Raises PersonError: it is somebody else's, or others may read it."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return Logins()
        except OSError as failure:
            raise PersonError(f"{self.path} cannot be read: {failure.strerror}") from failure
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise PersonError(f"{self.path} is not a file of this user: remove it and log in again")
            if status.st_mode & 0o077:
                raise PersonError(f"{self.path} may be read by others: chmod 600 it, then log out and in again")
            raw = file.read()
        try:
            found = msgspec.json.decode(raw, type=Logins)
        except msgspec.MsgspecError:
            found = None
        if found is None or found.v != FORMAT:
            raise PersonError(f"{self.path} is not what this version wrote: remove it and log in again")
        return found

    @contextlib.contextmanager
    def changing(self) -> Iterator[Logins]:
        """The logins, to be changed: durable when the block has ended, unchanged where it raised. One process at a time."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as failure:
            raise PersonError(f"{self.path.parent} cannot be written: {failure.strerror}") from failure
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            logins = self.read()
            yield logins
            self._write(logins)
        finally:
            os.close(lock)

    def _write(self, logins: Logins) -> None:
        try:
            if not logins.given and logins.desk is None:
                self.path.unlink(missing_ok=True)
                return
            replace_file(self.path, msgspec.json.format(msgspec.json.encode(logins)), mode=0o600)
        except OSError as failure:
            raise PersonError(f"{self.path} cannot be written: {failure.strerror}") from failure
