"""`gatebook token`."""

import sys

import typer

from gatebook.cli import printing
from gatebook.cli.login import FRESH, NO_BROWSER, PORT, way
from gatebook.cli.person import tokens
from gatebook.cli.person.api import DESK, the_api
from gatebook.cli.person.errors import PersonError, Refused, told
from gatebook.cli.person.logins import LoginFile


def token(
    server: str = typer.Argument(help="The server's name at the desk, or its URL."),
    desk: str | None = DESK,
    no_browser: bool = NO_BROWSER,
    port: int = PORT,
    fresh: bool = FRESH,
) -> None:
    """Print an access token for one server, good for at least 45 seconds more, while the desk can be reached: for curl and for scripts. It is a secret, and yours.

    The first time for a server the desk asks in the browser. --fresh logs in anew, by several factors, for a tool that demands it; a `gatebook connect` of
    yours takes that login from its next message on. Exit codes: 0 printed, 1 not.
    """
    try:
        resource = server if "://" in server else _resource(server, desk)
        found = tokens.token_for(LoginFile.of_user(), resource, way(no_browser, port, fresh=fresh))
    except PersonError as error:
        printing.give_up(told(error), 1)
    sys.stdout.write(found + "\n")


def _resource(name: str, desk: str | None) -> str:
    servers = {each.name: each.resource for each in the_api(desk).me().servers}
    if name not in servers:
        raise Refused(f"there is no server {name}; there is {', '.join(sorted(servers)) or 'none'}")
    return servers[name]
