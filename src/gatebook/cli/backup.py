"""`gatebook backup`."""

import errno
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gatebook.adapters.clock_system import SystemClock
from gatebook.adapters.ledger_segment import SegmentHand
from gatebook.cli import book, printing
from gatebook.cli.backing.copying import Broken, Source, Taken, demand_data_dir, take
from gatebook.cli.backing.manifest import BackupUnusable
from gatebook.cli.visible import visible
from gatebook.config import examine
from gatebook.model.deployment import Deployment
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft, Event, Origin, Resource

NOT_MADE, BROKEN = 1, 2
_MEND: Final = {
    errno.ENOSPC: "make room there, or name another disk",
    errno.EDQUOT: "make room there, or name another disk",
    errno.EIO: "this disk fails. Copy it with a tool that goes on behind errors; `gatebook verify` says what of a log is lost",
}


def backup(
    to: Path = typer.Argument(help="A folder outside data_dir; each backup is a folder of its own in it."),
    config: Path = book.CONFIG,
    private_keys: bool = typer.Option(
        False,
        "--with-private-keys",
        help="DANGEROUS: also copy session, fingerprint, refresh, upstream and desk signing keys. Whoever has this backup can then be anybody at"
        " the desk. Never the log's key, never the one that opens recordings.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print what was made as JSON."),
) -> None:
    """Copy log, recordings, configuration, desk database and public keys while the gate runs, and verify the copy.

    What an earlier backup in the same folder holds already is linked, not copied; each backup is complete. A log that no longer holds what the
    backup before it held is not backed up but reported: it was cut, rewritten, replaced or rolled back. That a backup began and how it ended are entries.
    The log's signing key and the payload key are never in it: back them up apart.

    Exit codes: 0 made and intact, 1 not made, and why, 2 the log is broken: the copy is kept aside, to be looked at, or, where the backup before holds
    whole what has changed, it is made, intact, and names what has changed in data_dir.
    """
    examined = examine(config)
    if examined.deployment is None:
        _give_up("\n".join(str(problem) for problem in examined.problems), as_json)
    deployment = examined.deployment
    to = to.absolute()
    if to.resolve().is_relative_to(Path(deployment.data_dir).resolve()):
        _give_up(f"{to} lies in data_dir: a backup belongs on another disk, best on another machine", as_json)
    # To the millisecond: backups are ordered by it, and two in one second would be ordered by their sizes.
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    source = Source(
        deployment=deployment, config=examined.raw, by=book.operator().sub, at=now, private_keys=private_keys
    )
    try:
        demand_data_dir(Path(deployment.data_dir))
        # A copy of every recording leaves: that it began is durable before the first byte.
        _record(deployment, _draft(ok=True, reason="begun", to=str(to), private_keys=private_keys))
    except (BackupUnusable, LedgerUnavailable, OSError) as failure:
        _give_up(why(failure), as_json)
    try:
        taken = _with_progress(source, to)
    except Broken as broken:
        _record_quietly(deployment, _draft(ok=False, reason="broken", to=str(broken.folder)))
        words = f'{broken}\nthe copy is kept in {broken.folder}; see docs/howto/verify-the-log.md, "If it says BROKEN"'
        _give_up(words, as_json, BROKEN)
    except (BackupUnusable, LedgerUnavailable, OSError) as failure:
        _record_quietly(deployment, _draft(ok=False, reason="failed", to=str(to)))
        _give_up(why(failure), as_json)
    whole = not taken.changed
    end = _draft(ok=whole, reason="completed" if whole else "broken", to=str(taken.folder), **_facts(taken))
    _record_quietly(deployment, end)
    _say(taken, deployment.data_dir, as_json)
    if not whole:
        raise typer.Exit(BROKEN)


def _with_progress(source: Source, to: Path) -> Taken:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = printing.errors()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("copying")

        def tell(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of, description="copying" if done < of else "verifying")

        return take(source, to, tell)


def _facts(taken: Taken) -> dict[str, str | int | bool]:
    manifest = taken.manifest
    damaged: dict[str, str | int | bool] = {"damaged": len(taken.damaged)} if taken.damaged else {}
    if taken.changed:
        damaged |= {"broken": len(taken.changed), "first_broken": taken.changed[0].partition(":")[0]}
    return {
        "size": manifest.size,
        "root": manifest.root,
        "manifest": taken.digest,
        "files": len(manifest.files),
        **damaged,
    }


def _draft(*, ok: bool, reason: str, **detail: str | int | bool) -> Draft:
    return act("log.backup", ok=ok, reason=reason, **detail)


def act(event: Event, *, ok: bool, reason: str, **detail: str | int | bool) -> Draft:
    """A draft of what an operator does to the whole log."""
    return Draft(
        event=event,
        ok=ok,
        reason=reason,
        who=book.operator(),
        origin=Origin(ip="local", client="gatebook cli"),
        resource=Resource(kind="log", method=event.partition(".")[2]),
        detail=detail,
    )


def _record(deployment: Deployment, draft: Draft) -> None:
    """Durable. Raises LedgerUnavailable, OSError."""
    hand = SegmentHand(deployment, book.WRITER, SystemClock())
    hand.write(draft)
    hand.close()


def _record_quietly(deployment: Deployment, draft: Draft) -> None:
    """What is done is done: where its end cannot be recorded, the begin is in the log."""
    try:
        _record(deployment, draft)
    except (LedgerUnavailable, OSError) as failure:
        typer.echo(f"gatebook backup: its end could not be recorded: {why(failure)}", err=True)


def why(failure: Exception) -> str:
    """What kept a backup or a restore from being made, and whom to be."""
    cause = failure if isinstance(failure, OSError) else failure.__cause__
    if isinstance(cause, PermissionError):
        return f"user {book.user_name()} may not reach {cause.filename}: {book.AS_WHOM}"
    if isinstance(failure, OSError):
        mend = f": {_MEND[failure.errno]}" if failure.errno in _MEND else ""
        return f"{failure.filename or 'the disk'}: {failure.strerror}{mend}"
    return str(failure)


def _say(taken: Taken, data_dir: str, as_json: bool) -> None:
    manifest = taken.manifest
    if as_json:
        made = {"folder": str(taken.folder), "linked": taken.linked, "manifest_sha256": taken.digest}
        named = {"origin": manifest.origin, "size": manifest.size, "root": manifest.root, "files": len(manifest.files)}
        damaged = {"damaged": {"folder": str(taken.before), "files": list(taken.damaged)}} if taken.damaged else {}
        verdict = {"verdict": "broken", "why": _changed(taken, data_dir)} if taken.changed else {"verdict": "intact"}
        if taken.changed:
            damaged |= {"changed": {"folder": data_dir, "files": list(taken.changed)}}
        typer.echo(json.dumps({**verdict, **made, **named, "bytes": _bytes(taken), "desk": manifest.desk, **damaged}))
        return
    typer.echo(f"{taken.folder}")
    typer.echo(
        f"{manifest.origin}: {manifest.size} entries; {len(manifest.files)} files, {_bytes(taken) >> 20} MiB, {taken.linked} linked"
    )
    typer.echo(f"manifest SHA-256 {taken.digest}")
    typer.echo("INTACT: verified as it lies there")
    if taken.damaged:
        typer.echo(
            f"{taken.before} IS DAMAGED: {len(taken.damaged)} of its files do not hold what was backed up, the first: {visible(taken.damaged[0])}. "
            "They were copied anew from the log. Do not restore from that one, and look at its disk."
        )
    if taken.changed:
        typer.echo(visible(_changed(taken, data_dir)))
    if manifest.private_keys:
        typer.echo(
            "PRIVATE KEYS ARE IN IT: whoever reads this backup can be anybody at the desk. Encrypt it, or delete it."
        )
    if manifest.desk == "postgresql":
        typer.echo("The desk's PostgreSQL database is not in it: back it up with pg_dump")


def _changed(taken: Taken, data_dir: str) -> str:
    return (
        f"{data_dir} IS DAMAGED: {len(taken.changed)} of its files do not hold what was backed up before, the first: {taken.changed[0]}. "
        f'This backup holds them whole, linked from {taken.before}. See docs/howto/verify-the-log.md, "If it says BROKEN"'
    )


def _bytes(taken: Taken) -> int:
    return sum(item.bytes for item in taken.manifest.files.values())


def _give_up(words: str, as_json: bool, status: int = NOT_MADE) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"verdict": "broken" if status == BROKEN else "not made", "why": words}))
        raise typer.Exit(status)
    printing.give_up(words, status)
