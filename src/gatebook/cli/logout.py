"""`gatebook logout`."""

from gatebook.cli import printing
from gatebook.cli.person.asking import ask
from gatebook.cli.person.discovery import desk_at
from gatebook.cli.person.errors import PersonError
from gatebook.cli.person.logins import Given, LoginFile


def logout() -> None:
    """End what this command line was granted, at the desk, and forget it here. Other programs stay logged in.

    Exit codes: 0 ended and forgotten; 1 forgotten, but a desk could not be told: what it granted ends by itself, or by `gatebook revoke`.
    """
    file = LoginFile.of_user()
    try:
        with file.changing() as logins:
            failed = [problem for given in logins.given.values() if (problem := _end(given)) is not None]
            logins.given, logins.desk = {}, None
    except PersonError as error:
        printing.give_up(str(error), 1)
    if failed:
        printing.give_up(f"forgotten here, but not ended there: {'; '.join(sorted(set(failed)))}", 1)
    printing.console().print("Logged out.")


def _end(given: Given) -> str | None:
    """Why the grant could not be ended; None where it has."""
    try:
        form = {"token": given.refresh_token or given.access_token, "client_id": given.client_id}
        answer = ask("POST", desk_at(given.desk).revoke, form=form)
    except PersonError as error:
        return str(error)
    return None if answer.status in (200, 400) else f"{given.desk} answered {answer.status}"
