"""`gatebook server`: what a server offers, what of it is pinned, and the role that covers it."""

import typer

from gatebook.cli.server_add import add
from gatebook.cli.server_pins import pins
from gatebook.cli.server_suggest import suggest_role

server = typer.Typer(
    name="server",
    help="Servers behind the gate: add one, pin its tools, write a role for it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
server.command("add", context_settings={"allow_interspersed_args": False})(add)
server.command("pins")(pins)
server.command("suggest-role")(suggest_role)
