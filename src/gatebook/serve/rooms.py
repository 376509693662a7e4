"""Starting a room as a child process, and the talk with it."""

import asyncio
import contextlib
import socket
import sys
from asyncio.subprocess import PIPE, Process

from gatebook.serve.control import Channel, FromRoom, ToRoom, supervisor_end


class Room:
    """One child process and the talk with it."""

    def __init__(self, name: str, process: Process, channel: Channel[FromRoom, ToRoom]) -> None:
        self.name = name
        self.process = process
        self.channel = channel

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def send(self, message: ToRoom) -> None:
        self.channel.send(message)


async def spawn(name: str, start: bytes = b"", *, inherit: tuple[int, ...] = ()) -> Room:
    """Start `python -m gatebook.wiring NAME CONTROL_FD` with `start` on stdin and the descriptors in `inherit`.

    The room ends by itself when the control channel closes, so it never outlives the supervisor."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gatebook.wiring",
            name,
            str(theirs.fileno()),
            stdin=PIPE,
            pass_fds=(theirs.fileno(), *inherit),
            start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor alone, which drains the rooms
        )
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(start)
        await process.stdin.drain()
    process.stdin.close()
    return Room(name, process, await supervisor_end(ours))
