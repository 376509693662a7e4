"""The meter's room: it holds the latest totals and shows them at `/metrics`. No key, no database, no path into `data_dir`, no message of anybody's.

Deny by default: on loopback and on a Unix socket whoever can connect may read; elsewhere it listens with TLS and demands a token.
"""

import asyncio
import hmac
import ipaddress
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gatebook.model.counting import Report, Sample
from gatebook.model.deployment import Metrics
from gatebook.model.errors import UpstreamError
from gatebook.model.spans import Span
from gatebook.ports import Credentials
from gatebook.serve.asgi_server import Server, prepared
from gatebook.serve.control import Channel, Counted, Drain, FromRoom, MeterStart, Told, ToRoom, Totals, ready
from gatebook.serve.diagnostics import say
from gatebook.serve.metering import reporting
from gatebook.serve.metering.rendering import render

STALE_S = 10.0
"""A supervisor that says nothing for so long is not well, and old numbers would hide it: a scrape fails then."""
_NOT_YET = PlainTextResponse("no totals from the supervisor\n", 503)


class Spans(Protocol):
    """Takes spans on; see `exporting.Exporter`."""

    sent: int
    dropped: int

    def take(self, spans: Iterable[Span]) -> None: ...

    async def run(self) -> None: ...


class Meter:
    """The life of one meter."""

    def __init__(
        self, start: MeterStart, channel: Channel[ToRoom, FromRoom], credentials: Credentials, spans: Spans | None
    ) -> None:
        """`spans`: what takes them on; None where nobody traces."""
        self._metrics = start.metrics
        self._sockets = start.sockets
        self._channel = channel
        self._credentials = credentials
        self._spans = spans
        self._reports: Mapping[str, Report] = {}
        self._heard_at = float("-inf")

    async def run(self) -> None:
        """Serve until told to drain, or until the supervisor is gone. Raises ConfigurationError, UpstreamError where certificate or token cannot be used."""
        self._token()
        server = self._server(self._metrics) if self._metrics is not None else None
        listening = [socket.socket(fileno=fd) for fd in self._sockets]
        sending = asyncio.create_task(self._spans.run()) if self._spans is not None else None
        self._channel.send(ready())
        serving: asyncio.Task[None] | None = None
        while not isinstance(message := await self._channel.receive(), Drain | None):
            match message:
                case Totals(reports=reports):
                    self._reports, self._heard_at = reports, time.monotonic()
                    self._channel.send(Counted(report=Report(tuple(self._samples()))))
                    # Not before: who connects while there is nothing to show waits for it.
                    if serving is None and server is not None:
                        serving = asyncio.create_task(server.serve(listening))
                case Told(spans=spans) if self._spans is not None:
                    self._spans.take(spans)
                case _:
                    say("control.unexpected", message=type(message).__name__)
        if sending is not None:
            sending.cancel()
        if serving is not None and server is not None:
            server.should_exit = True
            await serving

    def _samples(self) -> Iterator[Sample]:
        yield from reporting.process()
        if self._spans is not None:
            yield Sample("gatebook_spans_sent", (), self._spans.sent)
            yield Sample("gatebook_spans_dropped", (), self._spans.dropped)

    def _server(self, metrics: Metrics) -> Server:
        return prepared(
            self.app(),
            http="h11",
            keep_alive_s=75,
            finish_s=2,
            connections=32,
            head_bytes=16 << 10,
            tls=(metrics.tls_certificate, metrics.tls_key),
            where="metrics.tls",
        )

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/metrics", self._show, methods=["GET"])])

    async def _show(self, request: Request) -> Response:
        if not self._admitted(request.headers):
            return Response(status_code=401, headers={"www-authenticate": "Bearer"})
        if time.monotonic() - self._heard_at > STALE_S:
            return _NOT_YET
        content_type, body = render(self._reports, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})

    def _admitted(self, headers: Mapping[str, str]) -> bool:
        """With the token, where one is configured. Without: only under a name that no other machine's name service can give to this one,
        or a web page could read along."""
        try:
            token = self._token()
        except UpstreamError:
            return False  # it was there at the start, and somebody took it away: nobody is let in
        if token is None:
            return _names_this_machine(headers.get("host", ""))
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return (
            bool(token) and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), token)
        )

    def _token(self) -> bytes | None:
        """As it is now: a file that changes is read again. Raises UpstreamError(CREDENTIAL_UNAVAILABLE)."""
        reference = self._metrics.token if self._metrics is not None else None
        return None if reference is None else self._credentials.resolve(reference).reveal()


def _names_this_machine(host: str) -> bool:
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name in ("", "localhost", "[::1]"):
        return True
    try:
        return ipaddress.IPv4Address(name).is_loopback
    except ValueError:
        return False  # also 127.example.com, which its owner lets lead here
