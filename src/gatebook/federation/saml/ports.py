"""What SAML needs of the world: one verifier of signatures, and the provider's own addresses and keys."""

from typing import Protocol

import msgspec

from gatebook.federation.saml.gate import Admitted, Element
from gatebook.federation.saml.provider_metadata import Known
from gatebook.model.deployment import IdentityProvider


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A response whose assertion is covered by a signature of the provider. `assertion`: the very element, in the tree that was verified;
    `certificate`: SHA-256 of the certificate (DER) that did it, hex."""

    response: Element
    assertion: Element
    certificate: str


class Assertions(Protocol):
    """The identity providers that speak SAML, by what the operator has laid down of them; nothing is fetched. Not async: called in threads."""

    def known(self, idp: IdentityProvider) -> Known:
        """Where it lets people log in, and the certificates it may sign with. Raises ProviderFailed where the files do not say."""

    def verify(self, idp: IdentityProvider, admitted: Admitted, *, acs_url: str, audience: str) -> Verified:
        """The verified assertion, opened if it was encrypted. Raises LoginRefused(SAML_SIGNATURE, …) for everything else, ProviderFailed."""

    def sign(self, idp: IdentityProvider, query: str) -> bytes | None:
        """RSA-SHA256 over `query` with our key for this provider; None where it has none. Raises ProviderFailed."""

    def own_certificate(self, idp: IdentityProvider) -> str | None:
        """Our certificate for this provider as base64 of DER, for our metadata; None where there is none. Raises ProviderFailed."""
