"""Starting a room as a child process, the talk with it, and its end."""

import asyncio
import contextlib
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

from gatebook.model.errors import ConfigurationError
from gatebook.serve.control import Channel, Failed, FromRoom, Ready, ToRoom, supervisor_end
from gatebook.serve.diagnostics import say, say_bug


class Room:
    """One child process and the talk with it. `name`: desk, sealer, gate-0, gate-1, …"""

    def __init__(self, name: str, process: Process, channel: Channel[FromRoom, ToRoom]) -> None:
        self.name = name
        self.process = process
        self.why: str | None = None
        """What it said last of why it cannot go on."""
        self._channel = channel
        self._listening: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def send(self, message: ToRoom) -> None:
        self._channel.send(message)

    def listen(self, hear: "Hear") -> None:
        """From now on `hear` gets each message, and None when it says no more. It hears to the end; nothing needs to be cancelled."""
        self._listening = asyncio.create_task(self._listen(hear))

    async def _listen(self, hear: "Hear") -> None:
        try:
            while (message := await self._channel.receive()) is not None:
                if isinstance(message, Ready):
                    self._settle(ready=True)
                if isinstance(message, Failed):
                    self.why = message.why
                hear(self, message)
        except Exception as bug:  # a room that is not understood is ended, and started again by whoever keeps it
            say_bug(f"hearing {self.name}", bug)
            await self.kill()
        self._channel.close()
        self._settle(ready=False)
        hear(self, None)

    async def started(self, within_s: float | None) -> None:
        """It has said Ready. Raises ConfigurationError where it ended instead or took too long; then nothing of it is left."""
        try:
            async with asyncio.timeout(within_s):
                if await asyncio.shield(self._ready):
                    return
                await self.process.wait()
        except TimeoutError:
            self.why = f"no sign of life within {within_s:g} s"
        await self.kill()
        raise ConfigurationError((f"{self.name} did not start: {self.why or 'see the diagnostics above'}",))

    async def kill(self) -> None:
        """It has ended. A worker that is killed leaves its clients without an answer, and its calls without an outcome."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    def _settle(self, *, ready: bool) -> None:
        if not self._ready.done():
            self._ready.set_result(ready)


Hear = Callable[[Room, FromRoom | None], None]


async def spawn(name: str, start: bytes = b"", *, inherit: tuple[int, ...] = ()) -> Room:
    """Start `python -m gatebook.wiring KIND CONTROL_FD` with `start` on stdin and the descriptors in `inherit`; KIND is `name` up to a dash.

    The room ends by itself when the control channel closes, so it never outlives the supervisor for long. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gatebook.wiring",
                name.partition("-")[0],
                str(theirs.fileno()),
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
