"""`gatebook sessions`: who was connected, and what became of it."""

from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.person.api import DESK, api_wanted
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.visible import visible
from gatebook.reading.sessions import Line, last_seen

SHORT = 12
"""Digits of a session's id in the table: enough for `replay`, which takes any beginning that only one session has."""


def sessions(
    limit: int = typer.Option(50, min=1, help="At most this many, those last seen."),
    as_json: bool = book.AS_JSON,
    desk: str | None = DESK,
    config: Path = book.CONFIG,
    data_dir: Path | None = book.DATA_DIR,
) -> None:
    """List sessions: the calls of one caller with one agent on one server under one login, until idle.

    The reading itself is recorded before anything is shown. Exit codes: 0 listed, 2 the log cannot be read or the reading not recorded.
    --json: one session per line.
    """
    try:
        api = api_wanted(desk, config, data_dir)
        if api is not None:
            answered = api.sessions(limit)
            printing.run_reader(lambda: _show(answered, as_json))
    except PersonError as error:
        printing.give_up(told(error), printing.CANNOT_READ)
    try:
        opened = book.open_book(config, data_dir)
        found = last_seen(opened, limit)
        book.record_reading(opened, book.log_read("sessions", len(found), {}))
    except book.UNREADABLE as error:
        printing.give_up(book.words(error), printing.CANNOT_READ)
    printing.run_reader(lambda: _show(found, as_json))


def _show(found: list[Line], as_json: bool) -> int:
    if as_json:
        values: list[dict[str, Any]] = [msgspec.to_builtins(line) for line in found]
        printing.print_json_lines(values)
        return 0
    console = printing.console()
    if not found:
        console.print("No session yet.")
        return 0
    printing.print_table(_table(found))
    console.print(
        Text("gatebook replay SESSION shows one; any unique beginning of its id will do.", style=printing.DIM)
    )
    return 0


def _who(line: Line) -> str:
    server = f" on {visible(line.server)}" if line.server else ""
    return f"{printing.spoken(line.who)}{server}{'' if line.closed else ', open'}"


def _table(found: list[Line]) -> Table:
    table = Table(box=None, pad_edge=False, header_style=printing.DIM)
    table.add_column("session", no_wrap=True)
    table.add_column("last seen", no_wrap=True)
    table.add_column("who", overflow="fold", ratio=1)
    for name in ("calls", "refused", "found"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in found:
        table.add_row(
            Text(line.session[:SHORT]),
            Text(printing.moment(line.last)[5:16]),
            Text(_who(line)),
            Text(str(line.calls)),
            Text(str(line.refused), style=printing.BAD if line.refused else ""),
            Text(str(line.findings), style=printing.WARN if line.findings else ""),
        )
    return table
