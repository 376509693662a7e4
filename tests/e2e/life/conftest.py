"""What most of these tests start from: the counting server, and a gate of two workers in front of it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.gate import ISSUER_URL, config_for, free_port
from tests.e2e.life.deployed import Deployed, deployed
from tests.e2e.life.upstream import Upstream, counting_server
from tests.issuing import Issuer

Deploy = Callable[..., AbstractContextManager[Deployed]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with counting_server() as server:
        yield server


@pytest.fixture
def deploy(upstream: Upstream, tmp_path: Path) -> Deploy:
    """Start the one deployment of this test, as often as wanted: same directory, port and issuer. `more`: the configuration's end;
    `command`: instead of `gatebook serve`; `origin`, `watermark`: the log's; `data_dir`: where the data lie, instead of beside the configuration."""
    port = free_port()
    issuer = Issuer(ISSUER_URL, name="corp")

    def start(
        *,
        more: str = "",
        segment_bytes: int = 8 << 20,
        workers: int = 2,
        command: tuple[str, ...] | None = None,
        data_dir: Path | None = None,
        origin: str = "localhost/test",
        watermark: Path | None = None,
    ) -> AbstractContextManager[Deployed]:
        config = config_for(port, {"counting": upstream.url}, workers=workers, more=more)
        config = config.replace("segment_bytes = 8388608", f"segment_bytes = {segment_bytes}")
        marked = f'watermark = "{watermark}"\n' if watermark is not None else ""
        config = config.replace('origin = "localhost/test"\n', f'origin = "{origin}"\n{marked}')
        if data_dir is not None:
            (tmp_path / "gate").mkdir(exist_ok=True)
            (tmp_path / "gate" / "data").symlink_to(data_dir)
        extra = {} if command is None else {"command": command}
        return deployed(tmp_path / "gate", config, port, issuer=issuer, **extra)

    return start
