"""Credentials out of files and the environment, and in dev out of the configuration itself."""

from typing import assert_never

from gatebook.adapters.secrets.credential import LoadedCredentials
from gatebook.adapters.secrets.environment import EnvironmentSecrets
from gatebook.adapters.secrets.file import FileSecrets
from gatebook.model.deployment import SecretReference
from gatebook.model.secret import Secret
from gatebook.ports import Credentials


class FileOrEnvironment:
    """Credentials by scheme: `file`, `env`, `credential`, and `literal`, which only a configuration of the dev profile can hold (`config` refuses it in pci)."""

    def __init__(self, files: Credentials | None = None, environment: Credentials | None = None) -> None:
        self._files = files or FileSecrets()
        self._environment = environment or EnvironmentSecrets()
        self._loaded = LoadedCredentials()

    def resolve(self, reference: SecretReference) -> Secret[bytes]:
        """The secret's present value. Raises UpstreamError(CREDENTIAL_UNAVAILABLE, sent=False)."""
        match reference.scheme:
            case "file":
                return self._files.resolve(reference)
            case "env":
                return self._environment.resolve(reference)
            case "credential":
                return self._loaded.resolve(reference)
            case "literal":
                return Secret(reference.locator.encode())
            case _:
                assert_never(reference.scheme)
