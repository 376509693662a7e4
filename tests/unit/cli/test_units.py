"""`gatebook units`: by which name the unit starts this program."""

import sys
from pathlib import Path

import pytest

from gatebook.cli.units import program


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/opt/gatebook with one release, `current`, and a link to it on everybody's PATH."""
    (tmp_path / "0.1.0/bin").mkdir(parents=True)
    (tmp_path / "0.1.0/bin/gatebook").touch()
    (tmp_path / "current").symlink_to("0.1.0")
    (tmp_path / "path").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "0.1.0/bin/python3"))
    return tmp_path


def test_the_name_by_way_of_current_is_kept(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = release / "current/bin/gatebook"
    assert program(str(typed)) == typed
    (release / "path/gatebook").symlink_to("../current/bin/gatebook")
    assert program(str(release / "path/gatebook")) == typed, "also from another folder of PATH"
    monkeypatch.chdir(release)
    assert program("current/bin/gatebook") == typed


def test_a_release_that_is_named_itself_is_started_itself(release: Path) -> None:
    assert program(str(release / "0.1.0/bin/gatebook")) == release / "0.1.0/bin/gatebook"


@pytest.mark.parametrize("typed", ["gatebook/__main__.py", "0.2.0/bin/gatebook", "loop", "0.1.0/bin/pytest"])
def test_a_name_that_leads_elsewhere_is_not_written(release: Path, typed: str) -> None:
    (release / "loop").symlink_to("loop")
    (release / "0.2.0/bin").mkdir(parents=True)
    assert program(str(release / typed)) == release / "0.1.0/bin/gatebook"
