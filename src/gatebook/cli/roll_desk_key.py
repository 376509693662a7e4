"""`gatebook roll-desk-key`."""

import time
from pathlib import Path

import typer

from gatebook.cli import book
from gatebook.config.load import load
from gatebook.durable import replace_file
from gatebook.federation import minting
from gatebook.federation.minting import Minter
from gatebook.model.deployment import Desk
from gatebook.model.errors import ConfigurationError
from gatebook.serve.keys import publish, published

CONFIG = typer.Option(Path("gatebook.toml"), "--config", "-c", help="The configuration file.")
NOW = typer.Option(False, "--now", help="The old key was stolen: every token that it signed ends at once.")
LOOKS, LOOK_S = 3, 1.5


def roll_desk_key(config: Path = CONFIG, now: bool = NOW) -> None:
    """Give the desk another key that signs access tokens. A desk that serves takes it by itself: the new key verifies at once and signs after 15
    seconds; what the old one signed is good until it expires. Nobody logs in again. Without a desk that serves, the next start takes it.

    Exit codes: 0 replaced; 1 not, and why; 2 the configuration has no desk, or is not good."""
    try:
        desk = load(config).deployment.desk
    except ConfigurationError as refused:
        typer.echo("\n".join(refused.problems), err=True)
        raise typer.Exit(2) from refused
    if desk is None:
        typer.echo(f"{config}: there is no [desk], so there is no key of its own", err=True)
        raise typer.Exit(2)
    key = Path(desk.signing_key)
    made = minting.new_key()
    minter = Minter.of(made)
    try:
        replace_file(key, made, mode=0o600)
        if now:
            _publish_alone(desk, minter)
    except OSError as failure:
        typer.echo(f"{failure.filename or key}: {failure.strerror}; {book.AS_WHOM}", err=True)
        raise typer.Exit(1) from failure
    typer.echo(f"{key}: another key, {minter.kid}")
    typer.echo("The old one verifies nothing any more." if now else "The old one verifies until its tokens are over.")


def _publish_alone(desk: Desk, minter: Minter) -> None:
    """No other key verifies. Looked at again: a desk that was just publishing both would have put the old one back."""
    alone = minting.published(None, minter, time.time())
    for _ in range(LOOKS):
        if published(desk) != alone:
            publish(desk, alone)
        time.sleep(LOOK_S)
