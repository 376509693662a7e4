"""The files of a backup while it is made: what the backup before it holds is linked, all else is copied, and of each is known what it held."""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable
from io import SEEK_END
from pathlib import Path
from typing import BinaryIO, Final

from gatebook.adapters.log_files import LogFiles
from gatebook.cli.backing.earlier import Earlier
from gatebook.cli.backing.manifest import BackupUnusable, Item
from gatebook.cli.backing.owned import by_its_owner
from gatebook.durable import make_folder, naming, sync_folder
from gatebook.ledger.payload import PayloadError
from gatebook.ledger.payload_frames import session_of, sound_frames, stored_frames
from gatebook.ledger.verification import MAX_PROBLEMS, Report
from gatebook.model.deployment import Deployment

_CHUNK_BYTES: Final = 8 << 20
_SMALL_BYTES: Final = 1 << 20
_AT_ONCE: Final = 64


class Copy:
    """The folder of a backup that is being made. `files`: what is in it by now; `linked`: which of them are the files of the backup before."""

    def __init__(self, data_dir: Path, partial: Path, before: Earlier | None) -> None:
        self._data_dir, self._partial, self._before = data_dir, partial, before
        self._source = LogFiles(data_dir)
        self._store = LogFiles(partial)
        self._waiting: list[tuple[str, bytes]] = []
        self._folders: set[Path] = set()
        self._cut: set[str] = set()
        self._unread: set[str] = set()
        self.files: dict[str, Item] = {}
        self.linked: set[str] = set()
        make_folder(partial)

    def add(self, name: str, content: bytes | None) -> None:
        """`name` is in the copy, with `content`; None: with what lies under that name in the data directory, up to its last sound frame for
        a recording, damage before that and all. Durable after `finish`."""
        if content is not None:
            # Partial tiles and checkpoints are read at once, for they may go; those of an earlier backup are by far the most.
            if not (name.startswith("log/") and self._linked(name, len(content), hashlib.sha256(content).hexdigest())):
                self._put(name, content)
        elif name.startswith("payloads/"):
            self._recording(name)
        elif not self._linked(name, None):
            self._put(name, self._read(name))

    def add_desk(self, deployment: Deployment) -> None:
        """The desk's SQLite database as of one moment, also while the desk writes."""
        path = self._data_dir / "desk" / "desk.db"
        if deployment.desk is None or deployment.desk.database is not None or not path.exists():
            return
        target = self._partial / "desk" / "desk.db"
        make_folder(target.parent)
        owner = path.stat()
        of_another = os.geteuid() == 0 and owner.st_uid != 0
        if of_another:
            target.write_bytes(by_its_owner(path, owner.st_uid, owner.st_gid))
        with contextlib.closing(sqlite3.connect(target)) as there:
            if not of_another:
                with contextlib.closing(sqlite3.connect(path)) as here:
                    here.backup(there)
            there.execute("PRAGMA journal_mode=DELETE")
        target.chmod(0o600)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.files["desk/desk.db"] = Item(bytes=target.stat().st_size, sha256=digest)
        self._folders.add(target.parent)

    def finish(self) -> None:
        """Everything added is durable. Raises OSError."""
        self._flush()
        for folder in self._folders:
            sync_folder(folder)

    def damaged(self) -> list[str]:
        """Linked files that do not hold what the manifest of the backup before says."""
        return sorted(name for name in self.linked if _sha256(self._partial / name) != self.files[name].sha256)

    def changed(self) -> list[str]:
        """Linked files of which the data directory does not hold the same, as far as the backup before has them; each with what is wrong with it. All
        of them are read: as many bytes once more as were linked."""
        found = ((name, self._change(name)) for name in sorted(self.linked & self._unread))
        return [f"{name}: {what}" for name, what in found if what is not None]

    def _change(self, name: str) -> str | None:
        item = self.files[name]
        digest, at = hashlib.sha256(), 0
        try:
            with self._source.open(name) as file:
                while piece := file.read(min(_CHUNK_BYTES, item.bytes - at)):
                    digest.update(piece)
                    at += len(piece)
        except FileNotFoundError:
            return "is gone"
        except OSError as failure:
            return f"cannot be read: {failure.strerror}"
        return None if digest.hexdigest() == item.sha256 else "holds other bytes"

    def renew(self, names: list[str], anew: Callable[[str], bytes | None]) -> None:
        """`names` are copied again, as `add` does with what `anew` gives for each; nothing is linked from now on. Durable on return. A file that the
        data directory does not have any more is left out."""
        self._before = None
        for name in names:
            (self._partial / name).unlink()
            self.linked.remove(name)
            del self.files[name]
            with contextlib.suppress(FileNotFoundError):  # a checkpoint that was thinned out
                self.add(name, anew(name))
        self.finish()

    def complete(self, report: Report) -> bool:
        """The recordings that `report` names are here to their last byte, what is behind their last sound frame too: it is evidence then, not what a
        sealer was writing. Durable on return. False where they were already."""
        told = "\n".join(f"{each.where} {each.what}" for each in report.problems)
        # Where there were too many to name, any may be among them.
        named = [name for name in self._cut if name in told or len(report.problems) > MAX_PROBLEMS]
        for name in named:
            (self._partial / name).unlink(missing_ok=True)
            with self._source.open(name) as file:
                self._lay(name, file, os.fstat(file.fileno()).st_size)
        self._cut.difference_update(named)
        self.finish()
        return bool(named)

    def _read(self, name: str) -> bytes:
        with naming(self._data_dir / name):
            return self._source.read(name)

    def _put(self, name: str, content: bytes) -> None:
        self._waiting.append((name, content))
        self.files[name] = Item(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        if len(self._waiting) >= _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            with naming(self._partial):
                self._store.write_once(self._waiting)
            self._waiting = []

    def _recording(self, name: str) -> None:
        with naming(self._data_dir / name), self._source.open(name) as file:
            size = os.fstat(file.fileno()).st_size
            if self._linked(name, size):
                return
            end = _end_of_sound(file, name)
            if end < size:
                self._cut.add(name)
            if end:
                self._lay(name, file, end)

    def _lay(self, name: str, file: BinaryIO, end: int) -> None:
        """`name` is the first `end` bytes of `file`."""
        file.seek(0)
        if end <= _SMALL_BYTES:
            self._put(name, file.read(end))
            return
        digest, at = hashlib.sha256(), 0
        while at < end:
            piece = file.read(min(_CHUNK_BYTES, end - at))
            if not piece:
                raise BackupUnusable(f"{name} became shorter while it was read")
            with naming(self._partial / name):
                self._store.append([(name, at, piece)])
            digest.update(piece)
            at += len(piece)
        self.files[name] = Item(bytes=end, sha256=digest.hexdigest())

    def _linked(self, name: str, size: int | None, sha256: str | None = None) -> bool:
        """True where the backup before has this file (of this size and hash, where they are given) and it is now in this one too."""
        before = self._before
        item = None if before is None else before.manifest.files.get(name)
        if before is None or item is None or size not in (None, item.bytes) or sha256 not in (None, item.sha256):
            return False
        target = self._partial / name
        if target.parent not in self._folders:
            make_folder(target.parent)
            self._folders.add(target.parent)
        try:
            target.hardlink_to(before.folder / name)
        except OSError:
            return False  # another file system, or one without links: it is copied
        self.files[name] = item
        self.linked.add(name)
        if sha256 is None:
            self._unread.add(name)
        return True


def _end_of_sound(file: BinaryIO, name: str) -> int:
    """Where the last sound frame of a recording ends: behind it a sealer may be writing. The end of the file where nobody can tell. A file that is no
    session's has no frames behind damage."""
    session = session_of(name.removeprefix("payloads/"))
    end = 0
    try:
        for stored in stored_frames(file) if session is None else sound_frames(file, 0, bytes.fromhex(session)):
            end = stored.end
    except PayloadError:
        return end if session is None else file.seek(0, SEEK_END)
    return end


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
