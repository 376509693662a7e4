"""The real desk on a real PostgreSQL: people log in and refresh, over a crash of the desk and a stop of the database."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgresql
from tests.e2e.desk import CLIENT_ID, Place, place
from tests.e2e.gate import free_port, running
from tests.e2e.life.deployed import refusal
from tests.e2e.oidc_provider import Person

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ALICE = Person(sub="00u1alice", groups=("support",), amr=("pwd", "otp"))


@pytest.fixture(scope="module")
def server() -> Iterator[postgresql.Cluster]:
    with postgresql.cluster() as running:
        yield running


@pytest.fixture(scope="module")
def here(server: postgresql.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("desk")
    secret = directory / "database-password"
    secret.write_text(f"{postgresql.PASSWORD}\n")
    secret.chmod(0o600)
    url = server.url(server.database(postgresql.WITH_PASSWORD), postgresql.WITH_PASSWORD)
    with place(directory, desk=f'database = "{url}"\ndatabase_password = "file:{secret}"\n') as here:
        yield here


def test_a_person_logs_in_and_refreshes_also_when_the_desk_was_killed(here: Place) -> None:
    first = here.log_in(here.browser(ALICE))
    assert here.call(first["access_token"]) == 200
    second = here.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    here.kill_desk()
    here.until_the_desk_answers()
    assert here.refresh(first["refresh_token"]).json()["refresh_token"] == second["refresh_token"], "a repeat"
    third = here.refresh(second["refresh_token"])
    assert third.status_code == 200
    assert here.call(third.json()["access_token"]) == 200
    assert not (here.gate.data_dir / "desk").exists(), "nothing lies in SQLite"


def test_a_desk_with_other_keys_does_not_start_on_the_same_database_and_a_replica_shares_its_logins(
    here: Place, server: postgresql.Cluster, tmp_path: Path
) -> None:
    port = free_port()
    text = here.gate.config.read_text().replace(
        f'listen = ["127.0.0.1:{here.gate.port}"]', f'listen = ["127.0.0.1:{port}"]'
    )
    other = refusal(tmp_path / "other", text)
    assert "desk.database: a desk with another desk.public_url or other keys works on this database" in other
    assert postgresql.PASSWORD not in other
    tokens = here.log_in(here.browser(ALICE))
    # A replica: the same issuer behind another address, with the keys of the first.
    replica, listens = tmp_path / "replica", free_port()
    (replica / "data" / "keys").mkdir(parents=True)
    for name in ("refresh.key", "upstream.key", "desk-signing.jwk"):
        shutil.copy(here.gate.data_dir / "keys" / name, replica / "data" / "keys" / name)
    (replica / "api-key").write_bytes((here.gate.directory / "api-key").read_bytes())
    address = here.issuer.partition("://")[2]
    with running(replica, text.replace(f'listen = ["{address}"]', f'listen = ["127.0.0.1:{listens}"]'), port):
        form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": tokens["refresh_token"]}
        asked = here.http.post(f"http://127.0.0.1:{listens}/oauth/token", data=form, headers={"host": address})
        assert asked.status_code == 200, asked.text
    assert here.refresh(tokens["refresh_token"]).json()["refresh_token"] == asked.json()["refresh_token"], "a repeat"


def test_while_the_database_is_gone_calls_go_on_and_then_logins_too(here: Place, server: postgresql.Cluster) -> None:
    first = here.log_in(here.browser(ALICE))
    server.stop()
    try:
        refused = here.refresh(first["refresh_token"])
        assert refused.status_code == 503, refused.text
        assert here.call(first["access_token"]) == 200
        checked = here.gate.command("check", check=False)
        assert (
            checked.returncode == 1 and "desk.database" in checked.stdout and postgresql.PASSWORD not in checked.stdout
        )
    finally:
        server.start()
    for _ in range(100):
        again = here.refresh(first["refresh_token"])
        if again.status_code == 200:
            break
        time.sleep(0.1)
    assert again.status_code == 200, again.text
    assert here.call(here.log_in(here.browser(ALICE))["access_token"]) == 200
    assert "desk.database" not in here.gate.command("check", check=False).stdout


def test_a_desk_that_starts_before_its_database_comes_up_with_it(here: Place, server: postgresql.Cluster) -> None:
    first = here.log_in(here.browser(ALICE))
    server.stop()
    try:
        here.kill_desk()
        time.sleep(2)
        assert here.call(first["access_token"]) == 200
    finally:
        server.start()
    here.until_the_desk_answers()
    assert here.refresh(first["refresh_token"]).status_code == 200
