from collections.abc import Iterator

import pytest

from tests.e2e.attacks.ground import Ground, ground


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """One gate for every attack."""
    with ground(tmp_path_factory.mktemp("attacked")) as attacked:
        yield attacked
