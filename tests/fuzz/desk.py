# ruff: noqa: PT017 - no test catches here: these functions judge exceptions too
"""What the desk reads of strangers: what a client says of itself, where its users may return, parameters, refresh tokens, a provider's claims
and metadata. Nothing but the named refusal; and what was accepted, another reading finds too."""

import datetime
import hashlib
import json
import re
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from xml.etree import ElementTree

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from starlette.requests import Request

from gatebook.federation import redirects, refreshing
from gatebook.federation.documents import MAX_REDIRECTS, read_document, read_registration
from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.exchanging import read_assertion, read_exchange
from gatebook.federation.known import KNOWN_REDIRECTS, ClientView
from gatebook.federation.people import logged_in
from gatebook.federation.presets import PRESETS
from gatebook.federation.saml import names as n
from gatebook.federation.saml.provider_metadata import MetadataRefused, read_metadata, usable
from gatebook.federation.scopes import granted, scope_of, within
from gatebook.identity.strict import parse_object
from gatebook.model.deployment import Evidences, IdentityProvider
from gatebook.serve.desk_http import asked
from tests import issuing

# --- clients -----------------------------------------------------------------------------------------------------

CLIENT_URL = "https://app.example/oauth/client.json"


def client_document(data: bytes) -> None:
    """A document is refused, or it is about this client, public, and returns its users to sound addresses that it names."""
    try:
        view = read_document(data, CLIENT_URL)
    except LoginRefused as refused:
        assert refused.cause is Cause.CLIENT_DOCUMENT
        return
    said = json.loads(data)
    assert said["client_id"] == view.client_id == CLIENT_URL and view.vouched == "document"
    _public_and_sound(view, said)


def client_registration(data: bytes) -> None:
    """A registration is refused, or it returns its users to loopback or to an exact address of a known client."""
    try:
        said = parse_object(data)
    except ValueError:
        return  # the desk answers so too
    try:
        view = read_registration(said, "dyn-1")
    except LoginRefused as refused:
        assert refused.cause is Cause.REGISTRATION_INVALID
        return
    assert view.client_id == "dyn-1" and view.vouched == "nobody"
    _public_and_sound(view, said)
    for uri in view.redirect_uris:
        assert uri in KNOWN_REDIRECTS or _is_loopback(uri)


def _public_and_sound(view: ClientView, said: dict[str, Any]) -> None:
    assert said.get("token_endpoint_auth_method") in (None, "none") and "client_secret" not in said
    assert (
        view.redirect_uris == tuple(dict.fromkeys(said["redirect_uris"])) and len(view.redirect_uris) <= MAX_REDIRECTS
    )
    assert 0 < len(view.name) <= 60 and view.name.isprintable()
    for uri in view.redirect_uris:
        _demand_sound(uri)


# --- redirect URIs -----------------------------------------------------------------------------------------------

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SOURCE = re.compile(r"https?://[a-z0-9.:\[\]-]+|[a-z-]+:")
_ALWAYS = (
    "http://127.0.0.1:7777/callback",
    "http://localhost/callback?a=b",
    "https://app.example/cb",
    "cursor://anysphere.cursor-mcp/oauth/callback",
)


def redirect_uris(data: bytes) -> None:
    """What matches is what was registered, but for the port of a loopback address; no user, fragment or other scheme, and a source of CSP."""
    registered, _, wanted = data.decode("utf-8", "replace").partition("\n")
    known = (*_ALWAYS, registered) if redirects.redirect_problem(registered) is None else _ALWAYS
    for uri in known[len(_ALWAYS) :]:
        _demand_sound(uri)
    found = redirects.matches(known, wanted)
    if found is None:
        return
    assert found in known
    _demand_sound(wanted)
    if wanted != found:
        ours, theirs = urlsplit(found), urlsplit(wanted)
        assert _is_loopback(found) and _is_loopback(wanted)
        assert ours._replace(netloc="") == theirs._replace(netloc="") and ours.hostname == theirs.hostname


def _demand_sound(uri: str) -> None:
    """As a browser would take it apart."""
    parts = urlsplit(uri)
    assert parts.username is None and parts.password is None and "@" not in parts.netloc, "a user"
    assert "#" not in uri and uri.isascii() and uri.isprintable() and not set(uri) & set(' \\"<>^`{|}'), (
        "another reading"
    )
    assert parts.scheme == "https" or _is_loopback(uri) or parts.scheme in redirects.PRIVATE_SCHEMES, "another scheme"
    assert parts.scheme not in ("http", "https") or parts.hostname
    assert not any(segment in (".", "..") for segment in unquote_to_bytes(parts.path).decode("latin-1").split("/")), (
        "it climbs"
    )
    assert _SOURCE.fullmatch(redirects.form_target(uri)), "no source expression"
    assert redirects.host_of(uri)


def _is_loopback(uri: str) -> bool:
    parts = urlsplit(uri)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.username is None


# --- parameters --------------------------------------------------------------------------------------------------


_SERVER = issuing.server("payments", "corp")


def parameters(data: bytes) -> None:
    """A query and a form give the same parameters, each once, and the ones that a reader by hand finds; what a job asks is read or refused."""
    by_query, by_form = _refusable(_of_query(data)), _refusable(asked.form(_request(data)))
    assert by_query == by_form
    if by_query is None:
        return
    fields = [field.partition(b"=") for field in data.split(b"&")] if data else []
    assert all(equals for _, equals, _ in fields) and len(fields) <= asked.MAX_FIELDS
    assert [(_plain(name), _plain(value)) for name, _, value in fields] == list(by_query.items())
    if (scope := granted(by_query.get("scope"), _SERVER)) is not None:
        assert scope == scope_of(_SERVER) and within(scope, scope)
    with suppress(LoginRefused):
        exchange = read_exchange(by_query)
        assert exchange.subject_token == by_query["subject_token"] and exchange.resource == by_query["resource"]
        assert not by_query.keys() & {"actor_token", "client_secret", "client_assertion", "audience"}
    with suppress(LoginRefused):
        assertion = read_assertion(by_query)
        assert assertion.token == by_query["client_assertion"] and assertion.resource == by_query["resource"]


async def _of_query(data: bytes) -> dict[str, str]:
    return asked.query(_request(data))


def _request(data: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": data, "headers": headers}, receive)


def _refusable(work: Coroutine[Any, Any, dict[str, str]]) -> dict[str, str] | None:
    """What `work`, which waits for nothing, returns; None where it refuses."""
    try:
        work.send(None)
    except StopIteration as done:
        found: dict[str, str] = done.value
        return found
    except LoginRefused as refused:
        assert refused.cause is Cause.REQUEST_INVALID
        return None
    raise AssertionError("it waits")


def _plain(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")


# --- refresh tokens ----------------------------------------------------------------------------------------------

_KEY, _OTHER = b"k" * 32, b"o" * 32


def refresh_token(data: bytes) -> None:
    """No text is a refresh token but one that this key made: the fuzzer has none. One made is read back, and not with any sign changed."""
    text = data.decode("latin-1")
    if (found := refreshing.read(_KEY, text)) is not None:
        assert text == refreshing.token_of(_KEY, *found)
        assert refreshing.read(_OTHER, text) is None
    where, sign = data[:1].ljust(1, b"\0")[0], chr(data[1:2].ljust(1, b"\0")[0])
    sid, number = hashlib.sha256(data).hexdigest()[:32], int.from_bytes(data[2:5], "big")
    made = refreshing.token_of(_KEY, sid, number)
    assert refreshing.read(_KEY, made) == (sid, number) and refreshing.read(_OTHER, made) is None
    at = where % len(made)
    changed = made[:at] + sign + made[at + 1 :]
    assert changed == made or refreshing.read(_KEY, changed) is None
    assert refreshing.read(_KEY, made + sign) is None and refreshing.read(_KEY, sign + made) is None


# --- a provider's claims -----------------------------------------------------------------------------------------

TENANT = "11111111-2222-3333-4444-555555555555"
_MFA = Evidences(amr=("otp", "mfa"), acr=("loa3",))
IDPS = [
    IdentityProvider(
        name="corp",
        url=f"https://idp.example/{TENANT}/v2.0",
        client_id="gatebook",
        preset=preset,
        domain="example.com",
        mfa=_MFA,
    )
    for preset in sorted(PRESETS)
]
_PERSON_REFUSALS = {Cause.PERSON_UNCLEAR, Cause.PERSON_FOREIGN, Cause.APPLICATION, Cause.ID_TOKEN_INVALID}


def person_claims(data: bytes) -> None:
    """Whatever a provider signs: the person of its immutable claim, groups that it lists in full, evidence that is configured; or a refusal."""
    idp, (raw, _, more) = IDPS[data[:1].ljust(1, b"\0")[0] % len(IDPS)], data[1:].partition(b"\0")
    try:
        claims, userinfo = parse_object(raw), parse_object(more) if more else None
    except ValueError:
        return
    try:
        seen = logged_in(claims, userinfo, idp)
    except LoginRefused as refused:
        assert refused.cause in _PERSON_REFUSALS
        return
    way = PRESETS[idp.preset]
    assert userinfo is None or userinfo["sub"] == claims["sub"]
    assert (seen.person.issuer, seen.idp) == (idp.url, "corp")
    assert (
        seen.person.subject == claims["oid" if idp.preset == "entra" else "sub"] and seen.person.subject.isprintable()
    )
    assert way.tenant is None or claims["tid"] == TENANT or f"/{claims['tid']}/" in idp.url + "/"
    assert way.domain is None or (claims["hd"], claims["email_verified"]) == ("example.com", True)
    listed = claims.get("groups")
    listed = userinfo.get("groups") if listed is None and userinfo is not None else listed
    assert not (seen.groups and seen.groups_left_out) and (way.groups or not seen.groups)
    assert not seen.groups or seen.groups == tuple(dict.fromkeys(listed))
    assert not seen.groups or not {"hasgroups", "_claim_names"} & claims.keys() or not claims.get("hasgroups")
    if seen.mfa == "proven":
        methods = claims.get("amr")
        assert claims.get("acr") == "loa3" or (isinstance(methods, list) and {"otp", "mfa"} & set(map(str, methods)))
    assert seen.mfa != "declared" and claims.get("idtyp") != "app"


# --- a provider's metadata ---------------------------------------------------------------------------------------

ENTITY = "https://idp.example/saml"


def certificate() -> bytes:
    """A certificate of a fixed key, as DER."""
    key = ec.derive_private_key(0x5EED, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(17).not_valid_before(day).not_valid_after(day + datetime.timedelta(days=3650))
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def provider_metadata(data: bytes) -> None:
    """Metadata are refused, or another parser finds the one entity, its address and its keys; so is a certificate (behind 0xff)."""
    if data[:1] == b"\xff":
        with suppress(MetadataRefused):
            [kept] = usable([data[1:]])
            assert kept == data[1:]
        return
    try:
        known = read_metadata(data, ENTITY)
    except MetadataRefused:
        return
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError):
        return  # an encoding that only lxml reads
    [entity] = [each for each in root.iter(f"{{{n.MD}}}EntityDescriptor") if each.get("entityID") == ENTITY]
    services = entity.iterfind(f"{{{n.MD}}}IDPSSODescriptor/{{{n.MD}}}SingleSignOnService")
    assert known.sso_url == next(each.get("Location") for each in services if each.get("Binding") == n.HTTP_REDIRECT)
    assert 0 < len(known.certificates) <= 10 and b"<!DOCTYPE" not in data
    for der in known.certificates:
        x509.load_der_x509_certificate(der).public_key()
