"""Connections to the two databases, made so that of two transactions that write, the second sees all that the first one did.

SQLite has one writer at a time. On PostgreSQL whoever writes takes one advisory lock first, and reads what it decides by only then (READ COMMITTED:
each statement sees what was committed before it began). So a method that is right on one is right on the other, and nothing has to be tried again,
as it would with SERIALIZABLE. The price is one commit after another, some hundreds a second: far more than people log in.
"""

import sqlite3
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from gatebook.durable import make_folder
from gatebook.federation.errors import StoreUnavailable
from gatebook.model import extras

_LOCK: Final = 0x6761_7465_626F_6F6B  # "gatebook"
SYSTEM: Final = "system"
_BUNDLES: Final = ("ca-certificates.crt", "ca-bundle.crt", "ca-bundle.pem")
"""As Debian, Fedora and SUSE name the file that holds them all, in the folder that holds each."""
_CONNECT_S: Final = 5
_OPTIONS: Final = "-c lock_timeout=5000 -c statement_timeout=10000 -c idle_in_transaction_session_timeout=10000"
"""A desk that hangs must not hold the others for ever. Milliseconds."""
_AT_LEAST_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)

Password = Callable[[], str]
"""The password as it is now; asked at each new connection, so that a changed one needs no restart. Raises StoreUnavailable."""


def sqlite(folder: Path) -> Engine:
    """desk.db in `folder`, which is made, for this user alone. Raises StoreUnavailable."""
    try:
        make_folder(folder)
    except OSError as failure:
        raise StoreUnavailable(f"{folder}: {failure.strerror}") from failure
    engine = sa.create_engine(URL.create("sqlite", database=str(folder / "desk.db")))
    _make_sqlite_strict(engine)
    return engine


def postgresql(url: str, password: Password | None) -> Engine:
    """`url`: postgresql://USER@HOST:PORT/NAME?…, as libpq reads it, without a password. Connects to nothing yet. Raises StoreUnavailable."""
    asked = sa.make_url(url).set(drivername="postgresql+psycopg")
    if asked.query.get("sslrootcert") == SYSTEM:
        asked = asked.update_query_dict({"sslrootcert": authorities()})
    try:
        engine = sa.create_engine(
            asked,
            isolation_level="READ COMMITTED",
            hide_parameters=True,
            pool_pre_ping=True,  # a database that was restarted costs nobody an error
            pool_timeout=_CONNECT_S,
            connect_args={"connect_timeout": _CONNECT_S, "application_name": "gatebook-desk", "options": _OPTIONS},
        )
    except ModuleNotFoundError as failure:
        how = extras.how_to_add(extras.POSTGRESQL)
        raise StoreUnavailable(f"psycopg is not installed: {how}") from failure

    if password is not None:

        @sa.event.listens_for(engine, "do_connect")
        def give_password(_dialect: object, _record: object, _arguments: object, named: dict[str, Any]) -> None:
            named["password"] = password()

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.execute(_AT_LEAST_DURABLE)
        connection.commit()

    return engine


def authorities() -> str:
    """The file of the authorities that this system trusts; SYSTEM where none is found. psycopg's wheel brings an OpenSSL of its own, whose
    idea of where the system keeps them names a folder that no system has: asked for SYSTEM, it trusts nobody."""
    known = ssl.get_default_verify_paths()
    if known.cafile:
        return known.cafile
    files = (Path(folder) / name for folder in (known.capath,) if folder for name in _BUNDLES)
    return next((str(path) for path in files if path.is_file()), SYSTEM)


def for_reading(engine: Engine) -> Engine:
    """The same connections; each transaction is one moment's view, and on PostgreSQL waits for no writer and can write nothing."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine


def come_first(connection: Connection) -> None:
    """Until this transaction ends nobody else writes. On SQLite it is so since the transaction began."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def _make_sqlite_strict(engine: Engine) -> None:
    """The lock is taken when a transaction begins, not at its first write: two that read and then write could not both go on."""

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        for pragma in ("busy_timeout=5000", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        _write_ahead(connection)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """A file becomes WAL once, and that step does not heed busy_timeout: where two that both read the new file want to change it, one is told
    "locked" at once, lest both wait for ever. So it is tried again. Raises sqlite3.OperationalError after `_CONNECT_S`."""
    give_up = time.monotonic() + _CONNECT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as failure:
            if failure.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
        time.sleep(0.01)
