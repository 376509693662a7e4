"""The desk's listener: an end to every connection, certificates that change, and the socket."""

import asyncio
import logging
import socket
from typing import Any

import h11
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from gatebook.model.deployment import Desk
from gatebook.model.errors import ConfigurationError
from gatebook.model.source import source_of
from gatebook.serve import asgi_server
from gatebook.serve.asgi_server import Server
from gatebook.serve.crowding import who_goes
from gatebook.serve.http import reload

CONNECTION_S = 60.0
"""A connection's longest life; of one with a request under way, twice that. The desk's answers are short, so whoever needs longer sends or reads on
purpose slowly."""
CONNECTIONS = 512


class Bounded(H11Protocol):
    """uvicorn bounds the pause between two requests, but neither a head that trickles nor a connection that never asks. And where too many are
    connected it refuses them all."""

    life_s = CONNECTION_S
    most = CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end_of_life = self.loop.call_later(self.life_s, self._grow_old)
        self.source = "unix" if self.client is None else source_of(self.client[0])
        if len(self.connections) > self.most:
            others = [each for each in self.connections if isinstance(each, Bounded) and each is not self]
            for each in who_goes(others, self.source) or [self]:
                self.connections.discard(each)  # those that come next find room already
                each.transport.abort()

    @property
    def ends_at(self) -> float | None:
        """When it is over, if nothing comes; None while a request that is here is being answered."""
        cycle: Any = self.cycle
        waits = cycle is None or cycle.response_complete or self.conn.their_state is h11.SEND_BODY
        return self._end_of_life.when() if waits else None

    def _grow_old(self) -> None:
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        if cycle is None or cycle.response_complete:
            self.transport.abort()
            return
        # What is under way is answered first: a refresh token that was made and did not arrive is lost to its owner.
        cycle.keep_alive = False
        self._end_of_life = self.loop.call_later(self.life_s, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_of_life.cancel()
        super().connection_lost(exc)


def prepared(app: ASGIApp, desk: Desk) -> Server:
    """A server for `app`, not started. Raises ConfigurationError where the certificate cannot be used."""
    logging.getLogger("authlib").disabled = True  # what the desk has to say, it says by itself
    return asgi_server.prepared(
        app,
        http=Bounded,
        keep_alive_s=10,
        finish_s=5,
        connections=CONNECTIONS + 1,  # so it is never uvicorn that refuses: it would refuse everybody
        head_bytes=32 << 10,
        tls=(desk.tls_certificate, desk.tls_key),
        where="desk.tls",
    )


def reload_certificate(server: Server, desk: Desk) -> None:
    """New handshakes use the files of `desk.tls` as they are now. Raises ConfigurationError: then the old ones stay."""
    context = server.config.ssl
    if context is None or desk.tls_certificate is None or desk.tls_key is None:
        return
    reload(context, desk.tls_certificate, desk.tls_key)


def bound(address: str) -> socket.socket:
    """A socket that is ours, not yet listening. Raises ConfigurationError."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host.strip("[]"), int(port)))
        sock.setblocking(False)
    except (OSError, ValueError) as failure:
        sock.close()
        raise ConfigurationError((f"desk.listen {address}: {failure}; is another program using it?",)) from failure
    return sock
