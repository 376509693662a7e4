"""What is wrong with a PostgreSQL database, for `gatebook check`: looks only."""

from typing import Final

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from gatebook.adapters.desk_store import engines
from gatebook.adapters.desk_store.migrating import configuration
from gatebook.federation.errors import StoreUnavailable

_WORDS_AT_MOST: Final = 400


def fault(url: str, password: engines.Password | None) -> str | None:
    """Why the desk could not work on the database at `url`; None where it can. Takes at most a few seconds; changes nothing."""
    try:
        engine = engines.postgresql(url, password)
        try:
            with engines.for_reading(engine).begin() as connection:
                return _unusable(connection)
        finally:
            engine.dispose()
    except StoreUnavailable as failure:
        return str(failure)
    except OperationalError as failure:
        # What PostgreSQL says of a connection names host, user and database; nothing else was sent yet.
        return f"cannot be connected to: {_one_line(str(failure.orig), password)}"
    except SQLAlchemyError as failure:
        return f"cannot be used: {type(failure).__name__}"


def _one_line(words: str, password: engines.Password | None) -> str:
    line = " ".join(words.split())
    return (line if password is None else line.replace(password(), "***"))[:_WORDS_AT_MOST]


def _unusable(connection: Connection) -> str | None:
    scripts = ScriptDirectory.from_config(configuration(connection))
    found = MigrationContext.configure(connection).get_current_revision()
    if found == scripts.get_current_head():
        return None
    if found is not None:
        try:
            scripts.get_revision(found)
        except CommandError:
            return "was written by a newer release of Gatebook"
    may_create = sa.select(sa.func.has_schema_privilege(sa.func.current_schema(), "CREATE"))
    if not connection.execute(may_create).scalar_one():
        return "does not let this user make the desk's tables"
    return None
