"""How much is free where a deployment writes, and whether that is enough: the same judgement for `gatebook check` and for the gate that runs."""

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

from gatebook.model.deployment import Disk

BETTER_TENTHS: Final = 11
"""So much more than the bound must be free before it counts as mended: a log that grows and a clean-up that shrinks would else ring all day."""
FILES_WANTED: Final = 20_000
FILES_NEEDED: Final = 2_000
_FOLDERS: Final = ("log", "payloads", "segments")

Space = Literal["enough", "low", "short"]


class Room(msgspec.Struct, frozen=True):
    """What is free for this user: bytes, and names for files (None: this file system does not count them)."""

    free_bytes: int
    free_files: int | None


def judged(room: Room, budget: Disk, before: Space = "enough") -> Space:
    """How it stands with `room`. What was worse before must have become clearly better."""
    if _below(room, budget.refuse_free_bytes, FILES_NEEDED, before == "short"):
        return "short"
    return "low" if _below(room, budget.warn_free_bytes, FILES_WANTED, before != "enough") else "enough"


def lacking(room: Room, free_bytes: int, free_files: int) -> str:
    """What of `room` is below the bounds, in words; empty where nothing is."""
    found = []
    if room.free_bytes < free_bytes:
        found.append(f"only {room.free_bytes >> 20} MiB are free")
    if room.free_files is not None and room.free_files < free_files:
        found.append(f"only {room.free_files} more files can be made (inodes)")
    return " and ".join(found)


def room_in(data_dir: Path) -> Room:
    """The scarcest of the file systems that the deployment writes to. Raises OSError."""
    others = (data_dir / name for name in _FOLDERS)
    found = [os.statvfs(data_dir), *(os.statvfs(path) for path in others if path.exists())]
    counted = [space.f_favail for space in found if space.f_files]
    return Room(min(space.f_bavail * space.f_frsize for space in found), min(counted, default=None))


def _below(room: Room, free_bytes: int, free_files: int, was: bool) -> bool:
    tenths = BETTER_TENTHS if was else 10
    few = room.free_files is not None and room.free_files * 10 < free_files * tenths
    return room.free_bytes * 10 < free_bytes * tenths or few
