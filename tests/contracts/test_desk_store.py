"""federation.ports.Store: the desk's memory. One suite for every database; SQLite, and a real PostgreSQL."""

import shutil
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from gatebook.adapters.desk_store import SqlStore, tables
from gatebook.adapters.desk_store.looking import fault
from gatebook.federation import ended_runs
from gatebook.federation.errors import StoreUnavailable
from gatebook.federation.ports import Refreshed, Replay
from gatebook.federation.records import (
    Code,
    Consent,
    Grant,
    Job,
    LoggedIn,
    Login,
    Person,
    Registered,
    Transaction,
    Turn,
    hashed,
)
from gatebook.model.principal import Evidence
from tests import postgresql
from tests.faults.certificates import Authority

NOW = 1_795_000_000.0
SID = "a" * 32


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Cluster]:
    with postgresql.cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SqlStore]:
    """Opens the store of this test, again and again the same."""
    if request.param == "sqlite":
        return lambda: SqlStore.in_folder(tmp_path / "desk")
    server: postgresql.Cluster = request.getfixturevalue("server")
    url = server.url(server.database())
    return lambda: SqlStore.on_postgresql(url)


@pytest.fixture
def store(make: Callable[[], SqlStore]) -> Iterator[SqlStore]:
    made = make()
    yield made
    made.close()


@pytest.fixture
def other(make: Callable[[], SqlStore], store: SqlStore) -> Iterator[SqlStore]:
    """The store of a second desk on the same database."""
    made = make()
    yield made
    made.close()


def login(**changed: Any) -> Login:
    seen = LoggedIn(
        person=Person(issuer="https://idp.example", subject="00u1alice", label="alice@example.com"),
        idp="corp",
        groups=("support",),
        evidence=Evidence(amr=("pwd", "otp"), auth_time=int(NOW)),
        mfa="proven",
    )
    base = Login(id="1" * 32, seen=seen, browser_hash=hashed("browser"), created_at=NOW, expires_at=NOW + 28_800)
    return msgspec.structs.replace(base, **changed)


def grant(**changed: Any) -> Grant:
    base = Grant(
        sid=SID, login_id="1" * 32, client_id="c", client_name="C", server="payments", resource="https://g/payments/mcp",
        scope="mcp:payments", created_at=NOW, expires_at=NOW + 28_800,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changed)


def code(**changed: Any) -> Code:
    base = Code(
        code_hash=hashed("code"), login_id="1" * 32, client_id="c", client_name="C", redirect_uri="http://127.0.0.1/cb", server="payments",
        resource="https://g/payments/mcp", scope="mcp:payments", code_challenge="x" * 43, expires_at=NOW + 60,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changed)


def turn(number: int, sid: str = SID) -> Turn:
    return Turn(sid=sid, number=number, token_hash=hashed(f"{sid}/{number}"))


def opened(store: SqlStore) -> Grant:
    store.keep_login(login())
    store.keep_code(code())
    made = store.redeem(hashed("code"), grant(), turn(0), NOW)
    assert isinstance(made, Grant)
    return made


def refresh(store: SqlStore, number: int, now: float) -> Refreshed | Replay | None:
    return store.refresh(SID, number, hashed(f"{SID}/{number}"), turn(number + 1), now)


# Requests under way


def test_a_transaction_is_there_until_it_expires_or_ends(store: SqlStore) -> None:
    kept = Transaction(handle_hash=hashed("h"), sealed=b"\x00sealed", idp=None, expires_at=NOW + 600)
    store.begin(kept)
    assert store.transaction(hashed("h"), NOW) == kept
    assert store.transaction(hashed("h"), NOW + 600) is None
    assert (store.end(hashed("h")), store.end(hashed("h"))) == (True, False)
    assert store.transaction(hashed("h"), NOW) is None


def test_of_many_answers_to_one_request_one_goes_on(store: SqlStore) -> None:
    store.begin(Transaction(handle_hash=hashed("h"), sealed=b"x", idp=None, expires_at=NOW + 600))
    assert not store.answered(hashed("h"), "corp", NOW), "nobody was asked yet"
    assert store.wait_for(hashed("h"), "corp", NOW)
    assert not store.answered(hashed("h"), "other", NOW)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: store.answered(hashed("h"), "corp", NOW), range(8))) == 1
    assert not store.wait_for(hashed("h"), "corp", NOW + 600)


# People


def test_a_login_is_its_browsers_until_it_expires_or_is_revoked(store: SqlStore) -> None:
    store.keep_login(login())
    assert store.login_of_browser(hashed("browser"), NOW) == login()
    assert store.login_of_browser(hashed("another"), NOW) is None
    assert store.login_of_browser(hashed("browser"), NOW + 28_800) is None
    store.revoke("by_person", NOW, login_id="1" * 32)
    assert store.login_of_browser(hashed("browser"), NOW) is None
    assert store.login("1" * 32) == login(revoked_at=NOW)


def test_a_consent_takes_the_place_of_the_one_before(store: SqlStore) -> None:
    given = Consent(issuer="i", subject="s", client_id="c", server="payments", what="w1", given_at=NOW)
    store.keep_consent(given)
    store.keep_consent(msgspec.structs.replace(given, what="w2"))
    found = store.consent("i", "s", "c", "payments")
    assert found is not None and found.what == "w2"
    assert store.consent("i", "s", "c", "orders") is None
    assert store.consent("i2", "s", "c", "payments") is None


def test_a_persons_live_grants_are_theirs_alone_of_all_their_logins_and_newest_first(store: SqlStore) -> None:
    opened(store)
    store.keep_login(login(id="2" * 32, browser_hash=hashed("browser 2")))
    mallory = Person(issuer="https://idp.example", subject="00u9mallory")
    store.keep_login(login(id="3" * 32, seen=LoggedIn(person=mallory, idp="corp"), browser_hash=hashed("browser 3")))
    for number, (login_id, at) in enumerate((("2" * 32, NOW + 5), ("3" * 32, NOW), ("2" * 32, NOW + 9))):
        name = f"code {number}"
        store.keep_code(code(code_hash=hashed(name), login_id=login_id))
        made = grant(sid=str(number) * 32, login_id=login_id, created_at=at, expires_at=NOW + 100 + number)
        assert store.redeem(hashed(name), made, turn(0, str(number) * 32), NOW) == made
    alice = ("https://idp.example", "00u1alice")
    assert [each.sid[0] for each in store.live_grants_of(*alice, NOW)] == ["2", "0", "a"]
    assert [each.sid[0] for each in store.live_grants_of(*alice, NOW + 100)] == ["2", "a"], "0 has expired"
    store.revoke("x", NOW, sid="2" * 32)
    assert [each.sid[0] for each in store.live_grants_of(*alice, NOW)] == ["0", "a"]
    assert store.live_grants_of("https://other.example", "00u1alice", NOW) == ()


def test_a_browser_that_is_forgotten_is_no_login_and_the_grants_stay(store: SqlStore) -> None:
    opened(store)
    store.forget_browser("1" * 32)
    assert store.login_of_browser(hashed("browser"), NOW) is None
    assert store.login_of_browser("", NOW) is None, "what is forgotten is found by nothing"
    found = store.grant(SID)
    assert found is not None and found.revoked_at is None
    assert store.login("1" * 32) is not None


# Clients


def test_clients_that_nobody_uses_are_counted_and_forgotten_after_a_day(store: SqlStore) -> None:
    def client(name: str, at: float) -> Registered:
        return Registered(client_id=name, name="N", redirect_uris=("http://127.0.0.1/cb",), created_at=at)

    assert store.register(client("a", NOW), at_most=2, since_s=NOW - 86_400)
    assert store.register(client("b", NOW), at_most=2, since_s=NOW - 86_400)
    assert not store.register(client("c", NOW), at_most=2, since_s=NOW - 86_400)
    store.client_used("a", NOW + 1)
    assert store.register(client("c", NOW), at_most=2, since_s=NOW - 86_400)
    store.sweep(NOW + 86_401)
    assert [store.registered(name) is not None for name in "abc"] == [True, False, False]
    assert store.registered("a") == Registered(
        client_id="a", name="N", redirect_uris=("http://127.0.0.1/cb",), created_at=NOW, used_at=NOW + 1
    )


# Codes


def test_a_code_gives_one_grant_and_a_second_use_ends_it(store: SqlStore) -> None:
    assert opened(store) == grant()
    used = store.code(hashed("code"))
    assert used is not None and used.grant_sid == SID
    again = store.redeem(hashed("code"), grant(sid="b" * 32), turn(0, "b" * 32), NOW + 1)
    assert again == Replay(grant=grant())
    ended = store.grant(SID)
    assert ended is not None and (ended.revoked_at, ended.revoked_why) == (NOW + 1, "code_reused")
    assert store.grant("b" * 32) is None


def test_a_code_of_a_login_that_has_ended_opens_nothing(store: SqlStore) -> None:
    """Whoever ended the login was told that nothing of it goes on, also not by a redemption that was under way."""
    store.keep_login(login())
    store.keep_code(code())
    assert store.revoke("logged_out", NOW, login_id="1" * 32) == ()
    assert store.redeem(hashed("code"), grant(), turn(0), NOW) is None
    assert store.grant(SID) is None


def test_what_was_agreed_to_goes_with_the_grant_where_that_is_meant(store: SqlStore) -> None:
    def given(client_id: str, server: str) -> Consent:
        person = login().seen.person
        return Consent(
            issuer=person.issuer, subject=person.subject, client_id=client_id, server=server, what="w", given_at=NOW
        )

    def agreed() -> set[tuple[str, str]]:
        person = login().seen.person
        pairs = (("c", "payments"), ("c", "orders"), ("other", "payments"))
        return {pair for pair in pairs if store.consent(person.issuer, person.subject, *pair) is not None}

    opened(store)
    everything = {("c", "payments"), ("c", "orders"), ("other", "payments")}
    for pair in everything:
        store.keep_consent(given(*pair))
    on_the_way = {("c", "payments"): hashed("1"), ("c", "orders"): hashed("2"), ("other", "payments"): hashed("3")}
    for (client_id, server), code_hash in on_the_way.items():
        store.keep_code(code(code_hash=code_hash, client_id=client_id, server=server))
    assert store.revoke("by_client", NOW, server="nowhere", agreed_too=True) == ()
    assert agreed() == everything
    assert [each.sid for each in store.revoke("ended_by_person", NOW, sid=SID, agreed_too=True)] == [SID]
    assert agreed() == everything - {("c", "payments")}
    assert [pair for pair, code_hash in on_the_way.items() if store.code(code_hash) is None] == [("c", "payments")]


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ({"client_id": "c"}, {("other", "payments")}),
        ({"server": "payments"}, {("c", "orders")}),
        ({"client_id": "c", "server": "payments"}, {("c", "orders"), ("other", "payments")}),
        ({"person": ("https://idp.example", "nobody")}, {("c", "payments"), ("c", "orders"), ("other", "payments")}),
        ({"person": None}, set()),
        ({"login_id": None}, set()),
        ({"sid": SID}, {("c", "orders"), ("other", "payments")}),
        ({"sid": "f" * 32}, {("c", "payments"), ("c", "orders"), ("other", "payments")}),
    ],
)
def test_what_was_agreed_to_is_forgotten_also_where_nothing_is_granted_now(
    store: SqlStore, where: dict[str, Any], left: set[tuple[str, str]]
) -> None:
    """Who ends a client ends also what it is about to get, and what a person once allowed it."""
    person = login().seen.person
    whole = {"person": (person.issuer, person.subject), "login_id": login().id}
    where = {name: value or whole[name] for name, value in where.items()}
    opened(store)
    assert len(store.revoke("idle", NOW, sid=SID)) == 1
    pairs = {("c", "payments"): hashed("1"), ("c", "orders"): hashed("2"), ("other", "payments"): hashed("3")}
    for (client_id, server), code_hash in pairs.items():
        agreed = Consent(issuer=person.issuer, subject=person.subject, client_id=client_id, server=server, what="w", given_at=NOW)  # fmt: skip
        store.keep_consent(agreed)
        store.keep_code(code(code_hash=code_hash, client_id=client_id, server=server))
    assert store.revoke("by_admin", NOW, **where, agreed_too=True) == ()
    assert {pair for pair in pairs if store.consent(person.issuer, person.subject, *pair) is not None} == left
    assert {pair for pair, code_hash in pairs.items() if store.code(code_hash) is not None} == left


def test_of_many_that_redeem_one_code_at_once_one_gets_the_grant(store: SqlStore) -> None:
    store.keep_login(login())
    store.keep_code(code())
    sids = [f"{n:032x}" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda sid: store.redeem(hashed("code"), grant(sid=sid), turn(0, sid), NOW), sids))
    assert sum(isinstance(each, Grant) for each in made) == 1


def test_a_code_that_is_not_there_gives_nothing(store: SqlStore) -> None:
    store.keep_login(login())
    assert store.redeem(hashed("guess"), grant(), turn(0), NOW) == Replay(grant=None)
    assert store.code(hashed("guess")) is None


# Refresh tokens


def test_a_turn_leads_to_the_next_and_a_repeat_to_the_same(store: SqlStore) -> None:
    opened(store)
    assert refresh(store, 0, NOW) == Refreshed(grant=grant(), number=1, repeated=False)
    assert refresh(store, 0, NOW + 3600) == Refreshed(grant=grant(), number=1, repeated=True), (
        "its successor was never used"
    )
    assert refresh(store, 1, NOW + 3600) == Refreshed(grant=grant(), number=2, repeated=False)
    assert refresh(store, 1, NOW + 3610) == Refreshed(grant=grant(), number=2, repeated=True), "within the grace"


def test_a_turn_used_after_its_successor_ends_the_grant(store: SqlStore) -> None:
    opened(store)
    refresh(store, 0, NOW)
    refresh(store, 1, NOW + 1)
    assert refresh(store, 0, NOW + 31) == Replay(grant=grant())
    assert refresh(store, 2, NOW + 32) is None
    assert store.revoked_since(NOW + 31) == {SID}


def test_twenty_refreshes_at_once_make_one_successor(store: SqlStore) -> None:
    opened(store)
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: refresh(store, 0, NOW), range(20)))
    assert all(isinstance(each, Refreshed) and each.number == 1 for each in found)
    assert [each.repeated for each in found if isinstance(each, Refreshed)].count(False) == 1


def test_a_token_with_another_hash_is_none(store: SqlStore) -> None:
    opened(store)
    assert store.refresh(SID, 0, hashed("forged"), turn(1), NOW) is None
    assert refresh(store, 0, NOW) is not None


def test_a_grant_that_is_over_gives_nothing(store: SqlStore) -> None:
    opened(store)
    assert refresh(store, 0, NOW + 28_800) is None
    assert store.refresh("f" * 32, 0, hashed("x"), turn(1, "f" * 32), NOW) is None


# Revocation


def test_what_is_revoked_is_what_was_asked_for_and_once(store: SqlStore) -> None:
    store.keep_login(login())
    store.keep_login(login(id="2" * 32, browser_hash=hashed("b2")))
    grants = [("a", "1", "c1", "payments"), ("b", "1", "c2", "payments"), ("d", "2", "c1", "orders")]
    for name, owner, client, server in grants:
        store.keep_code(code(code_hash=hashed(name), login_id=owner * 32))
        made = grant(sid=name * 32, login_id=owner * 32, client_id=client, server=server)
        assert isinstance(store.redeem(hashed(name), made, turn(0, name * 32), NOW), Grant)
    with pytest.raises(ValueError, match="nothing says"):
        store.revoke("x", NOW)
    assert [each.sid[0] for each in store.revoke("by_admin", NOW + 1, client_id="c1", server="payments")] == ["a"]
    assert store.revoke("by_admin", NOW + 2, client_id="c1", server="payments") == ()
    assert store.login_of_browser(hashed("browser"), NOW) is not None, "the login itself goes on"
    person = ("https://idp.example", "00u1alice")
    assert sorted(each.sid[0] for each in store.revoke("by_admin", NOW + 3, person=person)) == ["b", "d"]
    assert store.login_of_browser(hashed("browser"), NOW) is None
    assert store.revoked_since(NOW + 2) == {"b" * 32, "d" * 32}
    assert store.revoked_since(NOW) == {"a" * 32, "b" * 32, "d" * 32}


# What asks the provider again


def test_what_asks_the_provider_is_replaced_with_what_it_said_and_only_in_its_turn(store: SqlStore) -> None:
    store.keep_login(login(), b"envelope 0")
    assert store.upstream("1" * 32) == b"envelope 0"
    seen = msgspec.structs.replace(login().seen, groups=("staff",), read_at=NOW + 300)
    assert store.reread("1" * 32, b"envelope 0", seen, b"envelope 1")
    assert not store.reread("1" * 32, b"envelope 0", login().seen, b"envelope 2"), "somebody else came first"
    assert (store.login("1" * 32), store.upstream("1" * 32)) == (login(seen=seen), b"envelope 1")
    assert not store.reread("2" * 32, b"envelope 0", seen, b"envelope 1")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.reread("1" * 32, b"envelope 1", seen, b"next %d" % n), range(8)))
    assert won.count(True) == 1


def test_what_asks_the_provider_goes_with_the_login(store: SqlStore) -> None:
    store.keep_login(login(), b"envelope")
    store.keep_login(login(id="2" * 32, browser_hash="b2"), b"envelope")
    store.keep_login(login(id="3" * 32, browser_hash="b3"))
    store.revoke("by_admin", NOW, login_id="1" * 32)
    assert (store.upstream("1" * 32), store.upstream("3" * 32), store.upstream("4" * 32)) == (None, None, None)
    assert not store.reread("1" * 32, b"envelope", login().seen, b"next"), (
        "nor does an answer that was under way bring it back"
    )
    assert store.upstream("2" * 32) == b"envelope"
    store.sweep(NOW + 28_800)
    assert (store.upstream("2" * 32), store.login("2" * 32) is not None) == (None, True)
    with store._engine.connect() as connection:
        kept = connection.execute(sa.select(tables.logins.c.upstream)).scalars().all()
    assert kept == [None, None, None], "not only unreadable: gone"


def test_the_grants_of_a_login_are_those_that_still_give_something(store: SqlStore) -> None:
    opened(store)
    assert store.grants_of("1" * 32, NOW) == (grant(),)
    assert store.grants_of("1" * 32, NOW + 28_800) == store.grants_of("2" * 32, NOW) == ()
    store.revoke("by_admin", NOW, sid=SID)
    assert store.grants_of("1" * 32, NOW) == ()


# Housekeeping


def test_desks_of_the_same_keys_work_on_one_database_and_another_only_when_they_are_gone(store: SqlStore) -> None:
    assert store.present("a" * 64, NOW + 120, NOW)
    assert store.present("a" * 64, NOW + 150, NOW + 30), "a replica, or the same one later"
    assert not store.present("b" * 64, NOW + 160, NOW + 40)
    assert store.present("b" * 64, NOW + 300, NOW + 150), "it was killed"
    store.leave("b" * 64)
    assert store.present("a" * 64, NOW + 300, NOW + 151), "it was stopped"


def test_what_may_come_once_comes_once_until_it_expires(store: SqlStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: store.once("jti", hashed("1"), NOW + 60, NOW), range(8))) == 1
    assert store.once("assertion", hashed("1"), NOW + 60, NOW)
    assert not store.once("jti", hashed("1"), NOW + 60, NOW + 59)
    assert store.once("jti", hashed("1"), NOW + 120, NOW + 60)


def test_a_sweep_takes_only_what_is_long_over(store: SqlStore) -> None:
    opened(store)
    refresh(store, 0, NOW)
    store.sweep(NOW + 28_801)
    assert store.grant(SID) is not None, "a token that comes again must be known as expired, not as unknown"
    store.sweep(NOW + 28_801 + 86_400)
    assert (store.grant(SID), store.login("1" * 32), store.code(hashed("code"))) == (None, None, None)


def test_in_a_database_that_was_put_back_nobody_is_logged_in_and_nothing_is_agreed(store: SqlStore) -> None:
    opened(store)
    store.keep_login(login(id="2" * 32, browser_hash=hashed("browser 2")), b"sealed")
    store.keep_code(code(code_hash=hashed("on its way")))
    store.keep_consent(Consent(issuer="i", subject="s", client_id="c", server="payments", what="w", given_at=NOW))
    assert store.end_everything("restored", NOW + 5) == 1
    assert (store.login_of_browser(hashed("browser"), NOW + 5), store.upstream("2" * 32)) == (None, None)
    assert store.redeem(hashed("on its way"), grant(sid="b" * 32), turn(0, "b" * 32), NOW + 5) == Replay(grant=None)
    assert store.consent("i", "s", "c", "payments") is None
    assert store.live_grants(NOW + 5) == ()
    assert store.revoked_since(NOW) == {SID}
    assert store.end_everything("restored", NOW + 6) == 0


def test_everything_survives_a_restart(make: Callable[[], SqlStore]) -> None:
    first = make()
    opened(first)
    first.close()
    again = make()
    assert again.grant(SID) == grant()
    again.close()


def test_the_folder_of_the_store_is_this_users_alone(tmp_path: Path) -> None:
    SqlStore.in_folder(tmp_path / "desk").close()
    assert (tmp_path / "desk").stat().st_mode & 0o077 == 0


def test_a_database_of_a_newer_release_is_refused(make: Callable[[], SqlStore]) -> None:
    store = make()
    with store._engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(StoreUnavailable, match="newer release"):
        make()


def test_a_database_that_is_none_is_refused_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "desk.db").write_bytes(b"this is no database, and says so at some length" * 50)
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        SqlStore.in_folder(tmp_path / "desk")


def test_the_steps_of_the_schema_lead_to_the_tables_of_the_code(store: SqlStore) -> None:
    with store._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


# Two desks on one database


def test_desks_that_start_at_once_on_an_empty_database_make_its_tables_once(make: Callable[[], SqlStore]) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: make(), range(6)))
    opened(made[0])
    assert [each.grant(SID) for each in made] == [grant()] * 6
    for each in made:
        each.close()


def test_a_desk_that_is_told_locked_as_the_file_becomes_wal_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Raced(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if "journal_mode" in sql and len(told) < 3:
                told.append(sql)
                locked = sqlite3.OperationalError("database is locked")
                locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise locked
            return super().execute(sql, *parameters)

    real = sqlite3.connect

    def connect(*arguments: Any, **named: Any) -> sqlite3.Connection:
        return real(*arguments, factory=Raced, **named)

    monkeypatch.setattr("sqlite3.dbapi2.connect", connect)
    monkeypatch.setattr("sqlite3.connect", connect)
    store = SqlStore.in_folder(tmp_path / "desk")
    opened(store)
    store.close()
    assert len(told) == 3
    with closing(real(tmp_path / "desk" / "desk.db")) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_of_two_desks_that_redeem_one_code_one_gets_the_grant_and_it_ends(store: SqlStore, other: SqlStore) -> None:
    store.keep_login(login())
    for name in range(10):
        store.keep_code(code(code_hash=hashed(f"code {name}")))
        sids = [f"{name:016x}{n:016x}" for n in range(8)]
        desks = [store, other] * 4

        def redeem(
            desk: SqlStore,
            sid: str,
            code_hash: str = hashed(f"code {name}"),
        ) -> Grant | Replay:
            return desk.redeem(code_hash, grant(sid=sid), turn(0, sid), NOW)

        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(redeem, desks, sids))
        [won] = [each for each in made if isinstance(each, Grant)]
        assert all(each.grant is not None and each.grant.sid == won.sid for each in made if isinstance(each, Replay))
        ended = other.grant(won.sid)
        assert ended is not None and ended.revoked_why == "code_reused"


def test_of_two_desks_that_rotate_one_token_both_name_one_successor(store: SqlStore, other: SqlStore) -> None:
    opened(store)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda desk: refresh(desk, 0, NOW), [store, other] * 4))
    assert all(isinstance(each, Refreshed) and each.number == 1 for each in found)
    assert [each.repeated for each in found if isinstance(each, Refreshed)].count(False) == 1


def test_what_may_come_once_comes_once_at_whichever_desk(store: SqlStore, other: SqlStore) -> None:
    store.once("jti", hashed("1"), NOW - 1, NOW - 60)
    with ThreadPoolExecutor(8) as pool:
        came = pool.map(lambda desk: desk.once("jti", hashed("1"), NOW + 60, NOW), [store, other] * 4)
        assert sum(came) == 1, "also where what had expired makes room first"


def test_two_desks_together_register_no_more_clients_than_are_allowed(store: SqlStore, other: SqlStore) -> None:
    def register(desk: SqlStore, name: str, at: float) -> bool:
        client = Registered(client_id=name, name="N", redirect_uris=("http://127.0.0.1/cb",), created_at=at)
        return desk.register(client, at_most=3, since_s=at)

    for round_ in range(10):
        at, names = NOW + round_, [f"{round_}/{n}" for n in range(8)]
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(register, [store, other] * 4, names, [at] * 8)) == 3


def test_a_refresh_after_another_desks_revocation_gives_nothing(store: SqlStore, other: SqlStore) -> None:
    opened(store)
    other.revoke("by_admin", NOW, sid=SID)
    assert refresh(store, 0, NOW) is None
    assert store.revoked_since(NOW) == {SID}


# PostgreSQL alone


@pytest.mark.slow
def test_the_password_is_asked_for_at_each_connection_and_told_to_nobody(server: postgresql.Cluster) -> None:
    url = server.url(server.database(postgresql.WITH_PASSWORD), postgresql.WITH_PASSWORD)
    said = ["an-old-password"]
    with pytest.raises(StoreUnavailable) as refused:
        SqlStore.on_postgresql(url, lambda: said[-1])
    assert "old-password" not in str(refused.value)
    found = fault(url, lambda: said[-1])
    assert found is not None and "password authentication failed" in found and "old-password" not in found
    said.append(postgresql.PASSWORD)
    store = SqlStore.on_postgresql(url, lambda: said[-1])
    opened(store)
    assert fault(url, lambda: said[-1]) is None
    store.close()


@pytest.mark.slow
def test_who_only_reads_waits_for_no_writer_and_can_write_nothing(server: postgresql.Cluster) -> None:
    store = SqlStore.on_postgresql(server.url(server.database()))
    opened(store)
    with store._writing() as writer:
        writer.execute(tables.grants.delete())
        assert store.grant(SID) == grant()
    assert store.grant(SID) is None
    with pytest.raises(StoreUnavailable), store._reading() as connection:
        connection.execute(tables.grants.delete())
    store.close()


@pytest.mark.slow
def test_check_says_in_our_words_what_is_wrong_with_a_database(server: postgresql.Cluster) -> None:
    name = server.database()
    assert fault(server.url(name), None) is None, "empty, and ours: the desk makes its tables"
    store = SqlStore.on_postgresql(server.url(name))
    assert fault(server.url(name), None) is None
    with store._engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    assert fault(server.url(name), None) == "was written by a newer release of Gatebook"
    for url, words in ((server.url("nowhere"), "does not exist"), ("postgresql://gatebook@127.0.0.1:1/x", "refused")):
        found = fault(url, None)
        assert found is not None and found.startswith("cannot be connected to: ") and words in found
    assert fault(server.url("postgres"), None) == "does not let this user make the desk's tables"


@pytest.mark.slow
def test_beyond_this_machine_only_a_server_whose_certificate_is_vouched_for_gets_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = Authority(tmp_path), Authority(tmp_path, "other")
    with postgresql.cluster(ours.issue("127.0.0.1")) as server:
        name, asked = server.database(postgresql.WITH_PASSWORD), []

        def password() -> str:
            asked.append(1)
            return postgresql.PASSWORD

        def why(host: str, given: str) -> str | None:
            # As for a host elsewhere: what resolve makes of such a URL is in tests/unit/config/test_database.py.
            settings = f"sslmode=verify-full&sslrootcert={given}"
            return fault(f"postgresql://{postgresql.WITH_PASSWORD}@{host}:{server.port}/{name}?{settings}", password)

        assert why("127.0.0.1", str(ours.certificate)) is None
        assert asked == [1]
        for host, given in (
            ("127.0.0.1", str(other.certificate)),
            ("127.0.0.1", "system"),
            ("localhost", str(ours.certificate)),
        ):
            refused = why(host, given)
            assert refused is not None and "certificate" in refused, refused
            assert postgresql.PASSWORD not in refused
        # Where this system trusts it: Debian keeps one file with all of them in a folder, others name a file.
        trusted = tmp_path / "certs"
        trusted.mkdir()
        shutil.copy(ours.certificate, trusted / "ca-certificates.crt")
        paths = ssl.get_default_verify_paths()
        for known in (paths._replace(cafile=None, capath=str(trusted)), paths._replace(cafile=str(ours.certificate))):
            monkeypatch.setattr(ssl, "get_default_verify_paths", lambda known=known: known)
            assert why("127.0.0.1", "system") is None


# Jobs


def a_run(store: SqlStore) -> Login:
    job = Job(run="run_id:1/1", acting_for="58412", owned=False, claims={"repository_id": "1001"})
    seen = LoggedIn(person=Person(issuer="https://ci.example", subject="repo:a/b"), idp="github", job=job)
    run = login(seen=seen, browser_hash="", expires_at=NOW + 3600)
    store.open_grant(run, grant(client_id="github", expires_at=NOW + 3600), turn(0))
    return run


def test_a_jobs_run_is_a_login_with_one_grant_and_renews_by_the_rule_of_rotation(store: SqlStore) -> None:
    run = a_run(store)
    assert store.login(run.id) == run
    assert store.grant(SID) == grant(client_id="github", expires_at=NOW + 3600)
    assert isinstance(refresh(store, 0, NOW), Refreshed)
    assert isinstance(refresh(store, 0, NOW + 10), Refreshed), "repeated"
    assert isinstance(refresh(store, 1, NOW + 60), Refreshed)
    assert isinstance(refresh(store, 0, NOW + 61), Replay)
    assert store.revoked_since(NOW) == {SID}


def test_a_run_is_revoked_by_its_job_as_a_persons_grants_are(store: SqlStore) -> None:
    a_run(store)
    [ended] = store.revoke("by_person", NOW, person=("https://ci.example", "repo:a/b"))
    assert ended.sid == SID
    assert refresh(store, 0, NOW) is None


def test_a_run_is_kept_whole_or_not_at_all(store: SqlStore) -> None:
    a_run(store)
    other = login(id="2" * 32)
    with pytest.raises(sa.exc.IntegrityError):
        store.open_grant(other, grant(login_id=other.id), turn(0))  # the sid is taken
    assert store.login(other.id) is None


def next_grant(
    store: SqlStore, after: Login, number: int, *, run: str, server: str = "payments", late_s: float = 0
) -> bool:
    """Another login of the same job, as its next exchange makes it; whether it came in."""
    assert after.seen.job is not None
    seen = msgspec.structs.replace(after.seen, job=msgspec.structs.replace(after.seen.job, run=run))
    id, at = f"{number:032x}", NOW + late_s
    made = login(id=id, seen=seen, browser_hash="", created_at=at, expires_at=at + 3600)
    opens = grant(sid=id, login_id=id, server=server, created_at=at, expires_at=at + 3600)
    return store.open_grant(made, opens, turn(0, id))


def test_a_run_that_an_admin_ends_opens_nothing_more_and_another_does(store: SqlStore) -> None:
    run = a_run(store)
    assert next_grant(store, run, 2, run="run_id:1/1"), "before"
    store.revoke("by_admin", NOW, sid=SID)
    assert not next_grant(store, run, 3, run="run_id:1/1")
    assert not next_grant(store, run, 4, run="run_id:1/1", server="orders")
    assert not next_grant(store, run, 5, run="run_id:1/1", late_s=34 * 86_400)
    assert store.grant(f"{3:032x}") is None and store.login(f"{3:032x}") is None, "nothing of it is kept"
    assert next_grant(store, run, 6, run="run_id:2/1")
    assert next_grant(store, run, 7, run="run_id:1/2"), "a human began it again"
    assert next_grant(store, run, 8, run="run_id:1/1", late_s=35 * 86_400 + 1)


def test_a_run_that_is_ended_at_one_server_goes_on_at_others(store: SqlStore) -> None:
    run = a_run(store)
    store.revoke("by_admin", NOW, server="payments")
    assert not next_grant(store, run, 3, run="run_id:1/1")
    assert next_grant(store, run, 4, run="run_id:1/1", server="orders")


@pytest.mark.parametrize("why", ["by_client", "refresh_reused", "idle"])
def test_other_ends_leave_the_run_of_a_workflow_alone(store: SqlStore, why: str) -> None:
    """A GitHub run has many jobs, each of which gives its own token up; and a thief who uses a token twice must not end the run."""
    run = a_run(store)
    store.revoke(why, NOW, sid=SID)
    assert next_grant(store, run, 3, run="run_id:1/1")


def test_a_run_that_is_one_job_ends_where_it_gives_its_token_up(store: SqlStore) -> None:
    run = a_run(store)
    assert next_grant(store, run, 3, run="job_id:777")
    store.revoke("by_client", NOW, sid=f"{3:032x}")
    assert not next_grant(store, run, 4, run="job_id:777")
    assert next_grant(store, run, 5, run="job_id:777", server="orders")
    assert next_grant(store, run, 6, run="job_id:778")


@pytest.mark.parametrize(
    ("idp", "first", "then"), [("gatebook", "run_id:a", "run_id:b"), ("generic", "jti:a", "jti:b")]
)
def test_a_job_without_runs_is_kept_out_by_name_for_an_hour(store: SqlStore, idp: str, first: str, then: str) -> None:
    """What a registered job says of its run counts for nothing here."""
    run = a_run(store)
    run = msgspec.structs.replace(run, seen=msgspec.structs.replace(run.seen, idp=idp))
    assert next_grant(store, run, 3, run=first)
    store.revoke("by_client", NOW, sid=f"{3:032x}")
    assert next_grant(store, run, 4, run=then)
    store.revoke("by_admin", NOW, sid=f"{4:032x}")
    assert not next_grant(store, run, 5, run=then)
    assert not next_grant(store, run, 6, run="run_id:c" if idp == "gatebook" else "jti:none", late_s=3599)
    stranger = msgspec.structs.replace(run.seen, person=Person(issuer="https://ci.example", subject="repo:a/c"))
    assert next_grant(store, msgspec.structs.replace(run, seen=stranger), 7, run=then)
    assert next_grant(store, run, 8, run=then, late_s=3601)


def test_a_later_end_is_never_a_shorter_one(store: SqlStore) -> None:
    run = a_run(store)
    run = msgspec.structs.replace(run, seen=msgspec.structs.replace(run.seen, idp="gatebook"))
    key = ended_runs.key_of_name("https://ci.example", "repo:a/b")
    store.end_run(key, 3600, NOW)
    store.end_run(key, 60, NOW)
    assert not next_grant(store, run, 3, run="jti:a", late_s=3599)
    store.end_run(key, 3600, NOW + 7200)
    assert not next_grant(store, run, 4, run="jti:a", late_s=7200 + 3599)


def test_no_exchange_slips_through_an_end_that_comes_at_the_same_time(store: SqlStore) -> None:
    """Whatever came in before is in force no more, and nothing comes in after."""
    run = a_run(store)

    def act(number: int) -> tuple[str, bool]:
        if number == 20:
            return "end", bool(store.revoke("by_admin", NOW + 1, person=("https://ci.example", "repo:a/b")))
        return f"{number:032x}", next_grant(store, run, number, run="run_id:1/1")

    with ThreadPoolExecutor(8) as pool:
        came = [sid for sid, opened in pool.map(act, range(10, 40)) if opened and sid != "end"]
    assert SID in store.revoked_since(NOW)
    assert [sid for sid in came if sid not in store.revoked_since(NOW)] == []
    assert not next_grant(store, run, 99, run="run_id:1/1")


def test_a_persons_grants_end_and_the_person_comes_again(store: SqlStore) -> None:
    opened(store)
    store.revoke("by_admin", NOW, person=("https://idp.example", "00u1alice"))
    store.keep_login(login(id="2" * 32, browser_hash=hashed("other")))
    store.keep_code(code(code_hash=hashed("2"), login_id="2" * 32))
    assert store.redeem(hashed("2"), grant(sid="2" * 32, login_id="2" * 32), turn(0, "2" * 32), NOW) is not None


def test_whether_something_came_is_asked_without_saying_so(store: SqlStore) -> None:
    assert not store.came("run_over", hashed("1"), NOW)
    assert not store.came("run_over", hashed("1"), NOW)
    assert store.once("run_over", hashed("1"), NOW + 60, NOW)
    assert store.came("run_over", hashed("1"), NOW)
    assert not store.came("job_token", hashed("1"), NOW)
    assert not store.came("run_over", hashed("1"), NOW + 60)


def test_the_grants_in_force_come_with_their_logins_the_newest_first(store: SqlStore) -> None:
    store.keep_login(login())
    store.keep_login(login(id="2" * 32, browser_hash=hashed("other")))
    made = [
        grant(),
        grant(sid="b" * 32, login_id="2" * 32, created_at=NOW + 10),
        grant(sid="c" * 32, expires_at=NOW + 5),
        grant(sid="d" * 32, server="orders"),
    ]
    for number, each in enumerate(made):
        store.keep_code(code(code_hash=hashed(f"live {number}"), login_id=each.login_id))
        assert store.redeem(hashed(f"live {number}"), each, turn(0, each.sid), NOW) == each
    store.revoke("by_client", NOW + 20, sid="d" * 32)
    found = store.live_grants(NOW + 20)
    assert [(each.sid, of.id) for each, of in found] == [("b" * 32, "2" * 32), (SID, "1" * 32)]
