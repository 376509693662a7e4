"""Credentials that the service manager loaded (systemd's LoadCredential): in $CREDENTIALS_DIRECTORY, or handed over by the supervisor."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gatebook.model.deployment import SecretReference
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.secret import Secret

HANDED = "GATEBOOK_CREDENTIALS"
"""Environment variable of a room that has a user of its own, who may not enter that directory: a JSON object, name → inherited descriptor."""
MAX_BYTES = 64 << 10


class LoadedCredentials:
    """Credentials: `locator` is the name in LoadCredential=. They change only when the service is started again."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        known = os.environ if environment is None else environment
        self._directory = known.get("CREDENTIALS_DIRECTORY")
        handed = known.get(HANDED)
        self._handed = None if handed is None else msgspec.json.decode(handed, type=dict[str, int])

    def resolve(self, reference: SecretReference) -> Secret[bytes]:
        """The credential, a trailing newline cut. Raises UpstreamError(CREDENTIAL_UNAVAILABLE, sent=False) where there is none of that name,
        or it is empty or larger than 64 KiB."""
        name = reference.locator
        try:
            value = self._read(name)
        except OSError as failure:
            raise _unavailable(f"credential {name} cannot be read: {failure.strerror}") from failure
        if len(value) > MAX_BYTES:
            raise _unavailable(f"credential {name} is larger than {MAX_BYTES >> 10} KiB")
        value = value.removesuffix(b"\n").removesuffix(b"\r")
        if not value:
            raise _unavailable(f"credential {name} is empty")
        return Secret(value)

    def _read(self, name: str) -> bytes:
        if self._handed is not None:
            if name not in self._handed:
                raise _unavailable(f"credential {name} was not there when this room started; restart the service")
            return os.pread(self._handed[name], MAX_BYTES + 1, 0)
        if self._directory is None:
            raise _unavailable(
                f"credential {name}: the service manager loaded none; write LoadCredential={name}:PATH into the unit"
            )
        with (Path(self._directory) / name).open("rb") as file:
            return file.read(MAX_BYTES + 1)


def _unavailable(words: str) -> UpstreamError:
    return UpstreamError(Reason.CREDENTIAL_UNAVAILABLE, words, sent=False)
