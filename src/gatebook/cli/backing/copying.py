"""A consistent copy of a deployment while it runs: the checkpoint is taken first, and of the log exactly what that checkpoint needs.

Files under `log` never change their bytes, so what an earlier backup holds is linked, not copied. Payload files grow at their end; those that
did not grow are linked too. Where the data directory holds other bytes by now, that is said, and the good ones stay. Everything is durable, and
has been verified, before the backup has its name.
"""

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from io import SEEK_END
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from gatebook import __version__, formats
from gatebook.adapters.log_files import LogFiles
from gatebook.cli.backing.earlier import Earlier, goes_on_from, previous, replaced
from gatebook.cli.backing.manifest import MANIFEST, BackupUnusable, Item, Manifest, may_come_along, pack
from gatebook.cli.backing.owned import by_its_owner
from gatebook.durable import make_folder, naming, sync_folder
from gatebook.ledger import entry, framing
from gatebook.ledger.checkpoint import Checkpoint, open_checkpoint
from gatebook.ledger.merkle import TILE_HEIGHT, TILE_WIDTH
from gatebook.ledger.note import NoteError, load_verifier
from gatebook.ledger.payload import PayloadError
from gatebook.ledger.payload_frames import session_of, sound_frames, stored_frames
from gatebook.ledger.reading import archived_sizes
from gatebook.ledger.tiles import BundleError, join_bundle, parse_tile_name, read_bundle, read_tile, tile_name, widths
from gatebook.ledger.verification import MAX_PROBLEMS, Report, verify
from gatebook.locks import alone
from gatebook.model.deployment import Deployment

_CHUNK_BYTES: Final = 8 << 20
_SMALL_BYTES: Final = 1 << 20
_AT_ONCE: Final = 64

Tell = Callable[[int, int], None]
"""(files done, files in all)"""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A finished backup: its folder, its manifest, SHA-256 of the manifest's bytes; how many files were linked to the backup before it; which files of
    that one, in `before`, do not hold what was backed up: they were copied anew. `changed`: files of the data directory that do not hold any more what
    that one holds, each with what is wrong with it: they are linked, as they were."""

    folder: Path
    manifest: Manifest
    digest: str
    linked: int
    report: Report
    before: Path | None
    damaged: tuple[str, ...]
    changed: tuple[str, ...]


class Broken(Exception):
    """The copy is not intact, or does not hold what the backup before it holds. It was kept, under a name of its own."""

    def __init__(self, folder: Path, report: Report) -> None:
        super().__init__(
            f"{len(report.problems)} problems, the first: {report.problems[0].where}: {report.problems[0].what}"
        )
        self.folder, self.report = folder, report


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What is backed up: the deployment, its configuration's bytes, who asks, when (RFC 3339 to the millisecond, UTC), and whether the private
    keys come along that may."""

    deployment: Deployment
    config: bytes
    by: str
    at: str
    private_keys: bool


def take(source: Source, to: Path, tell: Tell) -> Taken:
    """A new backup in a folder of its own under `to`. Raises BackupUnusable, Broken, OSError; then nothing under `to` claims to be finished, and what
    was begun takes no room.

    The order is the proof:"""
    deployment = source.deployment
    data_dir = Path(deployment.data_dir)
    if to.exists() and not to.is_dir():
        raise BackupUnusable(f"{to} is no folder: name one, or one that is to be made")
    make_folder(to)
    with _alone(to), _nothing_left(to):
        _remove_leftovers(to)
        # 1. The checkpoint, before anything that it covers.
        vkey, note, head = _head(data_dir)
        elder = previous(to, vkey, head.origin)
        before = elder if elder is not None and elder.manifest.vkey == vkey else None
        name = f"{source.at.replace('-', '').replace(':', '')}-{head.size}"
        partial, final = to / f".partial-{name}", to / name
        if final.exists():
            raise BackupUnusable(f"{final} is there already: try again in a second")
        copy = _Copy(data_dir, partial, before)
        # 2. What it covers, and what lies beside it.
        try:
            plan = [*_of_log(data_dir, note, head), *_recordings(data_dir), *_of_former(data_dir), *_beside(source)]
            for done, (name_in, content) in enumerate(plan):
                copy.add(name_in, content)
                tell(done + 1, len(plan))
        except FileNotFoundError as failure:
            raise BackupUnusable(
                f"{failure.filename} is gone: the log is broken. `gatebook verify {data_dir} --key log.vkey` says what else is"
            ) from failure
        copy.add_desk(deployment)
        copy.finish()
        # 3. It is whole, and holds all that the one before it held.
        report = _verified(partial, vkey, before)
        damaged: list[str] = []
        if not report.intact and (damaged := copy.damaged()):
            # What was linked has changed since in the backup before: that is its fault, not the log's.
            copy.renew(damaged, lambda name: _anew(data_dir, name, note, head))
            report = _verified(partial, vkey, before)
        if not report.intact and copy.complete(report):
            report = _verified(partial, vkey, before)
        if elder is not None and before is None and report.intact and not goes_on_from(partial, elder.manifest):
            report.say("log", replaced(elder))
        if not report.intact:
            broken = to / f".broken-{name}"
            partial.rename(broken)
            raise Broken(broken, report)
        # 4. What was linked was not read where it came from, and may have changed there.
        changed = copy.changed()
        # 5. Only now does it have a manifest, and then its name.
        manifest = _manifest(source, vkey, note, head, copy.files)
        raw = pack(manifest)
        LogFiles(partial).write_once([(MANIFEST, raw)])
        partial.rename(final)
        sync_folder(to)
    return Taken(
        folder=final, manifest=manifest, digest=hashlib.sha256(raw).hexdigest(), linked=len(copy.linked), report=report,
        before=None if before is None else before.folder, damaged=tuple(damaged), changed=tuple(changed),
    )  # fmt: skip


class _Copy:
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


def demand_data_dir(data_dir: Path) -> None:
    """There is a deployment to be backed up. Asked before anything is written there: where a disk is not mounted, what we write would begin another.
    Raises BackupUnusable, OSError."""
    if not (data_dir / "log.vkey").exists():
        raise BackupUnusable(
            f"{data_dir / 'log.vkey'} is not there: correct data_dir, mount its disk, or start `gatebook serve` first; where only that file is gone, "
            "put it back from where you keep it"
        )


def _head(data_dir: Path) -> tuple[str, bytes, Checkpoint]:
    """The verifier key, and the newest signed state. Raises BackupUnusable."""
    try:
        vkey = (data_dir / "log.vkey").read_text("utf-8").strip()
        note = (data_dir / "log" / "checkpoint").read_bytes()
        return vkey, note, open_checkpoint(note, load_verifier(vkey))
    except FileNotFoundError as failure:
        raise BackupUnusable(
            f"{failure.filename} is not there: nothing was sealed yet, or it was taken away. `gatebook verify {data_dir} --key log.vkey` knows"
        ) from failure
    except (NoteError, ValueError) as failure:
        raise BackupUnusable(
            f"{data_dir / 'log' / 'checkpoint'} is not signed by log.vkey: {failure}; put the right log.vkey back, or see `gatebook verify`"
        ) from failure


def _of_log(data_dir: Path, note: bytes, head: Checkpoint) -> Iterator[tuple[str, bytes | None]]:
    """The log as it was at `head`, whatever is added to it meanwhile. A partial tile that has gone by now is the beginning of the full one."""
    log = LogFiles(data_dir / "log")
    archive = {size for size in archived_sizes(log) if size <= head.size} | {head.size}
    for level, full, width in widths(head.size):
        for kind in (None, 0) if level == 0 else (level,):
            yield from ((f"log/{tile_name(kind, index)}", None) for index in range(full))
            due = {size >> (TILE_HEIGHT * level) for size in archive}
            for partial in sorted({hashes % TILE_WIDTH for hashes in due if hashes // TILE_WIDTH == full} - {0}):
                yield f"log/{tile_name(kind, full, partial)}", _beginning(log, kind, full, width, partial)
    for size in sorted(archive - {0, head.size}):
        with contextlib.suppress(FileNotFoundError):  # thinned out meanwhile
            yield f"log/checkpoints/{size}", log.read(f"checkpoints/{size}")
    yield f"log/checkpoints/{head.size}", note
    yield "log/checkpoint", note
    yield from ((f"log/{name}", None) for name in sorted(log.names("configs")) if name.endswith(".toml"))


def _beginning(log: LogFiles, level: int | None, index: int, width: int, count: int) -> bytes:
    """The first `count` of a tile's `width` entries or hashes. What is no tile comes as it lies there: the verification says what is wrong with it."""
    try:
        if level is None:
            return join_bundle(read_bundle(index, width, log.read)[:count])
        return b"".join(read_tile(level, index, width, log.read)[:count])
    except BundleError:
        try:
            return log.read(tile_name(level, index, width))
        except FileNotFoundError:
            return log.read(tile_name(level, index))


def _anew(data_dir: Path, name: str, note: bytes, head: Checkpoint) -> bytes | None:
    """What `_of_log` gave for `name`, read once more. None: what lies under that name."""
    if name in ("log/checkpoint", f"log/checkpoints/{head.size}"):
        return note
    tile = parse_tile_name(name.removeprefix("log/"))
    if tile is None or tile[2] == TILE_WIDTH:
        return None
    level, index, count = tile
    hashes = head.size >> (TILE_HEIGHT * (level or 0))
    return _beginning(LogFiles(data_dir / "log"), level, index, min(TILE_WIDTH, hashes - index * TILE_WIDTH), count)


def _recordings(data_dir: Path) -> Iterator[tuple[str, None]]:
    yield from ((f"payloads/{name}", None) for name in sorted(LogFiles(data_dir / "payloads").names()))


def _of_former(data_dir: Path) -> Iterator[tuple[str, None]]:
    """Logs that ended at a restore: they never change."""
    yield from ((f"former/{name}", None) for name in sorted(LogFiles(data_dir / "former").names()))


def _beside(source: Source) -> Iterator[tuple[str, bytes]]:
    """The configuration, public keys and, where they were asked for, private ones: never the log's, never what opens recordings."""
    deployment = source.deployment
    data_dir = Path(deployment.data_dir)
    yield "gatebook.toml", source.config
    public = {
        formats.NAME: data_dir / formats.NAME,
        "log.vkey": data_dir / "log.vkey",
        "payloads.pub": Path(deployment.payload_public_key),
    }
    if deployment.desk is not None:
        public["desk.jwks"] = Path(deployment.desk.public_keys)
    for name, path in public.items():
        with contextlib.suppress(FileNotFoundError):
            yield name, path.read_bytes()
    if not source.private_keys:
        return
    for path in sorted((data_dir / "keys").iterdir()):
        if path.is_file() and not _stays_home(path, deployment):
            yield f"keys/{path.name}", path.read_bytes()


def _stays_home(path: Path, deployment: Deployment) -> bool:
    return path == Path(deployment.log_key) or not may_come_along(path.name)


def _verified(partial: Path, vkey: str, before: Earlier | None) -> Report:
    old = None if before is None else before.manifest.checkpoint.encode()
    return verify(LogFiles(partial / "log"), LogFiles(partial / "payloads"), vkey, old_checkpoint=old)


def _manifest(source: Source, vkey: str, note: bytes, head: Checkpoint, files: dict[str, Item]) -> Manifest:
    desk = source.deployment.desk
    return Manifest(
        gatebook=__version__,
        entry_format=entry.VERSION,
        segment_format=framing.VERSION,
        made_at=source.at,
        made_by=source.by,
        profile=source.deployment.profile,
        origin=head.origin,
        vkey=vkey,
        size=head.size,
        root=head.root.hex(),
        checkpoint=note.decode(),
        desk="none" if desk is None else "sqlite" if desk.database is None else "postgresql",
        private_keys=source.private_keys,
        files=files,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _nothing_left(to: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            _remove_leftovers(to)
        raise


def _remove_leftovers(to: Path) -> None:
    """Of backups that were broken off; their files are nobody's, or are linked from finished ones too."""
    for partial in to.glob(".partial-*"):
        shutil.rmtree(partial)


@contextlib.contextmanager
def _alone(to: Path) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(alone(to / ".lock"))
        except BlockingIOError as failure:
            raise BackupUnusable(f"another backup is being written to {to}: wait for it") from failure
        yield
