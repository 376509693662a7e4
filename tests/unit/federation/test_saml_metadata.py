"""A provider's metadata, our own, and our request."""

import base64
import zlib
from collections.abc import Callable
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from gatebook.federation.saml import asking
from gatebook.federation.saml import names as n
from gatebook.federation.saml.provider_metadata import (
    MetadataRefused,
    fingerprint,
    read_certificates,
    read_metadata,
    usable,
)
from gatebook.model.deployment import IdentityProvider, SamlSide
from tests.asserting import NOW_S, key_pair
from tests.fuzz.desk import certificate

ENTITY = "http://www.okta.com/exk1example"


def der(name: str) -> bytes:
    return x509.load_pem_x509_certificate(key_pair(name)[1]).public_bytes(Encoding.DER)


def key(name: str, use: str | None = "signing") -> str:
    text = base64.encodebytes(der(name)).decode()
    attribute = f' use="{use}"' if use else ""
    return (
        f'<md:KeyDescriptor{attribute}><ds:KeyInfo xmlns:ds="{n.DS}"><ds:X509Data><ds:X509Certificate>\n{text}'
        "</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
    )


def metadata(keys: str, *, entity: str = ENTITY, binding: str = n.HTTP_REDIRECT) -> str:
    return (
        f'<md:EntityDescriptor xmlns:md="{n.MD}" entityID="{entity}"><!-- ours --><md:IDPSSODescriptor protocolSupportEnumeration="{n.SAMLP}">'
        f'{keys}<md:SingleSignOnService Binding="{n.HTTP_POST}" Location="https://idp.example/post"/>'
        f'<md:SingleSignOnService Binding="{binding}" Location="https://idp.example/redirect"/></md:IDPSSODescriptor></md:EntityDescriptor>'
    )


def test_address_and_signing_certificates_are_read_several_while_keys_roll_over() -> None:
    known = read_metadata(metadata(key("old") + key("new", None) + key("other", "encryption")).encode(), ENTITY)
    assert known.sso_url == "https://idp.example/redirect"
    assert known.certificates == (der("old"), der("new")), (
        "without `use` it is for both, and one for encryption signs nothing"
    )
    assert len(fingerprint(der("old"))) == 64


def test_of_many_entities_the_one_is_taken() -> None:
    many = f'<md:EntitiesDescriptor xmlns:md="{n.MD}">{metadata(key("a"), entity="urn:other")}{metadata(key("b"))}</md:EntitiesDescriptor>'
    assert read_metadata(many.encode(), ENTITY).certificates == (der("b"),)


def twice(text: str) -> str:
    return f'<md:EntitiesDescriptor xmlns:md="{n.MD}">{text}{text}</md:EntitiesDescriptor>'


BAD: dict[str, tuple[Callable[[], str], str]] = {
    "no XML": (lambda: "<", "no XML"),
    "a document type": (lambda: "<!DOCTYPE x>" + metadata(key("a")), "document type"),
    "an entity": (lambda: '<!DOCTYPE x [<!ENTITY e "y">]>' + metadata(key("a")), "document type"),
    "another entity": (lambda: metadata(key("a"), entity=ENTITY + "/"), "exactly one entity"),
    "the entity twice": (lambda: twice(metadata(key("a"))), "exactly one entity"),
    "no certificate": (lambda: metadata(""), "signing certificates"),
    "encryption only": (lambda: metadata(key("a", "encryption")), "signing certificates"),
    "no redirect": (lambda: metadata(key("a"), binding=n.HTTP_POST + "x"), "HTTP-Redirect"),
    "no provider": (lambda: f'<md:EntityDescriptor xmlns:md="{n.MD}" entityID="{ENTITY}"/>', "no identity provider"),
    "no base64": (lambda: metadata(key("a")).replace("MII", "%%%", 1), "base64"),
    "no certificate in it": (
        lambda: metadata(key("a")).replace(base64.encodebytes(der("a")).decode(), "AAAA"),
        "cannot be read",
    ),
}


@pytest.mark.parametrize(("make", "why"), BAD.values(), ids=BAD.keys())
def test_metadata_that_cannot_be_used_say_why(make: Callable[[], str], why: str) -> None:
    with pytest.raises(MetadataRefused, match=why):
        read_metadata(make().encode(), ENTITY)


def test_a_pem_file_may_hold_several_certificates_and_must_hold_one() -> None:
    assert read_certificates(key_pair("a")[1] + key_pair("b")[1]) == (der("a"), der("b"))
    with pytest.raises(MetadataRefused):
        read_certificates(b"nothing")


def idp(**side: object) -> IdentityProvider:
    return IdentityProvider(name="okta", url=ENTITY, saml=SamlSide(**side))  # type: ignore[arg-type]


def test_our_request_says_who_asks_and_where_the_answer_goes() -> None:
    xml = asking.request(
        idp(name_id="persistent"),
        desk_url="https://login.example",
        sso_url='https://idp.example/?a=1&b=<">',
        request_id="_x",
        now_s=NOW_S,
    )
    root = etree.fromstring(xml)
    assert (root.tag, root.get("ID"), root.get("Version")) == (f"{{{n.SAMLP}}}AuthnRequest", "_x", "2.0")
    assert root.get("Destination") == 'https://idp.example/?a=1&b=<">'
    assert root.get("AssertionConsumerServiceURL") == "https://login.example/login/saml/okta/acs"
    assert root.find(f"{{{n.SAML}}}Issuer").text == "https://login.example/login/saml/okta/metadata"
    assert root.find(f"{{{n.SAMLP}}}NameIDPolicy").get("Format") == n.PERSISTENT
    query = parse_qs(asking.query(xml, "relay&state", signed=True))
    assert zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15).decode() == xml
    assert (query["RelayState"], query["SigAlg"]) == (["relay&state"], [n.RSA_SHA256])


def test_a_request_for_a_proof_names_the_ways_that_count_in_the_schemas_order() -> None:
    classes = ("https://refeds.org/profile/mfa", "urn:x:<&>")
    asked = {"desk_url": "https://login.example", "sso_url": "https://idp.example/", "request_id": "_x", "now_s": NOW_S}
    root = etree.fromstring(asking.request(idp(name_id="persistent"), fresh=True, classes=classes, **asked))
    assert root.get("ForceAuthn") == "true"
    order = [etree.QName(each).localname for each in root]
    assert order == [
        "Issuer",
        "NameIDPolicy",
        "RequestedAuthnContext",
    ]  # saml-schema-protocol-2.0.xsd, AuthnRequestType
    context = root.find(f"{{{n.SAMLP}}}RequestedAuthnContext")
    assert context.get("Comparison") == "exact"
    assert [(each.tag, each.text) for each in context] == [
        (f"{{{n.SAML}}}AuthnContextClassRef", each) for each in classes
    ]
    plain = etree.fromstring(asking.request(idp(), fresh=True, **asked))
    assert plain.find(f"{{{n.SAMLP}}}RequestedAuthnContext") is None, "an empty one would be no valid request"


def test_our_metadata_can_be_read_and_offer_gcm() -> None:
    own = base64.b64encode(der("gatebook")).decode()
    root = etree.fromstring(asking.metadata(idp(), desk_url="https://login.example", certificate=own).encode())
    descriptor = root.find(f"{{{n.MD}}}SPSSODescriptor")
    assert (descriptor.get("WantAssertionsSigned"), descriptor.get("AuthnRequestsSigned")) == ("true", "true")
    methods = {each.get("Algorithm") for each in root.iter(f"{{{n.MD}}}EncryptionMethod")}
    assert methods == n.GCM
    bare = etree.fromstring(asking.metadata(idp(), desk_url="https://login.example", certificate=None).encode())
    assert bare.find(f"{{{n.MD}}}SPSSODescriptor").get("AuthnRequestsSigned") == "false"
    assert not list(bare.iter(f"{{{n.MD}}}KeyDescriptor"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            bytes.fromhex("06082a8648ce3d030107"),
            bytes.fromhex("06082a8648ce3d030177"),
        ),  # P-256 → a curve that nobody knows
        (bytes.fromhex("a003020102"), bytes.fromhex("a003020107")),  # version 3 → 8
    ],
)
def test_a_certificate_that_cannot_be_read_is_refused_and_said(old: bytes, new: bytes) -> None:
    good = certificate()
    assert usable([good]) == (good,) and good.count(old) == 1
    with pytest.raises(MetadataRefused, match="cannot be read"):
        usable([good.replace(old, new)])
