"""desk.database and desk.database_password: what they come to, and what is refused."""

from pathlib import Path

import pytest

from gatebook.model.deployment import Desk, SecretReference
from tests.unit.config.test_desk import PCI, examined, problems

KEY = 'signing_key = "desk.jwk"'
GIVEN = "postgresql://gatebook@db.example.com/gatebook"
SECURE = f"{GIVEN}?sslmode=verify-full&sslrootcert="


def with_database(url: str, more: str = "") -> str:
    return PCI.replace(KEY, f'{KEY}\ndatabase = "{url}"\n{more}')


def desk(text: str, directory: Path) -> Desk:
    found = examined(text, directory)
    assert found.problems == () and found.deployment is not None and found.deployment.desk is not None
    return found.deployment.desk


def test_without_a_word_it_is_none(tmp_path: Path) -> None:
    found = desk(PCI, tmp_path)
    assert (found.database, found.database_password) == (None, None)


@pytest.mark.parametrize(
    ("given", "comes_to"),
    [
        (GIVEN, f"{SECURE}system"),
        (f"{GIVEN}?sslmode=verify-full", f"{SECURE}system"),
        (f"{GIVEN}?sslrootcert=/etc/ca.pem", f"{SECURE}%2Fetc%2Fca.pem"),
        ("postgresql://g@127.0.0.1:5433/g", "postgresql://g@127.0.0.1:5433/g"),
        ("postgresql://g@/g?host=/run/postgresql", "postgresql://g@/g?host=%2Frun%2Fpostgresql"),
    ],
)
def test_what_leaves_the_machine_is_verified(given: str, comes_to: str, tmp_path: Path) -> None:
    found = desk(with_database(given, 'database_password = "file:pw"'), tmp_path)
    assert found.database == comes_to
    assert found.database_password == SecretReference(scheme="file", locator=str(tmp_path / "pw"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("postgresql://gatebook:hunter2@db.example.com/gatebook", "holds a password"),
        (f"{GIVEN}?password=hunter2", "holds a password"),
        (f"{GIVEN}?sslmode=prefer", "weakens TLS"),
        (f"{GIVEN}?sslmode=disable&sslmode=verify-full", "is given twice"),
        (f"{GIVEN}?host=/run/postgresql", "names no host, or two"),
        (f"{GIVEN}?hostaddr=192.0.2.1", "not known"),
        ("postgresql://gatebook@/gatebook?host=db.example.com", "names no host, or two"),
        ("postgresql://gatebook@db.example.com/", "is no URL of the kind wanted"),
        ("postgresql://db.example.com/gatebook", "is no URL of the kind wanted"),
        ("postgresql://gatebook@127.0.0.1,db.example.com/gatebook", "names no host, or two"),
        ("sqlite:///gatebook", "is no URL of the kind wanted"),
        ("postgresql+psycopg2://gatebook@db.example.com/gatebook", "is no URL of the kind wanted"),
    ],
)
def test_what_would_be_weak_or_mean_nothing_is_refused_and_not_repeated(given: str, said: str, tmp_path: Path) -> None:
    found = problems(with_database(given), tmp_path)
    assert any("desk.database" in problem and said in problem for problem in found), found
    assert not any("hunter2" in problem for problem in found)


def test_a_password_that_stands_here_or_has_no_database_is_told(tmp_path: Path) -> None:
    literal = problems(with_database(GIVEN, 'database_password = "literal:hunter2"'), tmp_path)
    assert any("the secret itself stands" in problem for problem in literal) and "hunter2" not in str(literal)
    alone = problems(PCI.replace(KEY, f'{KEY}\ndatabase_password = "env:PW"'), tmp_path)
    assert any("has no effect without desk.database" in problem for problem in alone)
