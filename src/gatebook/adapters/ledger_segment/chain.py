"""The files of one writer: segments made of zeros ahead of time, the durable mark beside them, and their locks.

Names: `<writer>-<epoch>-<NNNNNN>.seg`, `<writer>-<epoch>.mark`. The mark is eight bytes in memory shared with the sealer: segment number
<< 40 | offset up to which everything is synced. It is never synced itself: after a power loss the frames say how far they go.
A lock (flock) is held on the mark and on every segment while the writer lives, so whoever can take it knows that the writer is gone.
"""

import contextlib
import fcntl
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from gatebook.durable import make_folder, sync_folder
from gatebook.ledger.framing import (
    HEADER_BYTES,
    TURN_FRAME_BYTES,
    FrameKind,
    SegmentHeader,
    apart,
    encode_header,
    frame,
    segment_name,
)

MARK_SHIFT = 40
_PIECE_BYTES = 1 << 20
_ZEROS = bytes(_PIECE_BYTES)
_RETRY_S = 0.25
_BREATH_S = 0.01
_FREED_BREATH_S = 0.001
_GENTLE_S = 1.5 * _BREATH_S
"""What a piece of zeros takes, written beside commits."""


class _Segment:
    __slots__ = ("descriptor", "number", "path")

    def __init__(self, number: int, path: Path, descriptor: int) -> None:
        self.number, self.path, self.descriptor = number, path, descriptor


class SegmentChain:
    """Append-only storage of one writer's epoch. `append`, `sync`, `publish` belong to one thread; `admit` and `refund` to any.

    Space is admitted before it is used: what `admit` granted is sure to find room, in segments that are on the disk already.
    """

    def __init__(
        self,
        directory: Path,
        writer: str,
        epoch: str,
        *,
        segment_bytes: int,
        largest_frame: int,
        published_size: Callable[[], int],
        sequence: Callable[[], int],
        most: int = 4,
        spares: int = 2,
        mode: int = 0o600,
    ) -> None:
        """Makes the first segment, durably; raises OSError. `most`: segments that may wait for the sealer, the current one included. `mode`: of the files;
        a sealer that is another user needs more than ours alone. `grown_s`: when room was last added, by `time.monotonic`."""
        self._directory, self._writer, self._epoch = directory, writer, epoch
        self._segment_bytes, self._most, self._spare_count = segment_bytes, most, spares
        self._published_size, self._sequence = published_size, sequence
        self._yield = segment_bytes - HEADER_BYTES - TURN_FRAME_BYTES - largest_frame
        if self._yield < largest_frame:
            raise ValueError(f"a segment of {segment_bytes} bytes is too small for frames of {largest_frame}")
        self._mode = mode
        self._mutex = threading.Lock()
        self._wanted = threading.Condition(self._mutex)
        self._capacity = 0
        self._short = False
        self._last = 0
        self._held: list[_Segment] = []
        self._spares: deque[_Segment] = deque()
        self._dirty: list[int] = []
        self._stopped = False
        self._turned_s, self._hurried = time.monotonic(), False
        self.grown_s = self._turned_s
        _make_place(directory)
        try:
            self._mark = self._open_mark()
            self._current = self._make()
        except OSError:
            self._mark_path.unlink(missing_ok=True)
            raise
        self._held.append(self._current)
        self._capacity = self._yield
        self._offset = HEADER_BYTES
        self._thread = threading.Thread(target=self._prepare, name=f"segments of {writer}", daemon=True)
        self._thread.start()

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def segment_bytes(self) -> int:
        return self._segment_bytes

    def admit(self, size: int, *, leaving: int = 0) -> bool:
        """True where `size` more bytes of frames have a place, which is then theirs, and `leaving` more would have one. False: no free segment, or
        the disk is full."""
        with self._mutex:
            if self._capacity < size + leaving:
                if not self._short:
                    self._short = True
                    self._wanted.notify()
                return False
            self._capacity -= size
            return True

    def refund(self, size: int) -> None:
        """Give back what was admitted and not used."""
        with self._mutex:
            self._capacity += size

    def append(self, frames: Sequence[bytes]) -> None:
        """Write admitted frames behind the last, each of `frames` one or several whole ones; not durable yet. Raises OSError; then nothing may
        be appended any more."""
        room = self._segment_bytes - TURN_FRAME_BYTES
        data = b"".join(frames)
        if self._offset + len(data) <= room:
            self._write(data)
            return
        batch: list[bytes] = []
        end = self._offset
        for stored in apart(data):
            if end + len(stored) > room:
                self._write(b"".join((*batch, frame(FrameKind.TURN, b"\0"))))
                self._turn()
                batch, end = [], self._offset
            batch.append(stored)
            end += len(stored)
        self._write(b"".join(batch))

    def sync(self) -> None:
        """What was appended survives a power loss. Raises OSError; then nothing is known of the pages and this writer is over."""
        for descriptor in self._dirty:
            os.fdatasync(descriptor)
        self._dirty.clear()

    def publish(self) -> None:
        """Let the sealer take all that is synced."""
        self._mark[0] = self._current.number << MARK_SHIFT | self._offset

    def close(self, *, clean: bool) -> None:
        """Let the locks go; idempotent. `clean`: everything is synced and published, and a last frame says that nothing follows."""
        if self._stopped:
            return
        with self._mutex:
            self._stopped = True
            self._wanted.notify()
        self._thread.join()
        if clean:
            with contextlib.suppress(OSError):
                self._write(frame(FrameKind.END, b"\0"))
                self.sync()
                self.publish()
        for spare in self._spares:
            with contextlib.suppress(OSError):
                spare.path.unlink()
        for segment in (*self._held, *self._spares):
            os.close(segment.descriptor)
        self._held.clear()
        self._spares.clear()

    def _write(self, data: bytes) -> None:
        if not data:
            return
        descriptor = self._current.descriptor
        if descriptor not in self._dirty:
            self._dirty.append(descriptor)
        written = os.pwrite(descriptor, data, self._offset)
        while written < len(data):
            written += os.pwrite(descriptor, memoryview(data)[written:], self._offset + written)
        self._offset += len(data)

    def _turn(self) -> None:
        with self._mutex:
            if not self._spares:
                raise OSError("no segment is ready although space was admitted")
            # More fitted in than was counted for it, and was taken out of what the next one gives. That is whole again, or a little would be lost
            # with each segment, and one day all.
            self._capacity += self._offset - TURN_FRAME_BYTES - HEADER_BYTES - self._yield
            self._current = self._spares.popleft()
            self._held.append(self._current)
            self._wanted.notify()
        self._offset = HEADER_BYTES
        now_s = time.monotonic()
        self._hurried = now_s - self._turned_s < self._segment_bytes / _PIECE_BYTES * _GENTLE_S
        self._turned_s = now_s

    def _prepare(self) -> None:
        """Thread: keep spares ready, forget segments that the sealer took away."""
        while True:
            with self._mutex:
                if self._stopped:
                    return
                gone = [segment for segment in self._held[:-1] if not segment.path.exists()]
                for segment in gone:
                    self._held.remove(segment)
                due = len(self._spares) < self._spare_count and len(self._held) + len(self._spares) < self._most
                if not due and not gone:
                    self._wanted.wait(_BREATH_S if self._short else _RETRY_S)
            if due:
                self._add_spare()
            for segment in gone:
                self._let_go(segment)

    def _add_spare(self) -> None:
        try:
            made = self._make()
        except OSError:
            # A full disk mends itself or does not: until then `admit` refuses.
            made = None
        with self._mutex:
            if made is not None:
                self._spares.append(made)
                self._capacity += self._yield
                self._short = False
                self.grown_s = time.monotonic()
            else:
                self._wanted.wait(_RETRY_S)

    def _let_go(self, segment: _Segment) -> None:
        """Close what the sealer took away. The last close of a file frees all of it in one go, 16 ms for 64 MiB, and some systems give nobody
        else that core meanwhile: so it is freed before, a little at a time, while a spare is there. Not where it has a name elsewhere: its bytes
        are somebody's."""
        with contextlib.suppress(OSError):
            status = os.fstat(segment.descriptor)
            left = status.st_size if status.st_nlink == 0 else 0
            while left > 0 and self._spares and not self._stopped:
                left = max(0, left - _PIECE_BYTES)
                os.ftruncate(segment.descriptor, left)
                time.sleep(_FREED_BREATH_S)
        os.close(segment.descriptor)

    def _make(self) -> _Segment:
        """A segment of zeros with its header, locked and durable before it has its name."""
        number = self._last + 1
        path = self._directory / segment_name(self._writer, self._epoch, number)
        new = path.with_suffix(".new")
        descriptor = self._made(new)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            header = SegmentHeader(
                writer=self._writer,
                epoch=self._epoch,
                number=number,
                first_sequence=self._sequence() + 1,
                tree_size=self._published_size(),
                segment_bytes=self._segment_bytes,
            )
            _write_all(descriptor, encode_header(header))
            self._fill(descriptor)
            os.fsync(descriptor)
            new.rename(path)
            sync_folder(self._directory)
        except OSError:
            os.close(descriptor)
            new.unlink(missing_ok=True)
            raise
        self._last = number  # only now: a number left out would be a segment that the sealer waits for, for ever
        return _Segment(number, path, descriptor)

    def _fill(self, descriptor: int) -> None:
        """The rest of a segment is the disk's own and reads as zeros. Written zeros make each commit cheaper, by a third and more on ext4, and
        cost as much of the disk as the records do: a writer that uses segments up faster than they are written beside its commits would run out
        of room, so for him the file system only sets it apart."""
        offset = HEADER_BYTES
        while (left := self._segment_bytes - offset) > 0:
            if self._hurried and _set_apart(descriptor, offset, left):
                return
            offset += os.write(descriptor, memoryview(_ZEROS)[: min(left, _PIECE_BYTES)])
            if offset < self._segment_bytes:
                self._give_way(descriptor)

    def _give_way(self, descriptor: int) -> None:
        """While a spare is there, the next one is made a little at a time: 64 MiB at once would hold up every commit for as long as the disk
        takes for them."""
        if self._spares and not self._stopped:
            os.fdatasync(descriptor)
            time.sleep(_BREATH_S)

    def _made(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, self._mode)
        os.fchmod(descriptor, self._mode)  # whatever the process masks
        _give_to_owner_of(path.parent, descriptor)
        return descriptor

    @property
    def _mark_path(self) -> Path:
        return self._directory / f"{self._writer}-{self._epoch}.mark"

    def _open_mark(self) -> memoryview:
        descriptor = self._made(self._mark_path)
        try:
            # The mapping keeps it. Before there is a segment, this says that its writer lives.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Written, not only sized: a full disk is an error here, and would be SIGBUS in the mapping.
            os.write(descriptor, bytes(8))
            shared = mmap.mmap(descriptor, 8)
        finally:
            os.close(descriptor)
        # One aligned eight-byte store: the sealer never reads half a mark.
        return memoryview(shared).cast("Q")


def _make_place(directory: Path) -> None:
    """`directory` is there; where root made it, it belongs to whom the folder around it does."""
    existed = directory.exists()
    make_folder(directory)
    if existed:
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _give_to_owner_of(directory.parent, descriptor)
    finally:
        os.close(descriptor)


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    """What root made there belongs to the folder's owner, where root may give it away: else the sealer, who is that user, could not read what root
    once recorded with a command, and would not start any more."""
    if os.geteuid() != 0:
        return
    owner, own = folder.stat(), os.fstat(descriptor)
    if (owner.st_uid, owner.st_gid) != (own.st_uid, own.st_gid):
        with contextlib.suppress(OSError):  # in a container root may be nobody to that user
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _set_apart(descriptor: int, offset: int, count: int) -> bool:
    """The disk's room for these bytes, which read as zeros until they are written, is the file's. False: it is not, or nobody can say so here; whoever
    writes zeros instead hears why."""
    try:
        os.posix_fallocate(descriptor, offset, count)
    except OSError:
        return False
    return True


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
