"""What is served without a caller: health, protected-resource metadata (RFC 9728), CORS preflight; and which server a path names."""

import functools

import msgspec

from gatebook.gate import refusal
from gatebook.gate.refusal import Refused
from gatebook.gate.world import Standing
from gatebook.identity.challenge import WELL_KNOWN, metadata_paths, protected_resource_metadata
from gatebook.model.deployment import Deployment, Server
from gatebook.model.errors import Reason
from gatebook.model.http import Arrival, Headers, Reply

EXPOSED = b"mcp-session-id, mcp-protocol-version, www-authenticate, gatebook-receipt, gatebook-call-id"
_LOOPBACK_HOSTS = (b"localhost", b"127.0.0.1", b"[::1]")
_TEXT: Headers = ((b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"))


def open_door(arrival: Arrival, standing: Standing, *, ready: bool) -> Reply | Server:
    """The answer where none needs a caller, else the server that the path names. Raises Refused: NOT_FOUND, HOST_ or ORIGIN_FORBIDDEN."""
    known = arrival.said.get("door")
    if isinstance(known, _Opened) and known.standing is standing:
        return known.server
    path = arrival.target.partition(b"?")[0]
    if path == b"/healthz":
        return Reply(status=200, headers=_TEXT, body=b"ok\n")
    if path == b"/readyz":
        return Reply(status=200 if ready else 503, headers=_TEXT, body=b"ready\n" if ready else b"not ready\n")
    deployment = standing.snapshot.deployment
    check_host(arrival, deployment)
    if path.startswith(WELL_KNOWN.encode()):
        for server in deployment.servers:
            if path.decode("latin-1") in metadata_paths(deployment.public_url, server):
                return _metadata(server, deployment, arrival)
    check_origin(arrival, deployment)
    server = _named(path, standing)
    if arrival.method == "OPTIONS":
        return _preflight(arrival)
    if b"?" in arrival.target:
        raise Refused(Reason.NOT_FOUND)  # nothing is ever taken from a query: a token in one would end up in logs
    arrival.said["door"] = _Opened(standing, server)
    return server


class _Opened(msgspec.Struct, frozen=True):
    """What a head was found to reach for, by one standing."""

    standing: Standing
    server: Server


def _named(path: bytes, standing: Standing) -> Server:
    """`/NAME/mcp` exactly; no decoding, no trailing slash, so that two spellings never reach one server."""
    parts = path.split(b"/")
    if len(parts) == 3 and parts[0] == b"" and parts[2] == b"mcp":
        server = standing.servers.get(parts[1].decode("latin-1"))
        if server is not None:
            return server
    raise Refused(Reason.NOT_FOUND)


def check_host(arrival: Arrival, deployment: Deployment) -> None:
    """DNS rebinding: the Host must be the public one (or, where that is loopback, another spelling of loopback with its port)."""
    host = (arrival.header(b"host") or b"").lower()
    public = deployment.public_url.partition("://")[2].partition("/")[0].lower().encode()
    if host not in _same_place(public):
        raise Refused(Reason.HOST_FORBIDDEN)


def check_origin(arrival: Arrival, deployment: Deployment) -> None:
    """MCP 2025-11-25, transports, security: a present and foreign Origin is answered 403. Absent (no browser) passes."""
    origin = arrival.header(b"origin")
    if origin is None:
        return
    scheme, _, rest = deployment.public_url.partition("://")
    own = {f"{scheme}://".encode() + host for host in _same_place(rest.partition("/")[0].lower().encode())}
    if origin not in own and origin.decode("latin-1") not in deployment.allowed_origins:
        raise Refused(Reason.ORIGIN_FORBIDDEN)


@functools.lru_cache(maxsize=64)
def _same_place(authority: bytes) -> frozenset[bytes]:
    host, colon, port = authority.rpartition(b":")
    if not colon or port.endswith(b"]"):
        host, port = authority, b""
    names = _LOOPBACK_HOSTS if host in _LOOPBACK_HOSTS else (host,)
    return frozenset(name + (b":" + port if port else b"") for name in names)


def cors(arrival: Arrival) -> Headers:
    """Headers that let an allowed browser origin read the answer; only reached after `check_origin` let it pass."""
    return arrival.once(_cors)


def _cors(headers: Headers) -> Headers:
    origin = next((value for name, value in headers if name == b"origin"), None)
    if origin is None:
        return ()
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED),
        (b"vary", b"Origin"),
    )


def _preflight(arrival: Arrival) -> Reply:
    asked = arrival.header(b"access-control-request-headers") or b""
    return Reply(
        status=204,
        headers=(
            *cors(arrival),
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (
                b"access-control-allow-headers",
                asked if asked.isascii() and len(asked) < 1024 else b"authorization, content-type",
            ),
            (b"access-control-max-age", b"600"),
        ),
    )


def _metadata(server: Server, deployment: Deployment, arrival: Arrival) -> Reply:
    """Public by nature: any origin may read it (RFC 9728 §3.2)."""
    if arrival.method not in ("GET", "HEAD", "OPTIONS"):
        raise Refused(Reason.METHOD_NOT_ALLOWED, allow=b"GET, HEAD, OPTIONS")
    headers = (*refusal.JSON, (b"access-control-allow-origin", b"*"), (b"cache-control", b"max-age=60"))
    issuers = tuple(issuer for issuer in deployment.issuers if issuer.name in server.audiences)
    body = protected_resource_metadata(server, issuers) if arrival.method != "OPTIONS" else b""
    return Reply(status=200, headers=headers, body=body)
