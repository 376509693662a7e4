"""The backup before, and whether the log that is backed up now is that one or says that it goes on from it."""

from pathlib import Path

import msgspec

from gatebook.adapters.log_files import LogFiles
from gatebook.cli.backing.manifest import Manifest, finished, read
from gatebook.cli.backing.naming import of_one_deployment
from gatebook.ledger import entry
from gatebook.ledger.reading import leaves


class Earlier(msgspec.Struct, frozen=True):
    """A finished backup and its manifest."""

    folder: Path
    manifest: Manifest


def previous(to: Path, vkey: str, origin: str) -> Earlier | None:
    """The last backup there of this log, or of another one of the same deployment. Others share the folder at most: their files have the same names."""
    for folder in reversed(finished(to)):
        manifest = read(folder)[0]
        if manifest.vkey == vkey or of_one_deployment(manifest.origin, origin):
            return Earlier(folder, manifest)
    return None


def goes_on_from(partial: Path, elder: Manifest) -> bool:
    """Whether the log's first entry names the log that `elder` is of, or that of a log before it which lies under `former`: so it was begun by a restore,
    and says so. docs/adr/0018-a-restore-begins-a-new-log.md"""
    formers = {each.read_text("utf-8", "replace").strip(): each.parent for each in partial.glob("former/*/log.vkey")}
    at: Path | None = partial
    while at is not None:
        facts = _first_facts(at)
        named = facts.get("previous_vkey")
        if named == elder.vkey:
            return facts.get("previous_size") != elder.size or facts.get("previous_root") == elder.root
        at = formers.pop(named, None) if isinstance(named, str) else None
    return False


def _first_facts(folder: Path) -> dict[str, str | int | bool]:
    try:
        return next(entry.decode(leaf).x for _, leaf in leaves(LogFiles(folder / "log"), 0, 1))
    except (OSError, ValueError):
        return {}


def replaced(elder: Earlier) -> str:
    manifest = elder.manifest
    return (
        f"another key signs it than {manifest.origin}, of which {elder.folder} holds {manifest.size} entries, and its first entry does not say that it "
        "goes on from there: the log was replaced. If it was begun anew on purpose, give its backups a folder of their own"
    )
