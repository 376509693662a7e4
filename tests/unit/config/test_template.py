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
    assert all("there is no file" in p.what or "dev profile" in p.what for p in examined.problems), examined.problems
    assert examined.deployment is not None
    assert [role.name for role in examined.deployment.roles] == ["support", "nightly-report"]


def test_every_section_is_in_it() -> None:
    text = template("pci", "https://mcp.example.com", "mcp.example.com/prod")
    for section in ("[log]", "[payloads]", "[limits]", "[[issuer]]", "[[server]]", "[[server.tool]]", "[[role]]"):
        assert section in text
