"""`gatebook serve`: starts the rooms, watches them, hands them configuration, drains them. It never touches a message.

`Supervisor.run` is the whole life; `_start` the order of the start, `_end` that of the end. How a configuration comes into force is
`activation`; how a room that ends is started again, `keeping`.
"""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError, LedgerUnavailable
from gatebook.model.record import Who
from gatebook.ports import Clock, Ledger
from gatebook.serve import keys
from gatebook.serve.activation import Activation, DeskSide, operator
from gatebook.serve.control import (
    Compiled,
    Drain,
    Failed,
    FromRoom,
    Keys,
    KeysAnswered,
    KeysWanted,
    NotCompiled,
    Prepared,
    Ready,
    Refuse,
    Tell,
    Unprepared,
)
from gatebook.serve.diagnostics import say
from gatebook.serve.holding import holdings
from gatebook.serve.keeping import Grace, keep
from gatebook.serve.premises import last_run_ended, locked
from gatebook.serve.rooms import Room, ended, spawn
from gatebook.serve.sockets import bind
from gatebook.serve.worker import WorkerStart

START_S = 30.0
FIRST_KEYS_S = 10.0
SEALER_GRACE_S = 60.0


class ClosingLedger(Ledger, Protocol):
    async def close(self) -> None: ...


class Supervisor:
    """The life of one deployment. `open_ledger(deployment)` gives the supervisor's own hand in the book.

    SIGHUP must be blocked in every thread of the process before this is made: only `sigwaitinfo` tells who sent it."""

    def __init__(
        self,
        config: Path,
        clock: Clock,
        open_ledger: Callable[[Deployment], ClosingLedger],
        say_banner: Callable[[Deployment, tuple[str, ...]], None],
        *,
        sealer_grace_s: float = SEALER_GRACE_S,
    ) -> None:
        self._config = config
        self._clock = clock
        self._open_ledger = open_ledger
        self._say_banner = say_banner
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Future[None]] = set()
        self._rooms: dict[str, Room] = {}
        self._desk = DeskSide(config, lambda: self._rooms["desk"])
        self._grace = Grace(sealer_grace_s, self._refuse_all)
        self._sockets: list[list[socket.socket]] = []
        self._deployment: Deployment | None = None
        self._ledger: ClosingLedger | None = None
        self._activation: Activation | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then end everything in order. Raises ConfigurationError, and then nothing is left running."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGUSR1, self._tell)
        with contextlib.ExitStack() as held:
            try:
                if await self._unless_stopped(self._start(held)):
                    await self._stop.wait()
            finally:
                await self._end()

    async def _start(self, held: contextlib.ExitStack) -> None:
        """Serving when it returns. Each step only after the one before; raises ConfigurationError. `held`: what is let go at the very end."""
        # 1. The configuration is good.
        await self._room("desk")
        compiled = await self._desk.compile()
        deployment = self._deployment = compiled.deployment
        # 2. Nobody else works in this data directory, and the time can be trusted.
        held.enter_context(locked(Path(deployment.data_dir)))
        _require_clock(deployment, self._clock)
        made = keys.make_missing(deployment)
        # 3. The addresses are ours.
        self._sockets = bind(deployment.listen, deployment.workers, held)
        # 4. The log is the one that was signed, and grows. A long one takes its time to be read.
        await last_run_ended(Path(deployment.data_dir))
        await self._start_sealer()
        # 5. Our own hand in the book.
        self._ledger = self._open(deployment)
        self._activation = Activation(self._config, self._desk, self._ledger, self._workers)
        # 6. Workers, while the issuers are asked for their keys.
        self._desk.keep_keys(deployment)
        await asyncio.gather(*(self._start_worker(slot) for slot in range(deployment.workers)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_KEYS_S):
                await self._desk.first_keys.wait()
        # 7. The configuration is in the book, then in force: the workers listen.
        await self._activation.first(compiled)
        # 8. From now on whoever ends is started again, and SIGHUP reloads.
        self._keep("desk", self._start_desk_again)
        self._keep("sealer", self._start_sealer)
        for slot in range(deployment.workers):
            self._keep(f"gate-{slot}", partial(self._start_worker_again, slot))
        threading.Thread(target=self._wait_for_hangups, name="sighup", daemon=True).start()
        self._say_banner(deployment, made)

    async def _end(self) -> None:
        """Workers and desk first, then our own segment, and last the sealer, which takes everything that was written."""
        for task in self._tasks:
            task.cancel()
        drain_s = self._deployment.limits.drain_s if self._deployment is not None else 0.0
        first = tuple(room for name, room in self._rooms.items() if name != "sealer")
        if serving := self._activation is not None:
            say("serve.draining")
        for room in first:
            room.send(Drain(within_s=drain_s))
        await ended(first, drain_s + 10)
        if self._ledger is not None:
            await self._ledger.close()
            await self._seal_the_rest()
        if (sealer := self._rooms.get("sealer")) is not None and sealer.alive:
            sealer.process.terminate()
            await ended((sealer,), 60)
        if serving:
            say("serve.ended")

    async def _seal_the_rest(self) -> None:
        """A sealer runs that will stop properly: one that is only just starting would die of its SIGTERM and leave the last entries unsealed."""
        try:
            if not self._rooms["sealer"].alive:
                await self._start_sealer()
            await self._rooms["sealer"].started(START_S)
        except (ConfigurationError, OSError) as failure:
            say("serve.unsealed", why=str(failure))

    # Rooms

    async def _room(
        self, name: str, start: bytes = b"", *, inherit: tuple[int, ...] = (), within_s: float | None = START_S
    ) -> Room:
        """Started, and it has said so. Raises ConfigurationError, OSError."""
        room = self._rooms[name] = await spawn(name, start, inherit=inherit)
        room.listen(self._hear)
        await room.started(within_s)
        return room

    async def _start_sealer(self) -> None:
        await self._room("sealer", msgspec.json.encode(self._deployment), within_s=None)
        self._grace.sealer_is_back()

    async def _start_desk_again(self) -> None:
        await self._room("desk")
        self._desk.is_back()

    async def _start_worker(self, slot: int) -> Room:
        assert self._deployment is not None
        listening = tuple(sock.fileno() for sock in self._sockets[slot])
        start = WorkerStart(deployment=self._deployment, slot=slot, sockets=listening)
        return await self._room(f"gate-{slot}", msgspec.json.encode(start), inherit=listening)

    async def _start_worker_again(self, slot: int) -> None:
        """In its predecessor's place: the sockets stayed bound, so nobody was refused meanwhile."""
        assert self._activation is not None
        async with self._activation.changing:
            worker = await self._start_worker(slot)
            if self._grace.refusing:
                worker.send(_REFUSE)
            self._activation.bring_up(worker)

    def _workers(self) -> tuple[Room, ...]:
        return tuple(room for name, room in self._rooms.items() if name.startswith("gate-"))

    def _keep(self, name: str, start_again: Callable[[], Awaitable[object]]) -> None:
        self._task(keep(name, lambda: self._rooms[name], start_again))

    def _hear(self, room: Room, message: FromRoom | None) -> None:
        """What `room` says; None: it has ended, or ends now."""
        match message:
            case Compiled() | NotCompiled() | KeysAnswered():
                self._desk.heard(message)
            case Keys():
                self._desk.keys = message
                if self._activation is not None:
                    self._task(self._activation.new_keys())
            case KeysWanted():
                self._desk.want_keys(message)
            case Prepared() | Unprepared():
                if self._activation is not None:
                    self._activation.heard(room, message)
            case Failed(why=why):
                say("room.failed", room=room.name, why=why)
                self._task(_retire(room))
            case Ready():
                pass
            case None:
                self._hear_end(room)

    def _hear_end(self, room: Room) -> None:
        if room.name == "desk":
            self._desk.ended()
        elif room.name == "sealer":
            self._grace.sealer_ended()
        elif self._activation is not None:
            self._activation.heard(room, None)

    def _refuse_all(self, on: bool) -> None:
        for worker in self._workers():
            worker.send(_REFUSE if on else _SERVE)

    # Signals

    async def _unless_stopped(self, work: Coroutine[None, None, None]) -> bool:
        """True when `work` is done; False where it was given up because we are told to stop."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            working.result()
            return True
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False

    def _wait_for_hangups(self) -> None:
        while True:
            info = signal.sigwaitinfo({signal.SIGHUP})
            author = operator(info.si_uid, invoked=False)
            with contextlib.suppress(RuntimeError):  # the loop is closed: we are ending
                self._loop.call_soon_threadsafe(self._reload_soon, author)

    def _reload_soon(self, author: Who) -> None:
        if self._activation is not None and not self._stop.is_set():
            self._task(self._activation.reload(author))

    def _tell(self) -> None:
        """What each room holds goes to standard error: what an operator looks at who suspects a leak."""
        say("room.holds", room="supervisor", **holdings())
        for worker in self._workers():
            worker.send(Tell())

    def _task(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _open(self, deployment: Deployment) -> ClosingLedger:
        try:
            return self._open_ledger(deployment)
        except LedgerUnavailable as failure:
            raise ConfigurationError((str(failure),)) from failure


_REFUSE = Refuse(on=True, why="nothing has been sealed for too long")
_SERVE = Refuse(on=False, why="the log grows again")


async def _retire(room: Room) -> None:
    """A room that cannot go on tells whom it serves, and ends."""
    room.send(Drain(within_s=0.0))
    await ended((room,), 5)


def _require_clock(deployment: Deployment, clock: Clock) -> None:
    """PCI DSS 10.6: a record whose time nobody keeps in step is no evidence."""
    if deployment.profile == "pci" and not clock.now().synchronised:
        raise ConfigurationError(
            ("the clock is not synchronised; start chrony or another time service (`chronyc tracking` says why)",)
        )
