"""Putting a deployment back. What is put back may be older than what was signed and shown: then the old log ends where the copy ends, and a new
log with a new key goes on, whose first entry names the old one's head. docs/adr/0018-a-restore-begins-a-new-log.md

While it lasts, `data_dir/.restoring` lies there, and nothing starts; removing it is the last step.
"""

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from gatebook.adapters.clock_system import SystemClock
from gatebook.adapters.desk_store.store import SqlStore
from gatebook.adapters.ledger_segment import SegmentHand
from gatebook.adapters.log_files import LogFiles
from gatebook.cli.backing.manifest import KEYS, BackupUnusable, Manifest
from gatebook.cli.backing.owned import close_to_others
from gatebook.config.key_files import LOG_VKEY
from gatebook.durable import make_folder, naming, sync_folder
from gatebook.federation import minting
from gatebook.ledger import note
from gatebook.ledger.checkpoint import Checkpoint, open_checkpoint
from gatebook.ledger.files import CannotJudge
from gatebook.ledger.merkle import range_hash
from gatebook.ledger.predecessor import PREDECESSOR, Predecessor, pack
from gatebook.ledger.tiles import nodes_from_tiles
from gatebook.ledger.verification import verify
from gatebook.model.deployment import RESTORING, Deployment
from gatebook.model.record import Draft
from gatebook.model.users import Users
from gatebook.serve import keys
from gatebook.serve.layout import give_whole, lay_out

_AT_ONCE: Final = 64
_CHUNK_BYTES: Final = 8 << 20
_MAY_LIE_THERE: Final = frozenset({"lock", "lost+found"})
_ACTING: Final = """
SELECT type, name FROM sqlite_schema WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'
UNION ALL
SELECT 'generated column', columns.name FROM sqlite_schema AS tables, pragma_table_xinfo(tables.name) AS columns
WHERE tables.type = 'table' AND columns.hidden <> 0
"""
_KNOWN: Final = "known"
_OF_THE_OLD_LOG: Final = ("log", "payloads", "segments", "sealer", LOG_VKEY)

Tell = Callable[[int, int], None]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The log that is put back: `folder` holds its `log` and `payloads`; where it ends, and what is known to have been signed of it at most
    (`known_size` 0: nobody remembers anything)."""

    folder: Path
    vkey: str
    checkpoint: Checkpoint
    known_size: int

    @property
    def nothing_lost(self) -> bool:
        return self.known_size == self.checkpoint.size


def head_of(folder: Path, vkey: str, remembered: dict[str, bytes]) -> Head:
    """The log in `folder`, verified whole, beside what others remember of it: what is it called → the signed note. Raises BackupUnusable."""
    payloads = LogFiles(folder / "payloads")
    log = LogFiles(folder / "log")
    try:
        report = verify(log, payloads, vkey)
        checkpoint = open_checkpoint(log.read("checkpoint"), note.load_verifier(vkey))
    except (CannotJudge, note.NoteError, OSError) as failure:
        raise BackupUnusable(f"{folder}: the log cannot be judged: {failure}") from failure
    if not report.intact:
        first = report.problems[0]
        raise BackupUnusable(
            f"{folder}: the log is BROKEN, {len(report.problems)} problems; the first: {first.where}: {first.what}"
        )
    known = 0
    for name, kept in remembered.items():
        known = max(known, _known(name, kept, log, checkpoint, vkey))
    return Head(folder=folder, vkey=vkey, checkpoint=checkpoint, known_size=known)


def _known(name: str, kept: bytes, log: LogFiles, here: Checkpoint, vkey: str) -> int:
    """The size that `kept` shows to have been signed. Raises BackupUnusable where it belongs to another history."""
    try:
        other = open_checkpoint(kept, note.load_verifier(vkey))
    except note.NoteError as failure:
        mend = "if it is of another log that you give up, move it aside"
        raise BackupUnusable(f"{name} is no checkpoint of this log: {failure}; {mend}") from failure
    if 0 < other.size <= here.size:
        root = range_hash(0, other.size, nodes_from_tiles(here.size, log.read))
        if root != other.root:
            raise BackupUnusable(
                f"{name} shows another history at {other.size} entries: this log was rewritten, put back another copy"
            )
    return other.size


# Into an empty data directory


@contextlib.contextmanager
def restoring(data_dir: Path, users: Users | None) -> Iterator[Path]:
    """While it lasts nothing starts in `data_dir`; left by an exception, it stays so. The folder for what is not in place yet. Where root restores into
    the folder of another user, and no `users` say whose each part is, all of it is that user's afterwards."""
    with _roots_alone(data_dir, users):
        staging = data_dir / RESTORING
        make_folder(staging)
        yield staging
        shutil.rmtree(staging)
        sync_folder(data_dir)


@contextlib.contextmanager
def _roots_alone(data_dir: Path, users: Users | None) -> Iterator[None]:
    """While root works in another user's folder nobody else gets into it: he could put links there, and root would write and give away what they
    lead to."""
    before = data_dir.stat()
    if os.geteuid() != 0 or before.st_uid == 0:
        yield
        return
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchown(folder, 0, 0)
        os.fchmod(folder, 0o700)
        done = False
        try:
            yield
            if users is None:
                give_whole(folder, before.st_uid, before.st_gid)
            done = True
        finally:
            if users is None or not done:  # else each part has its owner
                os.fchmod(folder, before.st_mode & 0o7777)
                os.fchown(folder, before.st_uid, before.st_gid)
    finally:
        os.close(folder)


def demand_empty(data_dir: Path) -> None:
    """Raises BackupUnusable where something lies in `data_dir`."""
    there = sorted({each.name for each in data_dir.iterdir()} - _MAY_LIE_THERE) if data_dir.exists() else []
    if RESTORING in there:
        raise BackupUnusable(
            f"{data_dir}: a restore was broken off here; empty it (`rm -r {data_dir}/* {data_dir}/{RESTORING}`) and type it again"
        )
    if there:
        raise BackupUnusable(
            f"{data_dir} is not empty ({', '.join(there[:4])}…): nothing is overwritten. Put it aside, and keep it: `mv {data_dir} {data_dir}.before`"
        )


def demand_plain_desk(database: Path) -> None:
    """The desk's database, where there is one, holds rows and nothing that acts: a trigger would turn one person into another at the next login, and
    bring to life what is ended here. Raises BackupUnusable."""
    if not database.exists():
        return
    try:
        # Only looked at. Immutable: no file is made beside it.
        with contextlib.closing(
            sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as here:
            here.execute("PRAGMA trusted_schema=OFF")
            acting = here.execute(_ACTING).fetchone()
    except sqlite3.Error as failure:
        raise BackupUnusable(f"{database} cannot be read: {failure}") from failure
    if acting is not None:
        raise BackupUnusable(
            f"{database} holds a {acting[0]} ({acting[1]}): it was not made by Gatebook alone, put another copy back"
        )


def lay(folder: Path, manifest: Manifest, staging: Path, tell: Tell, *, private_keys: bool) -> None:
    """Every file of the backup is in `staging`, durably, in the bytes that the manifest names; private keys only where `private_keys`. Raises
    BackupUnusable, OSError."""
    store = LogFiles(staging)
    waiting: list[tuple[str, bytes]] = []
    left_out = ("gatebook.toml",) if private_keys else ("gatebook.toml", KEYS)
    names = [name for name in manifest.files if not name.startswith(left_out)]
    for done, name in enumerate(names):
        if manifest.files[name].bytes > _CHUNK_BYTES:
            _lay_large(folder, name, manifest.files[name].sha256, store)
        else:
            with naming(folder / name):
                content = (folder / name).read_bytes()
            waiting.append((name, _as_named(name, content, manifest.files[name].sha256)))
        if len(waiting) >= _AT_ONCE or done == len(names) - 1:
            with naming(staging):
                store.write_once(waiting)
            waiting = []
        tell(done + 1, len(names))


def _as_named(name: str, content: bytes, sha256: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BackupUnusable(f"{name}: holds other bytes than were backed up")
    return content


def _lay_large(folder: Path, name: str, sha256: str, store: LogFiles) -> None:
    digest, at = hashlib.sha256(), 0
    with naming(folder / name), (folder / name).open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            with naming(store.root / name):
                store.append([(name, at, piece)])
            digest.update(piece)
            at += len(piece)
    if digest.hexdigest() != sha256:
        raise BackupUnusable(f"{name}: holds other bytes than were backed up")


def put_in_place(staging: Path, data_dir: Path) -> None:
    """What was staged lies where it belongs; the log of the backup last."""
    for each in sorted(staging.iterdir(), key=lambda path: path.name == "log"):
        target = data_dir / each.name
        if target.exists() and each.is_dir():
            for inner in each.iterdir():
                inner.rename(target / inner.name)
        else:
            each.rename(target)
    sync_folder(data_dir)


# What goes on


def set_aside(source: Path, data_dir: Path) -> str:
    """The old log in `source` lies under `former`, as a directory that `gatebook verify` and `gatebook log --data-dir` read; where, relative
    to `data_dir`. What an earlier attempt has moved already stays."""
    marker = data_dir / RESTORING / "former"
    if marker.exists():
        former = marker.read_text("ascii")
    else:
        taken = [int(each.name) for each in (data_dir / "former").glob("*") if each.name.isdecimal()]
        former = f"former/{max(taken, default=0) + 1}"
        LogFiles(data_dir / RESTORING).replace("former", former.encode())
    target = data_dir / former
    make_folder(target)
    for name in _OF_THE_OLD_LOG:
        if (source / name).exists() and not (target / name).exists():
            (source / name).rename(target / name)
    sync_folder(target)
    sync_folder(data_dir)
    return former


def known_before(data_dir: Path) -> int:
    """The largest size that a restore in place which was broken off had been shown; 0 where none was, or it was shown nothing. Raises BackupUnusable."""
    marker = data_dir / RESTORING / _KNOWN
    try:
        return int(marker.read_text("ascii"))
    except FileNotFoundError:
        return 0
    except ValueError as failure:
        raise BackupUnusable(
            f"{marker} does not say how far the log went: give --newest-checkpoint, and remove {marker}"
        ) from failure


def keep_known(data_dir: Path, head: Head) -> None:
    """What is known to have been signed survives until the restore is done, whoever is not there to say so the next time."""
    LogFiles(data_dir / RESTORING).replace(_KNOWN, str(head.known_size).encode())


def begin_new_log(deployment: Deployment, predecessor: Predecessor) -> str:
    """A new key for the new origin, and what its first entry will say of the old log. The new verifier key. The old key lies beside, retired."""
    data_dir = Path(deployment.data_dir)
    signer, vkey = note.generate_key(deployment.origin)
    replace_private(Path(deployment.log_key), signer.encode() + b"\n", predecessor.restored_at)
    _write_public(data_dir / LOG_VKEY, vkey.encode() + b"\n")
    LogFiles(data_dir / "sealer").replace(PREDECESSOR, pack(predecessor))
    return vkey


def retire_watermark(deployment: Deployment, at: str) -> None:
    """The old log's watermark lies beside, retired; the sealer makes the new log's. Only once all else is in place: a restore that is broken off before
    must find it when it is typed again. Raises BackupUnusable."""
    watermark = Path(deployment.watermark) if deployment.watermark is not None else None
    if watermark is None or not watermark.exists():
        return
    try:
        _retire(watermark, at)
    except OSError as failure:
        raise BackupUnusable(
            f"all is in place, but the old log's watermark could not be put aside ({failure.strerror}), and nothing is signed before: "
            f"`mv {watermark} {watermark}.retired`, then `gatebook serve`"
        ) from failure


def go_on_as_before(deployment: Deployment, head: Head, signer: str) -> None:
    """The same log goes on with its own key, and no other root is ever signed for its size."""
    data_dir = Path(deployment.data_dir)
    replace_private(Path(deployment.log_key), signer.encode() + b"\n", "")
    last = head.checkpoint
    LogFiles(data_dir / "sealer").replace("state", f"{last.size} {last.root.hex()}\n".encode())


def end_logins(deployment: Deployment, at: str, now_s: float) -> int:
    """Nobody is logged in: what was revoked after the copy was made must not come back. Grants that were ended by this.

    Access tokens end by a new signing key; grants, codes and consents in the restored database are ended there. PostgreSQL is not touched."""
    if deployment.desk is None:
        return 0
    replace_private(Path(deployment.desk.signing_key), minting.new_key(), at)
    # Else the next start would keep the old key beside the new one until its tokens are over.
    keys.unpublish(deployment)
    folder = Path(deployment.data_dir) / "desk"
    if deployment.desk.database is not None or not (folder / "desk.db").exists():
        return 0
    close_to_others(folder)  # `give_to_owners` gives it back
    store = SqlStore.in_folder(folder)
    try:
        return store.end_everything("restored", now_s)
    finally:
        store.close()


def record(deployment: Deployment, draft: Draft) -> None:
    """The entry is durable, and will be sealed at the next start. Raises LedgerUnavailable."""
    hand = SegmentHand(deployment, "cli", SystemClock())
    hand.write(draft)
    hand.close()


def give_to_owners(deployment: Deployment) -> None:
    """What root has put into the data directory belongs to each room's user, where `[users]` says so; where it does not, `restoring` gives it to the
    directory's owner. Raises ConfigurationError, OSError."""
    if os.geteuid() == 0 and deployment.users is not None:
        lay_out(deployment, deployment.users, anew=True)


def as_before(path: Path, before: os.stat_result) -> None:
    """`path` has the mode of the file that it replaces and, where root replaced it, its owner."""
    path.chmod(before.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(path, before.st_uid, before.st_gid)


def replace_private(path: Path, content: bytes, at: str) -> None:
    """`path` holds `content`, mode 0600; what was there lies beside it, retired. Nothing changes where it holds the same."""
    before = path.stat() if path.exists() else None
    if before is not None:
        if path.read_bytes() == content:
            return
        _retire(path, at or "before")
    make_folder(path.parent)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        if before is not None and os.geteuid() == 0:
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def write_missing(path: Path, content: bytes) -> None:
    """A public file is there: `content`, where there was none."""
    if not path.exists():
        make_folder(path.parent)
        _write_public(path, content)


def _write_public(path: Path, content: bytes) -> None:
    LogFiles(path.parent).replace(path.name, content)
    path.chmod(0o644)


def _retire(path: Path, at: str) -> None:
    path.rename(path.with_name(f"{path.name}.retired-{at.replace(':', '').replace('-', '')}"))
