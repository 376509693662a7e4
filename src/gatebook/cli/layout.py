"""`gatebook layout`."""

import os
from pathlib import Path

import typer

from gatebook.cli.printing import give_up
from gatebook.cli.visible import visible
from gatebook.config import load
from gatebook.model.errors import ConfigurationError
from gatebook.serve.layout import lay_out
from gatebook.serve.needs import unreached_by_rooms


def layout(
    config: Path = typer.Option(Path("gatebook.toml"), "--config", "-c", help="The configuration file."),
) -> None:
    """Give every folder and key under data_dir to the user of its room, as `[users]` says; make what is missing. To be typed by root.

    Does nothing where all is as it should be; moves and overwrites nothing. The unit of `gatebook units` does it before each start.

    Exit codes: 0 every room can reach what it needs, 1 one cannot, and why."""
    try:
        deployment = load(config).deployment
        if (users := deployment.users) is None:
            give_up(f"{config} has no [users]: all rooms run as one user, and data_dir is that user's", 1)
        if os.geteuid() != 0:
            give_up("only root can give files to others: run it as root", 1)
        for words in lay_out(deployment, users):
            typer.echo(visible(words))
    except ConfigurationError as refused:
        give_up("\n".join(refused.problems), 1)
    closed = unreached_by_rooms(deployment, users, config.absolute())
    for each in closed:
        typer.echo(visible(str(each)), err=True)
    if closed:
        raise typer.Exit(1)
    typer.echo(visible(f"{deployment.data_dir}: every room has what it needs, under a user of its own"))
