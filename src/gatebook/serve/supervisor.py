"""`gatebook serve`: starts the rooms, watches them, hands them configuration, drains them. It never touches a message.

Start, in this order, each step only after the one before: lock the data directory → desk compiles the configuration → keys → own segment →
sockets → sealer → configuration kept by hash and `config.load` durable → workers prepare → activate → the banner.
"""

import asyncio
import contextlib
import fcntl
import os
import pwd
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from gatebook.model.deployment import Deployment, KeySet, Snapshot
from gatebook.model.errors import ConfigurationError, LedgerUnavailable
from gatebook.model.record import Draft, Origin, Resource, Who
from gatebook.ports import Clock, Ledger
from gatebook.serve import keys
from gatebook.serve.control import (
    Activate,
    Compile,
    Compiled,
    Drain,
    Failed,
    Keys,
    KeysAnswered,
    KeysWanted,
    NotCompiled,
    Prepare,
    Prepared,
    Ready,
    Refuse,
    Serve,
    Unprepared,
)
from gatebook.serve.diagnostics import say
from gatebook.serve.rooms import Room, spawn
from gatebook.serve.sockets import bind
from gatebook.serve.worker import WorkerStart

START_S = 30.0
FIRST_KEYS_S = 10.0
SEALER_GRACE_S = 60.0
RESTART_S = (0.1, 0.5, 2.0, 5.0, 15.0)


class ClosingLedger(Ledger, Protocol):
    async def close(self) -> None: ...


class Supervisor:
    """The life of one deployment. `open_ledger(deployment)` gives the supervisor's own hand in the book."""

    def __init__(
        self,
        config: Path,
        clock: Clock,
        open_ledger: Callable[[Deployment], ClosingLedger],
        say_banner: Callable[[Deployment, tuple[str, ...]], None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._open_ledger = open_ledger
        self._say_banner = say_banner
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._workers: dict[int, Room] = {}
        self._prepared: dict[int, asyncio.Future[str | None]] = {}
        self._answers: asyncio.Queue[Compiled | NotCompiled] = asyncio.Queue()
        self._key_sets: dict[str, KeySet] = {}
        self._first_keys = asyncio.Event()
        self._number = 0
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._snapshot: Snapshot | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises ConfigurationError before anything listens."""
        signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGHUP}
        )  # before any thread exists: only `sigwaitinfo` may take it
        self._desk = await spawn("desk")
        self._watch(self._desk)
        compiled = await self._compile()
        deployment = self._deployment = compiled.deployment
        with _locked(deployment), contextlib.ExitStack() as sockets:
            made = keys.make_missing(deployment)
            _require_clock(deployment, self._clock)
            self._sockets = [bind(deployment.listen, sockets) for _ in range(deployment.workers)]
            self._sealer = await spawn("sealer", msgspec.json.encode(self._deployment))
            self._ledger = self._open_ledger(deployment)
            self._desk.send(Serve(deployment=deployment))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_KEYS_S):
                    await self._first_keys.wait()
            for slot in range(deployment.workers):
                await self._start_worker(slot)
            if not await self._activate(compiled, _operator(os.getuid(), invoked=True)):
                raise ConfigurationError(
                    ("the workers could not prepare the configuration; see the diagnostics above",)
                )
            self._signals()
            self._task(self._watch_sealer())
            for slot in range(deployment.workers):
                self._task(self._keep_worker(slot))
            self._say_banner(deployment, made)
            await self._stop.wait()
            await self._end()

    # Configuration: all workers prepare → config.load is durable → activate. A bad file changes nothing and says why.

    async def _compile(self) -> Compiled:
        self._desk.send(Compile(path=str(self._config)))
        async with asyncio.timeout(START_S):
            answer = await self._answers.get()
        if isinstance(answer, NotCompiled):
            raise ConfigurationError(answer.problems)
        return answer

    async def _reload(self, author: Who) -> None:
        async with self._changing:
            try:
                compiled = await self._compile()
                _require_same_shape(self._deployment, compiled.deployment)
            except ConfigurationError as refused:
                for problem in refused.problems:
                    say("config.refused", problem=problem)
                await self._record_config("config.refused", author, ok=False, reason="invalid", new=None)
                return
            self._desk.send(Serve(deployment=compiled.deployment))
        await self._activate(compiled, author)

    async def _activate(self, compiled: Compiled, author: Who) -> bool:
        async with self._changing:
            snapshot = self._next_snapshot(compiled.deployment, compiled.sha256)
            if not await self._prepare_all(snapshot):
                await self._record_config("config.refused", author, ok=False, reason="unprepared", new=compiled.sha256)
                return False
            _keep_by_hash(compiled)
            await self._record_config("config.load", author, ok=True, reason="loaded", new=compiled.sha256)
            self._adopt(snapshot)
            say("config.loaded", sha256=compiled.sha256, snapshot=snapshot.number)
            return True

    async def _new_keys(self, key_sets: dict[str, KeySet]) -> None:
        self._key_sets = key_sets
        if self._snapshot is None:
            return
        async with self._changing:
            snapshot = self._next_snapshot(self._deployment, self._snapshot.config_sha256)
            if await self._prepare_all(snapshot):
                self._adopt(snapshot)

    def _next_snapshot(self, deployment: Deployment, sha256: str) -> Snapshot:
        self._number += 1
        named = {issuer.name for issuer in deployment.issuers}
        usable = {name: key_set for name, key_set in self._key_sets.items() if name in named}
        return Snapshot(number=self._number, config_sha256=sha256, deployment=deployment, key_sets=usable)

    async def _prepare_all(self, snapshot: Snapshot) -> bool:
        waiting = {slot: self._loop.create_future() for slot, room in self._workers.items() if room.alive}
        self._prepared = waiting
        for slot in waiting:
            self._workers[slot].send(Prepare(snapshot=snapshot))
        done, late = await asyncio.wait(waiting.values(), timeout=START_S) if waiting else (set(), set())
        return bool(waiting) and not late and all(future.result() is None for future in done)

    def _adopt(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._deployment = snapshot.deployment
        for room in self._workers.values():
            room.send(Activate(number=snapshot.number))

    async def _record_config(self, event: str, author: Who, *, ok: bool, reason: str, new: str | None) -> None:
        detail: dict[str, str | int | bool] = {"snapshot": self._number}
        if new is not None:
            detail["config_sha256"] = new
        if self._snapshot is not None:
            detail["old_config_sha256"] = self._snapshot.config_sha256
        draft = Draft(
            event="config.load" if event == "config.load" else "config.refused",
            ok=ok,
            reason=reason,
            who=author,
            origin=Origin(ip="local"),
            resource=Resource(kind="config", name=self._config.name),
            detail=detail,
        )
        try:
            await self._ledger.record(draft)
        except LedgerUnavailable as failure:
            say("config.unrecorded")
            raise ConfigurationError(
                ("the configuration's entry could not be recorded, so it was not activated",)
            ) from failure

    # Rooms

    async def _start_worker(self, slot: int) -> None:
        listening = tuple(sock.fileno() for sock in self._sockets[slot])
        start = WorkerStart(deployment=self._deployment, slot=slot, sockets=listening)
        room = await spawn("gate", msgspec.json.encode(start), inherit=listening)
        self._workers[slot] = room
        assert room.channel is not None
        async with asyncio.timeout(START_S):
            first = await room.channel.receive()
        if not isinstance(first, Ready):
            raise ConfigurationError((f"worker {slot} did not start; see the diagnostics above",))
        self._watch(room, slot)

    def _watch(self, room: Room, slot: int | None = None) -> None:
        self._task(self._listen(room, slot))

    async def _listen(self, room: Room, slot: int | None) -> None:
        assert room.channel is not None
        while (message := await room.channel.receive()) is not None:
            match message:
                case Compiled() | NotCompiled():
                    self._answers.put_nowait(message)
                case Keys(key_sets=key_sets):
                    self._task(self._new_keys(key_sets))
                case KeysAnswered():
                    self._first_keys.set()
                case KeysWanted():
                    self._desk.send(message)
                case Prepared():
                    self._answer_prepared(slot, None)
                case Unprepared(why=why):
                    self._answer_prepared(slot, why)
                case Failed(why=why):
                    say("worker.failed", worker=room.name, why=why)
                    room.process.terminate()
                case Ready():
                    pass

    def _answer_prepared(self, slot: int | None, why: str | None) -> None:
        future = self._prepared.get(slot if slot is not None else -1)
        if future is not None and not future.done():
            future.set_result(why)

    async def _keep_worker(self, slot: int) -> None:
        """Start the worker again when it ends, ever more slowly while it keeps ending. The sockets stay bound meanwhile."""
        failures = 0
        while not self._stop.is_set():
            started = self._loop.time()
            await self._workers[slot].process.wait()
            if self._stop.is_set():
                return
            failures = failures + 1 if self._loop.time() - started < 60 else 0
            say("worker.ended", worker=f"gate-{slot}", status=self._workers[slot].process.returncode)
            self._answer_prepared(slot, "ended")
            await asyncio.sleep(RESTART_S[min(failures, len(RESTART_S) - 1)])
            await self._replace_worker(slot)

    async def _replace_worker(self, slot: int) -> None:
        try:
            async with self._changing:
                await self._start_worker(slot)
                if self._snapshot is not None:
                    self._workers[slot].send(Prepare(snapshot=self._snapshot))
                    self._workers[slot].send(Activate(number=self._snapshot.number))
        except (ConfigurationError, TimeoutError, OSError):
            say("worker.unstarted", worker=f"gate-{slot}")

    async def _watch_sealer(self) -> None:
        """Start the sealer again when it ends. While it is gone for more than 60 s the workers refuse: the book must not run ahead of its proof."""
        failures = 0
        while not self._stop.is_set():
            started = self._loop.time()
            await self._sealer.process.wait()
            if self._stop.is_set():
                return
            failures = failures + 1 if self._loop.time() - started < 60 else 0
            say("sealer.ended", status=self._sealer.process.returncode)
            refusal = self._loop.call_later(SEALER_GRACE_S, self._refuse_all, True, "the sealer is down")
            await asyncio.sleep(RESTART_S[min(failures, len(RESTART_S) - 1)])
            self._sealer = await spawn("sealer", msgspec.json.encode(self._deployment))
            await self._until_sealing(refusal)

    async def _until_sealing(self, refusal: asyncio.TimerHandle) -> None:
        """A sealer counts as back when it has lived for two seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._sealer.process.wait()
        if self._sealer.alive:
            if refusal.when() < self._loop.time():
                self._refuse_all(False, "the sealer is back")
            refusal.cancel()

    def _refuse_all(self, on: bool, why: str) -> None:
        for room in self._workers.values():
            room.send(Refuse(on=on, why=why))

    # Signals and the end

    def _signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        threading.Thread(target=self._wait_for_hangups, name="sighup", daemon=True).start()

    def _wait_for_hangups(self) -> None:
        while True:
            info = signal.sigwaitinfo({signal.SIGHUP})
            author = _operator(info.si_uid, invoked=False)
            self._loop.call_soon_threadsafe(self._reload_soon, author)

    def _reload_soon(self, author: Who) -> None:
        self._task(self._reload(author))

    async def _end(self) -> None:
        """Workers first, then the desk, the supervisor's own segment, and last the sealer, which takes everything that was written."""
        say("serve.draining")
        for room in (*self._workers.values(), self._desk):
            room.send(Drain())
        await self._wait_for((*self._workers.values(), self._desk), self._deployment.limits.drain_s + 10)
        await self._ledger.close()
        self._sealer.process.terminate()
        await self._wait_for((self._sealer,), 60)
        say("serve.ended")

    async def _wait_for(self, rooms: tuple[Room, ...], timeout_s: float) -> None:
        _, late = await asyncio.wait([asyncio.ensure_future(room.process.wait()) for room in rooms], timeout=timeout_s)
        for task in late:
            task.cancel()
        for room in rooms:
            if room.alive:
                say("room.killed", room=room.name)
                room.process.kill()
                await room.process.wait()

    def _task(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.contextmanager
def _locked(deployment: Deployment) -> Iterator[None]:
    """One deployment per data directory, for as long as this process lives."""
    directory = Path(deployment.data_dir)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        raise ConfigurationError(
            (f"data_dir {directory}: {failure.strerror}; make it writable for this user",)
        ) from failure
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as failure:
        os.close(descriptor)
        raise ConfigurationError(
            (f"data_dir {directory}: another deployment runs here; stop it, or give this one a directory of its own",)
        ) from failure
    try:
        yield
    finally:
        os.close(descriptor)


def _require_clock(deployment: Deployment, clock: Clock) -> None:
    """PCI DSS 10.6: a record whose time nobody keeps in step is no evidence."""
    if deployment.profile == "pci" and not clock.now().synchronised:
        raise ConfigurationError(
            ("the clock is not synchronised; start chrony or another time service (`chronyc tracking` says why)",)
        )


_FIXED = ("profile", "listen", "workers", "data_dir", "origin", "log_key", "payload_public_key", "tls_certificate", "tls_key",
          "segment_bytes", "limits", "trusted_proxies")  # fmt: skip


def _require_same_shape(old: Deployment, new: Deployment) -> None:
    """What a running deployment cannot change under itself."""
    changed = tuple(name for name in _FIXED if getattr(old, name) != getattr(new, name))
    if changed:
        raise ConfigurationError(
            tuple(f"{name}: cannot change while running; restart to change it" for name in changed)
        )


def _keep_by_hash(compiled: Compiled) -> None:
    """The configuration file's bytes beside the log, named by their hash; durable on return, never rewritten."""
    directory = Path(compiled.deployment.data_dir) / "log" / "configs"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{compiled.sha256}.toml"
    if path.exists():
        return
    temporary = directory / f".{compiled.sha256}.tmp"
    with temporary.open("wb") as file:
        file.write(compiled.raw)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _operator(uid: int, *, invoked: bool) -> Who:
    """Who acts on the host, as the operating system says: declared, not proven. Behind sudo the person who typed it, where we were typed."""
    name = os.environ.get("SUDO_USER") if invoked else None
    if name is None:
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)
    return Who(kind="operator", iss="os", sub=f"os:{name}", declared=True)
