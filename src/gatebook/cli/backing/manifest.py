"""What a backup says of itself: manifest.json in its folder, beside what it names."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Final, Literal

import msgspec

from gatebook import formats

MANIFEST: Final = "manifest.json"
VERSION: Final = 1
DESK: Final = "desk/desk.db"
KEYS: Final = "keys/"
_FILES: Final = frozenset({"gatebook.toml", formats.NAME, "log.vkey", "payloads.pub", "desk.jwks", DESK})
_FOLDERS: Final = ("log/", "payloads/", "former/")


class BackupUnusable(Exception):
    """A backup that cannot be taken, found or put back. The text says what, where, and how to mend it."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its length, and SHA-256 of its bytes in hex."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backup of the log `origin` at `size`, with `root` (hex) and the signed `checkpoint` that says so.

    `files`: every file in its folder but this one, by name. `desk`: where the desk's database was; only SQLite is in the backup."""

    v: int = VERSION
    gatebook: str
    entry_format: int
    segment_format: int
    made_at: str
    made_by: str
    profile: str
    origin: str
    vkey: str
    size: int
    root: str
    checkpoint: str
    desk: Literal["none", "sqlite", "postgresql"]
    private_keys: bool
    files: dict[str, Item]


def pack(manifest: Manifest) -> bytes:
    """Readable, and the same bytes for the same backup."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def read(folder: Path) -> tuple[Manifest, str]:
    """The manifest in `folder`, and SHA-256 of its bytes. Raises BackupUnusable."""
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as failure:
        raise BackupUnusable(f"{path} cannot be read: {failure.strerror}; name a backup that was finished") from failure
    try:
        version = msgspec.json.decode(raw, type=dict[str, object]).get("v")
        if version != VERSION:
            raise BackupUnusable(
                f"{path} is of format {version}, this release knows {VERSION}: use the release that made it"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as failure:
        raise BackupUnusable(
            f"{path} is no manifest of a backup: move its folder away, or take another backup"
        ) from failure
    if any(not _inside(name) for name in manifest.files):
        raise BackupUnusable(f"{path} names a file outside the backup: somebody made it up")
    if strange := sorted(name for name in manifest.files if not _backed_up(name, manifest)):
        raise BackupUnusable(f"{path} names {strange[0]}, which no backup holds: somebody made it up")
    return manifest, hashlib.sha256(raw).hexdigest()


def finished(to: Path) -> list[Path]:
    """The finished backups under `to`, oldest first. Their names begin with the time at which they were made."""
    try:
        return sorted(each for each in to.iterdir() if not each.name.startswith(".") and (each / MANIFEST).is_file())
    except FileNotFoundError:
        return []


def newest(to: Path) -> Path:
    """`to` itself where it is a backup, else the newest one in it. Raises BackupUnusable."""
    if (to / MANIFEST).is_file():
        return to
    try:
        there = finished(to)
    except OSError as failure:
        raise BackupUnusable(f"{to} cannot be read: {failure.strerror}") from failure
    if not there:
        raise BackupUnusable(f"there is no backup in {to}: name the folder that `gatebook backup` wrote to")
    return there[-1]


def faults(folder: Path, manifest: Manifest) -> list[str]:
    """What does not agree with the manifest, file by file: missing, changed, or never in it."""
    found = [why for name, item in sorted(manifest.files.items()) if (why := _fault(folder / name, name, item))]
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
    return found + [f"{name}: is not in the manifest" for name in sorted(there - {MANIFEST, *manifest.files})]


def _fault(path: Path, name: str, item: Item) -> str | None:
    try:
        # No link and nothing to wait for: a backup holds plain files, wherever it has lain meanwhile.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return f"{name}: is no plain file"
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as failure:
        return f"{name}: {failure.strerror}"
    return None if digest == item.sha256 else f"{name}: holds other bytes than were backed up"


def _backed_up(name: str, manifest: Manifest) -> bool:
    """Whether `gatebook backup` puts a file of this name into a backup. Segments above all: what lies there is signed at the next start."""
    if name in _FILES or name.startswith(_FOLDERS):
        return True
    key = name.removeprefix(KEYS)
    return manifest.private_keys and key != name and "/" not in key and may_come_along(key)


def may_come_along(key: str) -> bool:
    """Whether a private key of this name may be in a backup: never the log's, never what opens recordings."""
    return ".skey" not in key and key != "payloads.key"


def _inside(name: str) -> bool:
    parts = name.split("/")
    return name == "/".join(Path(name).parts) and not name.startswith("/") and ".." not in parts and name != MANIFEST
