"""Codes, tokens, assertions and login state are stored as hashes or envelopes only: everything that people and jobs log in with is looked for in
everything that the gate and its desk write, on SQLite and on PostgreSQL.

The controls: the same search over a database that held a token for a moment, and over a desk that hashes and seals nothing.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import postgresql
from tests.e2e.canary.logging_in import Everything, everything
from tests.e2e.canary.search import Hit, Search
from tests.e2e.canary.test_canary import deleted_but_open, recorded
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

CONTROL = "a-token-that-was-stored-as-it-is-for-a-moment"


class Flown:
    """What was planted, and where it was found: while everything ran, and when it had ended."""

    def __init__(self, search: Search, running: list[Hit], ended: list[Hit], recorded: list[Hit]) -> None:
        self.search = search
        self.running = running
        self.ended = ended
        self.recorded = recorded

    def kinds(self) -> set[str]:
        """The names of what was planted, without their numbers and the names of pieces."""
        return {name.partition(" ")[2].partition(",")[0] for name in self.search.plants}


def written(place: Everything, search: Search) -> list[Hit]:
    """What is found in all that the gate writes; its own keys are where they belong."""
    keys = list((place.here.gate.data_dir / "keys").iterdir())
    hits = []
    for path in place.written:
        if path.is_dir():
            hits += search.directory(path, leave_out=keys)
        else:
            hits += search.bytes(path.read_bytes(), path.name)
    return hits


def flown(place: Everything, *beside: Path) -> Flown:
    """Everybody logs in; then all is searched, what lies in the folders `beside` too."""
    place.by_oidc()
    place.by_saml()
    place.by_jobs()
    gate = place.here.gate
    place.here.entries()  # the sealer has taken what was written
    search = Search(place.collected.plants() | {"control": CONTROL.encode()})
    found = written(place, search) + deleted_but_open(gate, search)
    found += [hit for folder in beside for hit in search.directory(folder)]
    assert gate.stop() == 0
    bodies = [hit for body in recorded(gate) for hit in search.bytes(body, "a recorded body")]
    told = search.bytes(gate.command("log", "--json", "--limit", "99999").stdout.encode(), "gatebook log")
    return Flown(search, found, written(place, search) + told, bodies)


def assert_all_kinds_came_by(kinds: set[str]) -> None:
    """Otherwise nothing was looked for."""
    assert kinds >= {
        "access_token of the login", "refresh_token of the login", "refresh_token of the refresh", "access_token of another server",
        "id_token of the provider", "refresh_token of the provider", "access_token of the provider", "client secret",
        "PKCE verifier of the client", "cookie gatebook-login", "cookie gatebook-session", "SAML response", "ID of the SAML request",
        "signature of an assertion", "RelayState", "access_token of the SAML login", "token of a GitHub job", "access_token of a GitHub job",
        "assertion of a cron job", "access_token of a cron job", "ticket in /login/saml/finish", "request in /consent",
        "code in /login/oidc/corp/callback", "state in /auth", "code in /callback", "state in /callback", "nonce in /auth",
        "token in a page",
    }, kinds  # fmt: skip


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Everything, Flown]]:
    with everything(tmp_path_factory.mktemp("canary")) as place:
        yield place, flown(place)


def test_nothing_that_people_or_jobs_log_in_with_is_written_anywhere(on_sqlite: tuple[Everything, Flown]) -> None:
    _, found = on_sqlite
    assert_all_kinds_came_by(found.kinds())
    assert (found.running, found.ended, found.recorded) == ([], [], [])


def test_control_a_token_that_stood_in_the_database_for_a_moment_is_found_in_its_free_pages_and_its_log(
    on_sqlite: tuple[Everything, Flown],
) -> None:
    place, found = on_sqlite
    path = place.here.gate.data_dir / "desk" / "desk.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA secure_delete = off")
        database.execute("INSERT INTO seen (kind, value_hash, expires_at) VALUES ('control', ?, 0)", (CONTROL,))
        database.commit()
        database.execute("DELETE FROM seen WHERE kind = 'control'")
        database.commit()
        beside = {hit.where for hit in written(place, found.search)}
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert beside == {"desk/desk.db-wal"}
    assert {hit.where for hit in written(place, found.search)} == {"desk/desk.db"}


def test_control_a_desk_that_hashes_and_seals_nothing_stores_them_and_the_search_finds_them(tmp_path: Path) -> None:
    """What is stored in some form comes to the store; the rest (access tokens, assertions, a job's token) never does, in no form."""
    with everything(tmp_path, env={"PYTHONPATH": str(Path(__file__).with_name("unhashed"))}) as place:
        found = flown(place)
    stored = {hit.what.partition(" ")[2].partition(",")[0] for hit in found.running + found.ended}
    assert stored >= {
        "refresh_token of the login", "refresh_token of the refresh", "refresh_token of the provider", "code in /callback",
        "state in /callback", "request in /consent", "RelayState", "cookie gatebook-session", "ID of the SAML request",
    }, stored  # fmt: skip


def folders_of(server: postgresql.Cluster, database: str) -> list[Path]:
    """What PostgreSQL has written of this database: its tables as far as they are on the disk, and the log in which every change of them is."""
    with psycopg.connect(server.url(database, "postgres"), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", (database,)).fetchone()
    assert row is not None
    return [server.folder / "data" / "base" / str(row[0]), server.folder / "data" / "pg_wal"]


def test_on_postgresql_its_tables_and_its_log_are_searched_too(tmp_path: Path) -> None:
    with postgresql.cluster() as server:
        name = server.database()
        with everything(tmp_path, desk=f'database = "{server.url(name)}"') as place:
            found = flown(place, *folders_of(server, name))
        with psycopg.connect(server.url(name), autocommit=True) as database:
            database.execute("INSERT INTO seen (kind, value_hash, expires_at) VALUES ('control', %s, 0)", (CONTROL,))
            database.execute("DELETE FROM seen WHERE kind = 'control'")
        control = {hit.where for folder in folders_of(server, name) for hit in found.search.directory(folder)}
    assert_all_kinds_came_by(found.kinds())
    assert (found.running, found.ended, found.recorded) == ([], [], [])
    assert control, "it stands in the write-ahead log"
