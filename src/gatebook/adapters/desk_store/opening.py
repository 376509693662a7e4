"""Which database a deployment's desk has, and with which password: from the settings to a store."""

from pathlib import Path

from gatebook.adapters.desk_store.engines import Password
from gatebook.adapters.desk_store.looking import fault
from gatebook.adapters.desk_store.store import SqlStore
from gatebook.federation.errors import StoreUnavailable
from gatebook.model.deployment import Deployment, Desk
from gatebook.model.errors import UpstreamError
from gatebook.ports import Credentials


def store_of(deployment: Deployment, credentials: Credentials) -> SqlStore:
    """The store of this deployment's desk, its schema up to date. Raises StoreUnavailable."""
    desk = deployment.desk
    if desk is None or desk.database is None:
        return SqlStore.in_folder(Path(deployment.data_dir) / "desk")
    return SqlStore.on_postgresql(desk.database, _password_of(desk, credentials))


def fault_of(desk: Desk, credentials: Credentials) -> str | None:
    """Why `desk.database` could not be worked on; None where it can, or where there is none."""
    return None if desk.database is None else fault(desk.database, _password_of(desk, credentials))


def _password_of(desk: Desk, credentials: Credentials) -> Password | None:
    reference = desk.database_password
    if reference is None:
        return None

    def now() -> str:
        try:
            return credentials.resolve(reference).reveal().decode("utf-8")
        except (UpstreamError, UnicodeDecodeError) as failure:
            why = failure.words if isinstance(failure, UpstreamError) else "is no text"
            raise StoreUnavailable(f"desk.database_password: {why}") from failure

    return now
