"""Rows and the records that they are, within a transaction."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gatebook.adapters.desk_store import tables as t
from gatebook.federation.records import Grant, LoggedIn, Login

R = TypeVar("R", bound=msgspec.Struct)


def one(connection: Connection, query: sa.Select[Any]) -> Row[Any] | None:
    return connection.execute(query).one_or_none()


def record_of(kind: Callable[..., R], row: Row[Any]) -> R:
    return kind(**row._asdict())


def insert_login(connection: Connection, login: Login, upstream: bytes | None = None) -> None:
    connection.execute(
        t.logins.insert().values(
            id=login.id,
            issuer=login.seen.person.issuer,
            subject=login.seen.person.subject,
            idp=login.seen.idp,
            seen=msgspec.json.encode(login.seen).decode(),
            browser_hash=login.browser_hash,
            created_at=login.created_at,
            expires_at=login.expires_at,
            revoked_at=login.revoked_at,
            upstream=upstream,
        )
    )


def login_of(row: Row[Any]) -> Login:
    return Login(
        id=row.id,
        seen=msgspec.json.decode(row.seen, type=LoggedIn),
        browser_hash=row.browser_hash,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def grant_of(connection: Connection, sid: str, *, lock: bool = False) -> Grant | None:
    query = t.grants.select().where(t.grants.c.sid == sid)
    row = one(connection, query.with_for_update() if lock else query)
    return None if row is None else record_of(Grant, row)
