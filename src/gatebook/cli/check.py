"""`gatebook check`."""

import json
from pathlib import Path

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from gatebook.adapters.clock_system import SystemClock
from gatebook.adapters.secrets import FileOrEnvironment
from gatebook.cli.database import database_fault
from gatebook.cli.printing import print_table
from gatebook.cli.visible import visible
from gatebook.config import Problem, examine
from gatebook.config.check import problems
from gatebook.config.checking.probe import Probe
from gatebook.model.deployment import Deployment
from gatebook.model.users import Users
from gatebook.serve.needs import unreached_by_rooms
from gatebook.serve.reaching import may_change_users
from gatebook.serve.runner.examining import command_problems

_COLOURS = {"error": "red", "warning": "yellow"}


def check(
    config: Path = typer.Option(Path("gatebook.toml"), "--config", "-c", help="The configuration file."),
    as_json: bool = typer.Option(False, "--json", help="Print the problems as JSON."),
    offline: bool = typer.Option(False, "--offline", help="Connect to no server and no issuer."),
) -> None:
    """Tell every problem of configuration, keys, clock, disk, certificate, secrets and servers at once. Changes nothing.

    Run it as the deployment's own user: it looks with that user's rights. As root where `[users]` gives each room its own: then it asks as
    each of them.

    Exit codes: 0 no error (there may be warnings), 1 at least one error."""
    found = problems(examine(config), probe_for(config, offline=offline))
    if as_json:
        typer.echo(json.dumps([msgspec.to_builtins(problem) for problem in found], indent=2, ensure_ascii=True))
    else:
        _print(found)
    if any(problem.severity == "error" for problem in found):
        raise typer.Exit(1)


def probe_for(config: Path, *, offline: bool) -> Probe:
    """What this process can look at: as each room where it may be their users, with a sandbox made once."""
    return Probe(
        clock=SystemClock(),
        credentials=FileOrEnvironment(),
        offline=offline,
        database=database_fault,
        rooms=_unreached if may_change_users() else None,
        commands=lambda deployment: command_problems(deployment, config.absolute()),
    )


def _unreached(deployment: Deployment, users: Users, config: Path) -> list[str]:
    return [str(each) for each in unreached_by_rooms(deployment, users, config)]


def _print(found: list[Problem]) -> None:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in ("", "where", "what", "how to mend it"):
        table.add_column(title, overflow="fold")
    for problem in sorted(found, key=lambda problem: problem.severity):
        words = (Text(visible(text)) for text in (problem.where, problem.what, problem.mend))
        table.add_row(Text(problem.severity, style=_COLOURS[problem.severity]), *words)
    if found:
        print_table(table)
    errors = sum(problem.severity == "error" for problem in found)
    typer.echo(f"{errors} error(s), {len(found) - errors} warning(s)")
