"""Files on a disk that does not give back every block, as Linux reads them: what is before a bad block comes, and then the error."""

import errno
import io
import os
from pathlib import Path
from typing import BinaryIO

from gatebook.adapters.log_files import LogFiles

BLOCK_BYTES = 4096


class FailingDisk(LogFiles):
    """`bad`: blocks of the file `name` that cannot be read. `failed`: how often that was tried."""

    def __init__(self, root: Path, name: str, bad: set[int]) -> None:
        super().__init__(root)
        self._name, self._bad = name, bad
        self.failed = 0

    def open(self, name: str) -> BinaryIO:
        file = super().open(name)
        if name != self._name:
            return file
        descriptor = os.dup(file.fileno())
        file.close()
        return io.BufferedReader(_Raw(self, self._bad, descriptor))


class _Raw(io.FileIO):
    def __init__(self, disk: FailingDisk, bad: set[int], descriptor: int) -> None:
        super().__init__(descriptor)
        self._disk, self._bad = disk, bad

    def read(self, count: int | None = -1, /) -> bytes:
        if count is None or count < 0:
            return self.readall()
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(buffer)])

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(1 << 16), b""))

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        at, size = self.tell(), os.fstat(self.fileno()).st_size
        end = min(at + len(view), size)
        ahead = (block for block in range(at // BLOCK_BYTES, -(-end // BLOCK_BYTES)) if block in self._bad)
        first_bad = next(ahead, None)
        if first_bad is not None:
            end = min(end, max(at, first_bad * BLOCK_BYTES))
            if end == at:
                self._disk.failed += 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().readinto(view[: end - at])
