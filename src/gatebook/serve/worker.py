"""The gate, one worker: a process with listening sockets, one segment of the book and no key that signs.

The supervisor starts it, gives it a `WorkerStart` on stdin and talks to it over an inherited descriptor (`control`).
"""

import asyncio
import gc
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import msgspec

from gatebook import masking
from gatebook.gate import drafting
from gatebook.gate.exchange import exchange
from gatebook.gate.handles import SessionHandles
from gatebook.gate.leaving import Gone
from gatebook.gate.turns import AT_ONCE, Turns
from gatebook.gate.world import Standing, World
from gatebook.model.deployment import Deployment, Snapshot
from gatebook.model.errors import ConfigurationError, LedgerUnavailable, Reason
from gatebook.model.http import Answer, Arrival
from gatebook.ports import Clock, Credentials, Ledger, SessionBook, Upstreams
from gatebook.serve import keys
from gatebook.serve.control import (
    Activate,
    Channel,
    Drain,
    Failed,
    FromRoom,
    KeysWanted,
    Prepare,
    Prepared,
    Ready,
    Refuse,
    Tell,
    ToRoom,
    Unprepared,
)
from gatebook.serve.diagnostics import say, say_bug
from gatebook.serve.holding import holdings
from gatebook.serve.http import HttpServer

PERIOD_S = 1.0
ORPHANED_S = 1.0
"""What calls under way get when the supervisor is gone: its successor may be starting already, under another configuration."""
SETTLE_S = 2.0
"""What the answers of calls that were broken off get to leave."""


class WorkerStart(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor gives a worker on stdin. `sockets`: inherited listening descriptors."""

    deployment: Deployment
    slot: int
    sockets: tuple[int, ...]


class WatchedLedger(Ledger, Protocol):
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
        self._refusing = False
        self._draining = False
        self._streams: set[asyncio.Task[None]] = set()
        self._certificates: object = None
        self._keys_wanted: set[str] = set()
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
            closed=self._closed,
            random=ports.random,
            report_bug=say_bug,
            turns=Turns(ThreadPoolExecutor(AT_ONCE, thread_name_prefix="large-body")),
        )
        self._server = HttpServer(self._answer, self._unreadable, start.deployment)

    async def run(self) -> None:
        """Serve until told to drain, or until the supervisor is gone. Everything that was answered is in the book when it returns."""
        masking.self_test()
        self._channel.send(Ready())
        periodic = asyncio.create_task(self._every_period())
        gc.collect()
        gc.freeze()
        while not isinstance(message := await self._channel.receive(), Drain | None):
            await self._obey(message)
        await self._drain(ORPHANED_S if message is None else message.within_s)
        periodic.cancel()
        await self._record_attempts(all_windows=True)

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
            case Refuse(on=on, why=why):
                self._refusing = on
                say("worker.refusing" if on else "worker.serving", why=why)
            case Tell():
                self._tell()
            case _:
                say("control.unexpected", message=type(message).__name__)

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
        self._standing, self._prepared = self._prepared, None
        if first:
            self._certificates = self._certificates_now()
            await self._server.listen([socket.socket(fileno=fd) for fd in self._start.sockets])

    def _reload_certificates(self) -> None:
        """New handshakes use the files as they are; files that do not belong together (one is replaced before the other) change nothing."""
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
        if self._refusing or self._ports.ledger.failed is not None:
            return Reason.LEDGER_UNAVAILABLE
        return None

    async def _answer(self, arrival: Arrival, gone: Gone) -> Answer:
        task = asyncio.current_task()
        if task is not None and _asks_for_a_stream(arrival):
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)
        return await exchange(arrival, gone, self._world)

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
            await self._record_attempts()
            if self._ports.ledger.failed is not None:
                self._channel.send(Failed(why=self._ports.ledger.failed))
                return

    async def _record_attempts(self, *, all_windows: bool = False) -> None:
        try:
            for draft in self._world.attempts.ended(self._ports.clock.now().unix_us, all_windows=all_windows):
                await self._ports.ledger.record(draft)
        except LedgerUnavailable:
            say("attempts.unrecorded")  # the ledger's own failure is reported by the loop above


def _asks_for_a_stream(arrival: Arrival) -> bool:
    """A stream that ends only with its reader: GET, or `subscriptions/listen` (MCP 2026-07-28). No call waits for it."""
    return arrival.method == "GET" or arrival.header(b"mcp-method") == b"subscriptions/listen"
