"""The sealer's view of the writers' segments: what is durable, who is gone, what may be removed."""

import contextlib
import fcntl
import os
import re
import sys
import time
from pathlib import Path

from gatebook.ledger.framing import (
    HEADER_BYTES,
    Ending,
    FrameKind,
    Group,
    SegmentError,
    SegmentHeader,
    decode_header,
    read_frame,
    segment_name,
    used_bytes,
)

_NAME = re.compile(r"(?P<writer>[a-z0-9-]{1,48})-(?P<epoch>[0-9a-f]{20})-(?P<number>\d{6})\.seg")
_ORPHAN = re.compile(r"(?P<writer>[a-z0-9-]{1,48})-(?P<epoch>[0-9a-f]{20})(-\d{6}\.new|\.mark)")
_MARK_SHIFT = 40
_STARTING_S = 60.0
_TAKE_BYTES = 8 << 20


class Tail:
    """One writer's epoch, read from its oldest segment on. Not thread-safe."""

    def __init__(self, directory: Path, writer: str, epoch: str, first: int) -> None:
        self.writer, self.epoch = writer, epoch
        self._directory = directory
        self._number, self._offset = first, HEADER_BYTES
        self._oldest = first
        self._done = (first, HEADER_BYTES)
        self._pending: list[bytes] = []
        self._locks: list[int] = []
        self._beyond = 0
        self._ended = False
        self._closed = False
        self.bound = self._header(first).tree_size

    def ended(self) -> bool:
        """True once the writer is gone (its lock is ours now, for good) and what it wrote is durable. Raises OSError where that sync fails."""
        if self._ended:
            return True
        try:
            descriptor = os.open(self._path(min(self._numbers(), default=self._number)), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._locks.append(descriptor)
        for number in self._numbers():
            _sync(self._path(number))
        self._ended = True
        return True

    def take(self) -> list[Group]:
        """The next leaves in the order they were written, up to some megabytes: of a living writer those below its mark, of one that
        `ended` every whole one."""
        groups: list[Group] = []
        taken = 0
        mark = self._mark()
        while taken < _TAKE_BYTES:
            limit = self._limit(mark)
            if limit is not None and limit <= self._offset:
                break
            data = self._data(limit)
            turned = False
            start = 0
            while (found := read_frame(data, start)) is not None and taken < _TAKE_BYTES:
                stored = data[start : found.end]
                end = self._offset + (found.end - start)
                start, self._offset = found.end, end
                taken += len(stored)
                match found.kind:
                    case FrameKind.LEAF:
                        groups.append(Group(found.body, tuple(self._pending)))
                        self._pending = []
                        self._done = (self._number, end)
                        self._beyond += (self._number << _MARK_SHIFT | end) > mark
                    case FrameKind.PAYLOAD | FrameKind.DATA_KEY:
                        self._pending.append(stored)
                    case FrameKind.TURN:
                        turned = True
                    case FrameKind.END:
                        self._closed, self._done = True, (self._number, end)
                if turned:
                    break
            if not turned:
                break
            self._number, self._offset = self._number + 1, HEADER_BYTES
            if not self._path(self._number).exists():
                break
        return groups

    def ending(self) -> Ending:
        """How it ends; ask when `ended` and `take` gives nothing more."""
        number, offset = self._done
        orphans, torn = len(self._pending), 0
        if self._path(self._number).exists():
            with self._path(self._number).open("rb") as file:
                data = file.read()
            torn = used_bytes(data, self._offset)
        for later in (n for n in self._numbers() if n > self._number):
            torn += used_bytes(self._path(later).read_bytes(), HEADER_BYTES)
        return Ending(
            clean=self._closed and not torn and not orphans,
            beyond_mark=self._beyond,
            torn_bytes=torn,
            orphans=orphans,
            segment=number,
            offset=offset,
        )

    def remove_taken(self, upto: tuple[int, int]) -> None:
        """Segments wholly before position `upto` (from `position`) are gone."""
        while self._oldest < upto[0]:
            self._path(self._oldest).unlink(missing_ok=True)
            self._oldest += 1

    def remove_all(self) -> None:
        """Nothing of this epoch is left; only for one that `ended` and whose entries are all in the log."""
        for number in self._numbers():
            self._path(number).unlink(missing_ok=True)
        # The segment that it was making when it died has no name yet, and is as large as the others.
        for unfinished in self._directory.glob(f"{self.writer}-{self.epoch}-*.new"):
            unfinished.unlink(missing_ok=True)
        self._mark_path().unlink(missing_ok=True)
        self.close()

    @property
    def position(self) -> tuple[int, int]:
        """(segment, offset) after the last leaf taken: frames before it are not needed once their entries are in the log."""
        return self._done

    def close(self) -> None:
        for descriptor in self._locks:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._locks.clear()

    def _limit(self, mark: int) -> int | None:
        """Offset up to which the present segment may be read; None for all of it."""
        if self._ended or mark >> _MARK_SHIFT > self._number:
            return None
        return mark & ((1 << _MARK_SHIFT) - 1) if mark >> _MARK_SHIFT == self._number else 0

    def _data(self, limit: int | None) -> bytes:
        with self._path(self._number).open("rb", buffering=0) as file:
            file.seek(self._offset)
            wanted = _TAKE_BYTES * 2 if limit is None else min(limit - self._offset, _TAKE_BYTES * 2)
            return file.read(wanted) or b""

    def _mark(self) -> int:
        try:
            raw = self._mark_path().read_bytes()
        except FileNotFoundError:
            return 0
        return int.from_bytes(raw[:8], sys.byteorder)

    def _header(self, number: int) -> SegmentHeader:
        with self._path(number).open("rb") as file:
            header = decode_header(file.read(HEADER_BYTES))
        if (header.writer, header.epoch, header.number) != (self.writer, self.epoch, number):
            raise SegmentError(f"{self._path(number)} is another segment under this name")
        return header

    def _numbers(self) -> list[int]:
        return sorted(
            number for writer, epoch, number in _listed(self._directory) if (writer, epoch) == (self.writer, self.epoch)
        )

    def _path(self, number: int) -> Path:
        return self._directory / segment_name(self.writer, self.epoch, number)

    def _mark_path(self) -> Path:
        return self._directory / f"{self.writer}-{self.epoch}.mark"


class SegmentTails:
    """All writers of a deployment, found by their segments' names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tails: dict[tuple[str, str], Tail] = {}

    def look(self) -> list[Tail]:
        """Every epoch that has segments, oldest epoch first. Raises SegmentError, OSError: a segment that cannot be read is never passed over."""
        oldest: dict[tuple[str, str], int] = {}
        for writer, epoch, number in _listed(self._directory):
            oldest[writer, epoch] = min(number, oldest.get((writer, epoch), number))
        for key, number in oldest.items():
            if key not in self._tails:
                self._tails[key] = Tail(self._directory, *key, number)
        return sorted((self._tails[key] for key in self._tails), key=lambda tail: (tail.epoch, tail.writer))

    def remove_orphans(self, own: str) -> None:
        """Files of epochs that died before their first segment had its name are gone: nothing can be in them. Those of a writer that is just
        starting are younger than a minute, and are left alone; `own` is the caller's writer, which starts nothing meanwhile."""
        living = {(writer, epoch) for writer, epoch, _ in _listed(self._directory)}
        for path in [*self._directory.glob("*.new"), *self._directory.glob("*.mark")]:
            match = _ORPHAN.fullmatch(path.name)
            if match is None or (match["writer"], match["epoch"]) in living:
                continue
            with contextlib.suppress(FileNotFoundError):
                if match["writer"] == own or time.time() - path.stat().st_mtime > _STARTING_S:
                    path.unlink()

    def forget(self, writer: str, epoch: str) -> None:
        """That epoch was removed from the disk."""
        del self._tails[writer, epoch]


def _listed(directory: Path) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):  # noqa: PTH208 - names only, each poll
            if match := _NAME.fullmatch(name):
                found.append((match["writer"], match["epoch"], int(match["number"])))
    return found


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
