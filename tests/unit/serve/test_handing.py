"""Credentials of the service manager: who gets which, and how a room reads what it was handed."""

import os
from pathlib import Path

import pytest

from gatebook.adapters.secrets.credential import HANDED, LoadedCredentials
from gatebook.model.deployment import SecretReference
from gatebook.model.errors import UpstreamError
from gatebook.model.users import Account
from gatebook.serve import handing
from gatebook.serve.handing import Handing, handing_by, wanted_by
from gatebook.serve.rooms import spawn

GATE = Account(name="gate", uid=61001, gid=61001)
DOCUMENT = {
    "profile": "pci",
    "server": [
        {"name": "a", "credential": {"secret": "credential:a-key"}},
        {"name": "b", "command": ["credential:no"], "run": {"secrets": {"KEY": "credential:b-key"}}},
    ],
    "idp": [{"client_secret": "credential:client"}],
    "desk": {"database_password": "credential:database"},
    "metrics": {"token": "credential:scraper"},
}


def resolved(credentials: LoadedCredentials, name: str) -> bytes:
    return credentials.resolve(SecretReference(scheme="credential", locator=name)).reveal()


def test_each_room_gets_what_its_part_of_the_configuration_names() -> None:
    assert wanted_by(DOCUMENT) == {
        "gate": {"a-key", "no"},  # an argument that looks like one costs nothing where there is none of that name
        "runner": {"b-key"},
        "desk": {"client", "database"},
        "meter": {"scraper"},
    }
    assert wanted_by({"server": "no table", "desk": 3}) == dict.fromkeys(
        ("gate", "runner", "desk", "meter"), frozenset()
    )


def test_a_room_reads_what_it_was_handed_and_nothing_else(tmp_path: Path) -> None:
    assert handing.HANDED == HANDED
    (tmp_path / "a-key").write_bytes(b"value\n")
    (tmp_path / "client").write_bytes(b"other\n")
    made = Handing(wanted_by(DOCUMENT), str(tmp_path))
    with made.to("gate-1", GATE) as handed:
        credentials = LoadedCredentials(handed.environment)
        assert [resolved(credentials, "a-key") for _ in range(2)] == [b"value"] * 2
        with pytest.raises(UpstreamError, match="was not there when this room started; restart"):
            resolved(credentials, "client")
        assert len(handed.descriptors) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handed.descriptors[0])


def test_a_room_of_our_own_user_reads_the_directory_itself(tmp_path: Path) -> None:
    (tmp_path / "a-key").write_bytes(b"value")
    with Handing(wanted_by(DOCUMENT), str(tmp_path)).to("gate-0", None) as handed:
        assert (handed.descriptors, handed.environment) == ((), {})
    credentials = LoadedCredentials({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert resolved(credentials, "a-key") == b"value"
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "large").write_bytes(bytes(70_000))
    for name, words in (("empty", "is empty"), ("large", "is larger"), ("absent", "cannot be read: No such file")):
        with pytest.raises(UpstreamError, match=words):
            resolved(credentials, name)


def test_without_a_service_manager_it_says_which_line_is_missing() -> None:
    with pytest.raises(UpstreamError, match="write LoadCredential=a-key:PATH into the unit"):
        resolved(LoadedCredentials({}), "a-key")


def test_a_variable_that_is_another_rooms_secret_is_not_passed_on() -> None:
    """Rooms have users of their own so that one that was taken over has not the secrets of the others: each had all variables."""
    made = handing_by(
        {
            "server": [
                {"name": "a", "credential": {"secret": "env:A_KEY"}},
                {"name": "b", "run": {"secrets": {"KEY": "env:B_KEY"}, "environment": {"A": "env:A_KEY"}}},
            ],
            "idp": [{"client_secret": "env:CLIENT"}],
        }
    )
    withheld = {}
    for room in ("gate-1", "runner", "desk", "sealer"):
        with made.to(room, GATE) as handed:
            withheld[room] = handed.withheld
    assert withheld == {
        "gate-1": {"B_KEY", "CLIENT"},
        "runner": {"CLIENT"},
        "desk": {"A_KEY", "B_KEY"},
        "sealer": {"A_KEY", "B_KEY", "CLIENT"},
    }
    with made.to("gate-1", None) as handed:
        assert not handed.withheld, "rooms of one user read one another's anyway"


async def test_a_room_does_not_find_what_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "secret-of-a")
    monkeypatch.setenv("B_KEY", "secret-of-b")
    room = await spawn("gate-0", withheld=frozenset({"A_KEY"}))
    try:
        found = Path(f"/proc/{room.process.pid}/environ").read_bytes().split(b"\0")
        assert b"B_KEY=secret-of-b" in found and not [each for each in found if each.startswith(b"A_KEY=")]
    finally:
        await room.kill()
