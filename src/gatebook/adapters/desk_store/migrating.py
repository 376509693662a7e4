"""Bringing a database's schema up to date: the steps in `migrations/versions`, by Alembic, each in the transaction that records it."""

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.engine import Connection, Engine

from gatebook.adapters.desk_store.engines import come_first
from gatebook.federation.errors import StoreUnavailable


def migrate(engine: Engine) -> None:
    """The schema is the newest; of two desks that start at once the second waits and finds it so. Raises StoreUnavailable where the database is of
    a newer release."""
    with engine.begin() as connection:
        come_first(connection)
        try:
            command.upgrade(configuration(connection), "head")
        except CommandError as failure:
            raise StoreUnavailable("the desk's database was written by a newer release of Gatebook") from failure


def configuration(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("gatebook.adapters.desk_store") / "migrations"))
    config.attributes["connection"] = connection
    return config
