"""The rooms of the supervisor whose place we took: they serve on beside their successors, and go one after the other."""

import contextlib
from collections.abc import Awaitable, Callable, Coroutine

from gatebook.model.deployment import Limits
from gatebook.model.errors import ConfigurationError
from gatebook.serve.control import Drain, Leave
from gatebook.serve.diagnostics import say
from gatebook.serve.handover import HandedRoom
from gatebook.serve.rooms import Hear, Room, adopted, ended

LISTENS_S = 30.0
SEALER_S = 60.0
LATE_S = 20.0
"""What a leaving worker may take beyond its limits before it is killed: by then nobody waits for it."""


class Predecessors:
    """`rooms`: all that run, by name, shared with the supervisor. A predecessor has a dot and its process id behind its name, so that its
    successor can have the name. `task` runs something beside."""

    def __init__(
        self, rooms: dict[str, Room], limits: Limits, task: Callable[[Coroutine[None, None, None]], None]
    ) -> None:
        self._rooms = rooms
        self._limits = limits
        self._task = task
        self._stand: dict[str, Room] = {}

    async def adopt(self, handed: tuple[HandedRoom, ...], hear: Hear) -> None:
        """Those that still run are ours, under their names, and `hear` hears them. Who was leaving goes on leaving."""
        for each in handed:
            with contextlib.suppress(ProcessLookupError):
                room = self._rooms[each.name] = await adopted(each)
                room.listen(hear)
                if "." in each.name:
                    self._task(self._gone(room))

    def step_aside(self, *names: str) -> None:
        """These names are free for successors; without any, all are."""
        for name in [name for name in self._rooms if "." not in name and (not names or name in names)]:
            self._stand[name] = self._rename(name, f"{name}.{self._rooms[name].process.pid}")

    def come_back(self) -> None:
        """Who did not go has its name again, and nobody else has it."""
        for name, room in self._stand.items():
            self._rooms.pop(name, None)
            self._rename(room.name, name)
        self._stand.clear()

    async def succeeded(self, name: str, start: Callable[[], Awaitable[Room]]) -> None:
        """The worker that `start` makes listens under `name`, and the one before leaves. Raises ConfigurationError, OSError: the one before has its
        name again and goes on."""
        try:
            worker = await start()
            await worker.listening(LISTENS_S)
        except (ConfigurationError, OSError):
            if (before := self._stand.pop(name, None)) is not None:
                self._rename(before.name, name)
            raise
        self.leave(name)

    def leave(self, name: str) -> None:
        """The worker that had `name` says goodbye to whom it serves, and is gone some time later."""
        if (before := self._stand.pop(name, None)) is not None:
            before.send(Leave(finish_s=self._limits.drain_s))
            self._task(self._gone(before))

    async def end(self, name: str) -> None:
        """The room that had `name` has finished what it was at, and ended."""
        if (before := self._stand.pop(name, None)) is None:
            return
        if name == "sealer":
            before.process.terminate()
        else:
            before.send(Drain(within_s=self._limits.drain_s))
        await ended((before,), SEALER_S if name == "sealer" else self._limits.drain_s + LATE_S)
        self._rooms.pop(before.name, None)

    async def _gone(self, room: Room) -> None:
        await ended((room,), self._limits.idle_s + self._limits.drain_s + LATE_S)
        say("room.left", room=room.name, release=room.release, status=room.process.returncode)
        self._rooms.pop(room.name, None)

    def _rename(self, old: str, new: str) -> Room:
        room = self._rooms[new] = self._rooms.pop(old)
        room.name = new
        return room
