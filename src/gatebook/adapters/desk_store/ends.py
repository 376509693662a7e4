"""What ends, within a transaction: grants, agreements and runs."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gatebook.adapters.desk_store import tables as t
from gatebook.adapters.desk_store.rows import login_of, one
from gatebook.federation import ended_runs
from gatebook.federation.records import Grant


def forget_agreements(
    connection: Connection,
    of_logins: Sequence[sa.ColumnElement[bool]],
    *,
    client_id: str | None = None,
    server: str | None = None,
) -> None:
    """The persons of these logins (everybody, where there is no condition) have agreed to nothing with this client at this server (any, where
    none is given), and no code of theirs for them is on its way. Whatever was granted: also who holds nothing now has agreed, and may be about to."""
    chosen, logins = t.logins.alias("chosen"), t.logins.c
    conditions = {"client_id": client_id, "server": server}
    for table in (t.consents, t.codes):
        where = [table.c[name] == value for name, value in conditions.items() if value is not None]
        if table is t.codes:
            where.append(t.codes.c.grant_sid.is_(None))
        if of_logins:
            persons = sa.select(logins.issuer, logins.subject).where(*of_logins)
            of = sa.tuple_(chosen.c.issuer, chosen.c.subject).in_(persons)
            where.append(
                sa.tuple_(t.consents.c.issuer, t.consents.c.subject).in_(persons)
                if table is t.consents
                else t.codes.c.login_id.in_(sa.select(chosen.c.id).where(of))
            )
        connection.execute(table.delete().where(*where))


def revoke(connection: Connection, grants: tuple[Grant, ...], why: str, now_s: float) -> None:
    for grant in grants:
        change = t.grants.update().where(t.grants.c.sid == grant.sid).values(revoked_at=now_s, revoked_why=why)
        connection.execute(change)


def end_runs(connection: Connection, grants: tuple[Grant, ...], why: str, now_s: float, *, only_there: bool) -> None:
    for grant in grants:
        login = one(connection, t.logins.select().where(t.logins.c.id == grant.login_id))
        ended = None if login is None else ended_runs.ended_by(login_of(login).seen, why, grant.server, only_there)
        if ended is not None:
            end_run(connection, ended[0], now_s + ended[1])


def end_run(connection: Connection, value_hash: str, until: float) -> None:
    table, kind = t.seen, ended_runs.RUN_ENDED
    here = sa.and_(table.c.kind == kind, table.c.value_hash == value_hash)
    row = one(connection, table.select().where(here))
    if row is None:
        connection.execute(table.insert().values(kind=kind, value_hash=value_hash, expires_at=until))
    else:
        connection.execute(table.update().where(here).values(expires_at=max(until, row.expires_at)))
