"""The disk budget: a warning while there is time, and no new calls while what is under way can still be recorded, signed and closed.

Looked at once a second, by the supervisor alone: a call costs nothing. `space.judged` is the decision, `DiskWatch` acts on it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from gatebook.model.deployment import Disk
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft, Origin, Resource, Who
from gatebook.serve.diagnostics import say
from gatebook.space import Room, Space, judged, room_in

PERIOD_S: Final = 1.0


class DiskWatch:
    """The disk of one deployment. `refuse(on)`: no new calls from now on, or calls again; `record` writes into the book."""

    def __init__(
        self,
        data_dir: Path,
        budget: Disk,
        refuse: Callable[[bool], None],
        record: Callable[[Draft], Awaitable[object]],
    ) -> None:
        self._data_dir, self._budget = data_dir, budget
        self._refuse, self._record = refuse, record
        self.space: Space = "enough"
        self.room = Room(0, None)

    async def keep_looking(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.look()

    async def look(self) -> None:
        """What has changed since the last look is in force, said, and in the book, in this order: the book may be what has no room."""
        try:
            # In a thread: a disk that hangs must not hold up the supervisor.
            self.room = await asyncio.to_thread(room_in, self._data_dir)
        except OSError:
            return  # whoever writes there says so
        before, self.space = self.space, judged(self.room, self._budget, self.space)
        if self.space == before:
            return
        if "short" in (before, self.space):
            self._refuse(self.space == "short")
        facts: dict[str, int] = {"free_bytes": self.room.free_bytes}
        if self.room.free_files is not None:
            facts["free_files"] = self.room.free_files
        _say(self.space, facts)
        try:
            await self._record(_draft(self.space, facts))
        except LedgerUnavailable as failure:
            say("disk.unrecorded", why=str(failure))


def _say(space: Space, facts: dict[str, int]) -> None:
    match space:
        case "low":
            say("disk.low", **facts)
        case "short":
            say("disk.short", **facts)
        case "enough":
            say("disk.enough", **facts)


def _draft(space: Space, facts: dict[str, int]) -> Draft:
    who = Who(kind="service", iss="gatebook", sub="supervisor")
    draft = Draft(
        event="disk.space",
        ok=False,
        reason="low",
        who=who,
        origin=Origin(ip="local"),
        resource=Resource(kind="deployment", name="data_dir"),
        detail={**facts},
    )
    match space:
        case "low":
            return draft
        case "short":
            return msgspec.structs.replace(draft, reason="short")
        case "enough":
            return msgspec.structs.replace(draft, ok=True, reason="enough")
