"""Starting a room as a child process, the talk with it, and its end."""

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from gatebook import __version__
from gatebook.model.errors import ConfigurationError
from gatebook.model.users import Account
from gatebook.serve.control import VERSION, Channel, Failed, FromRoom, Listening, Ready, ToRoom, supervisor_end
from gatebook.serve.diagnostics import say, say_bug
from gatebook.serve.dropping import OWN_USER
from gatebook.serve.handover import HandedRoom
from gatebook.serve.inherited import InheritedProcess
from gatebook.serve.notifying import NOTIFYING
from gatebook.serve.patience import MOST_S, patiently, processor_s
from gatebook.serve.reaching import program

PASSED_ON_BYTES: Final = 4 << 20
T = TypeVar("T")


class Child(Protocol):
    """A child process, as asyncio has it or as it was taken over (`inherited`)."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...

    def kill(self) -> None: ...

    def terminate(self) -> None: ...


class Room:
    """One child process and the talk with it. `name`: desk, sealer, gate-0, gate-1, …; with a dot and its process id once another one has
    its place. `release`: as it says itself, empty until then."""

    def __init__(self, name: str, process: Child, channel: Channel[FromRoom, ToRoom], *, release: str = "") -> None:
        self.name = name
        self.process = process
        self.release = release
        self.why: str | None = None
        """What it said last of why it cannot go on."""
        self._channel = channel
        self._listening: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._listens = asyncio.Event()

    @property
    def kind(self) -> str:
        """desk, sealer, gate, …: whichever of them it is, and whether or not another one has its place."""
        return self.name.partition(".")[0].partition("-")[0]

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def send(self, message: ToRoom) -> None:
        self._channel.send(message)

    def pass_on(self, message: ToRoom) -> None:
        """As `send`, for what another room says and may be lost: a room that takes nothing must not have the supervisor hold it all."""
        if self._channel.waiting_bytes < PASSED_ON_BYTES:
            self._channel.send(message)

    @property
    def can_be_handed(self) -> bool:
        return self.alive and not self._channel.over

    async def flushed(self) -> None:
        """What was sent to it is on its way. Raises TimeoutError: it takes nothing."""
        await self._channel.flushed()

    def handed(self) -> HandedRoom:
        """For the program that takes our place; nobody is heard here any more."""
        descriptor, unread = self._channel.rest()
        return HandedRoom(name=self.name, pid=self.process.pid, control=descriptor, unread=unread, release=self.release)

    @property
    def is_ready(self) -> bool:
        return self._ready.done() and self._ready.result()

    def listen(self, hear: "Hear") -> None:
        """From now on `hear` gets each message, and None when it says no more. It hears to the end; nothing needs to be cancelled."""
        self._listening = asyncio.create_task(self._listen(hear))

    async def _listen(self, hear: "Hear") -> None:
        try:
            while (message := await self._channel.receive()) is not None:
                if isinstance(message, Ready):
                    self._hear_ready(message)
                    if not self.is_ready:
                        await self.kill()
                if isinstance(message, Listening):
                    self._listens.set()
                if isinstance(message, Failed):
                    self.why = message.why
                hear(self, message)
        except Exception as bug:  # a room that is not understood is ended, and started again by whoever keeps it
            say_bug(f"hearing {self.name}", bug)
            await self.kill()
        self._channel.close()
        self._settle(ready=False)
        self._listens.set()
        hear(self, None)

    def _hear_ready(self, message: Ready) -> None:
        self.release = message.release
        if message.control != VERSION:
            self.why = (
                f"it is of release {message.release or '(unknown)'} and speaks control {message.control}, this supervisor is of "
                f"{__version__} and speaks {VERSION}; the files of a release that runs were replaced: restart Gatebook"
            )
            say("room.failed", room=self.name, why=self.why)
        self._settle(ready=message.control == VERSION)

    async def started(self, within_s: float | None) -> None:
        """It has said Ready. Raises ConfigurationError where it ended instead, or got on no more for `within_s`; then nothing of it is left."""
        try:
            ready = self._becomes_ready()
            if await (ready if within_s is None else self.patiently(ready, "start", within_s)):
                return
        except TimeoutError:
            self.why = f"it got on no more for {within_s:g} s, or was not ready within {MOST_S / 60:g} minutes"
        await self.kill()
        raise ConfigurationError((f"{self.name} did not start: {self.why or 'see the diagnostics above'}",))

    async def listening(self, within_s: float) -> None:
        """It accepts on its sockets. Raises ConfigurationError where it does not; then nothing of it is left."""
        with contextlib.suppress(TimeoutError):
            await self.patiently(self._listens.wait(), "listen", within_s)
            if self.alive:
                return
        await self.kill()
        raise ConfigurationError((f"{self.name} does not listen: {self.why or 'see the diagnostics above'}",))

    async def patiently(self, work: Coroutine[Any, Any, T], what: str, within_s: float) -> T:
        """What `work`, which waits for this room, comes to. Raises TimeoutError where the room got on no more for `within_s`."""
        return await patiently(
            work, partial(processor_s, self.process.pid), partial(say_slow, self.name, what), quiet_s=within_s
        )

    async def _becomes_ready(self) -> bool:
        if ready := await asyncio.shield(self._ready):
            return ready
        await self.process.wait()
        return False

    async def kill(self) -> None:
        """It has ended. A worker that is killed leaves its clients without an answer, and its calls without an outcome."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    def _settle(self, *, ready: bool) -> None:
        if not self._ready.done():
            self._ready.set_result(ready)


def say_slow(name: str, what: str, waited_s: float) -> None:
    say("room.slow", room=name, what=what, waited_s=round(waited_s))


Hear = Callable[[Room, FromRoom | None], None]


async def spawn(
    name: str,
    start: bytes = b"",
    *,
    inherit: tuple[int, ...] = (),
    account: Account | None = None,
    environment: dict[str, str] | None = None,
    withheld: frozenset[str] = frozenset(),
) -> Room:
    """Start `python -m gatebook.wiring KIND CONTROL_FD` with `start` on stdin and the descriptors in `inherit`; KIND is `name` up to a dash.
    `account`: whose it is from its first line on; None: ours. `environment`: what it finds in its environment beside ours; `withheld`:
    what of ours it does not find.

    The room ends by itself when the control channel closes, so it never outlives the supervisor for long. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *_command(name.partition("-")[0], theirs.fileno(), account),
                env={**_passed_on(withheld), **(environment or {})},
                stdin=PIPE,
                pass_fds=(theirs.fileno(), *inherit),
                start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor alone, which drains the rooms
            )
    except OSError:
        ours.close()
        raise
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(start)
        await process.stdin.drain()
    process.stdin.close()
    return Room(name, process, await supervisor_end(ours))


def _passed_on(withheld: frozenset[str]) -> dict[str, str]:
    """Our environment, without what the service manager said to us alone."""
    return {name: value for name, value in os.environ.items() if name not in NOTIFYING and name not in withheld}


def _command(kind: str, control_fd: int, account: Account | None) -> list[str]:
    arguments = ["-m", "gatebook.wiring", kind, str(control_fd)]
    # -P: nothing is imported from the working directory, which may be anybody's.
    return [sys.executable, "-P", *arguments] if account is None else program(account, *arguments, OWN_USER)


async def adopted(handed: HandedRoom) -> Room:
    """A room that another program started under our process id. Raises ProcessLookupError: it is gone."""
    process = InheritedProcess(handed.pid)
    channel = await supervisor_end(socket.socket(fileno=handed.control), handed.unread)
    return Room(handed.name, process, channel, release=handed.release)


async def ended(rooms: tuple[Room, ...], within_s: float) -> None:
    """None of them is left: those that do not end by themselves in time are killed, and that is said."""
    if not rooms:
        return
    waiting = [asyncio.ensure_future(room.process.wait()) for room in rooms]
    _, late = await asyncio.wait(waiting, timeout=within_s)
    for task in late:
        task.cancel()
    for room in rooms:
        if room.alive:
            say("room.killed", room=room.name)
            await room.kill()
