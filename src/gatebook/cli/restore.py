"""`gatebook restore`."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gatebook import formats
from gatebook.adapters.log_files import LogFiles
from gatebook.cli import book, printing
from gatebook.cli.backing import restoring as putting
from gatebook.cli.backing.manifest import DESK, BackupUnusable, Manifest, faults, newest, read
from gatebook.cli.backing.naming import next_origin, renamed
from gatebook.cli.backup import act, why
from gatebook.cli.verify import verifier_key
from gatebook.config import examine
from gatebook.config.load import examine_bytes
from gatebook.ledger.files import CannotJudge
from gatebook.ledger.note import NoteError, load_signer
from gatebook.ledger.predecessor import Predecessor
from gatebook.ledger.reading import archived_sizes
from gatebook.model.deployment import RESTORING, Deployment
from gatebook.model.errors import ConfigurationError, GatebookError
from gatebook.serve.premises import locked

NOT_RESTORED = 1


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was typed. `by`: who, as the system says; `at`: when."""

    config: Path
    newest_checkpoint: Path | None
    log_key: Path | None
    key: str | None
    second: str
    private_keys: bool
    by: str
    at: str


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What is in place now. `rolled_back`: another log goes on; `known_size` 0: nobody remembers what was signed last."""

    data_dir: str
    origin: str
    verifier_key: str
    rolled_back: bool
    previous_origin: str
    size: int
    known_size: int
    former: str
    grants_ended: int
    seconds: float


def restore(
    source: Path | None = typer.Argument(
        None, metavar="FROM", help="A backup, or the folder that `gatebook backup` writes to: then its newest one."
    ),
    config: Path = typer.Option(
        Path("gatebook.toml"), "--config", "-c", help="The configuration file; where it is not there, the backup's."
    ),
    in_place: bool = typer.Option(
        False, "--in-place", help="Instead of FROM: data_dir itself was put back from an older copy, by other means."
    ),
    newest_checkpoint: Path | None = typer.Option(
        None, "--newest-checkpoint", metavar="FILE", help="The newest checkpoint of this log that somebody else kept."
    ),
    log_key: Path | None = typer.Option(
        None,
        "--log-key",
        metavar="FILE",
        help="The log's signing key: the same log goes on, but only where watermark or --newest-checkpoint show that nothing was lost.",
    ),
    key: str | None = typer.Option(
        None,
        "--key",
        metavar="VKEY|FILE",
        help="The log's verifier key, from where you keep it. Default: the backup's own word.",
    ),
    second: str = typer.Option(
        "", "--second", metavar="NAME", help="Who stands beside you and agrees. Required in pci."
    ),
    private_keys: bool = typer.Option(
        False,
        "--with-private-keys",
        help="Also put back the keys that a backup --with-private-keys holds; else they are made anew. The desk's signing key is made anew in any case."
        " Only where nobody else could write into the backup since: whoever knows them can be anybody at the desk.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print what was restored as JSON."),
) -> None:
    """Put a deployment back into an empty data_dir, after everything was verified. The gate must not run.

    A restore is a roll-back: entries after the copy are lost, and whoever was shown them must not be shown others in their place. So the old log
    ends where the copy ends and is kept under data_dir/former; a new log with a new name and a new key goes on, and its first entry names the
    old one's head. Publish the new verifier key. Nobody stays logged in. Only where it is shown that nothing was lost, the same log goes on.

    Exit codes: 0 restored, 1 nothing that could be started was put in place, and why, 2 not what the command takes.
    """
    asked = Asked(
        config=config.absolute(), newest_checkpoint=newest_checkpoint, log_key=log_key, key=key, second=second.strip(), private_keys=private_keys,
        by=book.operator().sub, at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )  # fmt: skip
    if (source is None) is not in_place:
        printing.give_up("name a backup to restore FROM, or --in-place", 2)
    begun = time.monotonic()
    try:
        restored = _in_place(asked) if source is None else _from_backup(source.absolute(), asked)
    except (BackupUnusable, CannotJudge, GatebookError, OSError, UnicodeDecodeError) as failure:
        _give_up(why(failure), as_json)
    _say(msgspec.structs.replace(restored, seconds=round(time.monotonic() - begun, 1)), as_json)


def _from_backup(source: Path, asked: Asked) -> Restored:
    """The order is the promise: everything is judged, then staged, then put in place; and only then may a gate start. Steps:"""
    # 1. The backup is what it says, and its log is whole.
    folder = newest(source)
    manifest, digest = read(folder)
    if wrong := faults(folder, manifest):
        raise BackupUnusable(
            f"{folder}: {len(wrong)} files are not as they were backed up; copy it again, or name another backup:\n"
            + "\n".join(wrong[:10])
        )
    putting.demand_plain_desk(folder / DESK)
    formats.require_readable(folder)
    raw = asked.config.read_bytes() if asked.config.exists() else (folder / "gatebook.toml").read_bytes()
    deployment = _deployment(raw, asked)
    _demand_from_elsewhere(asked, source)
    head = putting.head_of(folder, _vkey(asked, manifest), _remembered(deployment, asked))
    same = _same_log_goes_on(asked, head, manifest, deployment)
    if not same:
        raw = _renamed(raw, asked, manifest.origin)
        deployment = _deployment(raw, asked)
    # 2. The data directory is empty, and nobody starts in it meanwhile.
    _demand_second(asked, deployment)
    data_dir = Path(deployment.data_dir)
    putting.demand_empty(data_dir)
    with locked(data_dir):
        with putting.restoring(data_dir, deployment.users) as staging:
            # 3. Everything is on this disk, compared once more.
            _with_progress(folder, manifest, staging / "whole", asked)
            # 4. The old log beside, or in its place; what is new; and the entry that says so.
            whole = staging / "whole"
            if (whole / "former").exists():
                (whole / "former").rename(data_dir / "former")
            former = "" if same else putting.set_aside(whole, data_dir)
            public = {name: (folder / name).read_bytes() for name in ("payloads.pub",) if name in manifest.files}
            for name in ("payloads.pub", "desk.jwks"):
                (whole / name).unlink(missing_ok=True)
            putting.put_in_place(whole, data_dir)
            for content in public.values():
                putting.write_missing(Path(deployment.payload_public_key), content)
            restored = _go_on(asked, deployment, head, former, digest)
            _write_config(asked, raw)
            putting.give_to_owners(deployment)
        # 5. What remembered the old log's end, once all else is done.
        if not same:
            putting.retire_watermark(deployment, asked.at)
    return restored


def _in_place(asked: Asked) -> Restored:
    """The data directory as it lies there becomes the old log."""
    examined = examine(asked.config)
    if examined.deployment is None:
        raise ConfigurationError(tuple(str(problem) for problem in examined.problems))
    before = examined.deployment
    data_dir = Path(before.data_dir)
    if asked.log_key is not None:
        raise BackupUnusable("--in-place always begins a new log, so --log-key has no use: leave it out")
    begun = data_dir / RESTORING
    folder = data_dir / (begun / "former").read_text("ascii") if (begun / "former").exists() else data_dir
    _demand_a_log(folder)
    vkey = verifier_key(asked.key or str(folder / "log.vkey"))
    head = putting.head_of(folder, vkey, _remembered(before, asked))
    known = max(head.known_size, putting.known_before(data_dir))
    state = _about_to_be_signed(folder)
    if state > head.checkpoint.size:  # else it was put back together with the log, and knows nothing
        known = max(known, state)
    head = msgspec.structs.replace(head, known_size=known)
    raw = _renamed(examined.raw, asked, head.checkpoint.origin)
    deployment = _deployment(raw, asked)
    _demand_second(asked, deployment)
    with locked(data_dir):
        with putting.restoring(data_dir, deployment.users):
            putting.keep_known(data_dir, head)
            former = putting.set_aside(data_dir, data_dir)
            restored = _go_on(asked, deployment, head, former, "")
            _write_config(asked, raw)
            putting.give_to_owners(deployment)
        putting.retire_watermark(deployment, asked.at)
    return restored


def _demand_a_log(folder: Path) -> None:
    log = LogFiles(folder / "log")
    if not (folder / "log" / "checkpoint").exists() and not archived_sizes(log):
        raise BackupUnusable(
            f"there is no signed log in {folder}, and nothing to go on from in place: move what is left there aside and put the newest backup back, "
            "`gatebook restore FROM`"
        )


def _go_on(asked: Asked, deployment: Deployment, head: putting.Head, former: str, digest: str) -> Restored:
    """`former` empty: the same log."""
    last = head.checkpoint
    vkey = head.vkey
    if not former:
        assert asked.log_key is not None
        putting.go_on_as_before(deployment, head, asked.log_key.read_text("ascii").strip())
    else:
        predecessor = Predecessor(
            origin=last.origin, vkey=head.vkey, size=last.size, root=last.root.hex(), known_size=head.known_size,
            former=former, restored_at=asked.at, by=asked.by, second=asked.second, manifest=digest,
        )  # fmt: skip
        vkey = putting.begin_new_log(deployment, predecessor)
    ended = putting.end_logins(deployment, asked.at, time.time())
    detail: dict[str, str | int | bool] = {
        "previous_origin": last.origin, "previous_size": last.size, "previous_root": last.root.hex(),
        "known_size": head.known_size, "manifest": digest, "second": asked.second, "grants_ended": ended,
    }  # fmt: skip
    if former:
        draft = act("log.restore", ok=False, reason="rolled_back", **detail)
    else:
        draft = act("log.restore", ok=True, reason="continued", **detail)
    putting.give_to_owners(deployment)
    putting.record(deployment, draft)
    return Restored(
        data_dir=deployment.data_dir, origin=deployment.origin, verifier_key=vkey, rolled_back=bool(former),
        previous_origin=last.origin, size=last.size, known_size=head.known_size, former=former, grants_ended=ended, seconds=0.0,
    )  # fmt: skip


def _same_log_goes_on(asked: Asked, head: putting.Head, manifest: Manifest, deployment: Deployment) -> bool:
    """Whether the key may sign on: only where somebody outside shows that nothing came after this copy. Raises BackupUnusable."""
    if asked.log_key is None:
        return False
    try:
        name = load_signer(asked.log_key.read_text("ascii").strip()).vkey
    except NoteError as failure:
        raise BackupUnusable(f"{asked.log_key} is no log key: {failure}") from failure
    if name != manifest.vkey:
        raise BackupUnusable(f"{asked.log_key} is the key of another log than the backup's")
    if deployment.origin != manifest.origin:
        raise BackupUnusable(
            f"{asked.config} names the log {deployment.origin}, the backup is of {manifest.origin}: leave --log-key out, or mend log.origin"
        )
    if not head.nothing_lost:
        known = (
            f"{head.known_size} entries are known to have been signed"
            if head.known_size
            else "nobody says what was signed last"
        )
        raise BackupUnusable(
            f"the backup ends at {head.checkpoint.size} entries, and {known}: the same key must not sign these sizes again. Leave --log-key out"
            " (a new log goes on), or show with --newest-checkpoint that nothing was lost"
        )
    return True


def _renamed(raw: bytes, asked: Asked, origin: str) -> bytes:
    """The configuration with a new log's name in it, unless the operator has given it one already."""
    if _deployment(raw, asked).origin != origin:
        return raw
    return renamed(raw, asked.config, next_origin(origin, asked.at))


def _deployment(raw: bytes, asked: Asked) -> Deployment:
    examined = examine_bytes(raw, asked.config)
    if examined.deployment is None:
        raise ConfigurationError(tuple(str(problem) for problem in examined.problems))
    return examined.deployment


def _demand_second(asked: Asked, deployment: Deployment) -> None:
    if deployment.profile == "pci" and not asked.second:
        raise BackupUnusable("in pci two persons restore: name the other one with --second")
    if asked.second in (asked.by, asked.by.removeprefix("os:")):
        raise BackupUnusable(f"--second {asked.second} is you: name another person")


def _demand_from_elsewhere(asked: Asked, source: Path) -> None:
    newest = asked.newest_checkpoint
    if newest is not None and newest.resolve().is_relative_to(source.resolve()):
        raise BackupUnusable(
            f"{newest} is the backup's own: it says nothing of what came after. Give one that somebody else kept"
        )


def _vkey(asked: Asked, manifest: Manifest) -> str:
    if asked.key is not None and verifier_key(asked.key) != manifest.vkey:
        raise BackupUnusable("the backup is of another log than the verifier key that you gave")
    return manifest.vkey


def _remembered(deployment: Deployment, asked: Asked) -> dict[str, bytes]:
    """Signed notes from elsewhere, by what they are called."""
    found: dict[str, bytes] = {}
    if deployment.watermark is not None and Path(deployment.watermark).exists():
        found[f"the watermark {deployment.watermark}"] = Path(deployment.watermark).read_bytes()
    if asked.newest_checkpoint is not None:
        found[str(asked.newest_checkpoint)] = asked.newest_checkpoint.read_bytes()
    return found


def _about_to_be_signed(folder: Path) -> int:
    try:
        return int((folder / "sealer" / "state").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _write_config(asked: Asked, raw: bytes) -> None:
    """The file as it must be now; what was there before lies beside it."""
    path = asked.config
    if not path.exists():
        LogFiles(path.parent).replace(path.name, raw)
        path.chmod(0o644)
    elif path.read_bytes() != raw:
        before = path.stat()
        for name, content in ((f"{path.name}.before-restore", path.read_bytes()), (path.name, raw)):
            LogFiles(path.parent).replace(name, content)
            putting.as_before(path.with_name(name), before)


def _with_progress(folder: Path, manifest: Manifest, staging: Path, asked: Asked) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = printing.errors()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("restoring")

        def tell(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of)

        putting.lay(folder, manifest, staging, tell, private_keys=asked.private_keys)


def _say(restored: Restored, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(restored)))
        return
    typer.echo(f"{restored.data_dir}: restored in {restored.seconds:g} s, verified; it ends at {restored.size} entries")
    if restored.rolled_back:
        typer.echo(_lost(restored))
        typer.echo(
            f"The old log {restored.previous_origin} lies in {restored.former}; the new one is {restored.origin}."
        )
        typer.echo("Publish its verifier key, and keep the old one for the old log:")
        typer.echo(f"  {restored.verifier_key}")
    else:
        typer.echo(f"Nothing was lost: {restored.origin} goes on.")
    typer.echo("Nobody is logged in any more; everybody agrees anew. Then: `gatebook check`, `gatebook serve`.")


def _lost(restored: Restored) -> str:
    if not restored.known_size:
        return "ROLLED BACK, as far as anybody can say: nothing outside remembers what was signed last."
    lost = restored.known_size - restored.size
    return (
        f"ROLLED BACK: {lost} signed entries are lost."
        if lost > 0
        else "Nothing was lost, but without --log-key a new log goes on."
    )


def _give_up(words: str, as_json: bool) -> NoReturn:
    if as_json:
        sys.stdout.write(json.dumps({"verdict": "not restored", "why": words}) + "\n")
        raise typer.Exit(NOT_RESTORED)
    printing.give_up(words, NOT_RESTORED)
