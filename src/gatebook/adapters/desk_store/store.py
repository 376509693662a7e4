"""The store. Each method is one transaction; one that writes holds the write lock from its beginning, so that what it decides by stays true."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from gatebook.adapters.desk_store import ends, engines
from gatebook.adapters.desk_store import tables as t
from gatebook.adapters.desk_store.migrating import migrate
from gatebook.adapters.desk_store.rows import grant_of, insert_login, login_of, one, record_of
from gatebook.federation import ended_runs
from gatebook.federation.errors import StoreUnavailable
from gatebook.federation.ports import Refreshed, Replay
from gatebook.federation.records import Code, Consent, Grant, LoggedIn, Login, Registered, Transaction, Turn
from gatebook.federation.refreshing import Repeat, Rotate, judge

KEPT_S = 86_400.0
"""How long what has expired is still kept: a code or token that comes again must be known as used, not as unknown."""
UNUSED_CLIENT_S = 86_400.0


_DESK = "desk"
"""What `seen` calls a desk that works on the database."""


class SqlStore:
    """A Store on `engine` (see `engines`). Opening brings the schema up to date; raises StoreUnavailable, also where a newer release has written there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = engines.for_reading(engine)
        try:
            with _telling():
                migrate(self._engine)
        except StoreUnavailable:
            engine.dispose()
            raise

    @classmethod
    def in_folder(cls, folder: Path) -> "SqlStore":
        """The store in `folder`/desk.db; the folder is made, for this user alone. Raises StoreUnavailable."""
        return cls(engines.sqlite(folder))

    @classmethod
    def on_postgresql(cls, url: str, password: engines.Password | None = None) -> "SqlStore":
        """The store in the database at `url`, which another desk may be using (an older process of this one). Raises StoreUnavailable."""
        return cls(engines.postgresql(url, password))

    def close(self) -> None:
        self._engine.dispose()

    # A request under way

    def begin(self, transaction: Transaction) -> None:
        with self._writing() as connection:
            connection.execute(t.transactions.insert().values(**msgspec.structs.asdict(transaction)))

    def transaction(self, handle_hash: str, now_s: float) -> Transaction | None:
        table = t.transactions
        with self._reading() as connection:
            row = one(connection, table.select().where(table.c.handle_hash == handle_hash, table.c.expires_at > now_s))
        return None if row is None else record_of(Transaction, row)

    def wait_for(self, handle_hash: str, idp: str, now_s: float) -> bool:
        table = t.transactions
        here = sa.and_(table.c.handle_hash == handle_hash, table.c.expires_at > now_s)
        with self._writing() as connection:
            return connection.execute(table.update().where(here).values(idp=idp)).rowcount == 1

    def answered(self, handle_hash: str, idp: str, now_s: float) -> bool:
        table = t.transactions
        waits = sa.and_(table.c.handle_hash == handle_hash, table.c.expires_at > now_s, table.c.idp == idp)
        with self._writing() as connection:
            return connection.execute(table.update().where(waits).values(idp=None)).rowcount == 1

    def end(self, handle_hash: str) -> bool:
        with self._writing() as connection:
            gone = connection.execute(t.transactions.delete().where(t.transactions.c.handle_hash == handle_hash))
            return gone.rowcount == 1

    # People

    def keep_login(self, login: Login, upstream: bytes | None = None) -> None:
        with self._writing() as connection:
            insert_login(connection, login, upstream)

    def upstream(self, login_id: str) -> bytes | None:
        query = sa.select(t.logins.c.upstream).where(t.logins.c.id == login_id, t.logins.c.revoked_at.is_(None))
        with self._reading() as connection:
            found: bytes | None = connection.execute(query).scalar_one_or_none()
        return found

    def reread(self, login_id: str, was: bytes, seen: LoggedIn, upstream: bytes) -> bool:
        table = t.logins
        same = sa.and_(table.c.id == login_id, table.c.revoked_at.is_(None), table.c.upstream == was)
        values = {"seen": msgspec.json.encode(seen).decode(), "upstream": upstream}
        with self._writing() as connection:
            return connection.execute(table.update().where(same).values(values)).rowcount == 1

    def grants_of(self, login_id: str, now_s: float) -> tuple[Grant, ...]:
        table = t.grants
        good = sa.and_(table.c.login_id == login_id, table.c.revoked_at.is_(None), table.c.expires_at > now_s)
        with self._reading() as connection:
            return tuple(record_of(Grant, row) for row in connection.execute(table.select().where(good)))

    def login_of_browser(self, browser_hash: str, now_s: float) -> Login | None:
        table = t.logins
        good = sa.and_(table.c.browser_hash == browser_hash, table.c.revoked_at.is_(None), table.c.expires_at > now_s)
        with self._reading() as connection:
            row = one(connection, table.select().where(good).order_by(table.c.created_at.desc()).limit(1))
        return None if row is None else login_of(row)

    def login(self, login_id: str) -> Login | None:
        with self._reading() as connection:
            row = one(connection, t.logins.select().where(t.logins.c.id == login_id))
        return None if row is None else login_of(row)

    def forget_browser(self, login_id: str) -> None:
        # The id is no hash of anything, so that no cookie finds it.
        with self._writing() as connection:
            connection.execute(
                t.logins.update().where(t.logins.c.id == login_id).values(browser_hash=f"none:{login_id}")
            )

    def live_grants_of(self, issuer: str, subject: str, now_s: float) -> tuple[Grant, ...]:
        of_person = sa.select(t.logins.c.id).where(t.logins.c.issuer == issuer, t.logins.c.subject == subject)
        table = t.grants
        live = sa.and_(table.c.login_id.in_(of_person), table.c.revoked_at.is_(None), table.c.expires_at > now_s)
        with self._reading() as connection:
            rows = connection.execute(table.select().where(live).order_by(table.c.created_at.desc(), table.c.sid))
            return tuple(record_of(Grant, row) for row in rows)

    def keep_consent(self, consent: Consent) -> None:
        table = t.consents
        with self._writing() as connection:
            connection.execute(
                table.delete().where(
                    table.c.issuer == consent.issuer,
                    table.c.subject == consent.subject,
                    table.c.client_id == consent.client_id,
                    table.c.server == consent.server,
                )
            )
            connection.execute(table.insert().values(**msgspec.structs.asdict(consent)))

    def consent(self, issuer: str, subject: str, client_id: str, server: str) -> Consent | None:
        table = t.consents
        asked = table.select().where(
            table.c.issuer == issuer,
            table.c.subject == subject,
            table.c.client_id == client_id,
            table.c.server == server,
        )
        with self._reading() as connection:
            row = one(connection, asked)
        return None if row is None else record_of(Consent, row)

    # Clients

    def register(self, client: Registered, *, at_most: int, since_s: float) -> bool:
        table = t.clients
        unused = (
            sa.select(sa.func.count())
            .select_from(table)
            .where(table.c.used_at.is_(None), table.c.created_at >= since_s)
        )
        with self._writing() as connection:
            if connection.execute(unused).scalar_one() >= at_most:
                return False
            values = msgspec.structs.asdict(client) | {
                "redirect_uris": msgspec.json.encode(client.redirect_uris).decode()
            }
            connection.execute(table.insert().values(**values))
            return True

    def registered(self, client_id: str) -> Registered | None:
        with self._reading() as connection:
            row = one(connection, t.clients.select().where(t.clients.c.client_id == client_id))
        if row is None:
            return None
        uris = msgspec.json.decode(row.redirect_uris, type=tuple[str, ...])
        return Registered(**(row._asdict() | {"redirect_uris": uris}))

    def client_used(self, client_id: str, now_s: float) -> None:
        with self._writing() as connection:
            connection.execute(t.clients.update().where(t.clients.c.client_id == client_id).values(used_at=now_s))

    # Codes and grants

    def keep_code(self, code: Code) -> None:
        with self._writing() as connection:
            connection.execute(t.codes.insert().values(**msgspec.structs.asdict(code)))

    def code(self, code_hash: str) -> Code | None:
        with self._reading() as connection:
            row = one(connection, t.codes.select().where(t.codes.c.code_hash == code_hash))
        return None if row is None else record_of(Code, row)

    def redeem(self, code_hash: str, grant: Grant, first: Turn, now_s: float) -> Grant | Replay | None:
        with self._writing() as connection:
            code = one(connection, t.codes.select().where(t.codes.c.code_hash == code_hash).with_for_update())
            if code is None or code.grant_sid is not None:
                made = None if code is None else grant_of(connection, code.grant_sid)
                if made is not None and made.revoked_at is None:
                    ends.revoke(connection, (made,), "code_reused", now_s)
                return Replay(grant=made)
            login = one(connection, t.logins.select().where(t.logins.c.id == grant.login_id).with_for_update())
            if login is None or login.revoked_at is not None or login.expires_at <= now_s:
                return None  # looked at here, too: whoever ended it was told that nothing of it goes on
            connection.execute(t.grants.insert().values(**msgspec.structs.asdict(grant)))
            connection.execute(t.turns.insert().values(**msgspec.structs.asdict(first)))
            connection.execute(t.codes.update().where(t.codes.c.code_hash == code_hash).values(grant_sid=grant.sid))
            return grant

    def open_grant(self, login: Login, grant: Grant, first: Turn) -> bool:
        ended = t.seen.select().where(
            t.seen.c.kind == ended_runs.RUN_ENDED,
            t.seen.c.value_hash.in_(ended_runs.keys_of(login.seen, grant.server)),
            t.seen.c.expires_at > grant.created_at,
        )
        with self._writing() as connection:
            if connection.execute(ended).first() is not None:
                return False
            insert_login(connection, login)
            connection.execute(t.grants.insert().values(**msgspec.structs.asdict(grant)))
            connection.execute(t.turns.insert().values(**msgspec.structs.asdict(first)))
            return True

    def refresh(
        self, sid: str, number: int, token_hash: str, successor: Turn, now_s: float
    ) -> Refreshed | Replay | None:
        with self._writing() as connection:
            grant = grant_of(connection, sid, lock=True)
            if grant is None or grant.revoked_at is not None or grant.expires_at <= now_s:
                return None
            wanted = t.turns.select().where(t.turns.c.sid == sid, t.turns.c.number.in_((number, number + 1)))
            found = {row.number: record_of(Turn, row) for row in connection.execute(wanted)}
            if number in found and found[number].token_hash != token_hash:
                return None
            match judge(number, found, now_s):
                case Rotate():
                    used = (
                        t.turns.update().where(t.turns.c.sid == sid, t.turns.c.number == number).values(used_at=now_s)
                    )
                    connection.execute(used)
                    connection.execute(t.turns.insert().values(**msgspec.structs.asdict(successor)))
                    return Refreshed(grant=grant, number=successor.number, repeated=False)
                case Repeat():
                    return Refreshed(grant=grant, number=successor.number, repeated=True)
                case _:
                    ends.revoke(connection, (grant,), "refresh_reused", now_s)
                    return Replay(grant=grant)

    def grant(self, sid: str) -> Grant | None:
        with self._reading() as connection:
            return grant_of(connection, sid)

    def revoke(
        self,
        why: str,
        now_s: float,
        *,
        sid: str | None = None,
        login_id: str | None = None,
        person: tuple[str, str] | None = None,
        client_id: str | None = None,
        server: str | None = None,
        agreed_too: bool = False,
    ) -> tuple[Grant, ...]:
        given = {"sid": sid, "login_id": login_id, "client_id": client_id, "server": server}
        conditions = [t.grants.c[name] == value for name, value in given.items() if value is not None]
        of_login: list[sa.ColumnElement[bool]] = []
        if login_id is not None:
            of_login.append(t.logins.c.id == login_id)
        if person is not None:
            of_login += [t.logins.c.issuer == person[0], t.logins.c.subject == person[1]]
            conditions.append(t.grants.c.login_id.in_(sa.select(t.logins.c.id).where(*of_login)))
        if not conditions:
            raise ValueError("nothing says what to revoke")
        live = t.grants.select().where(*conditions, t.grants.c.revoked_at.is_(None), t.grants.c.expires_at > now_s)
        with self._writing() as connection:
            grants = tuple(record_of(Grant, row) for row in connection.execute(live.with_for_update()))
            ends.revoke(connection, grants, why, now_s)
            if agreed_too and sid is None:
                ends.forget_agreements(connection, of_login, client_id=client_id, server=server)
            elif agreed_too:
                for named in connection.execute(t.grants.select().where(*conditions)).all():
                    its_login = (t.logins.c.id == named.login_id,)
                    ends.forget_agreements(connection, its_login, client_id=named.client_id, server=named.server)
            ends.end_runs(connection, grants, why, now_s, only_there=server is not None)
            if of_login and sid is None and client_id is None and server is None:
                over = t.logins.update().where(*of_login, t.logins.c.revoked_at.is_(None))
                connection.execute(over.values(revoked_at=now_s, upstream=None))
            return grants

    def end_run(self, value_hash: str, for_s: float, now_s: float) -> None:
        with self._writing() as connection:
            ends.end_run(connection, value_hash, now_s + for_s)

    def end_everything(self, why: str, now_s: float) -> int:
        """Nobody is logged in, nothing is agreed to, and nothing is under way; how many grants ended. For a database that was put back: what
        was ended after its copy was made must not live again. Registered clients, and what came once, stay."""
        live = (t.grants.c.revoked_at.is_(None), t.grants.c.expires_at > now_s)
        with self._writing() as connection:
            ended = connection.execute(t.grants.update().where(*live).values(revoked_at=now_s, revoked_why=why))
            over = t.logins.update().where(t.logins.c.revoked_at.is_(None))
            connection.execute(over.values(revoked_at=now_s))
            connection.execute(t.logins.update().values(upstream=None))
            for table in (t.codes, t.transactions, t.consents):
                connection.execute(table.delete())
            return int(ended.rowcount)

    def live_grants(self, now_s: float) -> tuple[tuple[Grant, Login], ...]:
        live = (t.grants.c.revoked_at.is_(None), t.grants.c.expires_at > now_s)
        newest_first = t.grants.select().where(*live).order_by(t.grants.c.created_at.desc(), t.grants.c.sid)
        wanted = t.logins.select().where(t.logins.c.id.in_(sa.select(t.grants.c.login_id).where(*live)))
        with self._reading() as connection:
            found = [record_of(Grant, row) for row in connection.execute(newest_first)]
            logins = {row.id: login_of(row) for row in connection.execute(wanted)}
        return tuple((grant, logins[grant.login_id]) for grant in found)

    def revoked_since(self, since_s: float) -> frozenset[str]:
        with self._reading() as connection:
            return frozenset(
                connection.execute(sa.select(t.grants.c.sid).where(t.grants.c.revoked_at >= since_s)).scalars()
            )

    # Housekeeping

    def once(self, kind: str, value_hash: str, expires_at: float, now_s: float) -> bool:
        table = t.seen
        key = sa.and_(table.c.kind == kind, table.c.value_hash == value_hash)
        try:
            with self._writing() as connection:
                connection.execute(table.delete().where(key, table.c.expires_at <= now_s))
                connection.execute(table.insert().values(kind=kind, value_hash=value_hash, expires_at=expires_at))
        except IntegrityError:
            return False
        return True

    def present(self, desk_hash: str, until_s: float, now_s: float) -> bool:
        table, of_desks = t.seen, t.seen.c.kind == _DESK
        other = sa.and_(of_desks, table.c.value_hash != desk_hash, table.c.expires_at > now_s)
        with suppress(IntegrityError), self._writing() as connection:  # a replica was as fast
            if connection.execute(sa.select(table.c.value_hash).where(other).limit(1)).first() is not None:
                return False
            connection.execute(table.delete().where(of_desks, table.c.value_hash == desk_hash))
            connection.execute(table.insert().values(kind=_DESK, value_hash=desk_hash, expires_at=until_s))
        return True

    def leave(self, desk_hash: str) -> None:
        with self._writing() as connection:
            connection.execute(t.seen.delete().where(t.seen.c.kind == _DESK, t.seen.c.value_hash == desk_hash))

    def came(self, kind: str, value_hash: str, now_s: float) -> bool:
        table = t.seen
        here = sa.and_(table.c.kind == kind, table.c.value_hash == value_hash, table.c.expires_at > now_s)
        with self._reading() as connection:
            return one(connection, table.select().where(here)) is not None

    def sweep(self, now_s: float) -> None:
        old = now_s - KEPT_S
        with self._writing() as connection:
            for table, before in ((t.transactions, now_s), (t.seen, now_s), (t.codes, old), (t.grants, old)):
                connection.execute(table.delete().where(table.c.expires_at <= before))
            over = sa.and_(t.logins.c.expires_at <= now_s, t.logins.c.upstream.is_not(None))
            connection.execute(t.logins.update().where(over).values(upstream=None))
            used = sa.select(t.grants.c.login_id)
            connection.execute(t.logins.delete().where(t.logins.c.expires_at <= old, t.logins.c.id.not_in(used)))
            unused = sa.and_(t.clients.c.used_at.is_(None), t.clients.c.created_at <= now_s - UNUSED_CLIENT_S)
            connection.execute(t.clients.delete().where(unused))

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _telling(), self._engine.begin() as connection:
            engines.come_first(connection)
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _telling(), self._reader.begin() as connection:
            yield connection


@contextmanager
def _telling() -> Iterator[None]:
    """The driver's errors in our words; their text may quote values, so it is not passed on."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as failure:
        raise StoreUnavailable(
            f"the desk's database cannot be used: {type(failure).__name__}; `gatebook check` says why"
        ) from failure
