"""TLS handshakes of clients: from its first packet on, each has a place among the connections, and makes room as one.

A handshake that waits costs some 50 KB and a descriptor, more than its connection does afterwards, and whoever began it has not said yet what they
want. The loops' own servers tell nobody of it before it is done; so here connections are accepted by hand, and of one source at most a share of all
that there may be shake hands at a time: to turn one away costs next to nothing, to begin with it does not.
"""

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from gatebook.model.source import source_of
from gatebook.serve.diagnostics import say
from gatebook.serve.registry import Admitted, ConnectionRegistry

AT_ONCE = 16
"""Accepted before others have a turn."""
PAUSE_S = 1.0
"""How long nobody is accepted where there is no descriptor left."""

SHARE = 8
"""Of one source one in so many of `limits.connections` may be handshakes."""

MakeProtocol = Callable[[Admitted], asyncio.Protocol]
"""What speaks on the connection; the argument's place is its own when it begins."""


class Handshake:
    """One client's, for a ConnectionRegistry."""

    def __init__(self, peer: str, within_s: float) -> None:
        self.charged = 0
        self.waiting_since: float | None = None
        self.source = source_of(peer)
        self.ends_at: float | None = time.monotonic() + within_s
        self.task: asyncio.Task[None] | None = None

    def look_at_clock(self, now: float) -> None:
        """It has a clock of its own."""

    def drain(self) -> None:
        self.cut()  # nobody has asked for anything here

    def cut(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def give_up(self) -> None:
        self.cut()

    def give_way(self) -> None:
        """It holds nothing that is counted."""


class TlsListener:
    """Listens on `sock`, which is its own, until it is closed; handshakes that have begun go on."""

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLContext,
        protocol: MakeProtocol,
        connections: ConnectionRegistry,
        *,
        backlog: int,
        handshake_s: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._tls = tls
        self._protocol = protocol
        self._connections = connections
        self._handshake_s = handshake_s
        self._handshakes: set[asyncio.Task[None]] = set()
        self._most = max(1, connections.limits.connections // SHARE)
        self._shaking: Counter[str] = Counter()
        """Handshakes under way, by source."""
        self._closed = False
        sock.listen(backlog)
        self._look()

    def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _look(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as failure:
                say("listener.paused", why=failure.strerror)
                self._loop.remove_reader(self._sock.fileno())
                self._loop.call_later(PAUSE_S, self._look)
                return
            sock.setblocking(False)
            handshake = Handshake(address[0] if isinstance(address, tuple) else "unix", self._handshake_s)
            if self._shaking[handshake.source] >= self._most:
                self._connections.turned_away += 1
                sock.close()
                continue
            if not self._connections.seat(handshake):
                sock.close()
                continue
            self._shaking[handshake.source] += 1
            handshake.task = task = self._loop.create_task(self._shake(sock, handshake))
            self._handshakes.add(task)
            task.add_done_callback(partial(self._over, handshake, sock))

    def _over(self, handshake: Handshake, sock: socket.socket, task: asyncio.Task[None]) -> None:
        # Here and not in the task: one that is cancelled before its first step never comes to its end.
        self._handshakes.discard(task)
        self._connections.connections.discard(handshake)
        if task.cancelled():
            sock.close()
        source = handshake.source
        self._shaking[source] -= 1
        if not self._shaking[source]:
            del self._shaking[source]

    async def _shake(self, sock: socket.socket, handshake: Handshake) -> None:
        """What speaks on the connection has been told that it is made, or the connection is closed."""
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._protocol(handshake), sock, ssl=self._tls, ssl_handshake_timeout=self._handshake_s
            )
        except OSError:  # what TLS and time-outs raise, too
            sock.close()
