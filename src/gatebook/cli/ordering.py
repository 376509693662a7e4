"""Giving an order to the gate that runs, and telling what becomes of it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import typer

from gatebook.cli import printing
from gatebook.cli.visible import visible
from gatebook.config import examine
from gatebook.serve.orders import Order, Said, connect

NOT_DONE = 1
CANNOT_ASK = 2


def give(config: Path, python: str | None, *, as_json: bool) -> None:
    """The order is obeyed, and told line by line; or the program ends with NOT_DONE or CANNOT_ASK, and words."""
    deployment = examine(config).deployment
    if deployment is None:
        printing.give_up(f"{config} does not say where the data are: run gatebook check", CANNOT_ASK)
    try:
        connection = connect(Path(deployment.data_dir))
    except OSError as failure:
        why = (
            "no gate runs there"
            if isinstance(failure, FileNotFoundError | ConnectionRefusedError)
            else failure.strerror
        )
        printing.give_up(
            f"{deployment.data_dir}: {why}; start it with gatebook serve, or run this as its user", CANNOT_ASK
        )
    order = Order(python=python, sudo_user=os.environ.get("SUDO_USER"))
    with connection:
        connection.sendall(msgspec.json.encode(order) + b"\n")
        for said in _answers(connection):
            lines = [msgspec.json.encode(said).decode()] if as_json else map(visible, said.said.splitlines())
            typer.echo("\n".join(lines))
            if said.done is not None:
                raise typer.Exit(0 if said.done else NOT_DONE)
    printing.give_up("the gate ended without an answer: see its diagnostics", NOT_DONE)


def _answers(connection: socket.socket) -> Iterator[Said]:
    with connection.makefile("rb") as lines:
        for line in lines:
            yield msgspec.json.decode(line, type=Said)
