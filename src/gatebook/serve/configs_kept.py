"""Each configuration that was in force, beside the log and named by its hash: what judged is known afterwards, byte for byte.

Its bytes and its hash are the desk's word, and with `[users]` the folder above is the sealer's, while the supervisor that writes here may be root. So the
hash is computed anew, no link is followed, and nothing is written into a folder that was put in the place of ours.
"""

import contextlib
import hashlib
import os
from pathlib import Path

from gatebook.durable import make_folder
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError


def require_own_hash(raw: bytes, sha256: str) -> None:
    """`sha256` (hex) is what these bytes hash to. Raises ConfigurationError."""
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise ConfigurationError(
            (
                "the desk named another hash than that of the file that it read: it is not to be trusted, restart Gatebook",
            )
        )


def keep_by_hash(deployment: Deployment, raw: bytes, sha256: str) -> None:
    """`raw` lies in `data_dir/log/configs/SHA256.toml`; durable on return, never rewritten. Raises ConfigurationError."""
    require_own_hash(raw, sha256)
    path = Path(deployment.data_dir) / "log" / "configs"
    try:
        make_folder(path)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if deployment.users is not None:
                _require_ours(folder)
            _keep(folder, f"{sha256}.toml", raw)
        finally:
            os.close(folder)
    except OSError as failure:
        raise ConfigurationError((f"it could not be kept in {path}: {failure.strerror}",)) from failure


def _require_ours(folder: int) -> None:
    status = os.fstat(folder)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise OSError(
            0, "it is not the supervisor's alone; somebody put it there: look at the sealer, then `gatebook layout`"
        )


def _keep(folder: int, name: str, raw: bytes) -> None:
    """The order is the promise: whole under another name first. No other name is left behind, also not where the disk is full: nothing in the log
    accounts for it."""
    found = os.listdir(folder)
    for leftover in found:
        if leftover.startswith(".") and leftover.endswith(".tmp"):  # of a supervisor that died here: there is only one
            os.unlink(leftover, dir_fd=folder)
    if name not in found:
        temporary = f".{name.removesuffix('.toml')}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(raw)
                os.fchmod(
                    file.fileno(), 0o640
                )  # whatever the process masks: the desk may read it, by the folder's group
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
    os.fsync(folder)  # also where it was there: who renamed it may have died before this
