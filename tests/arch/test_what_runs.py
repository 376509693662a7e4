"""What is left out of `make check`, so that somebody waits for it, is left out nowhere else."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from tests import examples

ROOT = Path(__file__).parents[2]
LEAVE_OUT = ("-m", "-k", "--ignore", "--deselect", "--hypothesis-profile")


def pytest_of(target: str) -> str:
    """The line with which `make` runs the tests."""
    command = ["make", "--dry-run", "--no-print-directory", target, "PYTEST_ARGS="]
    # What the caller's own `make` was told is not asked here.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    [line] = [line for line in printed.splitlines() if line.startswith(".venv/bin/pytest ")]
    return line


def left_out_by(line: str) -> list[str]:
    return [word for word in line.split() if word.partition("=")[0] in LEAVE_OUT]


def test_everything_runs_in_make_test_which_is_what_ci_runs() -> None:
    assert left_out_by(pytest_of("test")) == []
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1] == "exec make test"
    settings_of_all = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"-m", "not nightly"]' in settings_of_all, "what pyproject.toml leaves out is left out of every run"


def test_make_check_leaves_out_what_takes_long_and_tries_a_few_examples() -> None:
    line = pytest_of("check")
    assert left_out_by(line) == ["--ignore", "-m", f"--hypothesis-profile={examples.A_FEW}"]
    assert '"not slow and not e2e and not nightly"' in line


@pytest.mark.parametrize(
    ("profile", "usual", "of_300", "of_5"), [(examples.ALL, 100, 300, 5), (examples.A_FEW, 15, 15, 5)]
)
def test_a_property_is_tried_with_as_many_examples_as_it_says(profile: str, usual: int, of_300: int, of_5: int) -> None:
    in_force = settings.get_current_profile_name()
    settings.load_profile(profile)
    try:
        assert (settings().max_examples, examples.up_to(300), examples.up_to(5)) == (usual, of_300, of_5)
    finally:
        settings.load_profile(in_force)
