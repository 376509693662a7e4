"""`gatebook whoami`."""

import datetime

import msgspec
from rich.text import Text

from gatebook.cli import book, printing
from gatebook.cli.person.api import DESK, the_api
from gatebook.cli.person.errors import PersonError, told
from gatebook.cli.visible import visible
from gatebook.federation.desk_api import Seen


def whoami(desk: str | None = DESK, as_json: bool = book.AS_JSON) -> None:
    """Say as whom this command line is logged in, and what that person may do at the desk.

    Exit codes: 0 told, 1 nobody is logged in, or the desk did not say.
    """
    try:
        api = the_api(desk)
        seen = api.me()
    except PersonError as error:
        printing.give_up(told(error), 1)
    if as_json:
        printing.print_json_lines([msgspec.to_builtins(seen)])
        return
    console = printing.console()
    for name, value in _told(seen, api.desk):
        console.print(Text.assemble((f"{name:<9}", printing.DIM), visible(value)), soft_wrap=True)


def _told(seen: Seen, desk: str) -> list[tuple[str, str]]:
    ends = datetime.datetime.fromtimestamp(seen.login_ends_at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    evidence = [f"amr {' '.join(seen.amr)}" if seen.amr else "", f"acr {seen.acr}" if seen.acr else ""]
    groups = ", ".join(seen.groups) or "none that a role matches on"
    return [
        ("person", f"{seen.label or seen.subject}: {seen.subject} at {seen.idp} ({seen.issuer})"),
        ("desk", f"{desk}, until {ends}"),
        ("groups", "left out by the provider: there are too many" if seen.groups_left_out else groups),
        ("mfa", ", ".join(filter(None, [seen.mfa, *evidence]))),
        ("roles", ", ".join(seen.roles) or "none at the desk"),
        ("servers", ", ".join(f"{each.name} ({each.resource})" for each in seen.servers) or "none"),
    ]
