"""A consistent copy of a deployment while it runs: the checkpoint is taken first, and of the log exactly what that checkpoint needs.

Files under `log` never change their bytes, so what an earlier backup holds is linked, not copied. Payload files grow at their end; those that
did not grow are linked too. Where the data directory holds other bytes by now, that is said, and the good ones stay. Everything is durable, and
has been verified, before the backup has its name.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gatebook import __version__, formats
from gatebook.adapters.log_files import LogFiles
from gatebook.cli.backing.copied import Copy
from gatebook.cli.backing.earlier import Earlier, goes_on_from, previous, replaced
from gatebook.cli.backing.manifest import MANIFEST, BackupUnusable, Item, Manifest, may_come_along, pack
from gatebook.durable import make_folder, sync_folder
from gatebook.ledger import entry, framing
from gatebook.ledger.checkpoint import Checkpoint, open_checkpoint
from gatebook.ledger.merkle import TILE_HEIGHT, TILE_WIDTH
from gatebook.ledger.note import NoteError, load_verifier
from gatebook.ledger.reading import archived_sizes
from gatebook.ledger.tiles import BundleError, join_bundle, parse_tile_name, read_bundle, read_tile, tile_name, widths
from gatebook.ledger.verification import Report, verify
from gatebook.locks import alone
from gatebook.model.deployment import Deployment

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
        copy = Copy(data_dir, partial, before)
        # 2. What it covers, and what lies beside it.
        try:
            plan = [*_of_log(data_dir, note, head), *_recordings(data_dir), *_of_former(data_dir), *_beside(source)]
            for done, (name_in, content) in enumerate(plan):
                copy.add(name_in, content)
                tell(done + 1, len(plan))
        except FileNotFoundError as failure:
            if not Path(failure.filename or "").is_relative_to(data_dir):
                raise
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
