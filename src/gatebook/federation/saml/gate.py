"""The gate before the verifier: bytes in, an admitted response or a refusal out. What passes has one reading.

A response is small, plain XML: no document type, so no entities; no comments and no processing instructions, which split a text in two for some
readers; exactly one assertion; signatures that are about the very element they stand in, by algorithms that are listed, and nothing else
that the signature machine could be talked into. So the verifier is shown nothing that two programs could understand differently.
"""

import base64
import binascii
import re
from typing import Any

import msgspec
from lxml import etree

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.saml import names as n

MAX_BYTES = 256_000
"""Of the form's body, and of the response in it."""
MAX_ELEMENTS = 20_000
MAX_DEPTH = 40
MAX_NAMESPACES = 32
"""In scope at any element: what a look at an element costs grows with them. Providers declare five to ten."""

Element = Any
"""lxml publishes no types."""

_DECLARATION = re.compile(
    rb"<\?xml version=(?:'1\.0'|\"1\.0\")(?: encoding=['\"]([A-Za-z0-9._-]+)['\"])?(?: standalone=['\"](?:yes|no)['\"])?\s*\?>"
)
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,255}")
_OF_RESPONSE = frozenset(
    {f"{{{n.SAML}}}Issuer", n.SIGNATURE, f"{{{n.SAMLP}}}Status", n.ASSERTION, n.ENCRYPTED_ASSERTION}
)
_OF_SIGNED_INFO = (f"{{{n.DS}}}CanonicalizationMethod", f"{{{n.DS}}}SignatureMethod", f"{{{n.DS}}}Reference")
_OF_REFERENCE = (f"{{{n.DS}}}Transforms", f"{{{n.DS}}}DigestMethod", f"{{{n.DS}}}DigestValue")


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """A response that may be verified. `xml`: its bytes; `encrypted`: its assertion must be opened first; `malleable`: by a cipher whose text could
    have been changed, so that the response's own signature must be verified before."""

    xml: bytes
    encrypted: bool
    malleable: bool


def admit(field: str) -> Admitted:
    """What the form field `SAMLResponse` holds, if it may be verified. Raises LoginRefused: SAML_MALFORMED, SAML_WRAPPED, SAML_ALGORITHM."""
    xml = _decoded(field)
    root = _tree(xml)
    demand_shape(root)
    encrypted = root.find(n.ENCRYPTED_ASSERTION)
    malleable = encrypted is not None and _demand_encryption(encrypted)
    if malleable and root.find(n.SIGNATURE) is None:
        hint = "encrypted with CBC in a Response that is not signed: sign the Response, or encrypt with GCM"
        raise LoginRefused(Cause.SAML_ALGORITHM, _NOT_VALID, hint=hint)
    return Admitted(xml=xml, encrypted=encrypted is not None, malleable=malleable)


def demand_shape(root: Element) -> None:
    """The tree is a response with one assertion and signatures that mean what they sign. Also asked of a tree whose assertion has been
    opened. Raises LoginRefused."""
    elements = _elements(root)
    if root.tag != n.RESPONSE:
        raise malformed("the root is no Response")
    _demand_ids(elements)
    demand_success(root)  # first: a provider that says no sends no assertion
    assertions = [element for element in elements if element.tag in (n.ASSERTION, n.ENCRYPTED_ASSERTION)]
    if len(assertions) != 1 or sum(element.tag == n.RESPONSE for element in elements) != 1:
        raise wrapped("there must be exactly one Response with exactly one assertion")
    if assertions[0].getparent() is not root:
        raise wrapped("the assertion is not a child of the Response")
    if any(child.tag not in _OF_RESPONSE for child in root):
        raise wrapped("the Response has children that it needs not, as Extensions")
    signatures = [element for element in elements if element.tag == n.SIGNATURE]
    for signature in signatures:
        _demand_signature(signature, root, assertions[0])
    if len({id(signature.getparent()) for signature in signatures}) != len(signatures):
        raise wrapped("an element has two signatures")
    if not signatures and assertions[0].tag == n.ASSERTION:
        raise LoginRefused(Cause.SAML_SIGNATURE, _NOT_VALID, hint="nothing is signed")


def demand_success(response: Element) -> None:
    """Raises LoginRefused(PROVIDER_REFUSED) unless the one status is Success. A no needs no signature: it leads nowhere."""
    codes = response.findall(f"{{{n.SAMLP}}}Status/{{{n.SAMLP}}}StatusCode")
    if len(codes) != 1 or codes[0].get("Value") != n.SUCCESS:
        inner = [code.get("Value", "") for code in codes[0].findall(f"{{{n.SAMLP}}}StatusCode")] if codes else []
        said = (inner or [code.get("Value", "") for code in codes] or ["none"])[0].rpartition(":")[2]
        hint = f"status {said}" if re.fullmatch(r"[A-Za-z]{1,40}", said) else "a status that is not known"
        raise LoginRefused(Cause.PROVIDER_REFUSED, "The identity provider did not complete the login.", hint=hint)


def _decoded(field: str) -> bytes:
    if len(field) > MAX_BYTES * 4 // 3 + 4:
        raise malformed("it is too large")
    try:
        # RFC 2045 lines are allowed by the binding (SAML bindings §3.5.4); nothing else that is not of the alphabet.
        xml = base64.b64decode(field.replace("\r", "").replace("\n", "").encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise malformed("it is no base64") from error
    if not 0 < len(xml) <= MAX_BYTES:
        raise malformed("it is empty or too large")
    return xml


def _tree(xml: bytes) -> Element:
    try:
        xml.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise malformed("it is not UTF-8") from error
    body = xml
    if (found := _DECLARATION.match(xml)) is not None:
        if found[1] is not None and found[1].lower() not in (b"utf-8", b"utf8"):
            raise malformed("it is declared to be in another encoding than UTF-8")
        body = xml[found.end() :]
    # `<` stands for itself nowhere in XML, so these bytes can begin nothing else: no document type, no comment, no CDATA; no instruction.
    if b"<!" in body:
        raise malformed("it holds a document type, a comment or CDATA")
    if b"<?" in body:
        raise malformed("it holds a processing instruction")
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)
    try:
        return etree.fromstring(xml, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise malformed("it is no XML") from error


def _elements(root: Element) -> list[Element]:
    """Every element of the tree, which holds nothing else but text."""
    found = []
    for node in root.iter():
        if not isinstance(node.tag, str):
            raise malformed("it holds a comment, an instruction or an entity")
        spaces = node.nsmap
        if len(spaces) > MAX_NAMESPACES:
            raise malformed("it declares too many namespaces")
        # Which letters a name may have differs between the editions of XML, and so between parsers; SAML needs none of those.
        if not all(name.isascii() for name in (node.tag, *node.attrib, *(prefix or "" for prefix in spaces))):
            raise malformed("it has a name that is not ASCII")
        found.append(node)
        if len(found) > MAX_ELEMENTS or sum(1 for _ in node.iterancestors()) > MAX_DEPTH:
            raise malformed("it has too many elements, or too deep ones")
    return found


def _demand_ids(elements: list[Element]) -> None:
    """Each id once: of two elements with one id, a signature is about the one and a reader reads the other."""
    ids = [
        value
        for element in elements
        for name, value in element.attrib.items()
        if name.rpartition("}")[2].lower() == "id"
    ]
    if len(set(ids)) != len(ids):
        raise wrapped("an ID stands twice")
    if not all(_ID.fullmatch(each) for each in ids):
        raise malformed("an ID is no plain name")


def _demand_signature(signature: Element, root: Element, assertion: Element) -> None:
    signed = signature.getparent()
    if signed is not root and signed is not assertion:
        raise wrapped("a signature stands where nothing is to be signed")
    children = [child.tag for child in signature]
    if children not in (
        [f"{{{n.DS}}}SignedInfo", f"{{{n.DS}}}SignatureValue"],
        [f"{{{n.DS}}}SignedInfo", f"{{{n.DS}}}SignatureValue", f"{{{n.DS}}}KeyInfo"],
    ):
        raise wrapped("a signature holds more than it needs")
    info = signature[0]
    if tuple(child.tag for child in info) != _OF_SIGNED_INFO:
        raise wrapped("a signature has not exactly one reference")
    canonical, method, reference = info
    _demand_algorithm(canonical, frozenset({n.EXCLUSIVE}), "canonicalization")
    _demand_algorithm(method, n.SIGNATURES, "signature")
    if len(method) or len(canonical):
        raise wrapped("a signature's method has parameters")
    if signed.get("ID") is None or reference.get("URI") != f"#{signed.get('ID')}":
        raise wrapped("a signature is about another element than the one it stands in")
    if tuple(child.tag for child in reference) != _OF_REFERENCE:
        raise wrapped("a reference holds more or less than it needs")
    transforms, digest, _ = reference
    _demand_algorithm(digest, n.DIGESTS, "digest")
    if [transform.get("Algorithm") for transform in transforms] != [n.ENVELOPED, n.EXCLUSIVE]:
        raise _algorithm("transform")
    if any(child.tag != f"{{{n.EXCLUSIVE}}}InclusiveNamespaces" for transform in transforms for child in transform):
        raise wrapped("a transform holds more than it needs")


def _demand_encryption(encrypted: Element) -> bool:
    """Whether the cipher's text could have been changed. Raises LoginRefused where a cipher is not listed."""
    data = encrypted.findall(f"{{{n.XENC}}}EncryptedData")
    keys = list(encrypted.iter(f"{{{n.XENC}}}EncryptedKey"))
    everything = list(encrypted.iter(f"{{{n.XENC}}}EncryptedData"))
    if len(data) != 1 or len(everything) != 1 or len(keys) != 1:
        raise wrapped("there must be one encrypted assertion with one encrypted key")
    _demand_algorithm(keys[0].find(f"{{{n.XENC}}}EncryptionMethod"), n.KEY_TRANSPORT, "key transport")
    method = data[0].find(f"{{{n.XENC}}}EncryptionMethod")
    _demand_algorithm(method, n.GCM | n.CBC, "encryption")
    if next(encrypted.iter(f"{{{n.XENC}}}CipherReference"), None) is not None:
        raise wrapped("what is encrypted lies elsewhere")
    return method.get("Algorithm") in n.CBC


def _demand_algorithm(element: Element, allowed: frozenset[str], what: str) -> None:
    if element is None or element.get("Algorithm") not in allowed:
        raise _algorithm(what)


_NOT_VALID = "The identity provider's answer is not valid."


def malformed(hint: str) -> LoginRefused:
    return LoginRefused(Cause.SAML_MALFORMED, "The identity provider's answer cannot be read.", hint=hint)


def wrapped(hint: str) -> LoginRefused:
    return LoginRefused(Cause.SAML_WRAPPED, _NOT_VALID, hint=hint)


def _algorithm(what: str) -> LoginRefused:
    return LoginRefused(Cause.SAML_ALGORITHM, _NOT_VALID, hint=f"the {what} algorithm is not among those accepted")
