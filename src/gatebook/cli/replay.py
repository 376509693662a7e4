"""`gatebook replay`: a session again, step by step, in the terminal or as a page."""

import datetime
import os
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from gatebook.cli import book, printing, replay_page
from gatebook.cli.checking import checked
from gatebook.cli.person.api import DESK, Api, api_wanted
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.replay_page import Verification
from gatebook.cli.visible import visible
from gatebook.reading.playback import Body, Playback, Step, play

_TONES = {
    "passed": printing.GOOD,
    "refused": printing.BAD,
    "failed": printing.BAD,
    "open": printing.WARN,
    "note": printing.DIM,
}


def replay(
    session: str = typer.Argument(
        help="The session's id (see `gatebook sessions`), or any beginning that only it has."
    ),
    html: Path | None = typer.Option(None, "--html", help="Write one self-contained HTML page there instead."),
    every: bool = typer.Option(
        False, "--all", help="In the terminal: the bodies of lists, greetings and notifications, too."
    ),
    payload_key: Path | None = book.PAYLOAD_KEY,
    key: str | None = typer.Option(
        None,
        "--key",
        help="For --html: the log's verifier key, or a file that holds it. Default: log.vkey in the data directory.",
    ),
    as_json: bool = book.AS_JSON,
    desk: str | None = DESK,
    config: Path = book.CONFIG,
    data_dir: Path | None = book.DATA_DIR,
) -> None:
    """Replay a session: every step with its decision, and the masked bodies as they were recorded. Says what could not be captured, and what was put
    into the recording afterwards.

    The reading itself is recorded before anything is shown. Exit codes: 0 replayed, 1 no such session (or several begin so), 2 the log
    cannot be read or the reading not recorded. --json: one document.
    """
    to = "page" if html else "json" if as_json else "terminal"
    try:
        api = api_wanted(desk, config, data_dir)
        if api is not None and html is not None:
            printing.give_up(
                "a page is made on the host, where the log's files are: it is verified as it is written", 2
            )
        found = _from_files(session, to, payload_key, config, data_dir) if api is None else _from_desk(api, session, to)
    except PersonError as error:
        printing.give_up(told(error), printing.CANNOT_READ)
    except book.UNREADABLE as error:
        printing.give_up(book.words(error), printing.CANNOT_READ)
    if found is None:
        printing.give_up(
            f"no single session in the log has an id that begins with {visible(session)}", printing.NOT_FOUND
        )
    opened, playback = found
    if html is not None and opened is not None:
        _write_page(html, playback, checked(opened, key))
    elif as_json:
        printing.print_json_lines([_as_json(playback)])
    else:
        printing.run_reader(lambda: _show(playback, every))


def _from_files(
    session: str, to: str, payload_key: Path | None, config: Path, data_dir: Path | None
) -> tuple[book.Book | None, Playback] | None:
    opened = book.open_book(config, data_dir)
    name = opened.session_named(session)
    opener, locked = book.recordings(opened, payload_key)
    playback = play(name, opened.about(session=name), opener) if name is not None else None
    steps = len(playback.steps) if playback else 0
    book.record_reading(opened, book.recording_read(name or session, steps, {"to": to}))
    return None if playback is None else (opened, _saying(locked, playback))


def _from_desk(api: Api, session: str, to: str) -> tuple[book.Book | None, Playback] | None:
    replayed = api.recording(session, to)
    return None if replayed is None else (None, _saying(replayed.locked, replayed.playback))


def _saying(locked: str | None, playback: Playback) -> Playback:
    return playback if locked is None else msgspec.structs.replace(playback, gaps=(locked, *playback.gaps))


def _write_page(path: Path, playback: Playback, verification: Verification) -> None:
    made_at = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    document = replay_page.page(playback, verification, made_at=made_at)
    try:
        # A recording, masked as it is, is for those who may read it: no one else on this machine.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(document)
    except OSError as error:
        printing.give_up(f"{path} cannot be written: {error.strerror}", printing.CANNOT_READ)
    printing.console().print(Text(f"Written: {path} ({len(document.encode()) // 1024} KiB)"), soft_wrap=True)


def _show(playback: Playback, every: bool) -> int:
    console = printing.console()
    _print_head(playback, console)
    for step in playback.steps:
        _print_step(step, console, with_bodies=every or not step.quiet)
    for heading, sentences in replay_page.to_be_told(playback):
        console.print(Text(heading, style=printing.WARN), soft_wrap=True)
        for sentence in sentences:
            console.print(Text(f"  · {visible(sentence)}"), soft_wrap=True)
    return 0


def _print_head(playback: Playback, console: Console) -> None:
    facts = [
        ("session", playback.session + ("" if playback.closed else " (still open)")),
        ("who", printing.spoken(playback.who)),
        ("issuer", visible(playback.who.iss)),
        ("server", visible(playback.server)),
        ("from", visible(" ".join(filter(None, (playback.origin.ip, playback.origin.client))))),
        ("when", f"{printing.moment(playback.opened)} to {printing.moment(playback.closed or playback.last)} UTC"),
        ("counts", f"{playback.calls} calls, {playback.refusals} refused, {sum(playback.findings.values())} findings"),
    ]
    for name, words in facts:
        console.print(Text.assemble((f"{name:<9}", printing.DIM), words), soft_wrap=True)
    console.print()


def _print_step(step: Step, console: Console, *, with_bodies: bool) -> None:
    told = step.reason if step.tone != "note" else ""
    line = [
        (f"+{step.offset_s:>8.3f} s  ", printing.DIM),
        (visible(step.method), printing.DIM if step.tone == "note" else ""),
        (f" {visible(step.name)}" if step.name else "", printing.BOLD),
        (f"  {visible(told)}" if told else "", _TONES[step.tone]),
        (f"  {printing.spoken_findings(step.findings)}" if step.findings else "", printing.WARN),
        (f"  {step.took_s * 1000:.0f} ms" if step.took_s is not None else "", printing.DIM),
    ]
    console.print(Text.assemble(*line), soft_wrap=True)
    if not with_bodies:
        return
    ids = [f"rule {step.rule}" if step.rule else "", f"call {step.call}" if step.call else ""]
    console.print(Text(f"             {visible(' · '.join(filter(None, ids)))}", style=printing.DIM), soft_wrap=True)
    for body in step.bodies:
        _print_body(body, console)
    console.print()


def _print_body(body: Body, console: Console) -> None:
    console.print(Text(f"    {body.part}", style=printing.DIM), soft_wrap=True)
    if body.text is None:
        console.print(Text(f"      {body.missing}", style=printing.WARN), soft_wrap=True)
        return
    for line in body.text.split("\n"):
        text = Text("      ")
        for piece, marked in replay_page.marked(line):
            text.append(visible(piece), style=printing.WARN if marked else "")
        console.print(text, soft_wrap=True)


def _as_json(playback: Playback) -> dict[str, Any]:
    told = msgspec.to_builtins(playback)
    for step, shown in zip(playback.steps, told["steps"], strict=True):
        shown["places"] = [printing.as_json(place) for place in step.places]
    return {**told, "calls": playback.calls, "refusals": playback.refusals}
