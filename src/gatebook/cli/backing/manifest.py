"""What a backup says of itself: manifest.json in its folder, beside what it names."""

import hashlib
from pathlib import Path
from typing import Final, Literal

import msgspec

MANIFEST: Final = "manifest.json"
VERSION: Final = 1


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
        raise BackupUnusable(f"{path} is no manifest of a backup") from failure
    if any(not _inside(name) for name in manifest.files):
        raise BackupUnusable(f"{path} names a file outside the backup: somebody made it up")
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
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as failure:
        return f"{name}: {failure.strerror}"
    return None if digest == item.sha256 else f"{name}: holds other bytes than were backed up"


def _inside(name: str) -> bool:
    parts = name.split("/")
    return name == "/".join(Path(name).parts) and not name.startswith("/") and ".." not in parts and name != MANIFEST
