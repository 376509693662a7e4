"""Why the command line cannot act as a person. Each text says how to mend it, and none holds a token."""

from gatebook.cli.visible import visible
from gatebook.model.errors import GatebookError


class PersonError(GatebookError):
    """It cannot be done, and trying again unchanged is useless."""


class NotLoggedIn(PersonError):
    """Nobody is logged in, or the login has ended."""


class Refused(PersonError):
    """The desk said no: to this person, or to what was asked. `error`: its code."""

    def __init__(self, words: str, error: str = "") -> None:
        super().__init__(words)
        self.error = error


class Unreachable(PersonError):
    """Nobody answered, or not in a way that may be used; later may help."""


def told(error: PersonError) -> str:
    """Why, for the person: what a desk said is shown as text that a terminal does not act on."""
    return visible(str(error))
