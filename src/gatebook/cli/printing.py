"""How the commands print: a reader's console, values from the log always as text, never as markup."""

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatebook.cli.visible import visible
from gatebook.model.record import Who
from gatebook.reading.playback import Located

CANNOT_READ = 2
NOT_FOUND = 1
UNWRAPPED: Final = 100_000
"""Columns of what is no terminal: whoever reads a pipe, a file or the journal searches it by lines."""

DIM, BOLD, GOOD, BAD, WARN = "dim", "bold", "green", "bold red", "yellow"


def console() -> Console:
    """Standard output: where it is no terminal, no line is wrapped and nothing coloured."""
    return _console(stderr=False)


def errors() -> Console:
    """Standard error, likewise."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = UNWRAPPED
    return made


def print_table(table: Table) -> None:
    """On standard output: folded to the width of a terminal, elsewhere each row in one line, with no blanks at its end."""
    shown = console()
    with shown.capture() as captured:
        shown.print(table)
    for line in captured.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")


def give_up(words: str, status: int) -> NoReturn:
    """Say why on standard error and end with `status`."""
    errors().print(Text(f"gatebook: {words}", style="red"), soft_wrap=True)
    raise typer.Exit(status)


def print_json_lines(values: Iterable[dict[str, Any]]) -> None:
    """One JSON document per line, ASCII: a terminal finds nothing in it to act on."""
    for value in values:
        sys.stdout.write(json.dumps(value) + "\n")


def as_json(located: Located) -> dict[str, Any]:
    """An entry as it stands in the log, with `index` and `leaf` (its hash, hex)."""
    return {"index": located.index, "leaf": located.leaf, **msgspec.to_builtins(located.entry)}


def spoken(who: Who) -> str:
    """Who, in one phrase: `person alice with claude-code`, `job repo:… for 58412`, `operator os:root (declared)`."""
    words = [who.kind, who.sub]
    if who.acting_for is not None:
        words += ["for", who.acting_for]
    if who.agent is not None:
        words += ["with", who.agent]
    if who.declared:
        words.append("(declared)")
    return visible(" ".join(words))


def spoken_findings(findings: dict[str, int]) -> str:
    """`2 × PAN masked, 1 × cvv removed`."""
    return ", ".join(f"{count} × {spoken_finding(name)}" for name, count in sorted(findings.items()))


def spoken_finding(name: str) -> str:
    """`pan:masked` as `PAN masked`."""
    detector, _, action = name.partition(":")
    return visible(f"{detector.upper() if len(detector) == 3 else detector} {action}".strip())


def moment(stamp: str) -> str:
    """An entry's time for people: to the millisecond."""
    return f"{stamp[:10]} {stamp[11:23]}"


def run_reader(work: Callable[[], int]) -> NoReturn:
    """Run a reading command's work and end with its status; a reader's `| head` that closes the pipe is no error."""
    try:
        status = work()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        status = 0
    raise typer.Exit(status)
