"""`gatebook revoke`: logins and grants end now."""

import typer

from gatebook.cli import book, printing
from gatebook.cli.person.api import DESK, the_api
from gatebook.cli.person.errors import PersonError, told
from gatebook.federation.desk_api import Revocation


def revoke(
    person: str | None = typer.Option(
        None,
        help="The person's or job's id there (`gatebook grants` shows it). Alone, it also ends the login at the desk.",
    ),
    idp: str | None = typer.Option(
        None,
        help="Which provider's person, where the desk has several; which workload's job; gatebook: a registered job.",
    ),
    client: str | None = typer.Option(None, help="A client's id: whatever any person let it do."),
    server: str | None = typer.Option(None, help="A server's name: whatever any client may do there."),
    sid: str | None = typer.Option(None, help="One grant."),
    desk: str | None = DESK,
    as_json: bool = book.AS_JSON,
) -> None:
    """End grants; all conditions given must hold. When it returns, every worker refuses their tokens, and their open streams end.

    A job's run ends with its grant, and a registered job is kept out for an hour.

    For admins (`[[desk_role]]`); the order and every grant that ended are entries in your name. Exit codes: 0 done (also where nothing was
    there to end), 1 not.
    """
    if all(each is None for each in (person, client, server, sid)):
        printing.give_up("say whose grants to end: --person, --client, --server or --sid", 1)
    try:
        ended = the_api(desk).revoke(Revocation(sid=sid, person=person, idp=idp, client=client, server=server))
    except PersonError as error:
        printing.give_up(told(error), 1)
    if as_json:
        printing.print_json_lines([{"sids": list(ended)}])
        return
    printing.console().print(f"{len(ended)} grant{'' if len(ended) == 1 else 's'} ended.")
