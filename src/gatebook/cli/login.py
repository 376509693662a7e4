"""`gatebook login`."""

import sys

import typer

from gatebook.cli import printing
from gatebook.cli.person import by_browser
from gatebook.cli.person.by_browser import Way
from gatebook.cli.person.discovery import desk_at
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.person.logins import LoginFile
from gatebook.cli.visible import visible

NO_BROWSER = typer.Option(False, "--no-browser", help="Open no browser; only say where to go.")
PORT = typer.Option(
    0,
    "--port",
    min=0,
    max=65535,
    help="The port of 127.0.0.1 to return to, where it is forwarded by SSH. 0: any that is free.",
)


FRESH = typer.Option(
    False, "--fresh", help="Prove who you are anew, by several factors: for what says that it takes a fresh login."
)


def login(
    desk: str | None = typer.Option(
        None, "--desk", envvar="GATEBOOK_DESK", help="The desk's public_url. Default: the one logged in at before."
    ),
    no_browser: bool = NO_BROWSER,
    port: int = PORT,
    fresh: bool = FRESH,
) -> None:
    """Log in at a desk as yourself, with your browser: `log`, `why`, `sessions`, `replay`, `grants` and `revoke` then ask that desk in your name.

    What it gives is kept in $XDG_STATE_HOME/gatebook/logins.json, for this user alone. A code is never pasted: over SSH, forward a port and
    name it by --port. Exit codes: 0 logged in, 1 not.
    """
    file = LoginFile.of_user()
    try:
        known = desk or file.read().desk
        if known is None:
            printing.give_up("say which desk: gatebook login --desk URL, with the desk's public_url", 1)
        found = desk_at(known)
        given = by_browser.log_in(found, found.api, way(no_browser, port, fresh=fresh))
        with file.changing() as logins:
            logins.given[found.api] = given
            logins.desk = found.url
    except PersonError as error:
        printing.give_up(told(error), 1)
    printing.console().print(f"Logged in at {visible(found.url)}. `gatebook whoami` says as whom.", soft_wrap=True)


def way(no_browser: bool, port: int = 0, *, fresh: bool = False) -> Way:
    """How this command brings the person to the desk. What it says goes to standard error: standard output may be a program's."""
    return Way(opens=not no_browser, port=port, fresh=fresh, say=lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
