"""One HTTP request of the command line: bounded, no redirects, and no token in clear over a network."""

import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from gatebook.cli.person.errors import PersonError, Unreachable

MAX_ANSWER_BYTES = 64 << 20
TIMEOUT_S = 70.0
"""The desk ends every connection within a minute."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Answer(msgspec.Struct, frozen=True):
    """`document`: the JSON object of the body; {} where it is none."""

    status: int
    document: dict[str, Any]
    raw: bytes


def demand_safe(url: str, what: str) -> str:
    """The URL, if a token may travel to it: https, or http on this machine. Raises PersonError."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return url
    raise PersonError(f"{what} {url!r} is not https: tokens would cross the network in clear")


def trusting(url: str) -> dict[str, Any]:
    """How httpx2 is to reach `url`: with the system's authorities (or SSL_CERT_FILE), and past proxies where it is on this machine."""
    here = urlsplit(url).hostname in _LOOPBACK
    return {"verify": ssl.create_default_context(), "trust_env": not here, "follow_redirects": False}


def ask(
    method: str,
    url: str,
    *,
    form: dict[str, str] | None = None,
    json: object = None,
    query: dict[str, str] | None = None,
    token: str | None = None,
) -> Answer:
    """One request and its whole answer. Raises Unreachable."""
    headers = {"accept": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    try:
        with (
            httpx2.Client(timeout=TIMEOUT_S, **trusting(url)) as http,
            http.stream(method, url, data=form, json=json, params=query, headers=headers) as response,
        ):
            raw = b""
            for piece in response.iter_bytes():
                raw += piece
                if len(raw) > MAX_ANSWER_BYTES:
                    raise Unreachable(f"{_host(url)} sent more than {MAX_ANSWER_BYTES >> 20} MiB")
            return Answer(response.status_code, _object(raw), raw)
    except httpx2.HTTPError as failure:
        raise Unreachable(f"{_host(url)} cannot be reached: {type(failure).__name__}") from failure


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        return {}
    return found if isinstance(found, dict) else {}
