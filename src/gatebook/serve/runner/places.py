"""What of this machine's file system matters to servers that are commands: looked at, never changed."""

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from gatebook.model.deployment import Command, Deployment, SecretReference
from gatebook.serve.runner.sandbox import Places

_TEMPORARY: Final = ("/run", "/tmp", "/var/tmp")  # noqa: S108  # replaced, not used
_SHARED_FOLDERS: Final = frozenset(
    Path(path) for path in "/ /etc /usr /usr/local /usr/local/etc /opt /srv /var /var/lib /home /mnt".split()
)
"""Folders with much beside a secret: of these the file alone is hidden."""
_AT_HOME: Final = (
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".npmrc", ".pypirc", ".git-credentials", ".pgpass", ".my.cnf",
    ".config/gcloud", ".config/gh", ".config/gatebook", ".local/share/keyrings",
)  # fmt: skip
"""Where people keep credentials. LIMIT: no such list is complete; a user without a home has none (docs/runner.md)."""


def look(command: Command, deployment: Deployment, config: Path | None = None) -> Places:
    """As it is now; it may be otherwise for the next process. `config`: the configuration file."""
    own = Path(deployment.data_dir).resolve()
    named = tuple(path for path in (command.directory, *command.writable) if path is not None)
    folders, files = _hidden(deployment, config)
    resolver = Path("/etc/resolv.conf").resolve()
    return Places(
        own=str(own),
        temporary=tuple(
            dict.fromkeys(str(Path(path).resolve()) for path in _TEMPORARY if _kind(Path(path)) == "folder")
        ),
        directory=None if command.directory is None else str(Path(command.directory).resolve()),
        writable=tuple(str(Path(path).resolve()) for path in command.writable),
        missing=tuple(path for path in named if _kind(Path(path)) is None),
        planted=tuple(path for path in named if _planted(Path(path), _writable(command, deployment))),
        folders=tuple(sorted(str(folder) for folder in folders if not folder.is_relative_to(own))),
        files=tuple(
            sorted(str(file) for file in files if not any(file.is_relative_to(one) for one in (own, *folders)))
        ),
        resolver=str(resolver) if _kind(resolver) == "file" else None,
    )


def _writable(command: Command, deployment: Deployment) -> set[Path]:
    """What servers may write, links followed."""
    commands = (command, *(server.command for server in deployment.servers if server.command is not None))
    return {Path(path).resolve() for each in commands for path in each.writable}


def _planted(path: Path, writable: set[Path]) -> bool:
    """Whether the way to `path` leads over a link in a place that some server may write: then that server says what is mounted, a folder of sockets
    under /run for one. LIMIT: another server's process can still exchange it between this look and the mount."""
    here = Path("/")
    with contextlib.suppress(OSError, RuntimeError):  # what cannot be looked at, or goes round in circles, is not there
        for part in path.parts[1:]:
            here /= part
            if here.is_symlink():
                if any(place in here.parents for place in writable):
                    return True
                here = here.resolve()
    return False


def _hidden(deployment: Deployment, config: Path | None) -> tuple[set[Path], set[Path]]:
    """Folders and files that no server may see: there, and with links followed."""
    homes = _homes()
    shared = _SHARED_FOLDERS | homes
    hidden: set[Path] = set()
    for path in _secret_paths(deployment):
        # The folder, not the file: a file that is put in its place by renaming would be seen by the servers that run.
        folder = path.parent.resolve()
        hidden.add(path.resolve() if folder in shared else folder)
    if config is not None:
        # LIMIT: a folder that everybody may enter stays (a project with its programs): then a configuration put in place by renaming is seen.
        folder = config.parent.resolve()
        hidden.add(folder if folder not in shared and _closed(folder) else config.resolve())
    hidden |= {(home / name).resolve() for home in homes for name in _AT_HOME}
    kinds = {path: _kind(path) for path in hidden}
    return {path for path in hidden if kinds[path] == "folder"}, {path for path in hidden if kinds[path] == "file"}


def _kind(path: Path) -> Literal["folder", "file"] | None:
    """None: it is not there, or not for this user, and then not for this user's programs either."""
    try:
        return "folder" if stat.S_ISDIR(path.stat().st_mode) else "file"
    except OSError:
        return None


def _closed(folder: Path) -> bool:
    try:
        return folder.stat().st_mode & 0o005 == 0
    except OSError:
        return False


def _homes() -> set[Path]:
    """The home of this user as the system has it and as the environment says."""
    homes = {Path(os.environ["HOME"])} if os.environ.get("HOME") else set()
    with contextlib.suppress(KeyError):
        homes.add(Path(pwd.getpwuid(os.getuid()).pw_dir))
    return {home.resolve() for home in homes if home.is_absolute()}


def _secret_paths(part: object, name: str = "") -> Iterator[Path]:
    """Every file in a deployment that holds a secret: what a reference names, and what is called a key and is not public."""
    match part:
        case SecretReference():
            if part.scheme == "file":
                yield Path(part.locator)
        case msgspec.Struct():
            for field in part.__struct_fields__:
                yield from _secret_paths(getattr(part, field), field)
        case tuple():
            for one in part:
                yield from _secret_paths(one, name)
        case dict():
            for one in part.values():
                yield from _secret_paths(one, name)
        case str() if (name == "key" or name.endswith("_key")) and not name.endswith("public_key"):
            yield Path(part)
        case _:
            pass
