"""`gatebook server pins`: what changed in a server's tools since somebody looked at them, and to accept it."""

import asyncio
import difflib
import json
import os
from pathlib import Path
from typing import Literal

import msgspec
import typer
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.probing.known import connect_to
from gatebook.cli.probing.offer import offered
from gatebook.cli.probing.speaking import Broken
from gatebook.cli.server_add import forms_of
from gatebook.cli.visible import visible
from gatebook.config import examine
from gatebook.config.pins import NoPins, PinFile, PinnedForm, read_pins
from gatebook.takeover import adding, journal

Forms = dict[str, tuple[PinnedForm, ...]]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One tool that is not as it was pinned. `diff`: lines, made visible."""

    tool: str
    state: Literal["changed", "new", "gone"]
    pinned: tuple[str, ...] = ()
    now: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()


def pins(
    name: str = typer.Argument(help="The [[server]]'s name."),
    accept: list[str] = typer.Option(
        [], "--accept", metavar="TOOL", help="Pin this tool as it is now, or forget it where it is gone."
    ),
    as_json: bool = book.AS_JSON,
    config: Path = book.CONFIG,
) -> None:
    """Ask the server for its tools and show each that is not as it was pinned, line by line, characters that nobody sees made visible.

    Accepting takes effect at the next SIGHUP or start. Exit codes: 0 all are as they were pinned (or were accepted), 1 some are not, 2 misuse, or the
    server cannot be asked.
    """
    configured = Path(os.path.realpath(config))
    deployment = examine(configured).deployment
    server = next((each for each in deployment.servers if each.name == name), None) if deployment is not None else None
    if server is None or deployment is None:
        printing.give_up(f"{config} has no server {name}, or is wrong: `gatebook check` says more", 2)
    if server.pins_file is None:
        printing.give_up(f"server {name} has no pins: `gatebook server add {name}` makes them", 2)
    path = Path(server.pins_file)
    try:
        known = read_pins(path)
        now = forms_of(asyncio.run(offered(connect_to(server, deployment, configured))))
        changes = changes_between(known.tools, now)
        if unknown := set(accept) - {each.tool for each in changes}:
            printing.give_up(f"nothing to accept: {', '.join(sorted(map(visible, unknown)))} did not change", 2)
        if accept:
            adding.write_pins(path, _accepted(known, now, accept))
    except NoPins as why:
        printing.give_up(f"{path} {why}", 2)
    except (Broken, journal.CannotWrite) as why:
        printing.give_up(f"{name}: {why}", 2)
    except OSError as failure:
        printing.give_up(f"{path} cannot be written: {failure.strerror}", 2)
    left = [each for each in changes if each.tool not in accept]
    if as_json:
        typer.echo(json.dumps([msgspec.to_builtins(each) for each in changes], indent=2))
    else:
        _say(changes, accept)
    raise typer.Exit(1 if left else 0)


def changes_between(pinned: Forms, now: Forms) -> list[Change]:
    """Every tool whose definition is not as it was pinned, in some revision; by name."""
    found = []
    for tool in sorted(pinned.keys() | now.keys()):
        old, new = pinned.get(tool, ()), now.get(tool, ())
        known = {form.sha256 for form in old}
        if new and all(form.sha256 in known for form in new):
            continue
        found.append(
            Change(
                tool=tool,
                state="new" if not old else "changed" if new else "gone",
                pinned=tuple(form.sha256 for form in old),
                now=tuple(form.sha256 for form in new),
                diff=tuple(_diff(old, new)),
            )
        )
    return found


def _diff(old: tuple[PinnedForm, ...], new: tuple[PinnedForm, ...]) -> list[str]:
    """Between the newest forms that differ."""
    before = _lines(old[0]) if old else []
    known = {form.sha256 for form in old}
    after = next((_lines(form) for form in new if form.sha256 not in known), [])
    return list(difflib.unified_diff(before, after, "pinned", "now", n=2, lineterm=""))


def _lines(form: PinnedForm) -> list[str]:
    # ASCII: an invisible character in a description is an escape here, and seen.
    return json.dumps(form.definition, indent=2, sort_keys=True).splitlines()


def _accepted(known: PinFile, now: Forms, accept: list[str]) -> PinFile:
    tools = {tool: forms for tool, forms in known.tools.items() if tool not in accept}
    tools |= {tool: now[tool] for tool in accept if tool in now}
    return msgspec.structs.replace(known, tools=dict(sorted(tools.items())))


def _say(changes: list[Change], accept: list[str]) -> None:
    console = printing.console()
    for each in changes:
        done = "accepted" if each.tool in accept else each.state
        style = printing.GOOD if each.tool in accept else printing.BAD
        console.print(Text.assemble((f"{done:<9}", style), visible(each.tool)), soft_wrap=True)
        for line in each.diff:
            colour = {"+": printing.GOOD, "-": printing.BAD}.get(line[:1], printing.DIM)
            console.print(Text(f"    {visible(line)}", style=colour), soft_wrap=True)
    if not changes:
        console.print("Every tool is as it was pinned.")
    elif accept:
        console.print("Pinned anew; in force at SIGHUP or the next start.")
