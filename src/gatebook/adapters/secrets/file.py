"""Credentials out of files: `/run/secrets/…`, systemd's credentials, Kubernetes' mounted secrets."""

import os
import stat

from gatebook.model.deployment import SecretReference
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.secret import Secret

MAX_BYTES = 64 << 10
_Mark = tuple[int, int, int, int]


class FileSecrets:
    """Credentials: `locator` is an absolute path. Held in memory and read again as soon as the file is another: other modification time
    (nanoseconds), size, inode or device, so that a rename over it, a rewrite and a switched symbolic link are all seen.

    LIMIT: a rewrite in place with the same size within one tick of the file system's clock (a few milliseconds) is seen with the next change."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[_Mark, Secret[bytes]]] = {}

    def resolve(self, reference: SecretReference) -> Secret[bytes]:
        """The file's present content, one trailing newline cut. Raises UpstreamError(CREDENTIAL_UNAVAILABLE, sent=False) where there is no
        readable regular file of 1 byte to 64 KiB: an old value is not used on. Costs one stat while nothing changes."""
        path = reference.locator
        try:
            held = self._held.get(path)
            if held is not None and held[0] == _mark(os.stat(path)):  # noqa: PTH116 a Path costs three times the call
                return held[1]
            mark, value = _read(path)
        except OSError as failure:
            self._held.pop(path, None)
            raise _unavailable(f"{path} cannot be read: {failure.strerror}") from failure
        except UpstreamError:
            self._held.pop(path, None)
            raise
        secret = Secret(value)
        self._held[path] = (mark, secret)
        return secret


def _read(path: str) -> tuple[_Mark, bytes]:
    """The file's mark and value, both of the same open file."""
    # Without O_NONBLOCK, opening a FIFO would hold the event loop until somebody writes into it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _unavailable(f"{path} is no regular file")
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise _unavailable(f"{path} is larger than {MAX_BYTES >> 10} KiB")
    value = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise _unavailable(f"{path} is empty")
    return _mark(status), value


def _mark(status: os.stat_result) -> _Mark:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _unavailable(words: str) -> UpstreamError:
    return UpstreamError(Reason.CREDENTIAL_UNAVAILABLE, words, sent=False)
