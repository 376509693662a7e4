"""`gatebook verify`: is this log whole? Offline, from its files and a verifier key alone; it needs no configuration and changes nothing."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Never

import msgspec
import typer

from gatebook.adapters.log_files import LogFiles
from gatebook.adapters.segment_tails import epochs_in
from gatebook.cli import textfile
from gatebook.cli.visible import visible
from gatebook.ledger.files import CannotJudge
from gatebook.ledger.note import NoteError, load_verifier
from gatebook.ledger.payload import PayloadError, PrivateKey, load_private_key
from gatebook.ledger.verification import Report
from gatebook.ledger.verification import verify as judge

INTACT, BROKEN, CANNOT_JUDGE = 0, 1, 2
_VERDICTS = {INTACT: "intact", BROKEN: "broken", CANNOT_JUDGE: "cannot judge"}
SETTLE_S = 2.5
"""A running sealer signs within half a second: what is not signed yet will be by then."""
_UNKNOWN_SHOWN = 10
_UNKNOWN = "it began just before this copy was made, or somebody put them there; the data directory itself, with its segments, tells"
_ARCHIVED_SHOWN = 3
"""One changed entry contradicts every checkpoint after it, which may be thousands; the line that matters would be out of sight."""


def verify(
    # Who may not read it is told so below, by name, and not by the parser of options.
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", readable=False, help="A data directory, or its `log` directory.")
    ],
    key: Annotated[
        str, typer.Option("--key", metavar="VKEY|FILE", help="The log's verifier key, or a file that holds it.")
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", metavar="OLD", help="A checkpoint kept elsewhere: shows a log that was cut or rewritten."
        ),
    ] = None,
    payload_key: Annotated[
        Path | None,
        typer.Option(
            "--payload-key", metavar="FILE", help="The private payload key: opens every recording and compares it."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    metrics: Annotated[
        Path | None,
        typer.Option(
            "--metrics", metavar="FILE", help="Write the verdict there too, for the textfile collector of Prometheus."
        ),
    ] = None,
) -> None:
    """Verify a log: exit 0 it is intact, 1 it is broken, 2 it cannot be judged, or its recordings are not there to be looked at or not opened by the
    payload key that was given.

    Give the key from where you got it, not from this host; and an older checkpoint, if you kept one: without it, a log that was
    rewritten and signed again with the stolen key looks intact.
    """
    try:
        log = _log_in(directory)
        payloads = log.parent / "payloads"
        report = judge(
            LogFiles(log),
            LogFiles(payloads) if payloads.is_dir() or log != directory else None,
            verifier_key(key),
            old_checkpoint=checkpoint.read_bytes() if checkpoint is not None else None,
            payload_key=_private_key(payload_key) if payload_key is not None else None,
            settle=lambda: time.sleep(SETTLE_S),
            at_work=lambda: epochs_in(log.parent / "segments") if log != directory else None,
        )
    except (CannotJudge, NoteError, OSError) as error:
        _keep_numbers(metrics, intact=False, entries=0)
        _give_up(_words(error), as_json)
    # Whoever removes the recordings must not be told that all is well; nor whoever cannot open what he wanted opened.
    code = BROKEN if not report.intact else CANNOT_JUDGE if report.unseen or report.locked else INTACT
    _keep_numbers(metrics, intact=code == INTACT, entries=report.size)
    if as_json:
        # ASCII, and no name of a file breaks it: whoever wrote into the log chose those.
        why = {"why": _not_judged(report)} if code == CANNOT_JUDGE else {}
        typer.echo(json.dumps({"verdict": _VERDICTS[code], **why, **msgspec.to_builtins(report)}))
    else:
        _say(report, checkpoint is not None)
        if report.payloads and not payloads.is_dir():
            # One cause, and as many problems as there are payloads.
            typer.echo(visible(f"note: there is no directory {payloads}: were the recordings copied too?"))
    raise typer.Exit(code)


def _log_in(directory: Path) -> Path:
    """The log in a data directory, or `directory` itself. Raises CannotJudge, OSError."""
    log = directory / "log" if (directory / "log").is_dir() else directory
    if not log.exists():
        raise CannotJudge(f"there is no directory {log}: name a data directory, or its `log` directory")
    if not log.is_dir():
        raise CannotJudge(f"{log} is a file: name a data directory, or its `log` directory")
    if not (log / "checkpoint").exists() and not (log / "checkpoints").exists():
        within = sorted(each.name for each in log.iterdir() if _has_log(each))
        if within:
            raise CannotJudge(f"{log} holds no log, but {within[-1]} in it does: name {log / within[-1]}")
        raise CannotJudge(f"there is no checkpoint in {log}: it holds no log, or nothing was sealed yet")
    return log


def _has_log(folder: Path) -> bool:
    try:
        return (folder / "log" / "checkpoint").exists()
    except OSError:
        return False  # it is not this user's


def _private_key(path: Path) -> PrivateKey:
    try:
        return load_private_key(path.read_text("utf-8"))
    except (PayloadError, UnicodeDecodeError) as error:
        raise CannotJudge(f"{path} is no private payload key (PAYLOAD+PRIVATE+id+base64)") from error


def _words(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{error.filename} may not be read by this user: verify as one who may"
    if isinstance(error, OSError):
        return f"{error.filename or 'the log'}: {error.strerror}"
    return str(error)


def _keep_numbers(path: Path | None, *, intact: bool, entries: int) -> None:
    if path is None:
        return
    try:
        textfile.write(path, intact=intact, entries=entries, now_s=int(time.time()))
    except OSError as failure:  # the verdict stands, and is said, also where nobody can be told in numbers
        typer.echo(visible(f"{path} could not be written: {failure.strerror}"), err=True)


def verifier_key(key: str) -> str:
    """The key itself, or the one line in the file of that name. Raises CannotJudge, OSError."""
    path = Path(key)
    if len(key) < 4096 and path.is_file():
        return _verifier_key_in(path)
    if "+" not in key:
        what = f"{key} is a directory" if len(key) < 4096 and path.is_dir() else f"there is no file {key}"
        raise CannotJudge(f"{what}, and that is no verifier key (name+hash+base64)")
    return key


def _verifier_key_in(path: Path) -> str:
    try:
        text = path.read_text("utf-8").strip()
        load_verifier(text)
    except (NoteError, UnicodeDecodeError) as error:
        signing = path.read_bytes().startswith(b"PRIVATE+KEY+")
        what = "the log's signing key, which nobody needs to verify" if signing else "no verifier key"
        raise CannotJudge(f"{path} holds {what}: give log.vkey (one line, name+hash+base64)") from error
    return text


def _say(report: Report, with_old: bool) -> None:
    shown: Counter[str] = Counter()
    for problem in report.problems:
        archived = problem.where.startswith("checkpoints/")
        shown[problem.what] += archived
        if not archived or shown[problem.what] <= _ARCHIVED_SHOWN:
            typer.echo(visible(f"{problem.where}: {problem.what}"))
    for what, count in shown.items():
        if count > _ARCHIVED_SHOWN:
            typer.echo(visible(f"… and {count - _ARCHIVED_SHOWN} more checkpoints: {what} (--json names them)"))
    typer.echo(f"{visible(report.origin)}: {report.size} entries, root {report.root}")
    opened = f", {report.opened} opened" if report.opened else ""
    opened += f", {report.locked} not opened" if report.locked else ""
    unseen = f", {report.unseen} not looked at" if report.unseen else ""
    typer.echo(f"{report.checkpoints} checkpoints, {report.payloads} payloads{opened}{unseen}")
    if report.pending:
        typer.echo(f"{report.pending} pieces are not signed yet: a sealer is at work, or ended before it signed them")
    for problem in report.unknown[:_UNKNOWN_SHOWN]:
        typer.echo(visible(f"note: {problem.where}: {problem.what}, nor does any entry name that writer: {_UNKNOWN}"))
    if len(report.unknown) > _UNKNOWN_SHOWN:
        typer.echo(f"… and {len(report.unknown) - _UNKNOWN_SHOWN} more such (--json names them)")
    if report.development:
        typer.echo("note: this log holds entries of the dev profile")
    if report.follows:
        typer.echo(
            visible(f"note: begun by a restore, after the log {report.follows}: verify that one too, by its own key")
        )
    if not report.intact:
        typer.echo(f"BROKEN: {len(report.problems)} problems")
        return
    if report.unseen or report.locked:
        typer.echo(f"CANNOT JUDGE: {_not_judged(report)}")
    else:
        typer.echo("INTACT")
    if not with_old:
        typer.echo(
            "note: without a checkpoint kept elsewhere (--checkpoint) a log cut or rewritten with the signing key shows nothing"
        )


def _not_judged(report: Report) -> str:
    if report.unseen:
        what = f"the log itself is intact, but {report.unseen} recordings that it names were not looked at"
        return f"{what}: give the data directory, with `payloads` beside `log`"
    what = (
        f"log and recordings hold the bytes that were signed, but the payload key does not open {report.locked} of them"
    )
    return f"{what}: give the one that they were made for, or leave --payload-key out"


def _give_up(why: str, as_json: bool) -> Never:
    if as_json:
        typer.echo(json.dumps({"verdict": "cannot judge", "why": why}))
    else:
        typer.echo(visible(f"CANNOT JUDGE: {why}"), err=True)
    raise typer.Exit(CANNOT_JUDGE)
