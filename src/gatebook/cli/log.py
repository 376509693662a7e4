"""`gatebook log`: search the sealed log."""

import datetime
import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.person.api import DESK, api_wanted
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.visible import visible
from gatebook.reading.playback import Located
from gatebook.reading.selection import Selection, instant


def log(
    call: str | None = typer.Option(None, help="A call's id, or its beginning."),
    session: str | None = typer.Option(None, help="A session's id, or its beginning."),
    person: str | None = typer.Option(
        None, help="Subject, agent or the human behind a job; with * at its end, the beginning."
    ),
    tool: str | None = typer.Option(None, help="Tool, prompt or resource URI."),
    event: str | None = typer.Option(None, help="call.refused, auth.failed, …; call covers all of call.*"),
    reason: str | None = typer.Option(None, help="denied, completed, token_expired, …"),
    finding: str | None = typer.Option(None, help="pan, track, cvv, …, or any: entries in which that was found."),
    since: str | None = typer.Option(None, help="2026-11-22, 2026-11-22T16:30 (UTC), or 15m, 2h, 1d ago."),
    until: str | None = typer.Option(None, help="The same; entries before it."),
    failed: bool = typer.Option(False, "--failed", help="Only what was refused or failed."),
    limit: int = typer.Option(50, min=1, help="At most this many, the newest."),
    as_json: bool = book.AS_JSON,
    desk: str | None = DESK,
    config: Path = book.CONFIG,
    data_dir: Path | None = book.DATA_DIR,
) -> None:
    """Search the log; all conditions given must hold. Entries are sealed about a second after they were written.

    The search itself is recorded before anything is shown. Exit codes: 0 searched (found or not), 2 the log cannot be read or the reading
    not recorded. --json: one entry per line as the log holds it, with its index and leaf hash.
    """
    asked = {
        name: value
        for name, value in {
            "call": call, "session": session, "person": person, "tool": tool, "event": event, "reason": reason,
            "finding": finding, "since": since, "until": until, "failed": "true" if failed else None,
        }.items()
        if value is not None
    }  # fmt: skip
    try:
        api = api_wanted(desk, config, data_dir)
        if api is not None:
            answered = api.log(asked, limit)
            printing.run_reader(lambda: _show(list(answered.entries), answered.more, as_json))
    except PersonError as error:
        printing.give_up(told(error), printing.CANNOT_READ)
    now = datetime.datetime.now(datetime.UTC)
    try:
        selection = Selection(
            call=call,
            session=session,
            person=person,
            tool=tool,
            event=event,
            reason=reason,
            finding=finding,
            since=instant(since, now) if since is not None else None,
            until=instant(until, now) if until is not None else None,
            failed=failed,
        )
        opened = book.open_book(config, data_dir)
        found = opened.newest(selection, limit)
        book.record_reading(opened, book.log_read("log", len(found.entries), asked))
    except book.UNREADABLE as error:
        printing.give_up(book.words(error), printing.CANNOT_READ)
    printing.run_reader(lambda: _show(list(found.entries), found.more, as_json))


def _show(found: list[Located], more: bool, as_json: bool) -> int:
    if as_json:
        printing.print_json_lines(printing.as_json(each) for each in found)
        if more:
            sys.stderr.write(f"gatebook: only the newest {len(found)} are shown; --limit shows more\n")
        return 0
    console = printing.console()
    for each in found:
        _print(each, console)
    if not found:
        console.print("No entry matches.")
    if more:
        console.print(
            Text(f"Only the newest {len(found)} are shown; --limit shows more.", style=printing.DIM), soft_wrap=True
        )
    return 0


def _print(located: Located, console: Console) -> None:
    entry = located.entry
    head = [(printing.moment(entry.t), printing.DIM), (f"  {visible(entry.ev)}  ", ""), _outcome(located)]
    if entry.dlp:
        head.append((f"  {printing.spoken_findings(entry.dlp)}", printing.WARN))
    console.print(Text.assemble(*head), soft_wrap=True)
    what = " ".join(
        visible(word) for word in (entry.res.server or entry.res.kind, entry.res.method, entry.res.name) if word
    )
    lines = [("who", printing.spoken(entry.who)), ("what", what)]
    if entry.pol is not None:
        lines.append(("rule", visible(entry.pol.rule)))
    if entry.x:
        lines.append(("facts", visible(", ".join(f"{name} {value}" for name, value in sorted(entry.x.items())))))
    ids = [f"call {visible(entry.call)}" if entry.call else "", f"session {entry.sess[:12]}" if entry.sess else ""]
    lines.append(("where", "  ".join([*filter(None, ids), f"entry {located.index}"])))
    for name, words in lines:
        console.print(Text.assemble((f"  {name:<6}", printing.DIM), words), soft_wrap=True)
    console.print()


def _outcome(located: Located) -> tuple[str, str]:
    out = located.entry.out
    return visible(out.reason), printing.GOOD if out.ok else printing.BAD
