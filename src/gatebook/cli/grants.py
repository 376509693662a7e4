"""`gatebook grants`: who let which client act for them, where."""

import datetime

import msgspec
from rich.table import Table
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.person.api import DESK, the_api
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.visible import visible
from gatebook.federation.desk_api import GrantShown


def grants(desk: str | None = DESK, as_json: bool = book.AS_JSON) -> None:
    """List the grants in force at the desk: person, client, server, since when, until when. For admins (`[[desk_role]]`); the reading is an entry.

    Exit codes: 0 listed, 1 not. --json: one grant per line.
    """
    try:
        found = the_api(desk).grants()
    except PersonError as error:
        printing.give_up(told(error), 1)
    if as_json:
        printing.print_json_lines(msgspec.to_builtins(each) for each in found)
        return
    if found:
        printing.print_table(_table(found))
    else:
        printing.console().print("No grant is in force.")


def _table(found: tuple[GrantShown, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style=printing.DIM)
    for name in ("sid", "person", "client", "server", "since", "until"):
        table.add_column(name, overflow="fold")
    for each in found:
        person = f"{each.subject} at {each.idp}" + (f" ({each.label})" if each.label else "")
        cells = (each.sid, person, each.client_name, each.server, _when(each.created_at), _when(each.expires_at))
        table.add_row(*(Text(visible(cell)) for cell in cells))
    return table


def _when(at_s: float) -> str:
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%m-%d %H:%M")
