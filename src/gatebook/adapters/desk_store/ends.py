"""What ends, within a transaction: grants, agreements and runs."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gatebook.adapters.desk_store import tables as t
from gatebook.adapters.desk_store.rows import login_of, one
from gatebook.federation import ended_runs
from gatebook.federation.records import Grant


def forget_agreement(connection: Connection, grant: Grant) -> None:
    """The person of `grant` has agreed to nothing with its client at its server, and no code of theirs is on its way."""
    login = one(connection, t.logins.select().where(t.logins.c.id == grant.login_id))
    if login is None:
        return
    agreed, codes = t.consents.c, t.codes.c
    of_person = sa.select(t.logins.c.id).where(t.logins.c.issuer == login.issuer, t.logins.c.subject == login.subject)
    of_client = (agreed.client_id == grant.client_id, agreed.server == grant.server)
    whose = (agreed.issuer == login.issuer, agreed.subject == login.subject)
    connection.execute(t.consents.delete().where(*whose, *of_client))
    on_the_way = (codes.client_id == grant.client_id, codes.server == grant.server, codes.grant_sid.is_(None))
    connection.execute(t.codes.delete().where(codes.login_id.in_(of_person), *on_the_way))


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
