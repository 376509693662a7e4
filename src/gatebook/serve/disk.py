"""The disk budget: a warning while there is time, and no new calls while what is under way can still be recorded, signed and closed.

Looked at once a second, by the supervisor alone: a call costs nothing. `judged` is the decision, `DiskWatch` acts on it.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from gatebook.model.deployment import Disk
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft, Origin, Resource, Who
from gatebook.serve.diagnostics import say

PERIOD_S: Final = 1.0
_BETTER_TENTHS: Final = 11
"""So much more than the bound must be free before it counts as mended: a log that grows and a clean-up that shrinks would else ring all day."""
_FILES_WANTED: Final = 20_000
_FILES_NEEDED: Final = 2_000
_FOLDERS: Final = ("log", "payloads", "segments")

Space = Literal["enough", "low", "short"]


class Room(msgspec.Struct, frozen=True):
    """What is free for this user: bytes, and names for files (None: this file system does not count them)."""

    free_bytes: int
    free_files: int | None


def judged(room: Room, budget: Disk, before: Space) -> Space:
    """How it stands with `room`. What was worse before must have become clearly better."""
    if _below(room, budget.refuse_free_bytes, _FILES_NEEDED, before == "short"):
        return "short"
    return "low" if _below(room, budget.warn_free_bytes, _FILES_WANTED, before != "enough") else "enough"


def _below(room: Room, free_bytes: int, free_files: int, was: bool) -> bool:
    tenths = _BETTER_TENTHS if was else 10
    few = room.free_files is not None and room.free_files * 10 < free_files * tenths
    return room.free_bytes * 10 < free_bytes * tenths or few


def room_in(data_dir: Path) -> Room:
    """The scarcest of the file systems that the deployment writes to. Raises OSError."""
    others = (data_dir / name for name in _FOLDERS)
    found = [os.statvfs(data_dir), *(os.statvfs(path) for path in others if path.exists())]
    counted = [space.f_favail for space in found if space.f_files]
    return Room(min(space.f_bavail * space.f_frsize for space in found), min(counted, default=None))


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
