"""The gate, one worker: a process with listening sockets, one segment of the book and no key that signs.

The supervisor starts it, gives it a `WorkerStart` on stdin and talks to it over an inherited descriptor (`control`).
"""

import asyncio
import gc
import socket
from asyncio import FIRST_COMPLETED
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gatebook import masking
from gatebook.gate import drafting
from gatebook.gate.exchange import exchange
from gatebook.gate.handles import SessionHandles
from gatebook.gate.leaving import Gone
from gatebook.gate.turns import AT_ONCE, Turns
from gatebook.gate.world import Live, Standing, Traced, World
from gatebook.masking import MaskingFailed
from gatebook.model.counting import Entries, Report, Sample
from gatebook.model.deployment import Snapshot, Trust
from gatebook.model.errors import ConfigurationError, LedgerUnavailable, Reason
from gatebook.model.http import Answer, Arrival, Headers
from gatebook.model.spans import Span
from gatebook.ports import Clock, Credentials, Ledger, SessionBook, Upstreams
from gatebook.serve import keys
from gatebook.serve.control import (
    Activate,
    Adopt,
    Adopted,
    Channel,
    Counted,
    Drain,
    Failed,
    FromRoom,
    KeysWanted,
    Leave,
    Listening,
    Prepare,
    Prepared,
    Refuse,
    Tell,
    Told,
    ToRoom,
    Unprepared,
    WorkerStart,
    ready,
)
from gatebook.serve.diagnostics import say, say_bug
from gatebook.serve.holding import holdings
from gatebook.serve.http import HttpServer
from gatebook.serve.metering import reporting

PERIOD_S = 1.0
MOST_SPANS = 1000
"""Told in one period; what callers want traced beyond that is dropped, and counted."""
COLLECT_AFTER = (20_000, 20, 100)
"""A call makes hundreds of objects and no cycle that lives: looking for some after every 700 objects took a tenth of its time."""
ORPHANED_S = 1.0
"""What calls under way get when the supervisor is gone: its successor may be starting already, under another configuration."""
LATE_S = 2.0
"""How late a connection's clock may be looked at, and some."""
SETTLE_S = 2.0
"""What the answers of calls that were broken off get to leave."""


class WatchedLedger(Ledger, Protocol):
    entries: Entries

    @property
    def failed(self) -> str | None:
        """Why nothing can be written any more; None while all is well."""


class ClosingUpstreams(Upstreams, Protocol):
    async def close(self) -> None:
        """Every call under way ends as if its server had broken off. Idempotent."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The outside world of one worker, as `wiring` made it."""

    clock: Clock
    ledger: WatchedLedger
    upstreams: ClosingUpstreams
    credentials: Credentials
    sessions: SessionBook
    random: Callable[[int], bytes]


class Worker:
    """One worker's life: prepare, activate, serve, refuse, drain."""

    def __init__(self, start: WorkerStart, channel: Channel[ToRoom, FromRoom], ports: Ports) -> None:
        self._start = start
        self._channel = channel
        self._ports = ports
        self._standing: Standing | None = None
        self._prepared: Standing | None = None
        self._trust: Trust | None = None
        self._cutting: set[asyncio.Future[None]] = set()
        self._verified = 0
        self._refusing: set[str] = set()
        self._spans: list[Span] = []
        self._spans_dropped = 0
        self._draining = False
        self._streams: set[asyncio.Task[None]] = set()
        self._certificates: object = None
        self._keys_wanted: set[str] = set()
        traces = start.deployment.traces
        self._world = World(
            clock=ports.clock,
            ledger=ports.ledger,
            upstreams=ports.upstreams,
            credentials=ports.credentials,
            sessions=ports.sessions,
            handles=SessionHandles(keys.session_key(start.deployment)),
            fingerprint=keys.fingerprint_key(start.deployment),
            standing=self._current,
            keys_wanted=self._want_keys,
            trust=lambda: self._trust,
            closed=self._closed,
            random=ports.random,
            report_bug=say_bug,
            traced=None if traces is None else Traced(share=traces.share, tell=self._span),
            turns=Turns(ThreadPoolExecutor(AT_ONCE, thread_name_prefix="large-body")),
        )
        self._server = HttpServer(self._answer, self._unreadable, start.deployment)

    async def run(self) -> None:
        """Serve until told to drain, or until the supervisor is gone. Everything that was answered is in the book when it returns."""
        try:
            masking.self_test()
        except MaskingFailed as failure:
            say("masking.failed", why=str(failure))
            raise
        self._channel.send(ready())
        periodic = asyncio.create_task(self._every_period())
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        await self._drain(await self._over())
        periodic.cancel()
        await self._record_attempts(all_windows=True)
        self._report()

    async def _over(self) -> float:
        """Told to drain, without a supervisor, or left by everybody after a Leave: how long calls under way then still get."""
        finish_s = ORPHANED_S
        leaving: asyncio.Future[None] | None = None
        hearing = asyncio.ensure_future(self._channel.receive())
        while True:
            waiting: set[asyncio.Future[Any]] = {hearing} if leaving is None else {hearing, leaving}
            await asyncio.wait(waiting, return_when=FIRST_COMPLETED)
            if not hearing.done():
                hearing.cancel()
                return finish_s
            match hearing.result():
                case None:
                    return ORPHANED_S
                case Drain(within_s=within_s):
                    return within_s
                case Leave() as leave:
                    finish_s = leave.finish_s
                    leaving = leaving or asyncio.ensure_future(self._leave())
                case message:
                    # Also while it leaves: what is revoked meanwhile is revoked here too.
                    await self._obey(message)
            hearing = asyncio.ensure_future(self._channel.receive())

    async def _leave(self) -> None:
        """Whoever was connected has had one more answer, or kept quiet until its time was up. Streams without an end are ended at once: their
        readers open them again, at the successor."""
        for stream in tuple(self._world.streams):
            if stream.endless:
                self._cut(stream, Reason.DRAINING)
        await self._server.leave(self._start.deployment.limits.idle_s + LATE_S)

    async def _drain(self, within_s: float) -> None:
        """Every call has its answer and its record, every stream its end, and nobody is connected. The order matters; steps:"""
        exchanges = self._server.connections.exchanges
        # 1. New calls are answered 503, and so is /readyz: whoever balances the load sees it before connections are refused.
        self._draining = True
        deadline = asyncio.get_running_loop().time() + within_s
        # 2. Calls under way end. Nobody waits for a stream that ends only with its reader. Polled, once in a worker's life.
        while (exchanges - self._streams) and (left := deadline - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(0.02, left))
        # 3. Calls that have not ended are broken off at the server's side: so they are answered and recorded like any broken call.
        if exchanges - self._streams:
            await self._ports.upstreams.close()
        # 4. Answers leave, streams are closed with their records, and so is every connection.
        await self._server.drain(SETTLE_S if exchanges - self._streams else 0.0)

    async def _obey(self, message: ToRoom) -> None:
        match message:
            case Prepare(snapshot=snapshot):
                self._prepare(snapshot)
            case Activate(number=number):
                await self._activate(number)
            case Adopt(trust=trust):
                self._adopt(trust)
            case Refuse(on=on, why=why, cause=cause):
                before = self._refusing
                self._refusing = before | {cause} if on else before - {cause}
                # Whoever follows a supervisor tells us how it stands, also where we know.
                if self._refusing != before:
                    say("worker.refusing" if on else "worker.serving", why=why)
            case Tell():
                self._tell()
            case _:
                say("control.unexpected", message=type(message).__name__)

    def _adopt(self, trust: Trust) -> None:
        """Calls that come are refused from this line on; streams that are open under a revoked login end."""
        self._trust = trust
        self._channel.send(Adopted(number=trust.number))
        for sid in trust.revoked & self._world.live.keys():
            for stream in tuple(self._world.live[sid]):
                self._cut(stream, Reason.LOGIN_REVOKED)

    def _cut_outlived(self) -> None:
        """Streams end that may not go on by what is in force now: a token that is over, a role that was taken away."""
        if self._standing is None:
            return
        now_s = self._ports.clock.now().unix_s
        for stream in tuple(self._world.streams):
            if (reason := stream.outlived(self._standing, self._trust, now_s)) is not None:
                self._cut(stream, reason)

    def _cut(self, stream: Live, reason: Reason) -> None:
        cutting = asyncio.ensure_future(stream.cut(reason))
        self._cutting.add(cutting)
        cutting.add_done_callback(self._cutting.discard)

    def _tell(self) -> None:
        connections = self._server.connections
        say(
            "room.holds",
            room=f"gate-{self._start.slot}",
            **holdings(),
            connections=len(connections.connections),
            exchanges=len(connections.exchanges),
            streams=len(self._streams),
            buffered_bytes=connections.buffered_bytes,
            callers=len(self._world.running),
            tokens=len(self._standing.verifier) if self._standing is not None else 0,
        )

    def _prepare(self, snapshot: Snapshot) -> None:
        try:
            self._prepared = Standing.of(snapshot)
        except Exception as failure:
            say_bug("preparing a snapshot", failure)
            self._channel.send(Unprepared(number=snapshot.number, why=type(failure).__name__))
        else:
            self._channel.send(Prepared(number=snapshot.number))

    async def _activate(self, number: int) -> None:
        if self._prepared is None or self._prepared.snapshot.number != number:
            return
        first = self._standing is None
        self._verified += self._standing.verifier.verified if self._standing is not None else 0
        self._standing, self._prepared = self._prepared, None
        if first:
            self._certificates = self._certificates_now()
            await self._server.listen([socket.socket(fileno=fd) for fd in self._start.sockets])
            self._channel.send(Listening())

    def _reload_certificates(self) -> None:
        """New handshakes use the files as they are; files that do not belong together (one is replaced before the other) change nothing."""
        if self._standing is None:
            return  # it does not listen yet
        now = self._certificates_now()
        if now == self._certificates:
            return
        self._certificates = now
        try:
            self._server.reload_certificates()
        except ConfigurationError as refused:
            say("certificate.refused", why=str(refused))
        else:
            say("certificate.loaded")

    def _certificates_now(self) -> object:
        """What changes when one of the files does; None while one is missing."""
        deployment = self._start.deployment
        paths = [path for path in (deployment.tls_certificate, deployment.tls_key) if path is not None]
        try:
            found = [Path(path).stat() for path in paths]
        except OSError:
            return None
        return [(file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size) for file in found]

    def _want_keys(self, issuer: str) -> None:
        """At most one message per issuer and period: whoever floods the gate with unknown key ids does not flood the desk."""
        if issuer not in self._keys_wanted:
            self._keys_wanted.add(issuer)
            self._channel.send(KeysWanted(issuer=issuer))

    def _current(self) -> Standing:
        if self._standing is None:
            raise RuntimeError("a worker listens only after its first snapshot")
        return self._standing

    def _closed(self) -> Reason | None:
        """Why nothing is let through at the moment; None where calls are."""
        if self._draining:
            return Reason.DRAINING
        if "unsealed" in self._refusing or self._ports.ledger.failed is not None:
            return Reason.LEDGER_UNAVAILABLE
        if "disk" in self._refusing:
            return Reason.DISK_SHORT
        return None

    def _answer(self, arrival: Arrival, gone: Gone) -> Coroutine[Any, Any, Answer]:
        """In the task of the request. No coroutine of its own: every step of every call would go through it."""
        if _asks_for_a_stream(arrival) and (task := asyncio.current_task()) is not None:
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)
        return exchange(arrival, gone, self._world)

    async def _unreadable(self, client_ip: str, reason: Reason) -> None:
        """A request that never became an Arrival: counted like a failed authentication, since nobody knows who sent it."""
        nobody = Arrival(method="UNREADABLE", target=b"", headers=(), body=b"", client_ip=client_ip)
        draft = drafting.unauthenticated(nobody, None, reason)
        for due in self._world.attempts.count(draft, self._ports.clock.now().unix_us):
            await self._ports.ledger.record(due)

    async def _every_period(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            self._keys_wanted.clear()
            self._reload_certificates()
            self._cut_outlived()
            await self._record_attempts()
            self._report()
            if self._ports.ledger.failed is not None:
                self._channel.send(Failed(why=self._ports.ledger.failed))
                return

    def _span(self, span: Span) -> None:
        if len(self._spans) < MOST_SPANS:
            self._spans.append(span)
        else:
            self._spans_dropped += 1

    def _report(self) -> None:
        if self._spans:
            self._channel.send(Told(spans=tuple(self._spans)))
            self._spans.clear()
        if self._start.deployment.metrics is not None:
            spreads = (*reporting.times(self._world.times), reporting.commits(self._ports.ledger.entries))
            self._channel.send(Counted(report=Report(tuple(self._samples()), spreads)))

    def _samples(self) -> Iterator[Sample]:
        connections, now = self._server.connections, self._ports.clock.now()
        verifier = self._standing.verifier if self._standing is not None else None
        yield from reporting.process()
        yield from reporting.entries(self._ports.ledger.entries)
        yield Sample(
            "gatebook_tokens_verified", (), self._verified + (verifier.verified if verifier is not None else 0)
        )
        yield Sample("gatebook_spans_dropped", (), self._spans_dropped)
        yield Sample("gatebook_worker_refusing", (), float(self._closed() is not None))
        yield Sample("gatebook_requests_running", (), len(connections.exchanges) - len(self._streams))
        yield Sample("gatebook_streams_open", (), len(self._streams))
        yield Sample("gatebook_connections", (), len(connections.connections))
        yield Sample("gatebook_connections_accepted", (), connections.accepted)
        yield Sample("gatebook_connections_turned_away", (), connections.turned_away)
        yield Sample("gatebook_connections_given_up", (), connections.given_up)
        yield Sample("gatebook_buffered_bytes", (), connections.buffered_bytes)
        yield Sample("gatebook_clock_synchronised", (), float(now.clocked.ok))
        yield Sample("gatebook_clock_offset_seconds", (), now.clocked.off / 1_000_000)

    async def _record_attempts(self, *, all_windows: bool = False) -> None:
        try:
            for draft in self._world.attempts.ended(self._ports.clock.now().unix_us, all_windows=all_windows):
                await self._ports.ledger.record(draft)
        except LedgerUnavailable:
            say("attempts.unrecorded")  # the ledger's own failure is reported by the loop above


def _asks_for_a_stream(arrival: Arrival) -> bool:
    """A stream that ends only with its reader: GET, or `subscriptions/listen` (MCP 2026-07-28). No call waits for it."""
    return arrival.method == "GET" or arrival.once(_listens)


def _listens(headers: Headers) -> bool:
    return next((value for name, value in headers if name == b"mcp-method"), None) == b"subscriptions/listen"
