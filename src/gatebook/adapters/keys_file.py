"""An issuer's public keys out of a file that the operator keeps (`jwks_file`): for issuers the desk cannot reach."""

import asyncio
import os
import stat
from pathlib import Path

from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import MAX_BYTES
from gatebook.model.deployment import Issuer


class KeyFiles:
    """A KeySource (see `keys_oidc`) that reads `issuer.jwks_file`. Files are small and local; reading happens off the event loop."""

    async def fetch(self, issuer: Issuer) -> bytes:
        """The file's bytes, at most MAX_BYTES. Raises KeySetRefused, naming the path, where it is no readable file of such a size."""
        assert issuer.jwks_file is not None
        return await asyncio.to_thread(_read, issuer.jwks_file)

    def mark(self, issuer: Issuer) -> object:
        """What changes when the file does (also by a rename over it); None while there is no file."""
        assert issuer.jwks_file is not None
        try:
            found = Path(issuer.jwks_file).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: str) -> bytes:
    try:
        # Without O_NONBLOCK, opening a FIFO would hold this thread until somebody writes into it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise KeySetRefused(f"{path}: not a regular file")
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeySetRefused(f"{path}: cannot be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise KeySetRefused(f"{path}: larger than {MAX_BYTES} bytes")
    return raw
