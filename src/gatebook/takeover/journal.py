"""What an import changes, written so that no moment loses a secret, and so that it can be undone to the last byte.

The order is the proof: the backup of both files is durable before a secret file is made, every secret file before gatebook.toml names it,
and gatebook.toml before the client's file lets go of it. A crash between two steps leaves the secret in at least one durable place, and the
import that is run again ends the work. Undoing goes the same way back: the client's file first, the secret files last.
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from gatebook.durable import make_folder, sync_folder
from gatebook.model.secret import Secret

FOLDER: Final = "imports"
"""Beside gatebook.toml: one folder for each import that can be undone. It holds the client's file as it was, its secrets too."""
SECRETS: Final = "secrets"
"""Beside gatebook.toml: where secrets are moved to."""
PINS: Final = "pins"
"""Beside gatebook.toml: one file for each server whose tools are pinned."""
_NAME: Final = re.compile(r"[0-9]{6}")
_PART, _TEMPORARY = ".part", ".gatebook.tmp"
_JOURNAL, _CLIENT, _CONFIG, _BLOCK = "journal.json", "client.before", "config.before", "config.added"


class CannotWrite(Exception):
    """Nothing more is changed. The words say what stands in the way and what to do."""


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file beside gatebook.toml, which names it: of a secret, or of pins."""

    path: Path
    value: Secret[bytes]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One import. `block` is what `config_after` has more than `config_before`, at its end. `files`: those that are not there yet."""

    client: Path
    client_before: bytes
    client_after: bytes
    config: Path
    config_before: bytes
    block: bytes
    files: tuple[NewFile, ...]

    @property
    def config_after(self) -> bytes:
        return self.config_before + self.block


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    sha256: str


class _Journal(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    client: str
    client_before: str
    client_after: str
    config_before: str
    config_after: str
    files: list[_Made]
    folders: list[str]
    """Those of the files, where this import made them."""


@contextmanager
def alone(config: Path) -> Iterator[None]:
    """Nobody else imports into this configuration meanwhile. Raises CannotWrite."""
    try:
        descriptor = os.open(config.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as failure:
        raise CannotWrite(f"{config.parent}: {failure.strerror}") from failure
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as busy:
        raise CannotWrite("another import into this configuration is under way; try again when it has ended") from busy
    finally:
        os.close(descriptor)


def apply(change: Change) -> Path:
    """Both files are as they should be, durably; returns the folder of the backup. Raises CannotWrite: what was done until then is undone by
    `undo`, or ended by doing it again."""
    try:
        _sweep(change.config, change.client)
        backup = _keep(change)
        for folder in _folders(change):
            make_folder_like(folder, change.config.parent)
        for new in change.files:
            write_new_file(new.path, new.value.reveal(), like=change.config.parent)
        for folder in _folders(change):
            sync_folder(folder)
        if change.block:
            replace_file(change.config, change.config_before, change.config_after)
        replace_file(change.client, change.client_before, change.client_after)
    except OSError as failure:
        raise CannotWrite(
            f"{failure.filename or change.client} cannot be written: {failure.strerror}; --undo takes back what was written"
        ) from failure
    return backup


def undo(config: Path, client: Path) -> list[Path]:
    """Every import of `client` into `config` is undone, the last one first; returns what was put back or removed. Raises CannotWrite where a file
    was changed since, so that putting it back would lose that; then it is as it was, and so is what belongs to it."""
    try:
        _sweep(config, client)
        found = [each for each in _backups(config) if _read(each).client == str(client)]
        if not found:
            raise CannotWrite(f"no import of {client} into {config} is there to be undone")
        return [path for backup in reversed(found) for path in _undo_one(config, backup)]
    except OSError as failure:
        raise CannotWrite(f"{failure.filename or client} cannot be written: {failure.strerror}; try again") from failure


def _undo_one(config: Path, backup: Path) -> list[Path]:
    """1. see that nothing else would be lost, 2. the client's file, 3. gatebook.toml, 4. the secret files, 5. the backup itself."""
    journal = _read(backup)
    client = Path(journal.client)
    client_now, config_now = client.read_bytes(), config.read_bytes()
    block = (backup / _BLOCK).read_bytes()
    if _hash(client_now) not in (journal.client_before, journal.client_after):
        raise CannotWrite(f"{client} was changed since it was imported: what it was is in {backup / _CLIENT}")
    if block and block in config_now and config_now.count(block) > 1:
        raise CannotWrite(f"{config} holds what was added twice: remove one by hand")
    if block and block not in config_now and _hash(config_now) != journal.config_before:
        raise CannotWrite(
            f"the tables that were added to {config} were changed since: what it was is in {backup / _CONFIG}"
        )
    changed: list[Path] = []
    if _hash(client_now) != journal.client_before:
        replace_file(client, client_now, (backup / _CLIENT).read_bytes())
        changed.append(client)
    if block in config_now and block:
        replace_file(config, config_now, config_now.replace(block, b""))
        changed.append(config)
    for made in journal.files:
        path = Path(made.path)
        if path.is_file() and _hash(path.read_bytes()) == made.sha256 and not _named(config, path):
            path.unlink()
            changed.append(path)
    _tidy(journal)
    backup.rename(backup.with_name(f".{backup.name}{_PART}"))  # a half of it must not pass for a whole one
    sync_folder(backup.parent)
    _sweep(config, client)
    return changed


def _sweep(config: Path, client: Path) -> None:
    """Nothing is left of an import or an undoing that was killed: we are alone here."""
    imports = config.parent / FOLDER
    for left in imports.glob(f".*{_PART}"):
        shutil.rmtree(left)
    for pattern in (
        config.parent / f".{config.name}.*",
        client.parent / f".{client.name}.*",
        config.parent / SECRETS / ".*",
        config.parent / PINS / ".*",
    ):
        for temporary in pattern.parent.glob(f"{pattern.name}{_TEMPORARY}"):
            temporary.unlink()
    if imports.is_dir() and not any(imports.iterdir()):
        imports.rmdir()
        sync_folder(imports.parent)


def _named(config: Path, secret: Path) -> bool:
    """Whether gatebook.toml still names the file: a later import found the same secret, and shares it."""
    name = str(secret.relative_to(config.parent)).encode()
    return any(quoted in config.read_bytes() for quoted in (b'"file:' + name + b'"', b'"' + name + b'"'))


def _tidy(journal: _Journal) -> None:
    for folder in {Path(made.path).parent for made in journal.files}:
        if folder.is_dir():
            sync_folder(folder)
            if str(folder) in journal.folders and not any(folder.iterdir()):
                folder.rmdir()


def _folders(change: Change) -> list[Path]:
    return sorted({new.path.parent for new in change.files})


def _keep(change: Change) -> Path:
    """The backup is durable, under its name only when it is whole."""
    imports = change.config.parent / FOLDER
    make_folder(imports)
    numbers = [int(each.name) for each in _backups(change.config)]
    name = f"{max(numbers, default=0) + 1:06d}"
    part = imports / f".{name}{_PART}"
    part.mkdir(mode=0o700)
    journal = _Journal(
        version=1,
        client=str(change.client),
        client_before=_hash(change.client_before),
        client_after=_hash(change.client_after),
        config_before=_hash(change.config_before),
        config_after=_hash(change.config_after),
        files=[_Made(path=str(new.path), sha256=_hash(new.value.reveal())) for new in change.files],
        folders=[str(folder) for folder in _folders(change) if not folder.exists()],
    )
    files = {
        _CLIENT: change.client_before,
        _CONFIG: change.config_before,
        _BLOCK: change.block,
        _JOURNAL: msgspec.json.format(msgspec.json.encode(journal), indent=2),
    }
    for file, content in files.items():
        _create(part / file, content, like=None)
    sync_folder(part)
    part.rename(imports / name)
    sync_folder(imports)
    return imports / name


def _backups(config: Path) -> list[Path]:
    imports = config.parent / FOLDER
    if not imports.is_dir():
        return []
    return sorted(each for each in imports.iterdir() if _NAME.fullmatch(each.name))


def _read(backup: Path) -> _Journal:
    try:
        return msgspec.json.decode((backup / _JOURNAL).read_bytes(), type=_Journal)
    except (OSError, msgspec.DecodeError) as failure:
        raise CannotWrite(f"{backup / _JOURNAL} cannot be read: it is no journal of this release") from failure


def make_folder_like(path: Path, like: Path) -> None:
    """A folder of mode 0700 that survives a power loss; of `like`'s owner where we are root and it was not there. Raises OSError."""
    new = not path.exists()
    make_folder(path)
    if new and os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def write_new_file(path: Path, content: bytes, *, like: Path | None = None) -> None:
    """As `_create`, and never there with only a part of its content: who does the import again would take that for another's file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    _create(temporary, content, like=like)
    os.link(temporary, path, follow_symlinks=False)
    temporary.unlink()


def _create(path: Path, content: bytes, *, like: Path | None) -> None:
    """A new file of mode 0600, durable but for its name; of `like`'s owner where we are root, so that the deployment's user can read it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if like is not None and os.geteuid() == 0:
            owner = like.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def replace_file(path: Path, before: bytes, after: bytes) -> None:
    """The file holds `after`, durably, under its mode and owner; at no moment half of it. Raises CannotWrite where it no longer holds `before`.

    LIMIT: a program that writes the file between that look and the renaming loses what it wrote; the look leaves it microseconds."""
    status = path.stat()
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(after)
            file.flush()
            os.fchmod(descriptor, status.st_mode & 0o7777)
            if os.geteuid() == 0:
                os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fsync(descriptor)
        if path.read_bytes() != before:
            raise CannotWrite(f"{path} was changed meanwhile: close the program that writes it, and try again")
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
