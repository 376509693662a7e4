"""Where an upstream is, who we are to it, and how a request to it begins."""

import asyncio
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from gatebook.model import possessive
from gatebook.model.deployment import Server
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Headers, UpstreamRequest

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELDS = possessive.compiled(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: [^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+")
_AS_LINE_ENDS = bytes(byte if byte == 0x09 or 0x20 <= byte != 0x7F else 0x0A for byte in range(256))
"""Every control character but the tab ends a line."""
_TOKENS = frozenset({b"gatebook-call-id", b"gatebook-caller", b"mcp-session-id", b"traceparent"})
"""Names that the gate sets on nearly every request: tokens, and none of them in `_OURS`."""
_BODILESS = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS"})
_METHODS = {"DELETE": b"DELETE", "GET": b"GET", "POST": b"POST"}
"""Those that need no second look."""

# Framing and routing are this side's business; what the caller gives of these is dropped.
_OURS = frozenset(
    {
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class TlsIdentity:
    """What we trust and who we are to one upstream. `ca_file` None: the system's store."""

    def __init__(self, ca_file: str | None, certificate: str | None, key: str | None) -> None:
        self._ca_file = ca_file
        self._certificate = certificate
        self._key = key
        self._context: ssl.SSLContext | None = None
        self._made_of: tuple[tuple[int, int, int], ...] = ()

    async def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, host name checked, ALPN http/1.1; made of the files as they are now. Raises OSError, ValueError."""
        return await asyncio.to_thread(self._present)

    def _present(self) -> ssl.SSLContext:
        files = tuple(path for path in (self._ca_file, self._certificate, self._key) if path is not None)
        present = tuple(_version(path) for path in files)
        if self._context is None or present != self._made_of:
            self._context, self._made_of = self._make(), present
        return self._context

    def _make(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self._ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if self._certificate is not None:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        return context


def _version(path: str) -> tuple[int, int, int]:
    found = Path(path).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _no_password() -> str:
    raise ValueError("the client key is encrypted")  # else OpenSSL would ask on the terminal


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream's address. `socket_path`, of a Unix socket, stands instead of host and port. `target`: path and query.

    `tls` None: in clear."""

    host: str
    port: int
    socket_path: str | None
    target: bytes
    authority: bytes
    tls: TlsIdentity | None

    def message(self, request: UpstreamRequest) -> bytes:
        """The request's bytes. Raises UpstreamError (INTERNAL, not sent) where a header would begin another one."""
        method = _METHODS.get(request.method) or _method(request.method)
        body = request.body
        return b"".join(
            (
                b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, self.target, self.authority),
                request.passed_on.once(_block),
                _block(request.ours),
                request.injected.once(_block),
                b"accept-encoding: identity\r\n\r\n"
                if method in _BODILESS and not body
                else b"accept-encoding: identity\r\ncontent-length: %d\r\n\r\n" % len(body),
                body,
            )
        )


def _block(headers: Headers) -> bytes:
    """The fields that are the caller's business, each with its line end."""
    lines = []
    tokens = True
    for field in headers:
        if field[0] not in _TOKENS:
            if field[0] in _OURS:
                continue
            tokens = False
        lines.append(b": ".join(field))
    controls = 2 * len(lines)
    lines.append(b"")
    block = b"\r\n".join(lines)
    # Where every name is known to be a token, what is left to see is that the only control characters are the line ends set here.
    if tokens:
        sound = len(block.translate(_AS_LINE_ENDS).splitlines()) == controls
    else:
        sound = _FIELDS.fullmatch(block) is not None and 2 * block.count(b"\n") == controls
    if not sound:
        raise _unsendable("a request header's name is not a token, or its value holds a control character")
    return block


def _method(name: str) -> bytes:
    method = name.encode("ascii", "replace")
    if _TOKEN.fullmatch(method) is None or method == b"CONNECT":
        raise _unsendable("the request's method cannot be sent")
    return method


def place(server: Server) -> Place:
    """Where `server.url` points. Raises UpstreamError (UPSTREAM_UNREACHABLE, not sent) where that is nowhere we can go."""
    if server.url.startswith("unix:"):
        path, _, target = server.url.removeprefix("unix:").partition(":/")
        return Place(
            host="localhost", port=0, socket_path=path, target=_visible("/" + target), authority=b"localhost", tls=None
        )
    try:
        url = urlsplit(server.url)
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise _nowhere(server) from error
    if url.scheme not in ("http", "https") or not host or "@" in url.netloc:
        raise _nowhere(server)
    tls = None
    if url.scheme == "https":
        tls = TlsIdentity(server.ca_file, server.client_certificate, server.client_key)
    return Place(
        host=host,
        port=port or (443 if tls else 80),
        socket_path=None,
        target=_visible((url.path or "/") + (f"?{url.query}" if url.query else "")),
        authority=_visible(url.netloc.lower()),
        tls=tls,
    )


def _visible(text: str) -> bytes:
    if not all("!" <= char <= "~" for char in text):
        raise UpstreamError(Reason.UPSTREAM_UNREACHABLE, "the server's URL is not plain ASCII", sent=False)
    return text.encode("ascii")


def _nowhere(server: Server) -> UpstreamError:
    return UpstreamError(Reason.UPSTREAM_UNREACHABLE, f"the URL of server {server.name} cannot be used", sent=False)


def _unsendable(words: str) -> UpstreamError:
    return UpstreamError(Reason.INTERNAL, words, sent=False)
