"""The gate's listening side: sockets, TLS, and the protocol that answers on them."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError
from gatebook.model.http import Arrival, Reply
from gatebook.serve.connection import (
    INTERNAL,
    Answering,
    HttpProtocol,
    LastResort,
    UnreadableSeen,
)
from gatebook.serve.forwarded import networks
from gatebook.serve.handshaking import TlsListener
from gatebook.serve.registry import Admitted, ConnectionRegistry

_BACKLOG = 1024
SETTLE_S = 1.0
"""So long after the last was accepted, every connection is known."""


MakeProtocol = Callable[[Admitted | None], HttpProtocol]
"""The argument is the TLS handshake that the connection began with."""


class Listener(Protocol):
    def close(self) -> None:
        """Nobody is accepted any more. Idempotent."""


async def _say_nothing(arrival: Arrival, failure: BaseException) -> Reply:
    return INTERNAL


class HttpServer:
    """All listeners of one worker: `answer` for every request, `unreadable` for what never became one.

    Limits, trusted proxies and the certificate's path are those of `deployment`. Without `last_resort`, what escapes `answer` becomes
    a plain 500."""

    def __init__(
        self,
        answer: Answering,
        unreadable: UnreadableSeen,
        deployment: Deployment,
        *,
        last_resort: LastResort = _say_nothing,
    ) -> None:
        self._answer = answer
        self._unreadable = unreadable
        self._last_resort = last_resort
        self._deployment = deployment
        self._trusted = networks(deployment.trusted_proxies)
        self._tls: ssl.SSLContext | None = None
        self._servers: list[Listener] = []
        self.connections = ConnectionRegistry(deployment.limits)

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Every socket is being served, with TLS where the deployment has a certificate. Raises ConfigurationError for a bad one."""
        if self._deployment.tls_certificate is not None:
            self._tls = tls_context(self._deployment.tls_certificate, self._deployment.tls_key or "")
        handshake_s = self._deployment.limits.header_s
        for sock in sockets:
            self._servers.append(
                await listen(sock, self._tls, self._protocol, self.connections, handshake_s=handshake_s)
            )

    def reload_certificates(self) -> None:
        """New handshakes use the certificate and key as the files are now. Raises ConfigurationError: then the old ones stay."""
        if self._tls is not None and self._deployment.tls_certificate is not None:
            reload(self._tls, self._deployment.tls_certificate, self._deployment.tls_key or "")

    async def leave(self, deadline_s: float) -> None:
        """Nothing listens here any more; whoever was connected has had one more answer, or has said nothing until its time was up. Returns
        earlier when everybody has gone, and at `deadline_s` in any case.

        A connection that is closed while a request is on its way loses it, and HTTP/1.1 knows no other goodbye than the one with an answer. So
        a quiet connection is closed by nothing but `limits.idle_s`, as ever."""
        self._stop_listening()
        self.connections.leaving = True
        await self.connections.emptied(SETTLE_S, deadline_s)

    async def drain(self, deadline_s: float) -> int:
        """Nothing listens any more and every connection is closed; see ConnectionRegistry.drain."""
        self._stop_listening()
        return await self.connections.drain(deadline_s)

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _protocol(self, handshake: Admitted | None) -> HttpProtocol:
        return HttpProtocol(
            self._answer,
            self._deployment.limits,
            self.connections,
            unreadable=self._unreadable,
            last_resort=self._last_resort,
            trusted_proxies=self._trusted,
            handshake=handshake,
        )


async def listen(
    sock: socket.socket,
    tls: ssl.SSLContext | None,
    protocol: MakeProtocol,
    connections: ConnectionRegistry,
    *,
    handshake_s: float = 10.0,
) -> Listener:
    """Connections to `sock` (TCP or Unix, bound) are being served. The listener owns the socket from now on.

    `handshake_s`: how long a client may take for its TLS handshake; meanwhile it counts among `connections`."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        # An accepted socket inherits the option: every answer leaves when it is written.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        return TlsListener(sock, tls, protocol, connections, backlog=_BACKLOG, handshake_s=handshake_s)
    make = partial(protocol, None)
    if sock.family == socket.AF_UNIX:
        return await loop.create_unix_server(make, sock=sock, backlog=_BACKLOG)
    return await loop.create_server(make, sock=sock, backlog=_BACKLOG)


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """A server context: TLS 1.2 or later, HTTP/1.1 only by ALPN. `certificate`: the chain, leaf first; both are PEM files.

    Raises ConfigurationError where the files are missing, unreadable, encrypted or do not belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _load(context, certificate, key)
    return context


def reload(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """New handshakes use the files as they are now; open connections keep what they have.

    Raises ConfigurationError, and then the context is unchanged."""
    # Tried elsewhere first: a certificate without its key would leave the live context unable to answer anyone.
    tls_context(certificate, key)
    _load(context, certificate, key)


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    def no_password() -> str:
        raise ValueError("the key is encrypted")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except (OSError, ValueError) as error:
        raise ConfigurationError((f"TLS certificate {certificate} with key {key}: {error}",)) from error
