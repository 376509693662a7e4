"""`gatebook`: the list of commands."""

import typer

from gatebook import __version__
from gatebook.cli.check import check
from gatebook.cli.demo import demo
from gatebook.cli.init import init
from gatebook.cli.log import log
from gatebook.cli.replay import replay
from gatebook.cli.serve import serve
from gatebook.cli.sessions import sessions
from gatebook.cli.verify import verify
from gatebook.cli.why import why

app = typer.Typer(
    name="gatebook",
    help="The identity-aware gate in front of MCP servers, and the book kept at that gate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (serve, check, init, log, why, sessions, replay, verify, demo):
    app.command()(command)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gatebook {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_say_version, is_eager=True, help="Show the version."),
) -> None:
    """The identity-aware gate in front of MCP servers, and the book kept at that gate."""


def main() -> None:
    app()
