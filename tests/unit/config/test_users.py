"""`[users]`: names and numbers of the system's users, and what may not be among them."""

import stat
import sys
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.secrets import FileOrEnvironment
from gatebook.config import examine
from gatebook.config.check import problems
from gatebook.config.checking.probe import Probe
from gatebook.model.deployment import Deployment
from gatebook.model.users import Account, Users
from gatebook.serve.needs import needs
from tests.unit.config.test_check import FixedClock


def written(folder: Path, users: str) -> Path:
    config = folder / "gatebook.toml"
    config.write_text(f'profile = "dev"\n[users]\n{users}\n')
    return config


def users_of(config: Path) -> Users | None:
    deployment = examine(config).deployment
    assert deployment is not None
    return deployment.users


ALL = 'gate = "61001"\nsealer = "61002"\ndesk = "61003"'


def test_numbers_need_no_account_and_are_their_own_group(tmp_path: Path) -> None:
    users = users_of(written(tmp_path, ALL + '\nrunner = "61004:61000"'))
    assert users is not None
    assert users.gate == Account(name="61001", uid=61001, gid=61001)
    assert users.runner == Account(name="61004", uid=61004, gid=61000)
    assert users.supervisor.uid == 0
    assert users.of("gate-1") == users.gate


def test_a_name_is_looked_up(tmp_path: Path) -> None:
    users = users_of(written(tmp_path, ALL.replace('"61001"', '"nobody:daemon"')))
    assert users is not None and users.gate.name == "nobody" and users.gate.uid > 0


@pytest.mark.parametrize(
    ("wrong", "where", "words"),
    [
        (ALL.replace("61001", "no-such-user"), "users.gate", "knows no user or group of that name (no-such-user)"),
        (ALL.replace("61001", "61001:no-such"), "users.gate", "knows no user or group"),
        (ALL.replace("61002", "61001"), "users.sealer", "is the user of gate too"),
        (ALL + '\nsupervisor = "61003"', "users.desk", "is the user of supervisor too"),
        (ALL.replace("61003", "root"), "users.desk", "is root"),
        (ALL.replace("61003", "0"), "users.desk", "is root"),
        (ALL.replace("61003", "two words"), "users.desk", "is no user"),
        ('gate = "61001"', "users.desk", ""),
    ],
)  # fmt: skip
def test_what_would_keep_nothing_apart_is_refused(tmp_path: Path, wrong: str, where: str, words: str) -> None:
    errors = [each for each in examine(written(tmp_path, wrong)).problems if each.severity == "error"]
    assert any(each.where.startswith(where) and words in each.what for each in errors), errors


def checked(config: Path, **changes: object) -> dict[str, str]:
    probe = Probe(clock=FixedClock(), credentials=FileOrEnvironment(), reach=lambda *_: None)
    return {each.where: each.what for each in problems(examine(config), msgspec.structs.replace(probe, **changes))}


def test_check_says_what_the_rooms_cannot_reach_or_that_nobody_asked(tmp_path: Path) -> None:
    config = written(tmp_path, ALL)
    (tmp_path / "data").mkdir(mode=0o711)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o711

    def asked(deployment: Deployment, users: Users, path: Path) -> list[str]:
        assert path == config and deployment.users == users
        return ["users.gate: /x cannot be read by user 61001, and gate needs it; (data_dir); chown it"]

    assert "takes root" in checked(config)["users"]
    said = checked(config, rooms=asked)
    assert said["users.gate"] == "/x cannot be read by user 61001, and gate needs it; (data_dir)"
    assert "data_dir" not in said and "under one user" not in " ".join(said.values())


def test_a_credential_that_only_the_service_manager_has_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gatebook.toml"
    server = '[[server]]\nname = "s"\nurl = "http://127.0.0.1:9/mcp"\ncredential = { secret = "credential:key" }\n'
    config.write_text('profile = "dev"\n' + server)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "was not looked at" in checked(config)["server s: credential.secret"]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "cannot be read" in checked(config)["server s: credential.secret"]
    (tmp_path / "key").write_text("value\n")
    (tmp_path / "key").chmod(0o600)
    assert "server s: credential.secret" not in checked(config)


def test_the_desk_must_be_able_to_read_the_driver_of_its_database_also_where_it_looks_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that a root of umask 077 installed is to others a package without anything in it."""
    driver = tmp_path / "site" / "psycopg"
    driver.mkdir(parents=True)
    monkeypatch.setattr("sys.path", [str(driver.parent)])
    for loaded in ("psycopg", "psycopg_binary"):  # by another test: what is loaded already is not looked for
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    config = tmp_path / "gatebook.toml"
    desk = '[desk]\nlisten = ["127.0.0.1:8444"]\npublic_url = "http://127.0.0.1:8444"\n'
    for database, wanted in (('database = "postgresql://g@127.0.0.1:5433/g"\n', [str(driver)]), ("", [])):
        config.write_text(f'profile = "dev"\n{desk}{database}[users]\n{ALL}\n')
        deployment = examine(config).deployment
        assert deployment is not None and deployment.users is not None
        found = needs(deployment, deployment.users, "desk", config)
        assert [each.path for each in found if each.what == "desk.database: its driver"] == wanted
        assert not [each for each in needs(deployment, deployment.users, "gate-0", config) if "driver" in each.what]
