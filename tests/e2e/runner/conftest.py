"""What the tests with commands share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a short name: the system allows 107 bytes for a socket's path, and pytest's own names take most of them."""
    path = Path(tempfile.mkdtemp(prefix="gb-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
