"""federation.saml.ports.Assertions by python3-saml, which has xmlsec verify signatures and open what is encrypted.

What it is asked for is the signature, the schema and the opening. Its checks of what an assertion says are not asked: they were measured to let through
a missing audience, a missing InResponseTo and replays, and they look at a clock of their own; `federation.saml.checks` asks all of it. Whatever
it raises is a refusal, and identity is read from nothing that it returns but the element whose signature it has verified.
"""

import base64
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from gatebook.config.saml import known, own_key
from gatebook.federation.errors import Cause, LoginRefused, ProviderFailed
from gatebook.federation.saml import names as n
from gatebook.federation.saml.gate import Admitted, Element, demand_shape
from gatebook.federation.saml.ports import Verified
from gatebook.federation.saml.provider_metadata import Known, MetadataRefused, fingerprint
from gatebook.model.deployment import Deployment, IdentityProvider

_RESPONSE_SIGNATURE = OneLogin_Saml2_Utils.RESPONSE_SIGNATURE_XPATH
_ASSERTION_SIGNATURE = OneLogin_Saml2_Utils.ASSERTION_SIGNATURE_XPATH


class _Laid(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in one provider's files."""

    known: Known
    key: rsa.RSAPrivateKey | None
    certificate: str | None


class SamlAssertions:
    """Assertions of one deployment's providers. Files are read at the first use and kept: another certificate counts when the operator says
    so by a start or a SIGHUP, not when a file changes."""

    def __init__(self, _deployment: Deployment) -> None:
        self._laid: dict[str, _Laid] = {}

    def known(self, idp: IdentityProvider) -> Known:
        return self._of(idp).known

    def verify(self, idp: IdentityProvider, admitted: Admitted, *, acs_url: str, audience: str) -> Verified:
        laid = self._of(idp)
        if admitted.encrypted and laid.key is None:
            raise _refused("the assertion is encrypted, and idp.saml.key is not configured")
        settings = _settings(idp, laid, acs_url, audience)
        try:
            if admitted.malleable:
                # Before anything is decrypted: what could have been changed must be signed as it stands.
                _signer(OneLogin_Saml2_XML.to_etree(admitted.xml), _RESPONSE_SIGNATURE, laid.known)
            response = OneLogin_Saml2_Response(settings, base64.b64encode(admitted.xml))
            tree = response.decrypted_document if admitted.encrypted else response.document
            demand_shape(tree)
            _demand_schema(tree)
            signer = _signed_by(response, tree, laid.known)
        except LoginRefused:
            raise
        except Exception as failure:
            # python3-saml raises plain Exception, and xmlsec whatever it likes: no is the answer to all of it. One cause, too: whether it was
            # the padding or the signature is nobody's business.
            raise _refused(type(failure).__name__) from failure
        assertion = tree.find(n.ASSERTION)
        return Verified(response=tree, assertion=assertion, certificate=fingerprint(signer))

    def sign(self, idp: IdentityProvider, query: str) -> bytes | None:
        key = self._of(idp).key
        return None if key is None else key.sign(query.encode("ascii"), padding.PKCS1v15(), SHA256())

    def own_certificate(self, idp: IdentityProvider) -> str | None:
        return self._of(idp).certificate

    def _of(self, idp: IdentityProvider) -> _Laid:
        side = idp.saml
        if side is None:
            raise ProviderFailed(f"idp {idp.name}: is no SAML provider")
        if (found := self._laid.get(idp.name)) is not None:
            return found
        try:
            certificate = None
            if side.certificate is not None:
                own = x509.load_pem_x509_certificate(Path(side.certificate).read_bytes())
                certificate = base64.b64encode(own.public_bytes(Encoding.DER)).decode("ascii")
            laid = _Laid(
                known=known(idp, side), key=None if side.key is None else own_key(side.key), certificate=certificate
            )
        except MetadataRefused as refused:
            raise ProviderFailed(f"idp {idp.name}: a file of saml {refused}") from refused
        except (OSError, ValueError) as failure:
            raise ProviderFailed(f"idp {idp.name}: a file of saml cannot be read") from failure
        self._laid[idp.name] = laid
        return laid


def _settings(idp: IdentityProvider, laid: _Laid, acs_url: str, audience: str) -> OneLogin_Saml2_Settings:
    certificates = [_pem(der) for der in laid.known.certificates]
    key = "" if laid.key is None else laid.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "debug": False,
            "sp": {
                "entityId": audience,
                "assertionConsumerService": {"url": acs_url, "binding": n.HTTP_POST},
                "privateKey": key,
            },
            "idp": {
                "entityId": idp.url,
                "singleSignOnService": {"url": laid.known.sso_url, "binding": n.HTTP_REDIRECT},
                "x509cert": certificates[0],
                "x509certMulti": {"signing": certificates},
            },
            "security": {
                "rejectDeprecatedAlgorithm": True,
                "wantAttributeStatement": False,
                "wantNameId": True,
                "allowRepeatAttributeName": True,  # `people` refuses those that it reads
                "requestedAuthnContext": False,
                "allowSingleLabelDomains": True,
            },
        },
        sp_validation_only=True,
    )


def _signed_by(response: Any, tree: Element, known_: Known) -> bytes:
    """The certificate that signed the assertion, or the response around it. Every signature there is must be good. Raises whatever it likes."""
    signed = response.process_signed_elements()
    own = tree.find(n.ASSERTION).find(n.SIGNATURE) is not None
    whole = response.document.find(n.SIGNATURE) is not None
    if sorted(signed) != sorted([n.ASSERTION] * own + [n.RESPONSE] * whole) or not signed:
        raise _refused("nothing is signed, or something else than the response and the assertion")
    # The response as it came: opening the assertion has changed the tree that its signature is about.
    of_response = _signer(response.document, _RESPONSE_SIGNATURE, known_) if whole else None
    of_assertion = _signer(tree, _ASSERTION_SIGNATURE, known_) if own else None
    signer = of_assertion or of_response
    assert signer is not None
    return signer


def _demand_schema(tree: Element) -> None:
    if isinstance(OneLogin_Saml2_XML.validate_xml(tree, "saml-schema-protocol-2.0.xsd"), str):
        raise LoginRefused(
            Cause.SAML_MALFORMED, "The identity provider's answer cannot be read.", hint="it is against the schema"
        )


def _signer(tree: Element, xpath: str, known_: Known) -> bytes:
    """The certificate (DER) whose key made the one signature at `xpath`. Raises LoginRefused."""
    for der in known_.certificates:
        if OneLogin_Saml2_Utils.validate_sign(tree, cert=_pem(der), xpath=xpath, raise_exceptions=False):
            return der
    raise _refused("no certificate of the provider fits the signature; has it a new one?")


def _pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")


_NOT_VALID = "The identity provider's answer is not valid."


def _refused(hint: str) -> LoginRefused:
    return LoginRefused(Cause.SAML_SIGNATURE, _NOT_VALID, hint=hint)
