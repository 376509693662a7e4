"""Credentials out of environment variables: the last resort, visible to whoever may read /proc/PID/environ."""

import os
from collections.abc import Mapping

from gatebook.model.deployment import SecretReference
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.secret import Secret

MAX_BYTES = 64 << 10


class EnvironmentSecrets:
    """Credentials: `locator` is a variable's name. A process's environment is fixed at its start, so a new value needs a new process."""

    def __init__(self, environment: Mapping[bytes, bytes] | None = None) -> None:
        self._environment = os.environb if environment is None else environment

    def resolve(self, reference: SecretReference) -> Secret[bytes]:
        """The variable's value, a trailing newline cut. Raises UpstreamError(CREDENTIAL_UNAVAILABLE, sent=False) where it is absent, empty,
        or larger than 64 KiB; the words name the variable, never its value."""
        value = self._environment.get(reference.locator.encode())
        if value is None:
            raise _unavailable(f"environment variable {reference.locator} is not set")
        value = value.removesuffix(b"\n").removesuffix(b"\r")
        if not value:
            raise _unavailable(f"environment variable {reference.locator} is empty")
        if len(value) > MAX_BYTES:
            raise _unavailable(f"environment variable {reference.locator} is larger than {MAX_BYTES >> 10} KiB")
        return Secret(value)


def _unavailable(words: str) -> UpstreamError:
    return UpstreamError(Reason.CREDENTIAL_UNAVAILABLE, words, sent=False)
