"""The desk's database as `gatebook check` looks at it; SQLAlchemy is loaded only where there is one to look at."""

from gatebook.model.deployment import Desk
from gatebook.ports import Credentials


def database_fault(desk: Desk, credentials: Credentials) -> str | None:
    """What is wrong with `desk.database`; None where nothing is. Changes nothing there."""
    from gatebook.adapters.desk_store import opening

    return opening.fault_of(desk, credentials)
