"""The rooms of one deployment and what they share: how each is started, started again, heard and ended. It never touches a message.

In which order that happens is the supervisor's. How a configuration comes into force is `activation`; how a room that ends is started again,
`keeping`.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from gatebook.model.counting import Entries
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError, LedgerUnavailable
from gatebook.model.users import Users
from gatebook.ports import Ledger
from gatebook.serve import sockets
from gatebook.serve.activation import Activation, DeskSide, Trusting
from gatebook.serve.control import (
    Adopted,
    Compiled,
    Counted,
    Drain,
    Failed,
    FromRoom,
    Keys,
    KeysAnswered,
    KeysWanted,
    Listening,
    MeterStart,
    NewTrust,
    NotCompiled,
    Prepared,
    Ready,
    Refuse,
    Told,
    Unprepared,
    WorkerStart,
)
from gatebook.serve.diagnostics import say
from gatebook.serve.disk import DiskWatch
from gatebook.serve.handing import Handing
from gatebook.serve.keeping import Grace, keep
from gatebook.serve.metering.gathering import METER, Gathering
from gatebook.serve.rooms import Room, ended, spawn
from gatebook.serve.running import Running

START_S = 30.0
"""A room that starts and got on no more for so long is given up; one that does is waited for (`patience`), and that is said."""
SEALER_END_S = 60.0
_GATE = "gate-"


class ClosingLedger(Ledger, Protocol):
    entries: Entries

    async def close(self) -> None: ...


class House:
    """`open_ledger(deployment)` gives the supervisor's own hand in the book. `sealer_grace_s`: how long calls go on while nothing is sealed.

    What the supervisor or its successor sets: `deployment`, the one that was started; `lock` on its data directory; `sockets` of each worker;
    `orders`, where operators give theirs; `users` and `handing`, whose the rooms are; `ledger`; `activation`."""

    def __init__(self, config: Path, open_ledger: Callable[[Deployment], ClosingLedger], sealer_grace_s: float) -> None:
        self.config = config
        self._open = open_ledger
        self._tasks: set[asyncio.Future[None]] = set()
        self.rooms: dict[str, Room] = {}
        self.desk = DeskSide(config, lambda: self.rooms["desk"], self.desks)
        self.trusting = Trusting(self.desk, self.workers)
        self.running = Running(self.room, self.keep, lambda: self.rooms.get("runner"), config)
        self.grace = Grace(sealer_grace_s, self._refuse_all)
        self.sockets: list[list[socket.socket]] = []
        self.lock = -1
        self.orders: socket.socket | None = None
        self.deployment: Deployment | None = None
        self.users: Users | None = None
        self.handing = Handing({})
        self.ledger: ClosingLedger | None = None
        self.activation: Activation | None = None
        self.gathering: Gathering | None = None
        self._disk: DiskWatch | None = None
        self._ends = False

    async def room(
        self, name: str, start: bytes = b"", *, inherit: tuple[int, ...] = (), within_s: float | None = START_S
    ) -> Room:
        """Started, and it has said so. Raises ConfigurationError, OSError."""
        account = None if self.users is None else self.users.of(name)
        with self.handing.to(name, account) as handed:
            room = self.rooms[name] = await spawn(
                name,
                start,
                inherit=(*inherit, *handed.descriptors),
                account=account,
                environment=handed.environment,
                withheld=handed.withheld,
            )
        room.listen(self.hear)
        await room.started(within_s)
        return room

    def starts(self, deployment: Deployment) -> dict[str, Callable[[], Awaitable[object]]]:
        """Every room, and how it is started again."""
        workers = {f"gate-{slot}": partial(self.start_worker_again, slot) for slot in range(deployment.workers)}
        return {"desk": self.start_desk_again, "sealer": self.start_sealer, **workers}

    async def start_sealer(self) -> None:
        await self.room("sealer", msgspec.json.encode(self.deployment), within_s=None)
        self.grace.sealer_is_back()

    async def start_desk_again(self) -> None:
        await self.room("desk")
        self.desk.is_back()

    async def start_worker(self, slot: int) -> Room:
        assert self.deployment is not None
        listening = tuple(sock.fileno() for sock in self.sockets[slot])
        start = WorkerStart(deployment=self.deployment, slot=slot, sockets=listening)
        worker = await self.room(f"gate-{slot}", msgspec.json.encode(start), inherit=listening)
        self.trusting.bring_up(worker)
        return worker

    async def workers_listen(self) -> None:
        """Every worker accepts on its sockets. Raises ConfigurationError."""
        await asyncio.gather(*(worker.listening(START_S) for worker in self.workers()))

    async def start_worker_again(self, slot: int) -> Room:
        """In its predecessor's place: the sockets stayed bound, so nobody was refused meanwhile."""
        assert self.activation is not None
        async with self.activation.changing:
            worker = await self.start_worker(slot)
            if self.grace.refusing:
                worker.send(_REFUSE)
            if self._disk is not None and self._disk.space == "short":
                worker.send(_REFUSE_FOR_DISK)
            self.activation.bring_up(worker)
            return worker

    async def start_meter(self, deployment: Deployment, held: contextlib.ExitStack) -> None:
        """The room that shows numbers and sends spans runs and is kept. Raises ConfigurationError."""
        metrics = deployment.metrics
        [listening] = sockets.bind((metrics.listen,), 1, held) if metrics is not None else [[]]
        inherit = tuple(sock.fileno() for sock in listening)
        start = msgspec.json.encode(MeterStart(metrics=metrics, traces=deployment.traces, sockets=inherit))
        await self.room(METER, start, inherit=inherit)
        self.keep(METER, lambda: self.room(METER, start, inherit=inherit))
        assert self.gathering is not None
        self.beside(self.gathering.run())

    def gather(self, deployment: Deployment, ledger: ClosingLedger) -> None:
        self.gathering = Gathering(deployment, self.rooms.values, lambda: self.grace.refusing)
        self.gathering.entries = ledger.entries

    async def watch_disk(self, deployment: Deployment, *, tell: bool = False) -> None:
        """What is free is known before the first call of our own workers, and looked at from then on. `tell`: workers serve that were there before
        us, and may still refuse for a disk that has space again, so they are told in any case."""
        assert self.ledger is not None
        disk = self._disk = DiskWatch(
            Path(deployment.data_dir), deployment.disk, self._refuse_for_disk, self.ledger.record
        )
        await disk.look()
        if tell and disk.space != "short":
            self._refuse_for_disk(False)
        self.beside(disk.keep_looking())

    def keep(self, name: str, start_again: Callable[[], Awaitable[object]]) -> None:
        """From now on it is started again when it ends."""
        self.beside(keep(name, lambda: self.rooms[name], start_again))

    def desks(self) -> tuple[Room, ...]:
        return tuple(room for name, room in self.rooms.items() if name.startswith("desk"))

    def workers(self) -> tuple[Room, ...]:
        return tuple(room for name, room in self.rooms.items() if name.startswith(_GATE))

    def hear(self, room: Room, message: FromRoom | None) -> None:
        """What `room` says; None: it has ended, or ends now. Raises ValueError where it is not this room's to say: then it is ended."""
        if message is not None and room.kind != _WHOSE.get(type(message), room.kind):
            say("room.overstepped", room=room.name, message=type(message).__name__)
            raise ValueError(f"{room.name} says {type(message).__name__}")
        match message:
            case Compiled() | NotCompiled() | KeysAnswered():
                self.desk.heard(message)
            case Keys():
                self.desk.keys = message
                if self.activation is not None and not self._ends:
                    self.beside(self.activation.new_keys())
            case KeysWanted():
                self.desk.want_keys(message)
            case NewTrust(trust=trust):
                self.trusting.new(trust)
            case Adopted(number=number):
                self.trusting.adopted(room, number)
            case Prepared() | Unprepared():
                if self.activation is not None:
                    self.activation.heard(room, message)
            case Failed(why=why):
                say("room.failed", room=room.name, why=why)
                self.beside(_retire(room))
            case Counted(report=report):
                if self.gathering is not None:
                    self.gathering.heard(room.name, report)
            case Told():
                if (meter := self.rooms.get(METER)) is not None and meter.alive:
                    meter.pass_on(message)
            case Ready() | Listening():
                pass
            case None:
                self._hear_end(room)

    def _hear_end(self, room: Room) -> None:
        if room.name == "desk":
            self.desk.ended()
        elif room.name == "sealer":
            self.grace.sealer_ended()
        elif room.name.startswith(_GATE):
            self.trusting.ended(room)
            if self.activation is not None:
                self.activation.heard(room, None)
        # Last: it adds up what the room said, and nothing of the above may hang on that.
        if self.gathering is not None:
            self.gathering.ended(room.name)

    def _refuse_all(self, on: bool) -> None:
        for worker in self.workers():
            worker.send(_REFUSE if on else _SERVE)

    def _refuse_for_disk(self, on: bool) -> None:
        for worker in self.workers():
            worker.send(_REFUSE_FOR_DISK if on else _SERVE_FOR_DISK)

    async def desk_opened(self, within_s: float) -> None:
        """The desk has said which logins count no more, or has ended, or gets on no more."""
        desk = self.rooms["desk"]
        with contextlib.suppress(TimeoutError):
            await desk.patiently(_one_of(self.desk.first_trust.wait(), desk.process.wait()), "open", within_s)

    def require_desk(self, deployment: Deployment) -> None:
        """An authorization server that did not come up is told now, not to the first person who wants to log in. Raises ConfigurationError."""
        if deployment.desk is not None and not self.desk.first_trust.is_set():
            raise ConfigurationError(
                (f"the desk did not start: {self.rooms['desk'].why or 'see the diagnostics above'}",)
            )

    async def end(self) -> None:
        """Nothing is left running. Workers and desk first, then the runner, which answered their last calls, then our own segment, and last the sealer, which takes
        everything that was written."""
        # Keys that the desk fetched last are for nobody any more: that no worker took them would call a person to a stop that is in order.
        self._ends = True
        for task in self._tasks:
            task.cancel()
        drain_s = self.deployment.limits.drain_s if self.deployment is not None else 0.0
        # One that was being replaced when we were told to stop has its process id behind its name.
        sealers = tuple(room for name, room in self.rooms.items() if name.startswith("sealer."))
        first = tuple(room for name, room in self.rooms.items() if name.partition(".")[0] not in ("runner", "sealer"))
        if serving := self.activation is not None:
            say("serve.draining")
        # Each worker's are its own now, and go with it: what is still listened on when it has ended would take connections that nobody answers.
        for listening in self.sockets:
            for sock in listening:
                sock.close()
        for room in first:
            room.send(Drain(within_s=drain_s))
        await ended(first, drain_s + 10)
        await self.running.end()
        if self.ledger is not None:
            await self.ledger.close()
            for sealer in sealers:
                sealer.process.terminate()
            await ended(sealers, SEALER_END_S)
            await self._seal_the_rest()
        if (last := self.rooms.get("sealer")) is not None and last.alive:
            last.process.terminate()
            await ended((last,), SEALER_END_S)
        if serving:
            say("serve.ended")

    async def _seal_the_rest(self) -> None:
        """A sealer runs that will stop properly: one that is only just starting would die of its SIGTERM and leave the last entries unsealed."""
        try:
            if (sealer := self.rooms.get("sealer")) is None or not sealer.alive:
                await self.start_sealer()
            await self.rooms["sealer"].started(START_S)
        except (ConfigurationError, OSError) as failure:
            say("serve.unsealed", why=str(failure))

    def open_ledger(self, deployment: Deployment) -> ClosingLedger:
        try:
            return self._open(deployment)
        except LedgerUnavailable as failure:
            raise ConfigurationError((str(failure),)) from failure

    def beside(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_WHOSE: Final[dict[type, str]] = {
    **dict.fromkeys((Compiled, NotCompiled, Keys, KeysAnswered, NewTrust), "desk"),
    **dict.fromkeys((Adopted, Prepared, Unprepared, KeysWanted, Told), "gate"),
}
"""Who alone may say it: a worker that was taken over gives nobody a configuration, keys, or logins that were ended. Everything else any room may."""

_REFUSE = Refuse(on=True, why="nothing has been sealed for too long")
_SERVE = Refuse(on=False, why="the log grows again")
_REFUSE_FOR_DISK = Refuse(on=True, why="the disk is as good as full; disk.short says what is left", cause="disk")
_SERVE_FOR_DISK = Refuse(on=False, why="there is space again", cause="disk")


async def _one_of(*works: Coroutine[Any, Any, object]) -> None:
    """One of them is done, and none of them goes on."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _retire(room: Room) -> None:
    """A room that cannot go on tells whom it serves, and ends."""
    room.send(Drain(within_s=0.0))
    await ended((room,), 5)
