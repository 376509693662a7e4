"""The connections to one upstream: which is free, how many there may be, and how a new one is made."""

import asyncio
import ssl
from collections import deque
from typing import cast

from gatebook.adapters.upstream_http.connection import HEADS_KEPT, Connection
from gatebook.adapters.upstream_http.place import Place
from gatebook.adapters.upstream_http.response import KnownHead
from gatebook.model.bounded import Bounded
from gatebook.model.deployment import Limits
from gatebook.model.errors import Reason, UpstreamError

CONNECTIONS = 256
"""Connections to one upstream, per worker."""


class Pool:
    """The connections to one upstream under one TLS identity. Nothing here is shared with another upstream."""

    def __init__(self, place: Place, limits: Limits) -> None:
        self.place = place
        self.heads = Bounded[bytes, KnownHead](HEADS_KEPT)
        self._limits = limits
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._resolving: asyncio.Task[list[str]] | None = None

    async def checkout(self) -> Connection:
        """A connection on which nothing is under way and, as far as can be known, nothing has ended. Raises UpstreamError, not sent."""
        return self.take_idle() or await self._wait_for_idle() or await self._connect()

    def take_idle(self) -> Connection | None:
        """What `checkout` returns where it need not wait; None where it must."""
        while self._idle:
            # The one used last: the others may then grow old and go.
            connection = self._idle.pop()
            if connection.fresh():
                return connection
            connection.abort()
        return None

    async def _wait_for_idle(self) -> Connection | None:
        """A connection that came free; None where there is room for a new one."""
        if len(self._open) + self._connecting < CONNECTIONS:
            return None
        try:
            async with asyncio.timeout(self._limits.upstream_connect_s):
                while len(self._open) + self._connecting >= CONNECTIONS:
                    await self._woken()
                    connection = self.take_idle()
                    if connection is not None:
                        return connection
        except TimeoutError as error:
            raise UpstreamError(Reason.OVERLOADED, "too many calls to this server are under way", sent=False) from error
        return None

    async def _woken(self) -> None:
        """A connection came free or was closed. Others may be quicker: look again."""
        woken = asyncio.get_running_loop().create_future()
        self._waiting.append(woken)
        try:
            await woken
        except asyncio.CancelledError:
            if woken.cancelled():
                self._waiting.remove(woken)
            else:
                self._wake_one()  # Woken and cancelled at once: the turn is the next one's.
            raise

    def _wake_one(self) -> None:
        while self._waiting:
            woken = self._waiting.popleft()
            if not woken.done():
                woken.set_result(None)
                return

    # What a connection tells its pool

    def opened(self, connection: Connection) -> None:
        """It exists and is being used."""
        self._open.add(connection)

    def put_back(self, connection: Connection) -> None:
        """It may carry another request."""
        self._idle.append(connection)
        if self._waiting:
            self._wake_one()

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake_one()

    def close(self) -> None:
        """Every connection is being closed."""
        if self._resolving is not None:
            self._resolving.cancel()
        for connection in tuple(self._open):
            connection.abort()

    # New connections

    async def _connect(self) -> Connection:
        self._connecting += 1
        try:
            async with asyncio.timeout(self._limits.upstream_connect_s):
                return await self._reach()
        except (
            OSError,
            ValueError,
        ) as error:  # among them TimeoutError, ssl.SSLError, a bad certificate and a missing file
            self._wake_one()
            raise UpstreamError(Reason.UPSTREAM_UNREACHABLE, _why(error), sent=False) from error
        except asyncio.CancelledError:
            self._wake_one()
            raise
        finally:
            self._connecting -= 1

    async def _reach(self) -> Connection:
        place = self.place
        if place.socket_path is not None:
            return await self._open_one(place.socket_path, None)
        context = None if place.tls is None else await place.tls.context()
        addresses = await self._addresses()
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                # Each address gets its share: a first one that swallows packets must not use up the second one's time.
                async with asyncio.timeout(self._limits.upstream_connect_s / left):
                    return await self._open_one(address, context)
            except OSError:
                if left == 1:
                    raise
        raise OSError("the server's name has no address")

    async def _open_one(self, address: str, context: ssl.SSLContext | None) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(self, self._limits.header_bytes)
        try:
            if self.place.socket_path is not None:
                await loop.create_unix_connection(lambda: connection, address)
            else:
                name = self.place.host if context else None
                await loop.create_connection(
                    lambda: connection, address, self.place.port, ssl=context, server_hostname=name
                )
        except BaseException:
            connection.abort()  # It may have been made in the very moment in which we gave up.
            raise
        return connection

    async def _addresses(self) -> list[str]:
        # One look-up at a time: a resolver that hangs must not use up the threads that other upstreams' look-ups need.
        if self._resolving is None:
            self._resolving = asyncio.create_task(self._resolve())
            self._resolving.add_done_callback(self._resolved)
        resolving = self._resolving
        try:
            return await asyncio.shield(resolving)
        except asyncio.CancelledError:
            if resolving.cancelled():
                raise OSError("the gate is closing") from None
            raise

    async def _resolve(self) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.place.host, self.place.port, type=1)  # 1: SOCK_STREAM
        return [cast(str, info[4][0]) for info in found]

    def _resolved(self, task: "asyncio.Task[list[str]]") -> None:
        self._resolving = None
        if not task.cancelled():
            task.exception()  # Whoever waited has it; if nobody did, nobody needs it.


def _why(error: OSError | ValueError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is not accepted: {error.verify_message}"
        case ssl.SSLError():
            return f"no TLS connection: {error.reason}"
        case TimeoutError():
            return "no connection in time"
        case OSError():
            return f"no connection: {error.strerror or type(error).__name__}"
        case _:
            return f"no connection: {type(error).__name__}"
