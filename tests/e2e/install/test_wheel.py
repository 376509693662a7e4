"""Wheel and sdist: the same bytes from the same source wherever and whenever they are built, and nothing missing in them."""

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from tests.docs.pages import ROOT
from tests.e2e.install.installing import build
from tests.unpacking import unpack

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src")


def copied(to: Path) -> Path:
    """The sources in another place, with other times and a stricter mask."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copy
            )
        else:
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    for path in to.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return to


def test_wheel_and_sdist_are_the_same_bytes_again(tmp_path: Path) -> None:
    elsewhere = copied(tmp_path / "elsewhere")
    for kind in ("wheel", "sdist"):
        first, second = build(kind, tmp_path / "first"), build(kind, tmp_path / "second", elsewhere)
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes(), kind
    (elsewhere / "src/gatebook/__init__.py").write_text('"""Another."""\n__version__ = "0.1.0"\n')
    assert (
        build("wheel", tmp_path / "third", elsewhere).read_bytes()
        != (tmp_path / "first" / first_wheel(tmp_path)).read_bytes()
    )


def first_wheel(tmp_path: Path) -> str:
    return next(path.name for path in (tmp_path / "first").glob("*.whl"))


def test_a_wheel_of_the_sdist_is_the_wheel(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path / "first")) as packed:
        unpack(packed, tmp_path / "unpacked")
    [source] = (tmp_path / "unpacked").iterdir()
    wheels = build("wheel", tmp_path / "first"), build("wheel", tmp_path / "second", source)
    assert wheels[0].read_bytes() == wheels[1].read_bytes()


def test_every_file_of_the_package_is_in_the_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(build("wheel", tmp_path)) as wheel:
        packed = {name for name in wheel.namelist() if not name.startswith("gatebook-")}
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/gatebook").rglob("*") if path.is_file()}
    assert packed == {name for name in sources if "__pycache__" not in name}
    assert {"gatebook/cli/units/files/gatebook.service", "gatebook/demo/payments.sql"} <= packed


def test_what_is_installed_brings_its_data(installed: Path, tmp_path: Path) -> None:
    """Templates, units, migrations: what is no module is found where it was installed to."""
    code = """
from importlib.resources import files
from gatebook.adapters.desk_store.store import SqlStore
from gatebook.serve.desk_http import answers
import gatebook, pathlib, sys
SqlStore.in_folder(pathlib.Path(sys.argv[1])).close()
assert (files("gatebook.serve.desk_http") / "templates/base.html").is_file()
print(gatebook.__file__)
"""
    python = installed / "python"
    done = subprocess.run([python, "-I", "-c", code, tmp_path / "desk"], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed.parent))
    assert (tmp_path / "desk/desk.db").is_file()
