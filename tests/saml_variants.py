"""The attacks on a SAML response, as data: what somebody who has seen good ones, or holds other keys, would post, and the refusal that is due.

Numbers are those of the attack list in docs/attacks.md. Run over gate, verifier and checks in tests/unit/federation/test_saml_attacks.py,
and over the running desk, with the entry that each must leave, in tests/e2e/saml/test_saml_attacks.py.
"""

import base64
import copy
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import xmlsec
from lxml import etree

from gatebook.federation.saml import names as n
from tests.asserting import Maker, at, encrypt_assertion, key_pair, statement_of

Make = Callable[["Scene"], bytes]
EVIL = "00u0admin"
OBJECT = f"{{{n.DS}}}Object"


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What an attacker has: a provider that answers, the request under way, the instant. `other`: another provider that the desk knows."""

    maker: Maker
    request_id: str
    now_s: float

    def response(self, **options: Any) -> bytes:
        return self.maker.response(**{"in_response_to": self.request_id, "now_s": self.now_s, **options})

    def assertion(self, **options: Any) -> str:
        return self.maker.assertion(**{"in_response_to": self.request_id, "now_s": self.now_s, **options})

    def tree(self, **options: Any) -> Any:
        return etree.fromstring(self.response(**options))

    def at(self, offset_s: float) -> str:
        return at(offset_s, self.now_s)


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    name: str
    cause: str
    make: Make
    raw: bool = False
    """Whether `make` gives the form field itself instead of XML."""

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


def _evil(element: Any, new_id: str) -> Any:
    """A copy of an element, unsigned, under another id, that says somebody else."""
    found = copy.deepcopy(element)
    for signature in list(found.iter(n.SIGNATURE)):
        signature.getparent().remove(signature)
    found.set("ID", new_id)
    for name_id in found.iter(f"{{{n.SAML}}}NameID"):
        name_id.text = EVIL
    return found


def xsw1(scene: Scene) -> bytes:
    """The whole response is copied into the signature of the changed one."""
    root = scene.tree(sign="response")
    signature = root.find(n.SIGNATURE)
    original = copy.deepcopy(root)
    original.remove(original.find(n.SIGNATURE))
    evil = _evil(root, "_evil")
    signature = copy.deepcopy(signature)
    signature.append(original)
    evil.insert(1, signature)
    return etree.tostring(evil)


def xsw2(scene: Scene) -> bytes:
    """As 1, with the original before the signature, detached."""
    root = scene.tree(sign="response")
    signature = copy.deepcopy(root.find(n.SIGNATURE))
    original = copy.deepcopy(root)
    original.remove(original.find(n.SIGNATURE))
    evil = _evil(root, "_evil")
    evil.insert(1, original)
    evil.insert(2, signature)
    return etree.tostring(evil)


def xsw3(scene: Scene) -> bytes:
    """A changed assertion before the signed one."""
    root = scene.tree()
    good = root.find(n.ASSERTION)
    good.addprevious(_evil(good, "_evil"))
    return etree.tostring(root)


def xsw4(scene: Scene) -> bytes:
    """The signed assertion inside the changed one."""
    root = scene.tree()
    good = root.find(n.ASSERTION)
    evil = _evil(good, "_evil")
    root.replace(good, evil)
    evil.append(good)
    return etree.tostring(root)


def xsw5(scene: Scene) -> bytes:
    """The changed assertion holds the signature, and the original follows without it."""
    root = scene.tree()
    good = root.find(n.ASSERTION)
    original = copy.deepcopy(good)
    original.remove(original.find(n.SIGNATURE))
    good.set("ID", "_evil")
    good.find(f"{{{n.SAML}}}Subject/{{{n.SAML}}}NameID").text = EVIL
    root.append(original)
    return etree.tostring(root)


def xsw6(scene: Scene) -> bytes:
    """As 5, with the original inside the signature."""
    root = scene.tree()
    good = root.find(n.ASSERTION)
    original = copy.deepcopy(good)
    original.remove(original.find(n.SIGNATURE))
    good.set("ID", "_evil")
    good.find(f"{{{n.SAML}}}Subject/{{{n.SAML}}}NameID").text = EVIL
    good.find(n.SIGNATURE).append(original)
    return etree.tostring(root)


def xsw7(scene: Scene) -> bytes:
    """The changed assertion in Extensions, where the schema allows anything."""
    root = scene.tree()
    good = root.find(n.ASSERTION)
    extensions = etree.Element(f"{{{n.SAMLP}}}Extensions")
    extensions.append(_evil(good, "_evil"))
    root.insert(1, extensions)
    return etree.tostring(root)


def xsw8(scene: Scene) -> bytes:
    """The original in an Object of the changed assertion's signature."""
    root = scene.tree()
    good = root.find(n.ASSERTION)
    original = copy.deepcopy(good)
    original.remove(original.find(n.SIGNATURE))
    holder = etree.Element(OBJECT)
    holder.append(original)
    good.set("ID", "_evil")
    good.find(f"{{{n.SAML}}}Subject/{{{n.SAML}}}NameID").text = EVIL
    good.find(n.SIGNATURE).append(holder)
    return etree.tostring(root)


WRAPPING = (xsw1, xsw2, xsw3, xsw4, xsw5, xsw6, xsw7, xsw8)


def _replaced(old: str, new: str, **options: Any) -> Make:
    """A good response in whose text something was replaced after it was signed."""

    def make(scene: Scene) -> bytes:
        text = scene.response(**options).decode()
        assert old in text, f"{old} is not there"
        return text.replace(old, new).encode()

    return make


def _with(**options: Any) -> Make:
    """A response that the provider signed with this in it."""
    return lambda scene: scene.response(**options)


def _signed_by_another(scene: Scene) -> bytes:
    other = Maker(scene.maker.entity, desk=scene.maker.desk, name=scene.maker.name, key="attacker")
    return other.response(in_response_to=scene.request_id, now_s=scene.now_s)


def _signed_by_hmac(scene: Scene) -> bytes:
    """The provider's public key as the secret of an HMAC."""
    root = scene.tree(sign="none")
    assertion = root.find(n.ASSERTION)
    node = xmlsec.template.create(
        assertion, xmlsec.constants.TransformExclC14N, xmlsec.constants.TransformHmacSha256, ns="ds"
    )
    assertion.insert(1, node)
    reference = xmlsec.template.add_reference(node, xmlsec.constants.TransformSha256, uri="#_a1")
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_binary_data(xmlsec.constants.KeyDataHmac, scene.maker.certificate)
    context.register_id(assertion, "ID")
    context.sign(node)
    return etree.tostring(root)


def _signs_everything(scene: Scene) -> bytes:
    """A reference without a name means the whole document."""
    root = scene.tree(sign="none")
    scene.maker.sign(root, uri="")
    return etree.tostring(root)


def _with_xpath(scene: Scene) -> bytes:
    """A transform that chooses what is signed."""
    root = scene.tree()
    transforms = next(root.iter(f"{{{n.DS}}}Transforms"))
    extra = etree.SubElement(
        transforms, f"{{{n.DS}}}Transform", Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"
    )
    etree.SubElement(extra, f"{{{n.DS}}}XPath").text = "false()"
    return etree.tostring(root)


def _xpath_inside(scene: Scene) -> bytes:
    root = scene.tree()
    transform = next(root.iter(f"{{{n.DS}}}Transform"))
    etree.SubElement(transform, f"{{{n.DS}}}XPath").text = "false()"
    return etree.tostring(root)


def _second_signed_info(scene: Scene) -> bytes:
    root = scene.tree()
    info = next(root.iter(f"{{{n.DS}}}SignedInfo"))
    info.addprevious(copy.deepcopy(info))
    return etree.tostring(root)


def _second_reference(scene: Scene) -> bytes:
    root = scene.tree()
    reference = next(root.iter(f"{{{n.DS}}}Reference"))
    reference.addnext(copy.deepcopy(reference))
    return etree.tostring(root)


def _twice_the_id(scene: Scene) -> bytes:
    root = scene.tree()
    root.set("ID", "_a1")
    return etree.tostring(root)


def _encrypted_for_another(scene: Scene) -> bytes:
    root = scene.tree()
    encrypt_assertion(root, f"{n.XENC11}aes256-gcm", to=key_pair("another")[1])
    return etree.tostring(root)


def _encrypted_v15(scene: Scene) -> bytes:
    root = scene.tree()
    encrypt_assertion(root, f"{n.XENC11}aes256-gcm", transport=xmlsec.constants.TransformRsaPkcs1)
    return etree.tostring(root)


def _comment_in_ciphertext(scene: Scene) -> bytes:
    """What is only seen once it has been opened."""
    root = scene.tree(sign="none", assertion=scene.assertion(name_id=f"{EVIL}<!-- x -->.evil"))
    encrypt_assertion(root, f"{n.XENC11}aes256-gcm")
    scene.maker.sign(root)
    return etree.tostring(root)


def _two_inside(scene: Scene) -> bytes:
    """One encrypted assertion, which, opened, holds another beside its own."""
    inner = scene.assertion(id="_inner")
    advice = f"<saml:Advice>{inner}</saml:Advice>"
    root = scene.tree(
        sign="response",
        assertion=scene.assertion(conditions="").replace("</saml:Conditions>", f"</saml:Conditions>{advice}"),
    )
    root.remove(root.find(n.SIGNATURE))
    encrypt_assertion(root, f"{n.XENC11}aes256-gcm")
    scene.maker.sign(root)
    return etree.tostring(root)


def _malleable(scene: Scene) -> bytes:
    return scene.response(encrypt=f"{n.XENC}aes128-cbc")


def _doctype(scene: Scene) -> bytes:
    return b"<!DOCTYPE samlp:Response>" + scene.response()


def _external(scene: Scene) -> bytes:
    text = scene.response().decode().replace("00u1alice", "&x;")
    return ('<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + text).encode()


def _bomb(scene: Scene) -> bytes:
    entities = '<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(8)
    )
    return (f"<!DOCTYPE r [{entities}]>" + scene.response().decode().replace("00u1alice", "&i;")).encode()


def _encoded(encoding: str, bom: bytes = b"") -> Make:
    def make(scene: Scene) -> bytes:
        text = f'<?xml version="1.0" encoding="{encoding}"?>' + scene.response().decode()
        return bom + text.encode(encoding)

    return make


def _large(scene: Scene) -> bytes:
    return scene.response(attributes={"groups": tuple(f"group-{i:032d}" for i in range(4_000))})


def _many_namespaces(_: Scene) -> bytes:
    """At every element all of them are in scope: looked at one by one, 250 kB took 25 s."""
    declared = " ".join(f'xmlns:a{n}="u"' for n in range(40))
    return f'<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" {declared}/>'.encode()


def _deep(scene: Scene) -> bytes:
    nested = "<saml:AttributeValue>" + "<x>" * 200 + "</x>" * 200 + "</saml:AttributeValue>"
    return scene.response(
        attributes=f'<saml:AttributeStatement><saml:Attribute Name="a">{nested}</saml:Attribute></saml:AttributeStatement>'
    )


def _deflated(scene: Scene) -> bytes:
    """As HTTP-Redirect would carry it: nothing is inflated here, so it is no XML."""
    squeezed = zlib.compressobj(wbits=-15)
    return base64.b64encode(squeezed.compress(scene.response()) + squeezed.flush())


def _double(*values: tuple[str, ...]) -> Make:
    """The attribute of groups, once for each of these."""
    inner = "".join(
        statement_of({"groups": each})
        .removeprefix("<saml:AttributeStatement>")
        .removesuffix("</saml:AttributeStatement>")
        for each in values
    )
    return _with(attributes=f"<saml:AttributeStatement>{inner}</saml:AttributeStatement>")


def _all() -> Iterator[Variant]:
    def v(number: int, name: str, cause: str, make: Make, *, raw: bool = False) -> Variant:
        return Variant(number=number, name=name, cause=cause, make=make, raw=raw)

    for place, wrap in enumerate(WRAPPING):
        yield v(42 + place, f"XSW {place + 1}", "saml_wrapped", wrap)
    nothing = "saml_signature"
    yield v(50, "nothing is signed", nothing, _with(sign="none"))
    yield v(50, "signed with a key that only its KeyInfo vouches for", nothing, _signed_by_another)
    yield v(50, "RSA-SHA1", "saml_algorithm", _replaced("xmldsig-more#rsa-sha256", "xmldsig-more#rsa-sha1"))
    yield v(
        50,
        "really signed with RSA-SHA1",
        "saml_algorithm",
        _replaced("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", f"{n.DS}rsa-sha1"),
    )
    yield v(
        50, "digest by SHA-1", "saml_algorithm", _replaced("http://www.w3.org/2001/04/xmlenc#sha256", f"{n.DS}sha1")
    )
    yield v(50, "HMAC with the public key", "saml_algorithm", _signed_by_hmac)
    yield v(50, "an XPath transform", "saml_algorithm", _with_xpath)
    yield v(
        50,
        "canonicalized with comments",
        "saml_algorithm",
        _replaced(
            f'CanonicalizationMethod Algorithm="{n.EXCLUSIVE}"',
            f'CanonicalizationMethod Algorithm="{n.EXCLUSIVE}WithComments"',
        ),
    )
    yield v(50, "an XPath inside a transform", "saml_wrapped", _xpath_inside)
    yield v(50, "two SignedInfo", "saml_wrapped", _second_signed_info)
    yield v(50, "two references", "saml_wrapped", _second_reference)
    yield v(50, "a reference to the whole document", "saml_wrapped", _signs_everything)
    yield v(50, "an ID twice", "saml_wrapped", _twice_the_id)
    yield v(50, "changed after it was signed", nothing, _replaced("00u1alice", EVIL))
    yield v(50, "a group added after it was signed", nothing, _replaced("everybody", "admins"))
    yield v(50, "the response signed, its assertion changed", nothing, _replaced("00u1alice", EVIL, sign="response"))
    yield v(
        50,
        "both signed, the envelope changed",
        nothing,
        _replaced('ID="_r1" Version', 'Consent="x" ID="_r1" Version', sign="both"),
    )
    comments = {
        "NameID": ("00u1alice", "00u1alice<!-- -->.evil"),
        "Audience": ("/metadata</saml:Audience>", "/metadata<!-- -->.evil</saml:Audience>"),
        "Issuer": ("</saml:Issuer>", "<!-- --></saml:Issuer>"),
        "an attribute": ("everybody", "every<!-- -->body"),
    }
    for where, (old, new) in comments.items():
        yield v(51, f"a comment in {where}", "saml_malformed", _replaced(old, new))
        yield v(51, f"an instruction in {where}", "saml_malformed", _replaced(old, new.replace("<!-- -->", "<?x y?>")))
    yield v(51, "CDATA in NameID", "saml_malformed", _replaced("00u1alice", "<![CDATA[00u0admin]]>"))
    yield v(51, "an element in NameID", "saml_malformed", _with(name_id="<x/>00u1alice"))
    yield v(53, "no audience", "saml_for_other", _with(audience=None))
    yield v(53, "another audience", "saml_for_other", _with(audience="https://other.example"))
    yield v(53, "our audience as a prefix", "saml_for_other", lambda s: s.response(audience=s.maker.audience + "/"))
    yield v(
        53,
        "ours and another audience",
        "saml_for_other",
        lambda s: s.response(audience=f"{s.maker.audience}</saml:Audience><saml:Audience>https://other.example"),
    )
    yield v(53, "no recipient", "saml_for_other", _with(recipient=None))
    yield v(53, "another recipient", "saml_for_other", _with(recipient="https://other.example/acs"))
    yield v(53, "a longer recipient", "saml_for_other", lambda s: s.response(recipient=s.maker.acs + "/x"))
    yield v(53, "no destination", "saml_for_other", _with(destination=None, sign="both"))
    yield v(53, "another destination", "saml_for_other", _with(destination="https://other.example/acs", sign="both"))
    yield v(53, "a longer destination", "saml_for_other", lambda s: s.response(destination=s.maker.acs + "x"))
    yield v(
        53,
        "another issuer of the assertion",
        "saml_issuer",
        lambda s: s.response(assertion=s.assertion(issuer="https://evil.example")),
    )
    yield v(53, "another issuer of the response", "saml_issuer", _with(issuer="https://evil.example"))
    yield v(
        53,
        "another InResponseTo in the confirmation",
        "saml_unasked",
        lambda s: s.response(assertion=s.assertion(in_response_to="_other")),
    )
    yield v(
        53,
        "no InResponseTo in the confirmation",
        "saml_unasked",
        lambda s: s.response(assertion=s.assertion(in_response_to=None)),
    )
    yield v(
        53, "confirmed by holder of key", "saml_malformed", _with(method="urn:oasis:names:tc:SAML:2.0:cm:holder-of-key")
    )
    yield v(53, "a confirmation with NotBefore", "saml_malformed", _with(confirmation=f' NotBefore="{at(-60)}"'))
    yield v(53, "status: no", "provider_refused", _with(status="urn:oasis:names:tc:SAML:2.0:status:Requester"))
    yield v(
        53,
        "status: no, and no assertion",
        "provider_refused",
        _with(assertion="", sign="none", status="urn:oasis:names:tc:SAML:2.0:status:Responder"),
    )
    yield v(53, "no status", "provider_refused", _replaced("samlp:Status", "samlp:Extensions", sign="none"))
    yield v(53, "no AuthnStatement", "saml_malformed", _with(authn=""))
    yield v(
        53,
        "a condition that is not understood",
        "saml_malformed",
        _with(
            conditions='<saml:Condition xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:e="urn:e" xsi:type="saml:OneTimeUseType"/>'
        ),
    )
    yield v(54, "expired", "saml_time", _with(until=-61, since=-400, issued=-300))
    yield v(54, "the confirmation has expired", "saml_time", _with(confirmed_until=-61))
    yield v(54, "not yet", "saml_time", _with(since=90))
    yield v(54, "issued in the future", "saml_time", _with(issued=90))
    yield v(
        54,
        "issued six minutes ago, good for an hour",
        "saml_time",
        _with(issued=-361, until=3600, confirmed_until=3600),
    )
    yield v(54, "good for ten years", "saml_time", _with(until=315_360_000, confirmed_until=315_360_000))
    yield v(54, "the session has ended", "saml_time", _with(session_until=-1))
    yield v(
        54,
        "a time without its zone",
        "saml_malformed",
        lambda s: s.response(
            assertion=s.assertion().replace(f'NotBefore="{s.at(-30)}"', f'NotBefore="{s.at(-30)[:-1]}"')
        ),
    )
    yield v(
        54,
        "a time in another zone",
        "saml_malformed",
        lambda s: s.response(
            assertion=s.assertion().replace(f'NotBefore="{s.at(-30)}"', f'NotBefore="{s.at(-30)[:-1]}+02:00"')
        ),
    )
    yield v(55, "a document type", "saml_malformed", _doctype)
    yield v(55, "an external entity", "saml_malformed", _external)
    yield v(55, "a bomb of entities", "saml_malformed", _bomb)
    yield v(55, "UTF-16", "saml_malformed", _encoded("utf-16-le", b"\xff\xfe"))
    yield v(55, "UTF-7", "saml_malformed", _encoded("utf-7"))
    yield v(55, "declared to be Latin-1", "saml_malformed", _encoded("iso-8859-1"))
    yield v(55, "deep nesting", "saml_malformed", _deep)
    yield v(55, "more namespaces than elements can bear", "saml_malformed", _many_namespaces)
    yield v(55, "deflated", "saml_malformed", _deflated, raw=True)
    yield v(
        55, "a name that parsers disagree on", "saml_malformed", _replaced("<saml:Subject>", '<saml:Subject \u017f="">')
    )
    yield v(55, "no base64", "saml_malformed", lambda _: b"%%%", raw=True)
    yield v(55, "empty", "saml_malformed", lambda _: b"", raw=True)
    yield v(55, "no XML", "saml_malformed", lambda _: b"<samlp:Response")
    yield v(55, "another document", "saml_malformed", lambda _: b"<html/>")
    yield v(56, "no InResponseTo", "saml_unasked", _with(in_response_to=None))
    yield v(57, "encrypted for another", nothing, _encrypted_for_another)
    yield v(57, "unsigned inside encrypted", nothing, _with(sign="none", encrypt=f"{n.XENC11}aes256-gcm"))
    yield v(57, "encrypted with CBC, the response not signed", "saml_algorithm", _malleable)
    yield v(57, "a key transported with PKCS #1 v1.5", "saml_algorithm", _encrypted_v15)
    yield v(57, "encrypted with 3DES", "saml_algorithm", _with(sign="both", encrypt=f"{n.XENC}tripledes-cbc"))
    yield v(57, "a comment inside encrypted", "saml_malformed", _comment_in_ciphertext)
    yield v(57, "two assertions inside one encrypted", "saml_wrapped", _two_inside)
    yield v(58, "groups stand twice", "saml_malformed", _double(("support",), ("admins",)))
    yield v(58, "an empty group", "saml_malformed", _with(attributes={"groups": ("support", "")}))
    yield v(58, "a transient NameID", "person_unclear", _with(name_id_format=n.TRANSIENT))
    yield v(
        58, "an e-mail address as NameID", "person_unclear", _with(name_id_format=n.EMAIL, name_id="alice@example.com")
    )
    yield v(58, "an empty NameID", "person_unclear", _with(name_id=""))
    yield v(58, "a NameID that reads as another", "person_unclear", _with(name_id="00u1alice\u202e"))
    yield v(58, "a NameID with a blank", "person_unclear", _with(name_id=" 00u1alice"))


VARIANTS = tuple(_all())
