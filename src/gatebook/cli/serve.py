"""`gatebook serve`."""

import os
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from gatebook import wiring
from gatebook.cli.visible import visible
from gatebook.config.rolled_back import rolled_back
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError
from gatebook.speed import speed_up

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def serve(
    config: Path = typer.Option(Path("gatebook.toml"), "--config", "-c", help="The configuration file."),
) -> None:
    """Start the gate: workers, sealer and desk, watched by this process until SIGTERM or Ctrl-C. SIGHUP reloads the configuration.

    Exit codes: 0 stopped as told, 1 the configuration or the machine does not allow a start (every problem is printed).
    """
    try:
        wiring.serve(config, _say_banner)
    except ConfigurationError as refused:
        for problem in refused.problems:
            # Words of rooms and names of files are in it.
            _console.print(Text.assemble(("error", "red"), " ", "\n".join(map(visible, problem.splitlines()))))
        raise typer.Exit(1) from refused


def _say_banner(deployment: Deployment, made: tuple[str, ...]) -> None:
    for words in made:
        _console.print(Text(words, style="yellow"))
    if deployment.profile == "dev":
        _console.print(
            "[bold yellow]DEV PROFILE: http and loopback issuers are accepted; every entry says so. Not for cardholder data.[/]"
        )
    _console.print(
        f"Gatebook serves {deployment.public_url} on {', '.join(deployment.listen)} with {deployment.workers} worker(s)."
    )
    for server in deployment.servers:
        _console.print(f"  {server.name}: {server.resource}")
    if deployment.desk is not None:
        _console.print(f"People log in at {deployment.desk.public_url} on {', '.join(deployment.desk.listen)}.")
        for idp in deployment.idps:
            path = f"oidc/{idp.name}/callback" if idp.saml is None else f"saml/{idp.name}/metadata"
            _console.print(f"  {idp.name}: register {deployment.desk.public_url}/login/{path} there")
    _console.print(
        f"The book is {deployment.data_dir}/log, origin {deployment.origin}. UNANCHORED: nobody else holds a checkpoint of it yet."
    )
    _console.print(f"Records are composed {speed_up().words}.")
    # A supervisor that is no root may not read what the rooms' users have.
    for problem in rolled_back(deployment, None) if deployment.users is None or os.geteuid() == 0 else ():
        _console.print(Text(problem.what, style="bold yellow"))
    _console.print(_users_in_words(deployment))


def _users_in_words(deployment: Deployment) -> str:
    if (users := deployment.users) is None:
        return "All rooms run under one user: a flaw in one can reach the others' files (docs/threat-model.md)."
    rooms = ", ".join(f"{room} is {account.name}" for room, account in users.rooms().items())
    return f"Each room has a user of its own: {rooms}."
