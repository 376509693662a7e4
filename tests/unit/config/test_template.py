"""The file that `gatebook init` writes."""

import re
from pathlib import Path

import pytest

from gatebook.config import examine_bytes
from gatebook.config.reading import read
from gatebook.config.template import template


def test_in_dev_it_loads_as_it_is_and_grants_nothing(tmp_path: Path) -> None:
    examined = examine_bytes(template("dev", None, None).encode(), tmp_path / "gatebook.toml")
    assert examined.deployment is not None
    assert {problem.severity for problem in examined.problems} == {"warning"}
    assert examined.deployment.roles == ()


def test_in_pci_only_the_files_are_missing(tmp_path: Path) -> None:
    text = template("pci", "https://mcp.example.com", "mcp.example.com/prod")
    examined = examine_bytes(text.encode(), tmp_path / "gatebook.toml")
    errors = [problem for problem in examined.problems if problem.severity == "error"]
    assert errors and all("there is no file" in problem.what for problem in errors)
    assert examined.deployment is not None
    assert examined.deployment.log_key == str(tmp_path / "data/keys/log.skey")


@pytest.mark.parametrize("profile", ["pci", "dev"])
def test_its_examples_are_the_file_s_own_syntax_once_they_are_uncommented(profile: str, tmp_path: Path) -> None:
    text = template("pci" if profile == "pci" else "dev", "https://mcp.example.com", "mcp.example.com/prod")
    text = re.sub(r"(?m)^#(?=[a-z\[])", "", text)
    assert read(text.encode()).problems == ()
    examined = examine_bytes(text.encode(), tmp_path / "gatebook.toml")
    # A file and a user that an example names need not be on this machine.
    expected = ("there is no file", "dev profile", "knows no user")
    assert all(any(words in p.what for words in expected) for p in examined.problems), examined.problems
    assert examined.deployment is not None
    assert [role.name for role in examined.deployment.roles] == ["support", "nightly-report"]


def test_it_names_another_data_dir_and_users_of_the_rooms_where_they_are_asked_for() -> None:
    text = template("dev", None, None, Path("/srv/data"), users=True)
    known = read(text.encode())
    assert known.problems == () and known.file is not None and known.file.users is not None
    assert (known.file.data_dir, known.file.payloads.public_key) == ("/srv/data", "/srv/data/payloads.pub")
    assert known.file.users.sealer == "gatebook-sealer"


def test_every_section_is_in_it() -> None:
    text = template("pci", "https://mcp.example.com", "mcp.example.com/prod")
    for section in ("[log]", "[payloads]", "[limits]", "[[issuer]]", "[[server]]", "[[server.tool]]", "[[role]]"):
        assert section in text
