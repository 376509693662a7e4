"""Upstreams over HTTP/1.1: own keep-alive pools, one request at a time per connection, nothing ever sent twice.

The path of a request: `HttpUpstreams.send` → `place` (its bytes) → `pool` (a connection) → `connection` (sent, and the answer read).
"""

import asyncio

from gatebook.adapters.upstream_http.place import place
from gatebook.adapters.upstream_http.pool import Pool
from gatebook.adapters.upstream_http.response import HttpResponse
from gatebook.model.deployment import Limits, Server
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import UpstreamRequest
from gatebook.ports import Receipt

__all__ = ["HttpResponse", "HttpUpstreams"]


class HttpUpstreams:
    """ports.Upstreams over HTTP/1.1. One per worker, made and used on its event loop; `close` it at the end.

    Of `limits` it uses `upstream_connect_s` (also the wait for a free connection) and `header_bytes`. No pool waits for another: an
    upstream that stalls keeps its own connections and callers, no more."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pools: dict[tuple[str, str | None, str | None, str | None], Pool] = {}
        self._latest: Server | None = None
        self._latest_pool: Pool
        self._closed = False

    async def send(
        self, receipt: Receipt, server: Server, request: UpstreamRequest, *, first_byte_s: float, idle_s: float
    ) -> HttpResponse:
        """See ports.Upstreams.send. Besides: OVERLOADED (not sent) where no connection came free, DRAINING (not sent) after `close`.

        Sent are the headers given, but for those that frame or route a message: Host, Content-Length and `Accept-Encoding: identity`
        are ours. INTERNAL (not sent) where a header could not be sent without beginning another."""
        if self._closed:
            raise UpstreamError(Reason.DRAINING, "the gate is closing", sent=False)
        pool = self._latest_pool if server is self._latest else self._pool(server)
        message = pool.place.message(request)
        connection = pool.take_idle() or await pool.checkout()
        response = connection.ask(message, request.method, first_byte_s, idle_s)
        # Waited for here and not a call further down: each call that waits is gone through once more when it is woken.
        try:
            while not response.begun and response.failure is None:
                await response.changed()
            if not response.judged and (failure := response.unusable()) is not None:
                raise failure
        except BaseException:
            connection.abort()
            raise
        connection.clock.at = None
        return response

    async def close(self) -> None:
        """Every connection is closed; answers still being read are cut. Idempotent."""
        self._closed = True
        for pool in self._pools.values():
            pool.close()
        await asyncio.sleep(0)

    def _pool(self, server: Server) -> Pool:
        # Server itself has no hash; and a change of anything else about it is no reason for new connections.
        key = (server.url, server.ca_file, server.client_certificate, server.client_key)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(place(server), self._limits)
        self._latest, self._latest_pool = server, pool
        return pool
