"""Which formats this release reads and writes, and which lie in a data directory: a release never touches what a newer one wrote.

`data_dir/formats.json` is written before anything of a format is; what carries a number of its own (segments, entries, the sealer's memory, the
desk's database) is judged by that too, wherever it is read. Control messages between two releases: `serve.control.VERSION`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gatebook import __version__
from gatebook.durable import make_folder, replace_file
from gatebook.ledger import entry, framing, remembering
from gatebook.model.errors import ConfigurationError

NAME: Final = "formats.json"
_AS_WHOM: Final = "run this as the user that the deployment runs as; as root where [users] gives each room its own"


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One durable format: the version that this release writes, and which files are of it. It reads every version from 1 on."""

    version: int
    files: str


KNOWN: Final[Mapping[str, Format]] = {
    "segments": Format(version=framing.VERSION, files="segments/*.seg, *.mark"),
    "entries": Format(version=entry.VERSION, files="leaves in segments and bundles"),
    "log": Format(version=1, files="log/tile, log/checkpoints, log/checkpoint, log/configs"),
    "payloads": Format(version=1, files="payloads/"),
    "sealer": Format(version=remembering.VERSION, files="sealer/state, sealer/memory"),
    "sessions": Format(version=1, files="run/sessions.map"),
    "desk": Format(version=1, files="desk/desk.db, or the PostgreSQL database"),
}


class Lying(msgspec.Struct, frozen=True, kw_only=True):
    """What `formats.json` says: the versions that may lie there, and the release that said so."""

    formats: dict[str, int]
    release: str


def lying(data_dir: Path) -> Lying | None:
    """What the directory says of itself; None where it says nothing (it is new, or of a release before there was such a file: all of version 1).
    Raises ConfigurationError where that cannot be read."""
    path = data_dir / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Lying)
    except FileNotFoundError:
        return None
    except PermissionError as failure:
        raise ConfigurationError((f"{path} may not be read by this user: {_AS_WHOM}",)) from failure
    except (OSError, msgspec.MsgspecError) as failure:
        raise ConfigurationError(
            (
                f"{path}: {failure}: restore it from a backup, or move it away where you know that no newer release was here",
            )
        ) from failure


def newer(data_dir: Path) -> tuple[str, ...]:
    """What lies there in a format that this release does not know, each with both versions; empty where it may be worked on.
    Raises ConfigurationError as `lying`."""
    found = lying(data_dir)
    if found is None:
        return ()
    return tuple(
        f"{data_dir / NAME}: {name} are of format {version}, written by release {found.release}; this is release {__version__}, which "
        f"{f'reads up to {known.version}' if (known := KNOWN.get(name)) else 'knows no such format'}: run that release or a newer one"
        for name, version in sorted(found.formats.items())
        if name not in KNOWN or version > KNOWN[name].version
    )


def require_readable(data_dir: Path) -> None:
    """Nothing there is of a newer format. Raises ConfigurationError."""
    if problems := newer(data_dir):
        raise ConfigurationError(problems)


def mark(data_dir: Path) -> None:
    """The directory says, durably, that this release's formats may lie in it. Idempotent; only after `require_readable`, and before anything is
    written there. Raises ConfigurationError."""
    wanted = {name: known.version for name, known in KNOWN.items()}
    found = lying(data_dir)
    if found is not None and found.formats == wanted:
        return
    path = data_dir / NAME
    said = msgspec.json.encode(Lying(formats=wanted, release=__version__), order="sorted")
    try:
        make_folder(data_dir)
        # Every room asks it, whoever its user is; it holds no secret.
        replace_file(path, msgspec.json.format(said) + b"\n", mode=0o644)
    except OSError as failure:
        raise ConfigurationError((f"{path}: {failure.strerror}; make it writable for this user",)) from failure
