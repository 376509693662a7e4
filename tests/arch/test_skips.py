"""With CI=true a skipped test fails the run, unless a line in allowed_skips.txt gives a reason."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TREE = Path(__file__).parents[2]
CONFTEST = TREE / "tests" / "conftest.py"
SKIPPING = """
import pytest

@pytest.mark.parametrize("case", ["a", "b"])
def test_one(case): pytest.skip("no strace; type: SYSTEM_PACKAGES=1 make test")

@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False

def test_passes(): pass
"""
MODULE_SKIPPING = 'import pytest\npytest.skip("nothing here", allow_module_level=True)\n'


def run(folder: Path, test: str, allowed: str, ci: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "allowed_skips.txt").write_text(allowed, encoding="utf-8")
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        "-p",
        "no:cacheprovider",
        ".",
    ]
    environment = os.environ | {"CI": ci, "PYTHONPATH": str(TREE)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_skip_without_a_reason_fails_in_ci_and_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, SKIPPING, "test_it.py::test_one[a] | never\n", "true")
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_it.py::test_one[b]: Skipped: no strace; type: SYSTEM_PACKAGES=1 make test" in result.stdout
    assert "passed" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize("pattern", ["test_it.py::test_one*", "test_it.py::test_one[*]"])
def test_a_skip_with_a_reason_passes_in_ci(tmp_path: Path, pattern: str) -> None:
    assert run(tmp_path, SKIPPING, f"# why not\n{pattern} | needs a kernel that CI has not\n", "true").returncode == 0


def test_a_module_that_skips_itself_counts_as_well(tmp_path: Path) -> None:
    assert run(tmp_path, MODULE_SKIPPING, "", "true").returncode == pytest.ExitCode.TESTS_FAILED


def test_outside_ci_skips_are_free(tmp_path: Path) -> None:
    assert run(tmp_path, SKIPPING, "", "").returncode == 0


def test_an_entry_without_a_reason_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path, SKIPPING, "test_it.py::*\n", "true").returncode == pytest.ExitCode.USAGE_ERROR
