"""`gatebook import`: the servers of a client's file, taken over."""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer
from pydantic_core import PydanticCustomError
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.probing.known import connect_to
from gatebook.cli.probing.offer import offered
from gatebook.cli.probing.speaking import Broken
from gatebook.cli.server_add import forms_of
from gatebook.cli.visible import visible
from gatebook.config import values
from gatebook.config.pins import written
from gatebook.model.deployment import Deployment, Server
from gatebook.takeover import adding, journal, roles
from gatebook.takeover.clients import ClientName
from gatebook.takeover.importing import Asked, CannotImport, Look, Looked, NotLooked, Plan, Taken, plan
from gatebook.takeover.roles import Holder


def import_clients(
    file: Path = typer.Argument(
        help="The client's file: .mcp.json, claude_desktop_config.json, .vscode/mcp.json, .cursor/mcp.json, mcp_config.json, or a settings.json."
    ),
    client: ClientName | None = typer.Option(
        None, "--client", help="Whose file it is. Default: by its name and content."
    ),
    inputs: list[str] = typer.Option(
        [],
        "--input",
        metavar="ID=REFERENCE",
        help="Where a value lies that VS Code asks for: ID=file:PATH or ID=env:NAME.",
    ),
    issuer: str | None = typer.Option(
        None,
        "--issuer",
        help="With --group: ask each server what it offers, pin that, and write a role for this issuer's or idp's group.",
    ),
    group: str | None = typer.Option(None, "--group", help="Who holds those roles."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be done; change nothing."),
    undo: bool = typer.Option(False, "--undo", help="Take back every import of this file, to the last byte."),
    as_json: bool = book.AS_JSON,
    config: Path = book.CONFIG,
) -> None:
    """Put the servers of a client's file behind the gate: each becomes a [[server]] table, its literal secrets become files of mode 0600, and the client's
    file keeps the gate's URLs (`gatebook connect` for a client that only starts programs).

    gatebook.toml is checked before anything is replaced, and no secret is ever printed. What the files were is kept beside gatebook.toml, under
    imports/. Doing it again changes nothing more. Exit codes: 0 every server is behind the gate, 1 some stay as they are or nothing was written, and
    why, 2 misuse.
    """
    if (issuer is None) != (group is None):
        printing.give_up("--issuer and --group belong together", 2)
    resolved, configured = Path(os.path.realpath(file)), Path(os.path.realpath(config))
    try:
        if undo:
            with journal.alone(configured):
                _say_undone(journal.undo(configured, resolved), as_json)
            return
        asked = Asked(
            file=resolved,
            config=configured,
            client=client,
            inputs=dict(_input(each) for each in inputs),
            variables=dict(os.environ),
            home=Path.home(),
            gatebook=shutil.which("gatebook") or "gatebook",
            look=None if issuer is None or group is None else looker(Holder(issuer=issuer, group=group), configured),
        )
        if dry_run:
            planned, backup = plan(asked), None
        else:
            with journal.alone(configured):
                planned = plan(asked)
                backup = journal.apply(planned.change) if planned.change is not None else None
    except (CannotImport, journal.CannotWrite) as error:
        printing.give_up(str(error), 1)
    if as_json:
        typer.echo(json.dumps(_as_json(planned, backup, dry_run=dry_run), indent=2))
    else:
        _say(planned, file, backup, configured, dry_run=dry_run)
    raise typer.Exit(1 if any(each.state == "stays" for each in planned.taken) else 0)


def looker(holder: Holder, config: Path) -> Look:
    """Asks servers what they offer, for roles that `holder` holds."""

    def look(server: Server, deployment: Deployment, waiting: Mapping[str, bytes]) -> Looked:
        try:
            offer = asyncio.run(offered(connect_to(server, deployment, config, waiting)))
        except Broken as why:
            raise NotLooked(str(why)) from why
        taken = {role.name for role in deployment.roles}
        base = f"{server.name}-users"
        name = next(each for each in (base, *(f"{base}-{number}" for number in range(2, 1000))) if each not in taken)
        guesses = roles.guesses(offer.tools)
        role = roles.role_of_offer(name, server.name, holder, guesses, offer.resources, offer.templates, offer.prompts)
        return Looked(pins=written(adding.pin_file(server.name, forms_of(offer))), role=role, tools=len(offer.tools))

    return look


def _input(text: str) -> tuple[str, str]:
    name, equals, reference = text.partition("=")
    try:
        if not equals or not name or reference.startswith(values.LITERAL):
            raise values.fault("is no input", "write ID=file:PATH or ID=env:NAME")
        return name, values.secret(reference)
    except PydanticCustomError as fault:
        context = fault.context or {}
        printing.give_up(f"--input {context.get('what')}; {context.get('mend')}", 2)


def _as_json(planned: Plan, backup: Path | None, *, dry_run: bool) -> dict[str, Any]:
    return {
        "client": planned.client.name,
        "servers": [msgspec.to_builtins(each) for each in planned.taken],
        "written": planned.change is not None and not dry_run,
        "tables": planned.change.block.decode() if planned.change is not None else "",
        "backup": str(backup) if backup is not None else None,
    }


def _say(planned: Plan, file: Path, backup: Path | None, config: Path, *, dry_run: bool) -> None:
    console = printing.console()
    console.print(Text(visible(f"{file} ({planned.client.title}): {len(planned.taken)} server(s)")), soft_wrap=True)
    for each in planned.taken:
        _say_one(each)
    change = planned.change
    if change is None:
        console.print("Nothing is changed.")
        return
    if dry_run:
        console.print(Text(visible(f"Nothing is changed. This would be added to {config}:")), soft_wrap=True)
        console.print(Text("\n".join(map(visible, change.block.decode().splitlines()))), soft_wrap=True)
        return
    console.print(
        Text(visible(f"Written: {config} and {file}. As they were, secrets included: {backup}.")),
        soft_wrap=True,
    )
    if any(each.moved for each in planned.taken) and _in_repository(change.client):
        words = "The file lies in a git repository: if it was ever committed, its secrets are in the history. Replace them where they were issued."
        console.print(Text(words, style=printing.WARN), soft_wrap=True)
    console.print(
        Text(
            visible(
                f"Undo: gatebook import --undo {file}. Next: {_roles(change.block)}, `gatebook check`, then `gatebook serve`, or SIGHUP where it runs."
            )
        ),
        soft_wrap=True,
    )


def _roles(block: bytes) -> str:
    if b"\n[[role]]" in block:
        return "read each [[role]] that was written"
    return "a [[role]] that grants something (`gatebook server add` writes one)"


def _say_one(each: Taken) -> None:
    words, style = {
        "new": (f"→ {each.url}", printing.GOOD),
        "known": (f"→ {each.url}, which is configured already", printing.GOOD),
        "behind": ("is behind the gate already", printing.DIM),
        "stays": (f"stays as it is: {each.why}", printing.BAD),
    }[each.state]
    console = printing.console()
    console.print(Text.assemble(f"  {visible(each.client_name):<20} ", (visible(words), style)), soft_wrap=True)
    details = [f"{where} moved to {path}" for where, path in each.moved.items()]
    details += [f"needs {reference} when the gate starts" for reference in each.references]
    for line in (*details, *each.notes):
        console.print(Text(f"{'':23}{visible(line)}", style=printing.DIM), soft_wrap=True)


def _say_undone(changed: list[Path], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"undone": [str(path) for path in changed]}, indent=2))
        return
    for path in changed:
        typer.echo(visible(f"{path}: {'as it was' if path.exists() else 'removed'}"))
    typer.echo("Undone. A gate that serves still has the servers until SIGHUP.")


def _in_repository(path: Path) -> bool:
    return any((folder / ".git").exists() for folder in path.parents)
