"""What a client without a usable token is told: the challenge (RFC 6750 §3) and where to log in (RFC 9728)."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from gatebook.model.deployment import Issuer, Server
from gatebook.model.errors import Reason

WELL_KNOWN = "/.well-known/oauth-protected-resource"

_NOT_IN_DESCRIPTION = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")  # RFC 6750 §3: no quote, no backslash
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749 §3.3

_ERROR: dict[Reason, str | None] = {
    # None: the client showed nothing to judge, or nothing is wrong with what it showed.
    Reason.CREDENTIAL_MISSING: None,
    Reason.KEYS_UNAVAILABLE: None,
    Reason.CREDENTIAL_MALFORMED: "invalid_request",
    Reason.INSUFFICIENT_SCOPE: "insufficient_scope",
}


def challenge(
    server: Server, reason: Reason, description: str, scope: str | None = None, *, max_age_s: float | None = None
) -> bytes:
    """The value of WWW-Authenticate for a refusal of `reason` at `server`, ASCII, in one line.

    `error` by RFC 6750 §3.1: none where no token was shown, invalid_request, insufficient_scope, else invalid_token; then
    `error_description` too. `scope`: all the scopes the operation needs, separated by spaces; `max_age_s`: how old the login may be
    (`max_age` of RFC 9470 §3). Whatever `description` holds, the
    value stays one well-formed challenge; a `scope` that is none raises ValueError.
    """
    parameters = []
    error = _ERROR.get(reason, "invalid_token")
    if error is not None:
        parameters += [f'error="{error}"', f'error_description="{_NOT_IN_DESCRIPTION.sub(" ", description)}"']
    if scope is not None:
        if _SCOPE.fullmatch(scope) is None:
            raise ValueError("not a scope")
        parameters.append(f'scope="{scope}"')
    if max_age_s is not None:
        parameters.append(f'max_age="{int(max_age_s)}"')
    parameters.append(f'resource_metadata="{metadata_url(server)}"')
    return ("Bearer " + ", ".join(parameters)).encode("ascii")


def metadata_url(server: Server) -> str:
    """The absolute URL of the server's protected resource metadata: the well-known path put between host and path. RFC 9728 §3.1."""
    parts = urlsplit(server.resource)
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path}"


def metadata_paths(public_url: str, server: Server) -> tuple[str, ...]:
    """The request paths under which the gate answers with the server's metadata; the first is the one that `metadata_url` names.

    Where `public_url` has a path of its own (`https://host/gate`), a proxy in front may pass that path on or cut it off: then there
    is a second one without it. The bare well-known path is none of them: it could name one server only.
    """
    path = urlsplit(server.resource).path
    prefix = urlsplit(public_url).path.rstrip("/")
    within = path.removeprefix(prefix)
    return (WELL_KNOWN + path,) if within == path else (WELL_KNOWN + path, WELL_KNOWN + within)


def protected_resource_metadata(server: Server, issuers: Iterable[Issuer]) -> bytes:
    """The server's metadata document, JSON (RFC 9728 §2). `resource` is `server.resource` to the byte: clients compare exactly.

    `authorization_servers`: our own where there is one, since it alone speaks as MCP clients do; else the issuers of persons accepted there, in
    the given order; absent where only jobs are (§2: no empty lists).
    """
    issuers = tuple(issuer for issuer in issuers if issuer.name in server.audiences)
    people = [issuer.url for issuer in issuers if issuer.kind == "desk"]
    people = people or [issuer.url for issuer in issuers if issuer.kind == "person"]
    document: dict[str, object] = {"resource": server.resource}
    if people:
        document["authorization_servers"] = people
    document |= {"bearer_methods_supported": ["header"], "resource_name": server.name}
    return msgspec.json.encode(document)
