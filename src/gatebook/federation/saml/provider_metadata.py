"""A provider's metadata (SAML metadata §2) → where people log in, and which certificates it signs with. Somebody laid the file down: the
operator's word is what makes it true, so a signature in it is not asked for."""

import base64
import binascii
import hashlib

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from gatebook.federation.saml import names as n

MAX_BYTES = 2_000_000
MIN_RSA_BITS = 2048
MAX_CERTIFICATES = 10


class MetadataRefused(Exception):
    """The metadata or a certificate cannot be used; the text says why, in words after "it …"."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """`sso_url`: where a browser is sent, by HTTP-Redirect. `certificates`: DER, any of which may sign: several while keys roll over."""

    sso_url: str
    certificates: tuple[bytes, ...]


def read_metadata(raw: bytes, entity_id: str) -> Known:
    """What the metadata say of `entity_id`. Raises MetadataRefused."""
    if len(raw) > MAX_BYTES:
        raise MetadataRefused("is larger than 2 MB")
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MetadataRefused("is no XML") from error
    if root.getroottree().docinfo.doctype:
        raise MetadataRefused("holds a document type")
    found = [each for each in root.iter(f"{{{n.MD}}}EntityDescriptor") if each.get("entityID") == entity_id]
    if len(found) != 1:
        raise MetadataRefused("does not describe exactly one entity whose entityID is the idp's url, to the character")
    descriptors = found[0].findall(f"{{{n.MD}}}IDPSSODescriptor")
    if len(descriptors) != 1:
        raise MetadataRefused("describes no identity provider")
    places = [
        each.get("Location")
        for each in descriptors[0].findall(f"{{{n.MD}}}SingleSignOnService")
        if each.get("Binding") == n.HTTP_REDIRECT
    ]
    if not places or places[0] is None:
        raise MetadataRefused("names no single sign-on service by HTTP-Redirect")
    texts = [
        certificate.text or ""
        for key in descriptors[0].findall(f"{{{n.MD}}}KeyDescriptor")
        if key.get("use", "signing") == "signing"
        for certificate in key.iter(f"{{{n.DS}}}X509Certificate")
    ]
    return Known(sso_url=places[0], certificates=usable([_der(text) for text in texts]))


def read_certificates(pem: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM file, as DER. Raises MetadataRefused."""
    try:
        return usable([each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(pem)])
    except (ValueError, x509.InvalidVersion) as error:
        raise MetadataRefused("holds no certificate in PEM") from error


def usable(certificates: list[bytes]) -> tuple[bytes, ...]:
    """Each once. Raises MetadataRefused where there are none, too many, or one whose key is too weak.

    Their dates are not asked: a provider's signing certificate is trusted because it was laid down, and many are long past theirs."""
    if not 0 < len(certificates) <= MAX_CERTIFICATES:
        raise MetadataRefused(f"must hold 1 to {MAX_CERTIFICATES} signing certificates")
    for der in certificates:
        try:
            key = x509.load_der_x509_certificate(der).public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise MetadataRefused("holds a certificate that cannot be read") from error
        strong = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size in (256, 384, 521)
        if not strong and not (isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= 8192):
            raise MetadataRefused("holds a certificate whose key is neither RSA of 2048 bits or more nor EC")
    return tuple(dict.fromkeys(certificates))


def fingerprint(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def _der(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise MetadataRefused("holds a certificate that is no base64") from error
