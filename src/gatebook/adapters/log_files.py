"""The files of the log: bundles, tiles, checkpoints, payloads. What has its name is whole and durable; what is full never changes."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class LogFiles:
    """ledger.files.Files over a directory, and the sealer's ways to write into it. Locks nothing: one sealer per deployment writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: set[Path] = set()

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> BinaryIO:
        # Not blocking: somebody may have put a pipe there, and whoever reads evidence must not wait for him.
        descriptor = os.open(self.root / name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "is no regular file", str(self.root / name))
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def names(self, under: str = "") -> Iterator[str]:
        top = self.root / under
        for folder, folders, files in os.walk(top):
            links = (each for each in folders if (Path(folder) / each).is_symlink())
            for file in (*files, *links):
                yield str((Path(folder) / file).relative_to(self.root))

    def write_once(self, files: list[tuple[str, bytes]]) -> None:
        """Every (name, content) of `files` is there, durably. Raises FileExistsError where a name holds something else: a path never
        changes its bytes. Not atomic over several files."""
        for name, content in files:
            self._link(self.root / name, content)
        for folder in {(self.root / name).parent for name, _ in files}:
            self._sync(folder)

    def replace(self, name: str, content: bytes) -> None:
        """`name` holds `content`, durably; a reader sees the old bytes or the new, never a mixture."""
        path = self.root / name
        self._written(path, content).rename(path)
        self._sync(path.parent)

    def remove_tree(self, name: str) -> None:
        """The directory `name` with its files is gone; nothing where there was none."""
        path = self.root / name
        if not path.is_dir():
            return
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
        self._known.discard(path)

    def remove_leftovers(self) -> None:
        """Temporary files of a sealer that died are gone."""
        for name in list(self.names()):
            if name.endswith(".tmp"):
                (self.root / name).unlink()

    def append(self, name: str, at: int, content: bytes) -> None:
        """`name` holds its first `at` bytes and then `content`, durably; made where it is absent."""
        path = self.root / name
        self._folder(path.parent)
        fresh = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size != at:
                os.ftruncate(descriptor, at)
            view = memoryview(content)
            while view:
                written = os.pwrite(descriptor, view, at)
                view, at = view[written:], at + written
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            self._sync(path.parent)

    def _link(self, path: Path, content: bytes) -> None:
        temporary = self._written(path, content)
        try:
            # A link refuses an existing name, a rename would replace it.
            path.hardlink_to(temporary)
        except FileExistsError:
            if path.read_bytes() != content:
                raise FileExistsError(f"{path} exists with other bytes") from None
        finally:
            temporary.unlink()

    def _written(self, path: Path, content: bytes) -> Path:
        self._folder(path.parent)
        temporary = path.with_name(f"{path.name}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return temporary

    def _folder(self, folder: Path) -> None:
        """`folder` exists, and so it does after a power loss."""
        if folder in self._known:
            return
        if folder != self.root:
            self._folder(folder.parent)
        if not folder.is_dir():
            folder.mkdir(mode=0o700)
            self._sync(folder.parent)
        self._known.add(folder)

    @staticmethod
    def _sync(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
