"""One installation for all these tests: of /usr/bin/python3, where every user may read it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.install.installing import SYSTEM_PYTHON, build, install, pack, runtime_names
from tests.e2e.life.upstream import Upstream, counting_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(300))  # whoever comes first waits for the installation, too


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user of this machine may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="gatebook-install-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def wheels(open_folder: Path) -> Path:
    """A folder with Gatebook's wheel and those of everything that it needs."""
    folder = open_folder / "wheels"
    build("wheel", folder)
    pack(folder, runtime_names())
    return folder


@pytest.fixture(scope="session")
def installed(open_folder: Path, wheels: Path) -> Path:
    """The bin folder of an environment of /usr/bin/python3 with Gatebook in it."""
    if not SYSTEM_PYTHON.exists() or _version(str(SYSTEM_PYTHON)) != _version(sys.executable):
        pytest.skip("no /usr/bin/python3 of this Python's version, for which the packages here are built")
    return install(open_folder / "venv", wheels, ["gatebook"])


@pytest.fixture(scope="session")
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives rooms users of their own: run the tests as root")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with counting_server() as server:
        yield server


@pytest.fixture
def folder(open_folder: Path) -> Iterator[Path]:
    """One for this test, with a short name: sockets lie in it."""
    directory = Path(tempfile.mkdtemp(prefix="", dir=open_folder))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def _version(python: str) -> str:
    code = "import sys; print(sys.implementation.cache_tag)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
