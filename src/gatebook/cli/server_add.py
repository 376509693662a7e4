"""`gatebook server add`: a server is asked what it offers, pinned as it is, and given a role to edit."""

import asyncio
import json
import os
import re
from pathlib import Path, PurePath
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import typer
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.probing.known import connect_to
from gatebook.cli.probing.offer import Offer, offered
from gatebook.cli.probing.speaking import Broken
from gatebook.cli.visible import visible
from gatebook.config import examine, examine_bytes
from gatebook.config.pins import PinnedForm
from gatebook.model.deployment import Deployment, Server
from gatebook.takeover import adding, journal, roles
from gatebook.takeover.proposing import server_name
from gatebook.takeover.roles import Guess, Holder
from gatebook.takeover.toml_text import array, comment, inline, key, quoted

ROLE: Final = typer.Option(None, "--role", help="What the role is called. Default: NAME-users.")
ISSUER: Final = typer.Option(None, "--issuer", help="Who holds the role: the issuer or idp of the group.")
GROUP: Final = typer.Option(None, "--group", help="Who holds the role: the group. Default: nobody, until you say.")


def add(
    target: list[str] = typer.Argument(
        metavar="URL|COMMAND...|NAME",
        help="A URL, a command with its arguments, or the name of a [[server]] that is there.",
    ),
    name: str | None = typer.Option(None, "--name", help="What Gatebook calls it. Default: from its host or program."),
    secret: str | None = typer.Option(
        None, "--secret", help="Where the credential of a URL lies: file:PATH or env:NAME."
    ),
    header: str = typer.Option("Authorization", "--header", help="The header that carries it."),
    value: str = typer.Option("Bearer {secret}", "--value", help="The header's value."),
    environment: list[str] = typer.Option([], "--env", metavar="NAME=VALUE", help="A variable of a command, in clear."),
    secrets: list[str] = typer.Option(
        [],
        "--secret-env",
        metavar="NAME=REFERENCE",
        help="A variable of a command that holds a secret: NAME=file:PATH or NAME=env:NAME.",
    ),
    network: bool = typer.Option(False, "--network", help="Let a command use the network."),
    role: str | None = ROLE,
    issuer: str | None = ISSUER,
    group: str | None = GROUP,
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Ask the server and show what would be written; change nothing."
    ),
    as_json: bool = book.AS_JSON,
    config: Path = book.CONFIG,
) -> None:
    """Ask a server what it offers, in every revision of MCP that it speaks, and write its [[server]] table, its pins, and a [[role]] that grants what
    seems only to read; all else stands in the role as a comment, by what it is guessed to do: write, destructive, money.

    Options stand before the URL or command. A command is started once for each revision, as you and in the sandbox that it will have; no tool is called.
    What is pinned now is what the gate lets through from now on. Exit codes: 0 written, 1 not, and why, 2 misuse.
    """
    if (issuer is None) != (group is None):
        printing.give_up("--issuer and --group belong together", 2)
    holder = Holder(issuer=issuer, group=group) if issuer is not None and group is not None else None
    path = Path(os.path.realpath(config))
    try:
        before = path.read_bytes()
        deployment = examine(path).deployment
        if deployment is None:
            raise journal.CannotWrite(f"{path} is wrong: `gatebook check` says more")
        there = _there(deployment, target)
        chosen = there.name if there is not None else _free(deployment, name or _name_of(target))
        table = ""
        if there is None:
            lines = _command_table(target, environment, secrets, network=network)
            if _is_url(target):
                lines = _url_table(target[0], secret, header, value)
            table = _table(chosen, lines)
        whole, server = (deployment, there) if there is not None else _with(path, before, table, chosen)
        offer = asyncio.run(offered(connect_to(server, whole, path)))
        guesses = roles.guesses(offer.tools)
        role_name = role or f"{chosen}-users"
        if any(each.name == role_name for each in deployment.roles):
            raise journal.CannotWrite(
                f"there is a [[role]] {role_name} already: give this one another name with --role"
            )
        addition = adding.Addition(
            config=path,
            before=before,
            server=chosen,
            table=table,
            role=roles.role_of_offer(
                role_name, chosen, holder, guesses, offer.resources, offer.templates, offer.prompts
            ),
            pins=None if server.pins is not None and there is not None else adding.pin_file(chosen, forms_of(offer)),
        )
        if dry_run:
            adding.text_of(addition)
        else:
            with journal.alone(path):
                adding.write(addition)
    except OSError as failure:
        printing.give_up(f"{failure.filename or path} cannot be read: {failure.strerror}; `gatebook init` makes one", 1)
    except Broken as failure:
        printing.give_up(f"nothing is written: {visible(' '.join(target[:1]))}: {failure}", 1)
    except journal.CannotWrite as failure:
        printing.give_up(str(failure), 1)
    if as_json:
        typer.echo(json.dumps(_as_json(chosen, offer, guesses, addition, written=not dry_run), indent=2))
        return
    _say(chosen, offer, guesses, addition, dry_run=dry_run)


def forms_of(offer: Offer) -> dict[str, tuple[PinnedForm, ...]]:
    """Every form that the server gave, as pins."""
    return {
        tool: tuple(
            PinnedForm(sha256=form.sha256, revisions=form.revisions, definition=form.definition) for form in forms
        )
        for tool, forms in offer.forms.items()
    }


def _there(deployment: Deployment, target: list[str]) -> Server | None:
    return next((each for each in deployment.servers if [each.name] == target), None)


def _is_url(target: list[str]) -> bool:
    return len(target) == 1 and re.match(r"(?:https?://|unix:/)", target[0]) is not None


def _name_of(target: list[str]) -> str:
    """From the host (`mcp.linear.app`: linear), or from the program or the package that it runs."""
    if _is_url(target):
        labels = [
            label for label in (urlsplit(target[0]).hostname or "").split(".") if label not in ("mcp", "www", "api")
        ]
        return server_name(labels[0] if labels and not labels[0].isdigit() else "server")
    words = [word for word in target if not word.startswith("-")]
    launcher = PurePath(words[0]).name in ("npx", "uvx", "bunx", "pipx", "python", "python3", "node", "uv")
    base = words[1] if launcher and len(words) > 1 else words[0]
    stem = PurePath(base.rpartition("@")[0] or base).name if base[:1] != "@" else base.split("/")[-1].partition("@")[0]
    return server_name(re.sub(r"^(?:mcp-)?server-|-?mcp(?:-server)?$|\.(?:py|js)$", "", stem) or stem)


def _free(deployment: Deployment, name: str) -> str:
    taken = {server.name for server in deployment.servers}
    return next(each for each in (name, *(f"{name}-{number}" for number in range(2, 1000))) if each not in taken)


def _table(name: str, lines: list[str]) -> str:
    pins = f"pins = {quoted(f'{journal.PINS}/{name}.json')}\n"
    head = comment("By `gatebook server add`. Its tools are pinned: one that changes is left out until you accept it.")
    return "".join(["\n", head, "[[server]]\n", f"name = {quoted(name)}\n", lines[0], pins, *lines[1:]])


def _url_table(url: str, secret: str | None, header: str, value: str) -> list[str]:
    lines = [f"url = {quoted(url)}\n"]
    if secret is not None:
        lines.append(f"credential = {inline({'header': header, 'value': value, 'secret': secret})}\n")
    return lines


def _command_table(target: list[str], environment: list[str], secrets: list[str], *, network: bool) -> list[str]:
    program = target[0] if "/" not in target[0] else os.path.abspath(target[0])  # noqa: PTH100  (a link is what was meant)
    lines = [f"command = {array([program, *target[1:]])}\n", "\n[server.run]\n"]
    if any(not word.startswith("-") and "/" not in word[:1] and Path(word).exists() for word in target[1:]):
        lines.append(f"directory = {quoted(str(Path.cwd()))}\n")
    for label, pairs in (("environment", environment), ("secrets", secrets)):
        if pairs:
            lines.append(f"{label} = {{ {', '.join(f'{key(n)} = {quoted(v)}' for n, v in map(_pair, pairs))} }}\n")
    lines.append(f"{'' if network else '#'}network = true\n")
    return lines


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        printing.give_up("--env and --secret-env are NAME=VALUE", 2)
    return name, value


def _with(path: Path, before: bytes, table: str, name: str) -> tuple[Deployment, Server]:
    """The new server, and the deployment with it. Raises CannotWrite where it would be wrong."""
    text = before + (b"" if before.endswith(b"\n") or not before else b"\n") + table.encode()
    known = {each.what for each in examine_bytes(before, path).problems}
    examined = examine_bytes(text, path)
    found = [
        str(p) for p in examined.problems if p.severity == "error" and p.what not in known and "pins" not in p.where
    ]
    if found or examined.deployment is None:
        raise journal.CannotWrite("it is not added, because: " + "; ".join(found))
    return examined.deployment, next(each for each in examined.deployment.servers if each.name == name)


def _as_json(
    name: str, offer: Offer, guesses: tuple[Guess, ...], addition: adding.Addition, *, written: bool
) -> dict[str, Any]:
    return {
        "server": name,
        "says": {"name": offer.name, "version": offer.version},
        "revisions": list(offer.revisions),
        "tools": [msgspec.to_builtins(each) for each in guesses],
        "resources": list(offer.resources),
        "templates": list(offer.templates),
        "prompts": list(offer.prompts),
        "pins": str(adding.pins_path(addition.config, name)),
        "table": addition.table,
        "role": addition.role,
        "written": written,
    }


def _say(name: str, offer: Offer, guesses: tuple[Guess, ...], addition: adding.Addition, *, dry_run: bool) -> None:
    console = printing.console()
    counts = f"{len(offer.tools)} tools, {len(offer.resources)} resources, {len(offer.templates)} templates, {len(offer.prompts)} prompts"
    head = f"{name}: {offer.name} {offer.version}, speaks {', '.join(offer.revisions)}; {counts}"
    console.print(Text(visible(head)), soft_wrap=True)
    style = {"read": printing.GOOD, "write": printing.WARN, "destructive": printing.BAD, "money": printing.BAD}
    for guess in guesses:
        words = Text.assemble(
            (f"  {guess.tier + '?':<13}", style[guess.tier]),
            f"{visible(guess.tool):<32} ",
            (f"by {guess.source}", printing.DIM),
        )
        console.print(words, soft_wrap=True)
    if dry_run:
        console.print(Text("Nothing is changed. This would be added:"), soft_wrap=True)
        console.print(Text("\n".join(map(visible, f"{addition.table}{addition.role}".splitlines()))), soft_wrap=True)
        return
    pins = adding.pins_path(addition.config, name)
    said = f"Written: {addition.config}, and {pins} with the definitions as they are now. Read the role: what it grants is a guess. Then `gatebook check`, SIGHUP."
    if addition.pins is None:
        said = f"Written: {addition.config}. Its pins stay as they were: `gatebook server pins {name}` shows what changed. Read the role: what it grants is a guess."
    console.print(Text(visible(said)), soft_wrap=True)
