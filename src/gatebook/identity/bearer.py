"""Where a caller's token may stand: in one Authorization header, and nowhere else."""

import re
from urllib.parse import unquote_plus

from gatebook.identity.errors import TokenRefused
from gatebook.model.errors import Reason
from gatebook.model.http import Headers

MAX_TOKEN_BYTES = 16 << 10

_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")  # RFC 6750 §2.1, RFC 9110 §11.4
_SCHEME = re.compile(rb"bearer(?![!#$%&'*+.^_`|~0-9a-z-])", re.IGNORECASE)
_PARAMETER_SEPARATOR = re.compile(rb"[&;]")
_FORM = b"application/x-www-form-urlencoded"


def read_bearer(headers: Headers, target: bytes = b"", *, body: bytes = b"") -> str:
    """The one bearer token of a request: b64token characters (RFC 6750 §2.1), at most MAX_TOKEN_BYTES, nothing about it believed yet.

    Raises TokenRefused: CREDENTIAL_MISSING where there is no Authorization header or one of another scheme (RFC 6750 §3.1: then the
    challenge names no error); CREDENTIAL_MALFORMED where there are several, or one that two readers could take apart differently, or a
    token in the query of `target` or in a form `body` (RFC 6750 §2.2, §2.3: both end up in logs; forbidden by MCP).
    """
    if b"?" in target and _names_a_token(target.partition(b"?")[2]):
        raise TokenRefused(Reason.CREDENTIAL_MALFORMED, "An access token in the query string is not accepted.")
    if body and _is_form(headers) and _names_a_token(body):
        raise TokenRefused(Reason.CREDENTIAL_MALFORMED, "An access token in the body is not accepted.")
    values = [value for name, value in headers if name == b"authorization"]
    if not values:
        raise TokenRefused(Reason.CREDENTIAL_MISSING, "A bearer token is required.")
    if len(values) > 1:
        raise TokenRefused(Reason.CREDENTIAL_MALFORMED, "There is more than one Authorization header.")
    found = _BEARER.fullmatch(values[0])
    if found is not None and len(found[1]) <= MAX_TOKEN_BYTES:
        return found[1].decode("ascii")
    if _SCHEME.match(values[0]) is None:
        raise TokenRefused(Reason.CREDENTIAL_MISSING, "A bearer token is required; other schemes are not accepted.")
    raise TokenRefused(Reason.CREDENTIAL_MALFORMED, "The Authorization header does not hold exactly one bearer token.")


def _is_form(headers: Headers) -> bool:
    return any(name == b"content-type" and value.strip().lower().startswith(_FORM) for name, value in headers)


def _names_a_token(parameters: bytes) -> bool:
    # `;` separates for some readers, and names may be percent-encoded: a token must not pass by spelling.
    names = (part.partition(b"=")[0] for part in _PARAMETER_SEPARATOR.split(parameters))
    return any(unquote_plus(name.decode("latin-1")).strip().lower() == "access_token" for name in names)
