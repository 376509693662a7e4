"""The gate, one worker: a process with listening sockets, one segment of the book and no key that signs.

The supervisor starts it, gives it a `WorkerStart` on stdin and talks to it over an inherited descriptor (`control`).
"""

import asyncio
import gc
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec

from gatebook import masking
from gatebook.gate import drafting
from gatebook.gate.exchange import exchange
from gatebook.gate.handles import SessionHandles
from gatebook.gate.world import Standing, World
from gatebook.model.deployment import Deployment, Snapshot
from gatebook.model.errors import LedgerUnavailable, Reason
from gatebook.model.http import Answer, Arrival, Reply
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
    ToRoom,
    Unprepared,
)
from gatebook.serve.diagnostics import say, say_bug
from gatebook.serve.http import HttpServer

PERIOD_S = 1.0


class WorkerStart(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor gives a worker on stdin. `sockets`: inherited listening descriptors."""

    deployment: Deployment
    slot: int
    sockets: tuple[int, ...]


class WatchedLedger(Ledger, Protocol):
    @property
    def failed(self) -> str | None:
        """Why nothing can be written any more; None while all is well."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The outside world of one worker, as `wiring` made it."""

    clock: Clock
    ledger: WatchedLedger
    upstreams: Upstreams
    credentials: Credentials
    sessions: SessionBook


class Worker:
    """One worker's life: prepare, activate, serve, refuse, drain."""

    def __init__(self, start: WorkerStart, channel: Channel[ToRoom, FromRoom], ports: Ports) -> None:
        self._start = start
        self._channel = channel
        self._ports = ports
        self._standing: Standing | None = None
        self._prepared: Standing | None = None
        self._refusing: str | None = "no configuration is active yet"
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
            ready=lambda: self._refusing is None and ports.ledger.failed is None,
            random=os.urandom,
            report_bug=say_bug,
            executor=ThreadPoolExecutor(2, thread_name_prefix="large-body"),
        )
        self._server = HttpServer(self._answer, self._unreadable, start.deployment)

    async def run(self) -> None:
        """Serve until told to drain, or until the supervisor or the ledger is gone."""
        masking.self_test()
        self._channel.send(Ready())
        periodic = asyncio.create_task(self._every_period())
        gc.collect()
        gc.freeze()
        while not isinstance(message := await self._channel.receive(), Drain | None):
            await self._obey(message)
        await self._server.drain(self._start.deployment.limits.drain_s)
        periodic.cancel()
        await self._record_attempts(all_windows=True)

    async def _obey(self, message: ToRoom) -> None:
        match message:
            case Prepare(snapshot=snapshot):
                self._prepare(snapshot)
            case Activate(number=number):
                await self._activate(number)
            case Refuse(on=on, why=why):
                self._refusing = why if on else None
                say("worker.refusing" if on else "worker.serving", why=why)
            case _:
                say("control.unexpected", message=type(message).__name__)

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
        self._server.reload_certificates()
        if first:
            self._refusing = None
            await self._server.listen([socket.socket(fileno=fd) for fd in self._start.sockets])

    def _want_keys(self, issuer: str) -> None:
        """At most one message per issuer and period: whoever floods the gate with unknown key ids does not flood the desk."""
        if issuer not in self._keys_wanted:
            self._keys_wanted.add(issuer)
            self._channel.send(KeysWanted(issuer=issuer))

    def _current(self) -> Standing:
        if self._standing is None:
            raise RuntimeError("a worker listens only after its first snapshot")
        return self._standing

    async def _answer(self, arrival: Arrival, gone: asyncio.Event) -> Answer:
        if self._refusing is not None and not arrival.target.startswith((b"/healthz", b"/readyz")):
            return _REFUSING
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


_REFUSING = Reply(
    status=503,
    headers=((b"content-type", b"application/json"), (b"retry-after", b"5")),
    body=b'{"jsonrpc":"2.0","id":null,"error":{"code":20,"message":"The gate lets nothing through at the moment; try again shortly."}}',
)
