"""When a person must be asked before a client gets a grant: once for each client and server, and again when anything on the page changes."""

import hashlib

import msgspec

from gatebook.federation.known import ClientView
from gatebook.federation.records import Consent
from gatebook.federation.redirects import host_of


def fingerprint(client: ClientView, redirect_uri: str, server: str, scope: str) -> str:
    """Everything the page tells about the request, as one hash: another name, redirect host, server or scope is another question."""
    said = (client.client_id, client.name, client.vouched, host_of(redirect_uri), server, scope)
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def must_ask(given: Consent | None, what: str) -> bool:
    """Whether the page must be shown, although `given` was given for this person, client and server."""
    return given is None or given.what != what
