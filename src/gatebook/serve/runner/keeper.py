"""Which process serves whom: one keeper for each server that is a command. It starts processes, finds them again and ends them."""

import asyncio
import contextlib
import itertools
import secrets as chance
from collections import Counter
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from gatebook.masking import Secrets
from gatebook.model.deployment import Command, Deployment, Server
from gatebook.model.errors import UpstreamError
from gatebook.ports import Credentials
from gatebook.serve.diagnostics import say
from gatebook.serve.runner import opening, refusals
from gatebook.serve.runner.launching import NotStarted, start
from gatebook.serve.runner.opening import Opened
from gatebook.serve.runner.places import look
from gatebook.serve.runner.process import Broken, ServerProcess
from gatebook.serve.runner.refusals import Refusal
from gatebook.serve.runner.sandbox import Host, NoSandbox, launch
from gatebook.serve.runner.talk import Delivery, Serving
from gatebook.wire.jsonrpc import Request

T = TypeVar("T")
PAUSES_S: Final = (0.0, 0.5, 2.0, 5.0, 15.0, 30.0)
"""After so many failed starts in a row, the pause before the next."""
LINE_SLACK_BYTES: Final = 64 << 10


class Slots:
    """How many processes may be alive at once, over all servers."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self.refused = 0

    def take(self) -> None:
        """Raises Refusal where there is none left."""
        if self.taken >= self.most:
            self.refused += 1
            raise refusals.too_many_processes(self.most)
        self.taken += 1

    def give_back(self) -> None:
        self.taken -= 1


class Ground(msgspec.Struct, kw_only=True):
    """What all keepers of a runner stand on. `deployment`: what is in force now, all of whose secrets are hidden from each server. LIMIT: not those
    of a later one, where they lie in a folder that held none before, from processes that run by then. `config`: the configuration file.
    `directory`: of its sockets and of what its processes have to themselves."""

    host: Host
    credentials: Credentials
    deployment: Deployment
    config: Path
    directory: Path
    slots: Slots
    started: "Counter[str]" = msgspec.field(default_factory=Counter)
    """Processes that were started, by server."""
    failed: "Counter[str]" = msgspec.field(default_factory=Counter)
    """Starts that failed, by server."""
    numbers: "itertools.count[int]" = msgspec.field(default_factory=itertools.count)


class Session(msgspec.Struct, eq=False, kw_only=True):
    """A session of before 2026-07-28. `caller`: who began it, as the gate names them; nobody else finds it."""

    caller: bytes
    process: ServerProcess
    seen_s: float
    under_way: int = 0
    """Requests of it that are not answered."""


class Keeper:
    """The processes of one server under one configuration of it."""

    def __init__(self, server: Server, command: Command, deployment: Deployment, ground: Ground) -> None:
        self.server = server
        self._command = command
        self._max_line_bytes = deployment.limits.response_bytes + LINE_SLACK_BYTES
        self._ground = ground
        self._sessions: dict[str, Session] = {}
        self._modern: dict[bytes, asyncio.Task[ServerProcess]] = {}
        self._shared: asyncio.Task[tuple[ServerProcess, Opened]] | None = None
        self._processes: set[ServerProcess] = set()
        self._starts: set[asyncio.Future[None]] = set()
        self._failures = 0
        self._not_before_s = 0.0
        self._legacy_only = False
        self._ending = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watching = asyncio.create_task(self._end_idle())

    @property
    def alive(self) -> int:
        """How many processes there are now."""
        return len(self._processes)

    @property
    def starting(self) -> int:
        """How many are being started."""
        return len(self._starts)

    # Sessions (before 2026-07-28)

    async def initialize(self, request: Request, caller: bytes) -> tuple[Delivery, str | None]:
        """The server's answer to `initialize`, and the id of the session that it begins; None where the answer is an error, and then nothing
        is left of it. Raises Refusal."""
        if self._command.processes == "shared":
            process, opened = await self._shared_process()
            return opened.answer(request), self._begin(process, caller)
        process = await self._start("session")
        try:
            delivery = await self._answered(process, request)
        except BaseException:
            self._soon(process.end())
            raise
        if delivery.error_code is not None:
            self._soon(process.end())
            return delivery, None
        return delivery, self._begin(process, caller)

    def _begin(self, process: ServerProcess, caller: bytes) -> str:
        session = chance.token_hex(16)
        self._sessions[session] = Session(caller=caller, process=process, seen_s=asyncio.get_running_loop().time())
        return session

    def session(self, name: str, caller: bytes) -> ServerProcess:
        """The process behind a session. Raises Refusal where it is none of this caller's, or has ended."""
        return self._session(name, caller).process

    @contextlib.contextmanager
    def at_work(self, name: str, caller: bytes) -> Iterator[ServerProcess]:
        """As `session`; while it lasts the session is not idle, and it begins to be at the end."""
        session = self._session(name, caller)
        session.under_way += 1
        try:
            yield session.process
        finally:
            session.under_way -= 1
            session.seen_s = asyncio.get_running_loop().time()

    def _session(self, name: str, caller: bytes) -> Session:
        session = self._sessions.get(name)
        if session is None or session.caller != caller or not session.process.usable:
            raise refusals.unknown_session()
        session.seen_s = asyncio.get_running_loop().time()
        return session

    def end_session(self, name: str, caller: bytes) -> None:
        """The session is over; its process ends soon, where it was its own. Raises Refusal as `session` does."""
        process = self.session(name, caller)
        del self._sessions[name]
        if self._command.processes == "session":
            self._soon(process.end())

    async def _shared_process(self) -> tuple[ServerProcess, Opened]:
        """The one process for all sessions, initialised by ourselves: it can be initialised only once. Raises Refusal."""
        if self._shared is not None and self._shared.done() and not _usable(self._shared):
            self._shared = None
        if self._shared is None:
            self._shared = _heard(asyncio.create_task(self._start_shared()))
        return await asyncio.shield(self._shared)

    async def _start_shared(self) -> tuple[ServerProcess, Opened]:
        process = await self._start("everybody")
        try:
            delivery = await self._answered(process, opening.initialize())
            if delivery.error_code is not None:
                raise self._failed(process, "it refused to be initialised")
            await process.say(opening.INITIALIZED)
        except BaseException:
            self._soon(process.end())
            raise
        return process, Opened(message=delivery.message)

    # Requests that stand for themselves (2026-07-28)

    async def process_of(self, caller: bytes) -> ServerProcess:
        """The process for requests of this caller's. Raises Refusal: among others the one by which a client falls back to `initialize`."""
        if self._legacy_only:
            raise refusals.legacy_only()
        whose = b"" if self._command.processes == "shared" else caller
        starting = self._modern.get(whose)
        if starting is not None and starting.done() and not _usable(starting):
            starting = None
        if starting is None:
            starting = self._modern[whose] = _heard(asyncio.create_task(self._start_modern()))
        process = await asyncio.shield(starting)
        process.wanted()
        return process

    async def _start_modern(self) -> ServerProcess:
        """A process that answers `server/discover` (MCP 2026-07-28, stdio: probe first)."""
        process = await self._start("everybody" if self._command.processes == "shared" else "caller")
        try:
            delivery = await self._answered(process, opening.discover())
        except Refusal:
            # Silence and a sudden end are what some servers have for a request that they do not know. Whether it can be started at all
            # shows at `initialize`, to which the client now falls back.
            self._soon(process.end())
            raise refusals.legacy_only() from None
        except BaseException:
            self._soon(process.end())
            raise
        if delivery.error_code is not None and not opening.is_modern(delivery.error_code):
            self._legacy_only = True
            self._soon(process.end())
            raise refusals.legacy_only()
        return process

    # Starting and ending

    async def _start(self, serving: Serving) -> ServerProcess:
        """A process that runs and was told nothing yet. Raises Refusal."""
        now_s = asyncio.get_running_loop().time()
        self._demand_not_ending()
        if now_s < self._not_before_s:
            raise refusals.pausing(self._not_before_s - now_s)
        self._ground.slots.take()
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._starts.add(over)
        try:
            process = await self._launched(serving)
        except BaseException as failure:
            self._ground.slots.give_back()
            if isinstance(failure, NotStarted):
                raise self._failed(None, str(failure)) from failure
            if isinstance(failure, NoSandbox):
                raise self._failed(None, "it cannot have its sandbox", str(failure)) from failure
            if isinstance(failure, UpstreamError):
                raise self._failed(None, "one of its secrets is not available", failure.words) from failure
            raise
        finally:
            self._starts.discard(over)
            over.set_result(None)
        self._processes.add(process)
        self._ground.started[self.server.name] += 1
        process.ended.add_done_callback(lambda _: self._forget(process))
        say("command.started", server=self.server.name, pid=process.pid, serving=serving)
        try:
            self._demand_not_ending()  # it was said meanwhile: nobody would look after this one any more
        except Refusal:
            process.retire()
            self._soon(process.end())
            raise
        return process

    def _demand_not_ending(self) -> None:
        if self._ending:
            raise refusals.stopping()

    async def _launched(self, serving: Serving) -> ServerProcess:
        command, ground = self._command, self._ground
        values = {name: ground.credentials.resolve(where).reveal() for name, where in command.secrets.items()}
        files = {name: ground.credentials.resolve(where).reveal() for name, where in command.secret_files.items()}
        private = ground.directory / f"p{next(ground.numbers)}"
        private.mkdir(mode=0o700)
        texts = {name: value.decode("utf-8", "surrogateescape") for name, value in values.items()}
        try:
            places = look(command, ground.deployment, ground.config)
            launched = launch(command, ground.host, places, secrets=texts, secret_files=files, private=str(private))
        except BaseException:
            private.rmdir()
            raise
        child, pipes = await start(launched, private, str(ground.directory))
        known = Secrets(tuple({*values.values(), *files.values()}))
        return ServerProcess(self.server.name, serving, child, pipes, known, max_line_bytes=self._max_line_bytes)

    async def _answered(self, process: ServerProcess, request: Request) -> Delivery:
        """The answer to the first message, in time. What comes before it is nobody's and dropped. Raises Refusal."""
        exchange, inbox = await process.ask((request,))
        try:
            async with asyncio.timeout(self._command.start_s):
                while not (delivery := await inbox.next()).last:
                    pass
        except TimeoutError:
            raise self._failed(process, f"no answer within run.start_s ({self._command.start_s:g} s)") from None
        except Broken:
            raise self._failed(process, "it ended before it answered") from None
        finally:
            await process.leave(exchange, cancel=False)
        self._failures, self._not_before_s = 0, 0.0
        return delivery

    def _failed(self, process: ServerProcess | None, why: str, last: str | None = None) -> Refusal:
        """A start failed: the next one waits a little longer. `why` is for the client too; `last` for the operator alone."""
        self._failures += 1
        self._ground.failed[self.server.name] += 1
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S)) - 1]
        self._not_before_s = asyncio.get_running_loop().time() + pause_s
        last = process.complaints.last if process is not None else last
        say("command.unstarted", server=self.server.name, why=why, last=last, failures=self._failures, pause_s=pause_s)
        return refusals.not_started(why)

    def _forget(self, process: ServerProcess) -> None:
        self._processes.discard(process)
        self._ground.slots.give_back()
        self._sessions = {name: s for name, s in self._sessions.items() if s.process is not process}

    async def _end_idle(self) -> None:
        """Processes of which nothing was asked for `run.idle_s` end, and with them their sessions: the client's next call finds none."""
        idle_s = self._command.idle_s
        while True:
            await asyncio.sleep(min(idle_s / 4, 30.0))
            self._sessions = {name: s for name, s in self._sessions.items() if self._lives(s)}
            self._modern = {who: task for who, task in self._modern.items() if not task.done() or _usable(task)}
            for process in tuple(self._processes):
                if process.usable and process.idle_s >= idle_s:
                    say("command.idle", server=self.server.name, pid=process.pid)
                    process.retire()
                    self._soon(process.end())

    def _lives(self, session: Session) -> bool:
        """A process that serves everybody outlives the sessions in it."""
        idle_s = asyncio.get_running_loop().time() - session.seen_s
        return session.process.usable and (session.under_way > 0 or idle_s < self._command.idle_s)

    async def end(self, *, at_once: bool = False) -> None:
        """No process of this server is left, and none will be started. `at_once`: what is just being started ends with us, by the kernel."""
        self._ending = True
        self._watching.cancel()
        while self._processes or (self._starts and not at_once):
            await asyncio.gather(*(process.end(at_once=at_once) for process in tuple(self._processes)))
            if self._starts and not at_once:
                await asyncio.wait(self._starts)
            await asyncio.sleep(0)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _heard(task: "asyncio.Task[T]") -> "asyncio.Task[T]":
    """Its failure is heard even where everybody who waited for it has left."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _usable(task: "asyncio.Task[Any]") -> bool:
    """Whether a start that is done brought a process that can still be asked."""
    if task.cancelled() or task.exception() is not None:
        return False
    found = task.result()
    process: ServerProcess = found[0] if isinstance(found, tuple) else found
    return process.usable
