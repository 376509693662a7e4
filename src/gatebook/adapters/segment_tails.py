"""The sealer's view of the writers' segments: what is durable, who is gone, what may be removed."""

import contextlib
import fcntl
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gatebook.durable import sync_folder
from gatebook.ledger.framing import (
    HEADER_BYTES,
    Ending,
    FrameKind,
    Group,
    SegmentError,
    SegmentHeader,
    decode_header,
    read_frames,
    segment_name,
    take_groups,
    used_bytes,
)

_NAME = re.compile(r"(?P<writer>[a-z0-9-]{1,48})-(?P<epoch>[0-9a-f]{20})-(?P<number>\d{6})\.seg")
_ORPHAN = re.compile(r"(?P<writer>[a-z0-9-]{1,48})-(?P<epoch>[0-9a-f]{20})(-\d{6}\.new|\.mark)")
_ASIDE = ".damaged"
_MARK_SHIFT = 40
_STARTING_S = 60.0
_TAKE_BYTES = 8 << 20
_READ_BYTES = 4 << 20
"""Above the largest frame: what does not fit is read again with what follows it."""
_SETTLED_NS = 1_000_000_000


class Tail:
    """One writer's epoch, read from its oldest segment on. Not thread-safe."""

    def __init__(
        self,
        directory: Path,
        writer: str,
        epoch: str,
        first: int,
        *,
        data_dir: Path,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self.writer, self.epoch = writer, epoch
        self._directory, self._data_dir, self._give_way = directory, data_dir, give_way
        self._number, self._offset = first, HEADER_BYTES
        self._oldest = first
        self._done = (first, HEADER_BYTES)
        self._pending: list[bytes] = []
        self._reading: int | None = None
        self._marked: int | None = None
        self._last_mark: int | None = None
        self._beyond = 0
        self._damaged = False
        self._ended = False
        self._closed = False
        header = self._header(first)
        self.bound, self.first_sequence = header.tree_size, header.first_sequence
        self._segment_bytes = header.segment_bytes

    def ended(self) -> bool:
        """True once the writer is gone and what it wrote is durable. Raises OSError where that sync fails.

        It takes its locks before a segment has its name, and never again: where one is free, once, its writer is gone for good."""
        if self._ended:
            return True
        try:
            descriptor = os.open(self._path(min(self._numbers(), default=self._number)), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        for number in self._numbers():
            _sync(self._path(number))
        # Of an epoch that is over nothing is kept open: thousands of them may wait, and each open file counts.
        self._last_mark = self._mark()
        if self._marked is not None:
            os.close(self._marked)
            self._marked = None
        self._ended = True
        return True

    def take(self) -> list[Group]:
        """The next leaves in the order they were written, up to some megabytes: of a living writer those below its mark, of one that
        `ended` every whole one."""
        groups: list[Group] = []
        taken = 0
        mark = self._mark()
        self._damaged = False
        # One entry's payloads can be more than is taken at once: "nothing more" must mean that there is nothing more.
        while taken < _TAKE_BYTES or not groups:
            limit = self._limit(mark)
            if limit is not None and limit <= self._offset:
                break
            found = take_groups(self._data(limit), self._offset, self._pending, self._give_way)
            taken += found.offset - self._offset
            stuck = found.offset == self._offset
            groups += found.groups
            self._pending, self._offset = found.pending, found.offset
            if found.ends:
                self._done = (self._number, found.ends[-1])
                if self._ended:
                    self._beyond += sum((self._number << _MARK_SHIFT | end) > mark for end in found.ends)
            if found.closed:
                self._closed, self._done = True, (self._number, found.offset)
            if found.turned:
                self._number, self._offset = self._number + 1, HEADER_BYTES
                self._leave()
                if not self._path(self._number).exists():
                    break
            elif stuck or found.closed:
                # What a crash tore lies above the mark: that is only moved when all below it is synced, and has no way of being ahead of it on a disk.
                self._damaged = self._number << _MARK_SHIFT | self._offset < mark
                if self._ended:
                    self._leave()
                break
        return groups

    @property
    def damage(self) -> tuple[str, int] | None:
        """Where the last `take` met what its writer had made durable and is not as it was written: the file, below the data directory, and the offset in
        it. Nothing is taken from there on."""
        if not self._damaged:
            return None
        return str(self._path(self._number).relative_to(self._data_dir)), self._offset

    def backlog(self) -> float:
        """How much its writer made durable that is to be taken, in segments; 0 of one that `ended`, for whose room nobody waits, and of one that is
        damaged."""
        if self._ended or self._damaged:
            return 0.0
        mark = self._mark()
        offset = mark & ((1 << _MARK_SHIFT) - 1)
        return max(0.0, (mark >> _MARK_SHIFT) - self._number + (offset - self._offset) / self._segment_bytes)

    def held(self) -> Iterator[bytes]:
        """Every whole leaf in its segments, also of those that were taken, in the order they were written. Nothing is taken by this."""
        for number in self._numbers():
            for found in read_frames(_read(self._path(number)), HEADER_BYTES):
                if found.kind is FrameKind.LEAF:
                    yield found.body

    def ending(self) -> Ending:
        """How it ends; ask when `ended` and `take` gives nothing more."""
        number, offset = self._done
        orphans, torn = len(self._pending), 0
        if self._path(self._number).exists():
            torn = used_bytes(_read(self._path(self._number)), self._offset)
        for later in (n for n in self._numbers() if n > self._number):
            torn += used_bytes(_read(self._path(later)), HEADER_BYTES)
        return Ending(
            clean=self._closed and not torn and not orphans,
            damaged=self._damaged,
            beyond_mark=self._beyond,
            torn_bytes=torn,
            orphans=orphans,
            segment=number,
            offset=offset,
        )

    def remove_taken(self, upto: tuple[int, int]) -> None:
        """Segments wholly before position `upto` (from `position`) are gone."""
        while self._oldest < upto[0]:
            self._remove(self._oldest)
            self._oldest += 1

    def remove_all(self) -> None:
        """Nothing of this epoch is left; only for one that `ended` and whose entries are all in the log."""
        for number in self._numbers():
            self._remove(number)
        # The segment that it was making when it died has no name yet, and is as large as the others.
        for unfinished in self._directory.glob(f"{self.writer}-{self.epoch}-*.new"):
            unfinished.unlink(missing_ok=True)
        self._mark_path().unlink(missing_ok=True)
        self.close()

    def set_aside(self) -> None:
        """As `remove_all`, but segments that hold what could not be taken are kept, as `….seg.damaged`, with their mark. The one that is damaged goes
        last: its next one alone would be entries whose predecessors are missing."""
        for number in self._numbers():
            if number < self._number:
                self._remove(number)
        for number in reversed(self._numbers()):
            path = self._path(number)
            if used_bytes(_read(path), HEADER_BYTES):
                path.rename(f"{path}{_ASIDE}")
                sync_folder(self._directory)
            else:
                self._remove(number)
        with contextlib.suppress(FileNotFoundError):
            self._mark_path().rename(f"{self._mark_path()}{_ASIDE}")
        self.remove_all()

    def _remove(self, number: int) -> None:
        """Gone, and before any later one: a power loss must not leave a segment whose next is missing, as if entries had been taken away."""
        self._path(number).unlink(missing_ok=True)
        sync_folder(self._directory)

    @property
    def position(self) -> tuple[int, int]:
        """(segment, offset) after the last leaf taken: frames before it are not needed once their entries are in the log."""
        return self._done

    def close(self) -> None:
        self._leave()
        if self._marked is not None:
            with contextlib.suppress(OSError):
                os.close(self._marked)
            self._marked = None

    def _limit(self, mark: int) -> int | None:
        """Offset up to which the present segment may be read; None for all of it."""
        if self._ended or mark >> _MARK_SHIFT > self._number:
            return None
        return mark & ((1 << _MARK_SHIFT) - 1) if mark >> _MARK_SHIFT == self._number else 0

    def _data(self, limit: int | None) -> bytes:
        if self._reading is None:
            self._reading = _opened(self._path(self._number))
        wanted = _READ_BYTES if limit is None else min(limit - self._offset, _READ_BYTES)
        return os.pread(self._reading, wanted, self._offset)

    def _leave(self) -> None:
        """The segment being read is done with: its space is free once its name is gone."""
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None

    def _mark(self) -> int:
        if self._last_mark is not None:
            return self._last_mark
        if self._marked is None:
            try:
                # Kept open: a writer makes its mark before its first segment, and only we remove it.
                self._marked = _opened(self._mark_path())
            except FileNotFoundError:
                return 0
        return int.from_bytes(os.pread(self._marked, 8, 0), sys.byteorder)

    def _header(self, number: int) -> SegmentHeader:
        try:
            header = decode_header(_read(self._path(number), HEADER_BYTES))
        except SegmentError as failure:
            raise SegmentError(f"{self._path(number)}: {failure}") from failure
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
    """All writers of a deployment, found by their segments' names: in `directory`, and in a folder in it for each room that has a user of its own.

    In such a folder only its own room may write: a segment there in another's name is refused, or one room could write as the other.
    `give_way` is called between entries."""

    def __init__(self, directory: Path, give_way: Callable[[], None] = lambda: None) -> None:
        self._directory, self._give_way = directory, give_way
        self._folders = [directory]
        self._tails: dict[tuple[str, str], Tail] = {}
        self._sorted: list[Tail] = []
        self.aside: list[str] = []
        """Segments that were set aside and that nobody has moved away, by their names below the data directory, as `look` found them last."""
        self._listed_at: tuple[int, ...] | None = None

    def look(self) -> list[Tail]:
        """Every epoch that has segments, oldest epoch first. Raises SegmentError, OSError: a segment that cannot be read is never passed over."""
        changed = self._changed()
        if changed is not None and changed == self._listed_at:
            return self._sorted
        now = time.time_ns()
        self._folders = [self._directory, *_folders(self._directory)]
        changed = self._changed()
        self.aside = []
        for folder in self._folders:
            self._find(folder)
            self.aside += (str(path.relative_to(self._directory.parent)) for path in _set_aside(folder))
        self._sorted = sorted(self._tails.values(), key=lambda tail: (tail.epoch, tail.writer))
        # A name made within the clock tick of the change before would leave no trace: a directory is trusted once it has been still.
        self._listed_at = changed if changed is not None and 0 < now - max(changed) > _SETTLED_NS else None
        return self._sorted

    def _find(self, folder: Path) -> None:
        """The tails of one folder that are not known yet."""
        oldest: dict[tuple[str, str], int] = {}
        for writer, epoch, number in _listed(folder):
            if folder != self._directory and writer.partition("-")[0] != folder.name:
                raise SegmentError(f"{folder / segment_name(writer, epoch, number)} is in another writer's name")
            oldest[writer, epoch] = min(number, oldest.get((writer, epoch), number))
        for key, number in oldest.items():
            if key not in self._tails:
                self._tails[key] = Tail(folder, *key, number, data_dir=self._directory.parent, give_way=self._give_way)

    def _changed(self) -> tuple[int, ...] | None:
        """When a name was last made or removed in each directory; None where there is none."""
        try:
            return tuple(os.stat(folder).st_mtime_ns for folder in self._folders)  # noqa: PTH116 - each poll
        except FileNotFoundError:
            return None

    def remove_orphans(self, own: str) -> None:
        """Files of epochs that died before their first segment had its name are gone: nothing can be in them. Those of a writer that is just
        starting are locked by it, or younger than a minute, and are left alone; `own` is the caller's writer, which starts nothing meanwhile."""
        for folder in (self._directory, *_folders(self._directory)):
            self._remove_orphans_in(folder, own)

    def _remove_orphans_in(self, folder: Path, own: str) -> None:
        found: dict[tuple[str, str], list[Path]] = {}
        for path in [*folder.glob("*.new"), *folder.glob("*.mark")]:
            if match := _ORPHAN.fullmatch(path.name):
                found.setdefault((match["writer"], match["epoch"]), []).append(path)
        # Listed last: a first segment that got its name meanwhile is seen.
        living = {(writer, epoch) for writer, epoch, _ in _listed(folder)}
        for (writer, epoch), paths in found.items():
            # The age alone would be the clock's word: a writer whose mark was taken away by a clock that jumped is not sealed as long as it lives.
            if (writer, epoch) in living or (writer != own and any(_held(path) for path in paths)):
                continue
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    if writer == own or time.time() - path.stat().st_mtime > _STARTING_S:
                        path.unlink()

    def forget(self, writer: str, epoch: str) -> None:
        """That epoch was removed from the disk."""
        del self._tails[writer, epoch]
        self._listed_at = None


def epochs_in(directory: Path) -> frozenset[tuple[str, str]] | None:
    """Whose segments lie there, also such as were set aside: (writer, epoch). None where that cannot be seen."""
    try:
        folders = [
            directory,
            *(Path(each.path) for each in os.scandir(directory) if each.is_dir(follow_symlinks=False)),
        ]
        names = [name.removesuffix(_ASIDE) for folder in folders for name in os.listdir(folder)]  # noqa: PTH208 - names only
    except OSError:
        return None
    return frozenset((match["writer"], match["epoch"]) for name in names if (match := _NAME.fullmatch(name)))


def _folders(directory: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


def _listed(directory: Path) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):  # noqa: PTH208 - names only, each poll
            if match := _NAME.fullmatch(name):
                found.append((match["writer"], match["epoch"], int(match["number"])))
    return found


def _set_aside(directory: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        names = sorted(os.listdir(directory))  # noqa: PTH208 - as above
        return [
            directory / name
            for name in names
            if name.endswith(_ASIDE) and _NAME.fullmatch(name.removesuffix(_ASIDE)) is not None
        ]
    return []


def _opened(path: Path) -> int:
    """Of a plain file, and at once: what lies in a room's folder is that room's to make, and a pipe there would have us wait for ever, in silence.
    Raises SegmentError, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SegmentError(f"{path} is no plain file")
    return descriptor


def _held(path: Path) -> bool:
    """True where a writer that lives has locked this file, or has just given it another name."""
    try:
        descriptor = _opened(path)
    except FileNotFoundError:
        return True
    except (OSError, SegmentError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _read(path: Path, size: int = -1) -> bytes:
    with os.fdopen(_opened(path), "rb") as file:
        return file.read(size)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
