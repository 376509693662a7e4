"""Where a client's users may be sent back to. Exact comparison of strings, with one exception: the port of a loopback address.

RFC 8252 §7.3: a native client takes whatever port is free. Real ones register `http://localhost/callback` without a port, so `localhost`
counts here as well, although §8.3 would rather not: the name is resolved by the person's own browser on the person's own machine.
"""

import re
from urllib.parse import urlsplit

PRIVATE_SCHEMES = frozenset({"cursor", "vscode", "vscode-insiders", "windsurf"})
"""Private-use schemes of known clients (RFC 8252 §7.1). Any other is refused: whatever program claims a scheme gets the code."""

MAX_CHARACTERS = 512
_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]|localhost))(?::([0-9]{1,5}))?(/[^?#]*)?(\?[^#]*)?")
_PRIVATE_NAME = re.compile(r"[A-Za-z0-9._-]*")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")


def redirect_problem(uri: str) -> str | None:
    """Why `uri` may not be registered, in words after "it …"; None where it may."""
    if not uri or len(uri) > MAX_CHARACTERS or not _PLAIN.fullmatch(uri):
        return "is no plain URI: visible ASCII without quotes, backslashes and fragments"
    scheme, colon, rest = uri.partition(":")
    if not colon or not rest.startswith("//"):
        return "is not written SCHEME://…"
    if _climbs(uri):
        return "holds dot segments or encoded dots or slashes"
    if scheme == "http":
        return (
            None
            if _LOOPBACK.fullmatch(uri) and _port_is_sound(uri)
            else "is http to another host than a loopback address"
        )
    if scheme == "https":
        return _https_problem(uri)
    if scheme in PRIVATE_SCHEMES:
        # A name for the program's own use; with brackets it could be an address that no parser takes, with @ a user.
        return None if _PRIVATE_NAME.fullmatch(_authority(uri)) else "has no plain name behind the scheme"
    return "has a scheme that no known client uses"


def matches(registered: tuple[str, ...], asked: str) -> str | None:
    """The registered URI that `asked` is; None where it is none of them. `asked` must be sound by itself."""
    if redirect_problem(asked) is not None:
        return None
    if asked in registered:
        return asked
    portless = _without_port(asked)
    if portless is None:
        return None
    return next((uri for uri in registered if _without_port(uri) == portless), None)


def host_of(uri: str) -> str:
    """What a person is shown of a redirect URI: scheme and host for those that are not plain https."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme == "https" else f"{parts.scheme}://{parts.netloc}"


def is_loopback(uri: str) -> bool:
    return _LOOPBACK.fullmatch(uri) is not None


def form_target(uri: str) -> str:
    """The source expression under which a browser's `form-action` lets a form end at `uri` (CSP3 §2.3.1)."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def _without_port(uri: str) -> str | None:
    found = _LOOPBACK.fullmatch(uri)
    return None if found is None else f"{found[1]}{found[3] or ''}{found[4] or ''}"


def _https_problem(uri: str) -> str | None:
    authority = _authority(uri)
    if "@" in authority:
        return "holds a user or password"
    if not _HOST.fullmatch(authority):
        return "has no plain host name in lower case"
    return None if _port_is_sound(uri) else "has no sound port"


def _authority(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0].partition("?")[0]


def _port_is_sound(uri: str) -> bool:
    try:
        return urlsplit(uri).port != 0
    except ValueError:
        return False


def _climbs(uri: str) -> bool:
    path = "/" + uri.partition("?")[0].partition("//")[2].partition("/")[2]
    if re.search(r"%(?:2e|2f|5c|00)", uri, re.IGNORECASE) or re.search(r"%(?![0-9A-Fa-f]{2})", uri):
        return True
    return any(segment in (".", "..") for segment in path.split("/")) or "//" in path
