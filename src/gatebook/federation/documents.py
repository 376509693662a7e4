"""What a client says of itself: a metadata document (CIMD, draft-ietf-oauth-client-id-metadata-document) or a registration (RFC 7591).

Both are somebody's claims. What is taken from them: a name, shown as unverified, and redirect URIs. Nothing else is fetched or shown: no
logo, no home page. Every client is public: none gets a secret.
"""

import re
from collections.abc import Mapping
from typing import Any

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.known import KNOWN_REDIRECTS, ClientView
from gatebook.federation.redirects import is_loopback, redirect_problem
from gatebook.identity.strict import parse_object

MAX_DOCUMENT_BYTES = 16 << 10
MAX_REDIRECTS = 20
MAX_NAME_CHARACTERS = 60
_CLIENT_URL = re.compile(
    r"https://([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+)(/[A-Za-z0-9\-._~/]+)"
)


def is_client_url(client_id: str) -> bool:
    """Whether a client id is a URL that may be a document's: https, a host by name without port or user, a path, no query, no fragment."""
    found = _CLIENT_URL.fullmatch(client_id)
    if found is None or len(client_id) > 512 or "//" in found[2]:
        return False
    labels = found[1].split(".")
    # A last label of digits would be an address in some spelling (WHATWG URL §3.5).
    return not labels[-1].isdigit() and not any(segment in (".", "..") for segment in found[2].split("/"))


def read_document(raw: bytes, client_id: str) -> ClientView:
    """The client that the document at `client_id` describes. Raises LoginRefused(CLIENT_DOCUMENT)."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise _refused("is too large")
    try:
        document = parse_object(raw)
    except ValueError as error:
        raise _refused("cannot be read") from error
    if document.get("client_id") != client_id:
        raise _refused("is about another client")
    _demand_public(document)
    return ClientView(client_id=client_id, name=_name(document), redirect_uris=_redirects(document), vouched="document")


def read_registration(document: Mapping[str, Any], client_id: str) -> ClientView:
    """The client that registers itself as `document` says, under an id that the desk gives it. Its users return to loopback addresses, or
    to exact URIs of known clients. Raises LoginRefused(REGISTRATION_INVALID)."""
    try:
        _demand_public(document)
        uris = _redirects(document)
        if odd := [uri for uri in uris if not is_loopback(uri) and uri not in KNOWN_REDIRECTS]:
            raise _refused(
                f"names a redirect URI that is neither loopback nor a known client's, at place {uris.index(odd[0])}"
            )
        return ClientView(client_id=client_id, name=_name(document), redirect_uris=uris, vouched="nobody")
    except LoginRefused as refused:
        raise LoginRefused(Cause.REGISTRATION_INVALID, refused.words.replace("document", "registration")) from refused


def _demand_public(document: Mapping[str, Any]) -> None:
    method = document.get("token_endpoint_auth_method", "none")
    if method not in (None, "none") or "client_secret" in document:
        raise _refused("asks for another authentication than none: clients are public here")
    grants = document.get("grant_types", ["authorization_code"])
    if not isinstance(grants, list) or "authorization_code" not in grants:
        raise _refused("does not use authorization codes")
    responses = document.get("response_types", ["code"])
    if not isinstance(responses, list) or "code" not in responses:
        raise _refused("does not use authorization codes")


def _redirects(document: Mapping[str, Any]) -> tuple[str, ...]:
    uris = document.get("redirect_uris")
    if (
        not isinstance(uris, list)
        or not 0 < len(uris) <= MAX_REDIRECTS
        or not all(isinstance(uri, str) for uri in uris)
    ):
        raise _refused(f"must name 1 to {MAX_REDIRECTS} redirect URIs")
    for place, uri in enumerate(uris):
        if why := redirect_problem(uri):
            raise _refused(f"names a redirect URI, at place {place}, that {why}")
    return tuple(dict.fromkeys(uris))


def _name(document: Mapping[str, Any]) -> str:
    """For display. Look-alikes cannot be told here, so it is always shown as unverified, beside the redirect host, which counts."""
    name = document.get("client_name")
    if not isinstance(name, str):
        return "a program without a name"
    shown = "".join(character for character in name if character.isprintable()).strip()[:MAX_NAME_CHARACTERS]
    return shown or "a program without a name"


def _refused(why: str) -> LoginRefused:
    return LoginRefused(Cause.CLIENT_DOCUMENT, f"The client's metadata document {why}.")
