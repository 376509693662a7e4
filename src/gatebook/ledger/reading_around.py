"""A file that its disk does not give back whole: what can be read is, and what cannot is known by its place."""

import errno
from io import SEEK_END
from typing import BinaryIO, Final

import msgspec

from gatebook.ledger import payload

_BLOCK_BYTES: Final = 4096
"""What a disk gives back or does not: a sector, or a page of the system's cache."""
_MOST_BLOCKS: Final = 1024
"""A disk that dies takes seconds for each."""


class Unreadable(msgspec.Struct):
    """Bytes from offset `start` up to `end` that cannot be read, and why."""

    start: int
    end: int
    why: str

    def __str__(self) -> str:
        return f"{self.end - self.start} bytes at offset {self.start} cannot be read: {self.why}"


class ReadAround:
    """`file`, with zeros where reading it fails, block by block. `unreadable`: where that was, in the order in which it was met.

    Raises PayloadError where that is nearly everywhere."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, 0
        self._size = file.seek(0, SEEK_END)
        self._blocks: set[int] = set()
        self.unreadable: list[Unreadable] = []

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int, /) -> bytes:
        if not self._blocks:
            try:
                found = self._file.read(count)
                self._at += len(found)
                return found
            except OSError:
                pass  # which of its blocks it is will be seen
        found = self._by_blocks(count)
        self._at = self._file.seek(self._at + len(found))
        return found

    def _by_blocks(self, count: int) -> bytes:
        pieces: list[bytes] = []
        at, end = self._at, self._at + count
        while at < end:
            block = at // _BLOCK_BYTES
            until = min(end, (block + 1) * _BLOCK_BYTES)
            piece = self._piece(block, at, until)
            if not piece:
                break
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    def _piece(self, block: int, at: int, until: int) -> bytes:
        if block not in self._blocks:
            try:
                self._file.seek(at)
                return self._file.read(until - at)
            except OSError as error:
                self._note(block, error)
        return bytes(max(0, min(until, self._size) - at))

    def _note(self, block: int, error: OSError) -> None:
        why = error.strerror or errno.errorcode.get(error.errno or 0, "no reason given")
        self._blocks.add(block)
        start, end = block * _BLOCK_BYTES, min((block + 1) * _BLOCK_BYTES, self._size)
        last = self.unreadable[-1] if self.unreadable else None
        if last is not None and (last.end, last.why) == (start, why):
            last.end = end
        else:
            self.unreadable.append(Unreadable(start, end, why))
        if len(self._blocks) > _MOST_BLOCKS:
            raise payload.PayloadError(f"too much of it cannot be read: what is behind offset {end} was not looked at")
