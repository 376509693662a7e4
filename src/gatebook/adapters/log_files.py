"""The files of the log: bundles, tiles, checkpoints, payloads. What has its name is whole and durable; what is full never changes."""

import concurrent.futures
import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from gatebook.durable import make_folder, sync_folder

_AT_ONCE = 64
"""Files open together: a process may be allowed a thousand in all."""
_SYNCS = 8
_WRITTEN_AT_ONCE = 256 << 10


class LogFiles:
    """ledger.files.Files over a directory, and the sealer's ways to write into it. Locks nothing: one sealer per deployment writes.

    `shared`: what is written can be read by the group of the folder it is in, and what `public` names by everybody who gets there.
    `give_way` is called between files, `written` with the bytes that were handed to the system to be written."""

    def __init__(
        self,
        root: Path,
        *,
        shared: bool = False,
        public: tuple[str, ...] = (),
        give_way: Callable[[], None] = lambda: None,
        written: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.root = root
        self._give_way, self._written_back = give_way, written
        self._file_mode, self._folder_mode = (0o640, 0o750) if shared else (0o600, 0o700)
        self._public = {root / name for name in public} if shared else set()
        self._known: set[Path] = set()
        self._threads: concurrent.futures.Executor | None = None

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> BinaryIO:
        # Not blocking: somebody may have put a pipe there, and whoever reads evidence must not wait for him. Nor through a link: what it leads to is
        # not in this directory, and could be another thing for the next reader.
        try:
            descriptor = os.open(self.root / name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as failure:
            if failure.errno != errno.ELOOP:
                raise
            raise OSError(errno.ELOOP, "is a link, no file of its own", str(self.root / name)) from failure
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "is no regular file", str(self.root / name))
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def names(self, under: str = "") -> Iterator[str]:
        top = self.root / under
        for folder, folders, files in os.walk(top, onerror=_unless_absent):
            links = (each for each in folders if (Path(folder) / each).is_symlink())
            for file in (*files, *links):
                yield str((Path(folder) / file).relative_to(self.root))

    def write_once(self, files: list[tuple[str, bytes]]) -> None:
        """Every (name, content) of `files` is there, durably. Raises FileExistsError where a name holds something else: a path never
        changes its bytes. Not atomic over several files. The order is the promise:"""
        for start in range(0, len(files), _AT_ONCE):
            some = [(self.root / name, content) for name, content in files[start : start + _AT_ONCE]]
            # 1. All bytes are durable under temporary names, 2. only then does a final name lead to any of them.
            with self._written(some) as temporaries:
                for (path, content), temporary in zip(some, temporaries, strict=True):
                    self._link(path, temporary, content)
                    self._give_way()
        # 3. The names survive a power loss.
        self._sync_folders({(self.root / name).parent for name, _ in files})

    def write_in_order(self, files: list[tuple[str, bytes]]) -> None:
        """As `write_once`, and no name of `files` survives a power loss without those before it."""
        for start in range(0, len(files), _AT_ONCE):
            some = [(self.root / name, content) for name, content in files[start : start + _AT_ONCE]]
            with self._written(some) as temporaries:
                for (path, content), temporary in zip(some, temporaries, strict=True):
                    self._link(path, temporary, content)
                    sync_folder(path.parent)
                    self._give_way()

    def replace(self, name: str, content: bytes) -> None:
        """`name` holds `content`, durably; a reader sees the old bytes or the new, never a mixture."""
        path = self.root / name
        with self._written([(path, content)]) as (temporary,):
            temporary.rename(path)
        self._sync_folders({path.parent})

    def remove_tree(self, name: str) -> None:
        """The directory `name` with its files is gone; nothing where there was none."""
        path = self.root / name
        if not path.is_dir():
            return
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
        self._known.discard(path)

    def remove(self, name: str) -> None:
        """The file `name` is gone; nothing where there was none."""
        (self.root / name).unlink(missing_ok=True)

    def remove_leftovers(self, folders: Iterable[str]) -> None:
        """Temporary files of a sealer that died are gone from these folders, and from the directories of partial tiles in them."""
        for folder in folders:
            top = self.root / folder
            for each in (top, *top.glob("*.p")):
                for leftover in each.glob("*.tmp"):
                    leftover.unlink()

    def append(self, pieces: list[tuple[str, int, bytes]]) -> None:
        """For each (name, at, content): `name` holds its first `at` bytes and then `content`, durably; made where it is absent. A name comes
        once. Not atomic over several files."""
        fresh: set[Path] = set()
        for start in range(0, len(pieces), _AT_ONCE):
            descriptors: list[int] = []
            try:
                for name, at, content in pieces[start : start + _AT_ONCE]:
                    path = self.root / name
                    self._folder(path.parent)
                    if not path.exists():
                        fresh.add(path.parent)
                    descriptors.append(self._opened(path, os.O_WRONLY | os.O_CREAT))
                    self._put(descriptors[-1], at, content)
                    self._give_way()
                self._sync_all(descriptors)
            finally:
                _close_all(descriptors)
        self._sync_folders(fresh)

    @contextlib.contextmanager
    def _written(self, files: list[tuple[Path, bytes]]) -> Iterator[list[Path]]:
        """While it lasts, each content lies durably in a temporary file beside its path; those that got no other name are removed."""
        temporaries: list[Path] = []
        descriptors: list[int] = []
        try:
            for path, content in files:
                self._folder(path.parent)
                temporary = path.with_name(f"{path.name}.tmp")
                descriptors.append(self._opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
                temporaries.append(temporary)
                if path in self._public:
                    os.fchmod(descriptors[-1], 0o644)
                self._put(descriptors[-1], 0, content)
                self._give_way()
            self._sync_all(descriptors)
            yield temporaries
        finally:
            _close_all(descriptors)
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)

    def _put(self, descriptor: int, at: int, content: bytes) -> None:
        """The file is its first `at` bytes and then `content`; not durable, but on its way to the disk."""
        if os.fstat(descriptor).st_size != at:
            os.ftruncate(descriptor, at)
        view = memoryview(content)
        while view:
            written = os.pwrite(descriptor, view[:_WRITTEN_AT_ONCE], at)
            # Linux begins to write back what is dirty there, and waits for nothing.
            os.posix_fadvise(descriptor, at, written, os.POSIX_FADV_DONTNEED)
            self._written_back(written)
            view, at = view[written:], at + written

    def _opened(self, path: Path, flags: int) -> int:
        return os.open(path, flags, self._file_mode)

    def _link(self, path: Path, temporary: Path, content: bytes) -> None:
        try:
            # A link refuses an existing name, a rename would replace it.
            path.hardlink_to(temporary)
        except FileExistsError:
            if path.read_bytes() != content:
                raise FileExistsError(f"{path} exists with other bytes") from None

    def _sync_all(self, descriptors: list[int]) -> None:
        """Every one of these files survives a power loss. Raises OSError.

        One after the other would cost a disk's round trip, and mostly a commit of the file system's journal, for each; many at a time
        share them. The writing was begun for all (`_put`) before the first is waited for.
        """
        if len(descriptors) == 1:
            os.fsync(descriptors[0])
            return
        # Each is waited for, also behind one that failed: nobody closes a descriptor under a thread's hands.
        waiting = [self._syncing().submit(_sync, descriptors[lane::_SYNCS]) for lane in range(_SYNCS)]
        concurrent.futures.wait(waiting)
        for done in waiting:
            done.result()

    def _syncing(self) -> concurrent.futures.Executor:
        if self._threads is None:
            self._threads = concurrent.futures.ThreadPoolExecutor(_SYNCS, thread_name_prefix="sync")
        return self._threads

    def _sync_folders(self, folders: set[Path]) -> None:
        """Names made, removed or changed in `folders` survive a power loss."""
        descriptors: list[int] = []
        try:
            for folder in folders:
                descriptors.append(self._opened(folder, os.O_RDONLY | os.O_DIRECTORY))
            self._sync_all(descriptors)
        finally:
            _close_all(descriptors)

    def _folder(self, folder: Path) -> None:
        """`folder` exists, and it and the names in it survive a power loss, also those that a process made which was killed before it said so."""
        if folder in self._known:
            return
        if folder != self.root:
            self._folder(folder.parent)
        make_folder(folder, self._folder_mode)
        sync_folder(folder)
        self._known.add(folder)


def _unless_absent(failure: OSError) -> None:
    """A folder that cannot be listed may hold anything: whoever asks for all names must not take it for empty."""
    if not isinstance(failure, FileNotFoundError | NotADirectoryError):
        raise failure


def _sync(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.fsync(descriptor)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
