from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.wire.place import Place
from tests.e2e.wire.place import place as running_place


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One gate for all."""
    with running_place(tmp_path_factory.mktemp("wire")) as ready:
        yield ready
