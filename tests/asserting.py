"""A SAML provider for tests: its key and certificate, and responses with any content, signed and encrypted with xmlsec, well-formed or not.

    maker = Maker("https://idp.example/saml", desk="https://login.example")
    field = maker.post(maker.response())          # what the form field SAMLResponse holds
    maker.response(audience=None, sign="response")

A response is written by hand and signed in place: a library that refuses to make a bad one cannot test who refuses it.
"""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree

from gatebook.federation.saml import names as n
from gatebook.federation.saml.asking import acs_url, entity_id
from gatebook.model.deployment import Evidences, IdentityProvider, SamlSide

NOW_S = 1_795_000_000.0
Attributes = Mapping[str, tuple[str, ...]]
GROUPS: Attributes = {"groups": ("support", "everybody")}


@cache
def key_pair(name: str, kind: str = "rsa") -> tuple[bytes, bytes]:
    """(private key, certificate) in PEM; the same for the same name."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, certificate.public_bytes(Encoding.PEM)


def at(offset_s: float, now_s: float = NOW_S) -> str:
    return (datetime.fromtimestamp(now_s, UTC) + timedelta(seconds=offset_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Maker:
    """One provider. `sso_url` is nowhere: nothing is asked of it."""

    def __init__(self, entity: str, *, desk: str, name: str = "corp", key: str = "corp", kind: str = "rsa") -> None:
        self.entity = entity
        self.desk = desk
        self.name = name
        self.private, self.certificate = key_pair(key, kind)
        self.signature = xmlsec.constants.TransformRsaSha256 if kind == "rsa" else xmlsec.constants.TransformEcdsaSha256

    @property
    def acs(self) -> str:
        return acs_url(self.desk, self.name)

    @property
    def audience(self) -> str:
        return entity_id(self.desk, self.name)

    def idp(self, directory: Path, **changed: Any) -> IdentityProvider:
        """This provider as a deployment has it; its certificate and our key lie in `directory`."""
        signing, ours, own = directory / "idp.pem", directory / "sp.key", directory / "sp.pem"
        signing.write_bytes(self.certificate)
        private, certificate = key_pair("gatebook")
        ours.write_bytes(private)
        own.write_bytes(certificate)
        side = SamlSide(
            sso_url="https://idp.example/sso", certificates=(str(signing),), key=str(ours), certificate=str(own)
        )
        base: dict[str, Any] = {"name": self.name, "url": self.entity, "saml": side, "mfa": Evidences()}
        return IdentityProvider(**{**base, **changed})

    def assertion(
        self,
        *,
        id: str = "_a1",
        issuer: str | None = None,
        name_id: str = "00u1alice",
        name_id_format: str = n.PERSISTENT,
        attributes: Attributes | str = GROUPS,
        audience: str | None = "",
        recipient: str | None = "",
        in_response_to: str | None = "_request",
        issued: float = 0,
        since: float | None = -30,
        until: float | None = 240,
        confirmed_until: float = 240,
        authn: str | None = None,
        context: str | None = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        session_until: float | None = None,
        method: str = n.BEARER,
        conditions: str = "",
        confirmation: str = "",
        now_s: float = NOW_S,
    ) -> str:
        """The text of an assertion. "": what is right; None: it is left out."""
        to = "" if in_response_to is None else f' InResponseTo="{in_response_to}"'
        goes = "" if recipient is None else f' Recipient="{recipient or self.acs}"'
        window = "" if since is None else f' NotBefore="{at(since, now_s)}"'
        window += "" if until is None else f' NotOnOrAfter="{at(until, now_s)}"'
        restriction = "" if audience is None else (
            f"<saml:AudienceRestriction><saml:Audience>{audience or self.audience}</saml:Audience></saml:AudienceRestriction>"
        )  # fmt: skip
        ends = "" if session_until is None else f' SessionNotOnOrAfter="{at(session_until, now_s)}"'
        ref = "" if context is None else f"<saml:AuthnContextClassRef>{context}</saml:AuthnContextClassRef>"
        statement = authn
        if statement is None:
            statement = (
                f'<saml:AuthnStatement AuthnInstant="{at(-5, now_s)}"{ends}><saml:AuthnContext>'
                f"{ref or '<saml:AuthnContextDeclRef>x</saml:AuthnContextDeclRef>'}</saml:AuthnContext></saml:AuthnStatement>"
            )
        return (
            f'<saml:Assertion xmlns:saml="{n.SAML}" ID="{id}" Version="2.0" IssueInstant="{at(issued, now_s)}">'
            f"<saml:Issuer>{self.entity if issuer is None else issuer}</saml:Issuer>"
            f'<saml:Subject><saml:NameID Format="{name_id_format}">{name_id}</saml:NameID>'
            f'<saml:SubjectConfirmation Method="{method}"><saml:SubjectConfirmationData{goes}{to}'
            f' NotOnOrAfter="{at(confirmed_until, now_s)}"{confirmation}/></saml:SubjectConfirmation></saml:Subject>'
            f"<saml:Conditions{window}>{restriction}{conditions}</saml:Conditions>{statement}"
            f"{attributes if isinstance(attributes, str) else statement_of(attributes)}</saml:Assertion>"
        )

    def response(
        self,
        assertion: str | None = None,
        *,
        sign: str = "assertion",
        id: str = "_r1",
        destination: str | None = "",
        in_response_to: str | None = "_request",
        issuer: str | None = "",
        status: str = n.SUCCESS,
        encrypt: str | None = None,
        extra: str = "",
        digest: Any = xmlsec.constants.TransformSha256,
        signature: Any = None,
        now_s: float = NOW_S,
        **of_assertion: Any,
    ) -> bytes:
        """The bytes of a response. `sign`: assertion, response, both, none. `encrypt`: None, or the cipher's URI."""
        goes = "" if destination is None else f' Destination="{destination or self.acs}"'
        to = "" if in_response_to is None else f' InResponseTo="{in_response_to}"'
        says = "" if issuer is None else f'<saml:Issuer xmlns:saml="{n.SAML}">{issuer or self.entity}</saml:Issuer>'
        if assertion is None:
            assertion = self.assertion(now_s=now_s, **{"in_response_to": in_response_to, **of_assertion})
        text = (
            f'<samlp:Response xmlns:samlp="{n.SAMLP}" ID="{id}" Version="2.0" IssueInstant="{at(0, now_s)}"{goes}{to}>{says}{extra}'
            f'<samlp:Status><samlp:StatusCode Value="{status}"/></samlp:Status>{assertion}</samlp:Response>'
        )
        root = etree.fromstring(text)
        if sign in ("assertion", "both"):
            self.sign(root.find(n.ASSERTION), digest, signature)
        if encrypt is not None:
            encrypt_assertion(root, encrypt)
        if sign in ("response", "both"):
            self.sign(root, digest, signature)
        return etree.tostring(root)

    def sign(
        self,
        element: Any,
        digest: Any = xmlsec.constants.TransformSha256,
        signature: Any = None,
        uri: str | None = None,
    ) -> None:
        """An enveloped signature, after the Issuer where it belongs."""
        node = xmlsec.template.create(element, xmlsec.constants.TransformExclC14N, signature or self.signature, ns="ds")
        element.insert(1 if element.find(f"{{{n.SAML}}}Issuer") is not None else 0, node)
        reference = xmlsec.template.add_reference(node, digest, uri=uri if uri is not None else f"#{element.get('ID')}")
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
        info = xmlsec.template.ensure_key_info(node)
        xmlsec.template.add_x509_data(info)
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(self.private, xmlsec.constants.KeyDataFormatPem)
        context.key.load_cert_from_memory(self.certificate, xmlsec.constants.KeyDataFormatPem)
        context.register_id(element, "ID")
        context.sign(node)

    def post(self, xml: bytes) -> str:
        return base64.b64encode(xml).decode("ascii")

    def changed(self, xml: bytes, change: Callable[[Any], None]) -> bytes:
        """A response as somebody on the way has changed it."""
        root = etree.fromstring(xml)
        change(root)
        return etree.tostring(root)


def statement_of(attributes: Attributes) -> str:
    found = "".join(
        f'<saml:Attribute Name="{escape(name)}">'
        + "".join(f"<saml:AttributeValue>{escape(value)}</saml:AttributeValue>" for value in values)
        + "</saml:Attribute>"
        for name, values in attributes.items()
    )
    return f"<saml:AttributeStatement>{found}</saml:AttributeStatement>" if found else ""


CIPHERS = {
    f"{n.XENC11}aes128-gcm": (xmlsec.constants.TransformAes128Gcm, 128),
    f"{n.XENC11}aes256-gcm": (xmlsec.constants.TransformAes256Gcm, 256),
    f"{n.XENC}aes128-cbc": (xmlsec.constants.TransformAes128Cbc, 128),
    f"{n.XENC}tripledes-cbc": (xmlsec.constants.TransformDes3Cbc, 192),
}


def encrypt_assertion(root: Any, cipher: str, *, to: bytes | None = None, transport: Any = None) -> None:
    """The assertion becomes an EncryptedAssertion, to our key or to that of the certificate `to`."""
    transform, bits = CIPHERS[cipher]
    assertion = root.find(n.ASSERTION)
    template = xmlsec.template.encrypted_data_create(
        root, transform, type=xmlsec.constants.TypeEncElement, ns="xenc", mime_type="text/xml"
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(template)
    info = xmlsec.template.encrypted_data_ensure_key_info(template, ns="ds")
    key = xmlsec.template.add_encrypted_key(info, transport or xmlsec.constants.TransformRsaOaep)
    xmlsec.template.encrypted_data_ensure_cipher_value(key)
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(to or key_pair("gatebook")[1], xmlsec.constants.KeyDataFormatCertPem))
    context = xmlsec.EncryptionContext(manager)
    kind = xmlsec.constants.KeyDataDes if "des" in cipher and "aes" not in cipher else xmlsec.constants.KeyDataAes
    context.key = xmlsec.Key.generate(kind, bits, xmlsec.constants.KeyDataTypeSession)
    place = root.index(assertion)
    encrypted = context.encrypt_xml(template, assertion)
    holder = etree.Element(n.ENCRYPTED_ASSERTION, nsmap={"saml": n.SAML})
    holder.append(encrypted)
    for left in root.findall(n.ASSERTION):
        root.remove(left)
    root.insert(place, holder)
