"""`gatebook`: the list of commands."""

import typer

from gatebook import __version__
from gatebook.cli.alert_rules import alert_rules
from gatebook.cli.backup import backup
from gatebook.cli.check import check
from gatebook.cli.connect import connect
from gatebook.cli.demo import demo
from gatebook.cli.doctor import doctor
from gatebook.cli.formats import formats
from gatebook.cli.grants import grants
from gatebook.cli.idp import idp
from gatebook.cli.import_clients import import_clients
from gatebook.cli.init import init
from gatebook.cli.layout import layout
from gatebook.cli.log import log
from gatebook.cli.login import login
from gatebook.cli.logout import logout
from gatebook.cli.prove import prove
from gatebook.cli.replay import replay
from gatebook.cli.restart import restart
from gatebook.cli.restore import restore
from gatebook.cli.revoke import revoke
from gatebook.cli.roll_desk_key import roll_desk_key
from gatebook.cli.saml_metadata import saml_metadata
from gatebook.cli.scan_secrets import scan_secrets
from gatebook.cli.serve import serve
from gatebook.cli.server import server
from gatebook.cli.sessions import sessions
from gatebook.cli.token import token
from gatebook.cli.units import units
from gatebook.cli.upgrade import upgrade
from gatebook.cli.verify import verify
from gatebook.cli.whoami import whoami
from gatebook.cli.why import why

app = typer.Typer(
    name="gatebook",
    help="The identity-aware gate in front of MCP servers, and the book kept at that gate.",
    no_args_is_help=True,
    rich_markup_mode=None,  # else `[[idp]]` in a help text is taken for markup
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    *(serve, check, restart, upgrade, formats, init, units, layout, idp, saml_metadata, roll_desk_key, alert_rules),
    *(doctor, backup, restore),
    *(log, why, sessions, replay, verify, prove),
    *(login, logout, whoami, token, connect, grants, revoke),
    demo,
):
    app.command()(command)
app.command("import")(import_clients)
app.command()(scan_secrets)
app.add_typer(server)


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
