"""URLs that an identity provider gives: plain ones, and only where a packet may go in this profile."""

import ipaddress
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from gatebook.identity.errors import KeySetRefused
from gatebook.model.deployment import Profile


def origin_of(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def demand_safe_url(url: str, profile: Profile) -> SplitResult:
    """The parts of an absolute URL that every parser takes apart alike, and that may be asked in this profile. Raises KeySetRefused."""
    if not url.isascii() or not url.isprintable() or any(sign in url for sign in ' \\#"<>^`{|}'):
        raise KeySetRefused(f"{url[:200]!r}: not a plain URL")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise KeySetRefused(f"{url[:200]!r}: not a URL") from error
    if not host or "@" in parts.netloc:
        raise KeySetRefused(f"{url[:200]!r}: without a host, or with a user in it")
    if parts.scheme != "https" and not (parts.scheme == "http" and profile == "dev" and _is_loopback(host)):
        raise KeySetRefused(f"{url[:200]!r}: only https (http to a loopback address in the dev profile)")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
