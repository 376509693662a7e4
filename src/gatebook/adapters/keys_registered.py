"""The public key of a registered job out of its file, PEM or JWK Set."""

from typing import Protocol

from gatebook.federation.registered_keys import key_set_of
from gatebook.identity.errors import KeySetRefused
from gatebook.model.deployment import Issuer


class Files(Protocol):
    """What reads `issuer.jwks_file` (`keys_file`)."""

    async def fetch(self, issuer: Issuer) -> bytes: ...

    def mark(self, issuer: Issuer) -> object: ...


class RegisteredKeys:
    """A KeySource (see `keys_oidc`) on `files`, whose bytes may be PEM."""

    def __init__(self, files: Files) -> None:
        self._files = files

    async def fetch(self, issuer: Issuer) -> bytes:
        raw = await self._files.fetch(issuer)
        try:
            return key_set_of(raw, issuer.url)
        except KeySetRefused as refused:
            raise KeySetRefused(f"{issuer.jwks_file}: {refused}") from refused

    def mark(self, issuer: Issuer) -> object:
        return self._files.mark(issuer)
