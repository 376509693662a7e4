"""`gatebook scan-secrets`: credentials of MCP servers that were left behind."""

import json
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import typer
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.visible import visible
from gatebook.takeover.scanning import Scanned, scan

EVERY_S: Final = 1.0


def scan_secrets(
    directory: Path = typer.Argument(Path(), help="A folder, searched with all below it, or one file."),
    as_json: bool = book.AS_JSON,
) -> None:
    """Find credentials of MCP servers left in client files, dotenv files, scripts and sources. Says where and what kind, never what.

    Links are not followed; what was ever committed is in a repository's history, which is not searched. Exit codes: 0 nothing found, 1 something found,
    2 it could not be searched whole, and why.
    """
    shown_at = time.monotonic()

    def progress(scanned: Scanned) -> None:
        nonlocal shown_at
        if sys.stderr.isatty() and time.monotonic() - shown_at >= EVERY_S:
            shown_at = time.monotonic()
            sys.stderr.write(f"\r{scanned.files} files, {len(scanned.found)} found")
            sys.stderr.flush()

    try:
        scanned = scan(directory, progress)
    except OSError as failure:
        printing.give_up(f"{directory} cannot be searched: {failure.strerror}", 2)
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(scanned), indent=2))
    else:
        _say(scanned)
    incomplete = scanned.cut or bool(scanned.unread)
    raise typer.Exit(1 if scanned.found else 2 if incomplete else 0)


def _say(scanned: Scanned) -> None:
    console = printing.console()
    for each in scanned.found:
        where = f"{each.path}:{each.line}"
        words = Text.assemble(
            visible(where),
            f" {visible(each.pointer)}" if each.pointer else "",
            (f"  {visible(each.kind)}", printing.BAD),
        )
        console.print(words, soft_wrap=True)
    for path, why in scanned.unread:
        console.print(Text(visible(f"{path}: not searched: {why}"), style=printing.WARN), soft_wrap=True)
    if scanned.cut:
        console.print(Text("There is more than is searched at once: name a smaller folder.", style=printing.WARN))
    console.print(f"{len(scanned.found)} credential(s) in {scanned.files} file(s)")
    if scanned.found:
        console.print(
            "Replace each where it was issued; `gatebook import` moves those of a client's file behind the gate.",
            soft_wrap=True,
        )
