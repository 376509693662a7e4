"""One process of a server: its talk, who waits for what in it, and its end."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import msgspec

from gatebook.masking import MaskingFailed, Secrets, mask
from gatebook.model.errors import Malformed
from gatebook.serve.diagnostics import say, say_bug
from gatebook.serve.runner import refusals
from gatebook.serve.runner.complaints import Complaints
from gatebook.serve.runner.launching import Child, Pipes
from gatebook.serve.runner.lines import LineSplitter, LineTooLong
from gatebook.serve.runner.talk import Delivery, Edit, Exchange, Serving, Talk, finished, read
from gatebook.wire.declared import Declarations
from gatebook.wire.jsonrpc import Message, Request

P = ParamSpec("P")
T = TypeVar("T")
ON_LOOP_BYTES: Final = 64 << 10
HELD_BYTES: Final = 4 << 20
"""What one process may have waiting for its readers; beyond that its output is not read."""
SHARED_HELD_BYTES: Final = 32 << 20
"""What one reader of a process for everybody may leave waiting before it is given up: it must not hold up the others."""
SILENT_S: Final = 1.0
"""How long the streams of a process that has ended may be silent and open."""
BACKLOG: Final = 64
BACKLOG_BYTES: Final = 256 << 10


_TOOLS_CHANGED: Final = b"notifications/tools/list_changed"


class Broken(Exception):
    """The process ended, or cannot be understood any more, while somebody waited: whether it acted is unknown."""


class Withheld(Exception):
    """A process said a secret of its own in a way that cannot be taken out: it is ended."""


async def _beside(line: bytes, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`work(*args)`. What a long line takes is taken beside the loop: one server that writes such lines must not hold up the others."""
    if len(line) <= ON_LOOP_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


class Inbox:
    """What came for one reader and was not yet taken."""

    def __init__(self, taken: Callable[[int], None]) -> None:
        self._deliveries: deque[Delivery] = deque()
        self._came = asyncio.Event()
        self._taken = taken
        self._ended: Exception | None = None
        self.held_bytes = 0

    def put(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)
        self.held_bytes += len(delivery.message)
        self._came.set()

    def end(self, why: Exception) -> None:
        """What came before is still given out."""
        self._ended = self._ended or why
        self._came.set()

    async def next(self) -> Delivery:
        """The next one. Raises what `end` was told when there is none any more."""
        while not self._deliveries:
            if self._ended is not None:
                raise self._ended
            self._came.clear()
            await self._came.wait()
        delivery = self._deliveries.popleft()
        self.held_bytes -= len(delivery.message)
        self._taken(len(delivery.message))
        return delivery

    def drop(self) -> None:
        """Nobody takes anything any more."""
        self._deliveries.clear()
        if self.held_bytes:
            self._taken(self.held_bytes)
        self.held_bytes = 0


class ServerProcess:
    """One running process. `ended` is done when it is reaped; until then it counts among `runner.processes`."""

    def __init__(
        self, server: str, serving: Serving, child: Child, pipes: Pipes, secrets: Secrets, *, max_line_bytes: int
    ) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._serving: Serving = serving
        self._talk = Talk(serving)
        self._child = child
        self._pipes = pipes
        self._secrets = secrets
        self._splitter = LineSplitter(max_line_bytes)
        self._inboxes: dict[Exchange, Inbox] = {}
        self._listener: Inbox | None = None
        self._backlog: deque[bytes] = deque()
        self._held_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._pieces = 0
        """Of its output that were read."""
        self._judging = False
        self._ending = False
        self.declared: Declarations | None = None
        """What its tools have repeated in headers (`runner.declaring`); None: not known, or no longer."""
        self.tools_changes = 0
        """How often its tools may have changed: what it said before the last time is not known any more."""
        self.declaring = asyncio.Lock()
        self.complaints = Complaints(server, child.pid, secrets, self._loop.time)
        self.last_used_s = self._loop.time()
        self.ended: asyncio.Task[int] = asyncio.create_task(self._live())

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def usable(self) -> bool:
        return not self._ending and not self._child.exited.done()

    @property
    def idle_s(self) -> float:
        """For how long nothing was asked of it; 0 while something is under way."""
        return 0.0 if self._talk.busy else self._loop.time() - self.last_used_s

    def tools_may_have_changed(self) -> None:
        """What its tools declare is not known any more, also where the question for it is under way."""
        self.declared = None
        self.tools_changes += 1

    def wanted(self) -> None:
        """Something will be asked of it soon: it has not been idle."""
        self.last_used_s = self._loop.time()

    # What clients say

    async def ask(self, requests: tuple[Request, ...]) -> tuple[Exchange, Inbox]:
        """The requests are written; what comes for them comes into the inbox. Raises Refusal, and then nothing was written."""
        if not self.usable:
            raise refusals.stopping()
        exchange, lines = self._talk.ask(requests)
        inbox = self._inboxes[exchange] = Inbox(self._took)
        self.last_used_s = self._loop.time()
        try:
            await self._pipes.write(lines)
        except asyncio.CancelledError:
            self._let_go(exchange)
            self._talk.drop(exchange, cancel=False)
            raise
        return exchange, inbox

    async def tell(self, messages: tuple[Message, ...]) -> None:
        """Notifications and answers are written, those that are passed on."""
        self.last_used_s = self._loop.time()
        lines = [line for message in messages if (line := self._talk.tell(message)) is not None]
        if lines:
            await self._pipes.write(b"".join(lines))

    async def say(self, line: bytes) -> None:
        """Something of our own."""
        await self._pipes.write(line)

    async def leave(self, exchange: Exchange, *, cancel: bool) -> None:
        """Nobody waits at `exchange` any more; with `cancel` the process is told so."""
        self._let_go(exchange)
        self.last_used_s = self._loop.time()
        if lines := self._talk.drop(exchange, cancel=cancel):
            await self._pipes.write(lines)

    def _let_go(self, exchange: Exchange) -> None:
        if (inbox := self._inboxes.pop(exchange, None)) is not None:
            inbox.drop()

    def listen(self) -> Inbox:
        """Who listens to the session as such, from now on, instead of whoever did. What came while nobody listened comes first."""
        if self._listener is not None:
            self._listener.end(Broken())
        inbox = self._listener = Inbox(self._took)
        self._talk.listened = True
        for message in self._backlog:
            self._put(inbox, Delivery(exchange=None, message=message))
        self._backlog.clear()
        if not self.usable:
            inbox.end(Broken())
        return inbox

    def unlisten(self, inbox: Inbox) -> None:
        inbox.drop()
        if self._listener is inbox:
            self._listener = None
            self._talk.listened = False

    # What the process says

    async def _live(self) -> int:
        """Read it to its end, then reap it. Whoever still waits then learns that the outcome is unknown."""
        reading = asyncio.create_task(self.complaints.read(self._pipes.stderr))
        hearing = asyncio.create_task(self._hear_all())
        leaving = asyncio.create_task(self._leave_to_its_children(hearing))
        await asyncio.wait((hearing,))
        leaving.cancel()
        match None if hearing.cancelled() else hearing.exception():
            case None:
                pass
            case LineTooLong():
                why = "a line longer than limits.response_bytes"
                say("command.unreadable", server=self._server, pid=self.pid, why=why)
            case Withheld():
                why = "one of its secrets could not be redacted"
                say("command.unreadable", server=self._server, pid=self.pid, why=why)
            case bug:
                say_bug(f"hearing {self._server}", bug)
        self.retire()
        for inbox in self._inboxes.values():
            inbox.end(Broken())
        if self._listener is not None:
            self._listener.end(Broken())
        self._pipes.close_stdin()
        code = await self._child.end()
        await asyncio.wait((reading,), timeout=SILENT_S)  # a child of its own that got away may hold the stream open
        reading.cancel()
        self._pipes.close()
        say("command.ended", server=self._server, pid=self.pid, status=code)
        return code

    async def _leave_to_its_children(self, hearing: "asyncio.Task[None]") -> None:
        """`hearing` is over once the process is dead and its output silent: a child of its own that got away may hold the stream open for ever, and
        whoever waits for an answer would wait with it. Not while we do not read: what is there already is the process's own."""
        await asyncio.wait((self._child.exited,))
        heard = -1
        while heard != self._pieces or self._judging or not self._room.is_set():
            heard = self._pieces
            await asyncio.sleep(SILENT_S)
        hearing.cancel()

    async def _hear_all(self) -> None:
        while piece := await self._pipes.stdout.read(64 << 10):
            self._pieces += 1
            for line in self._splitter.feed(piece):
                if line.strip():
                    self._judging = True
                    await self._hear(line)
                    self._judging = False
            await self._room.wait()

    async def _hear(self, line: bytes) -> None:
        if _TOOLS_CHANGED in line:  # also where a text says so: it costs one more question
            self.tools_may_have_changed()
        try:
            heard = self._talk.hear(await _beside(line, read, line))
            if heard.reply is not None:
                self._pipes.write_if_read(heard.reply)
            if heard.delivery is not None:
                self._deliver(await _beside(line, self._presentable, heard.delivery, heard.edits))
        except Malformed:
            # Some programs greet on their standard output. It goes where what they say to people goes.
            self.complaints.tell(line, "command.stdout_no_message")

    def _presentable(self, delivery: Delivery, edits: tuple[Edit, ...]) -> Delivery:
        """As its reader may have it: without the secrets that this process was given, should it say one; no client ever sees them. In a thread, for a
        long one. Raises Malformed, Withheld."""
        delivery = finished(delivery, edits)
        if not self._secrets or not self._secrets.positions(delivery.message):
            return delivery
        try:
            return msgspec.structs.replace(delivery, message=mask(delivery.message, self._secrets).body)
        except MaskingFailed:
            raise Withheld from None

    def _deliver(self, delivery: Delivery) -> None:
        inbox = self._listener if delivery.exchange is None else self._inboxes.get(delivery.exchange)
        if inbox is not None:
            self._put(inbox, delivery)
            if self._serving == "everybody" and inbox.held_bytes > SHARED_HELD_BYTES:
                inbox.drop()
                inbox.end(Broken())
        elif delivery.exchange is None:
            self._backlog.append(delivery.message)
            while len(self._backlog) > BACKLOG or sum(map(len, self._backlog)) > BACKLOG_BYTES:
                self._backlog.popleft()

    def _put(self, inbox: Inbox, delivery: Delivery) -> None:
        inbox.put(delivery)
        self._held_bytes += len(delivery.message)
        if self._held_bytes > HELD_BYTES and self._serving != "everybody":
            self._room.clear()

    def _took(self, count: int) -> None:
        self._held_bytes -= count
        if self._held_bytes <= HELD_BYTES:
            self._room.set()

    # Its end

    def retire(self) -> None:
        """Nothing more is asked of it. Whoever decides that it ends says so in the same turn of the loop: a request that came in between would be
        written to a process that is being ended, and be lost."""
        self._ending = True

    async def end(self, *, at_once: bool = False) -> None:
        """It has ended: its input is closed, then it is asked, then made to. Idempotent."""
        self.retire()
        self._pipes.close_stdin()
        self._room.set()
        if at_once:
            await self._child.end(0.0, 0.4)
        else:
            await self._child.end()
        await asyncio.wait((self.ended,))
