"""A gate of two workers before the counting server, with its numbers shown, and a reader of them."""

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.gate import ISSUER_URL, config_for, free_port
from tests.e2e.life.deployed import Deployed, deployed
from tests.e2e.life.upstream import Upstream, counting_server
from tests.issuing import Issuer

Labels = frozenset[tuple[str, str]]
Deploy = Callable[..., AbstractContextManager[Deployed]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)


class Scraped:
    """One scrape. `text` as it came; `value` and `total` by names and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, at), value in self.samples.items() if found == name and wanted <= at)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def get(where: str, headers: dict[str, str] | None = None, path: str = "/metrics") -> tuple[int, dict[str, str], str]:
    """Status, lower-case headers and body from `where`: HOST:PORT or a socket's path."""
    connection = _UnixConnection(where) if where.startswith("/") else http.client.HTTPConnection(where, timeout=30)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read().decode()
    finally:
        connection.close()


def scrape(where: str) -> Scraped:
    status, _, text = get(where)
    assert status == 200, text
    return Scraped(text)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with counting_server() as server:
        yield server


@pytest.fixture
def metrics_at() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def deploy(upstream: Upstream, metrics_at: str, tmp_path: Path) -> Deploy:
    """Start this test's deployment; `metrics`: the table, instead of one that listens at `metrics_at`."""
    port, issuer = free_port(), Issuer(ISSUER_URL, name="corp")

    def start(*, metrics: str | None = None, more: str = "", workers: int = 2) -> AbstractContextManager[Deployed]:
        table = metrics if metrics is not None else f'[metrics]\nlisten = "{metrics_at}"\n'
        config = config_for(port, {"counting": upstream.url}, workers=workers, more=f"{table}{more}")
        return deployed(tmp_path / "gate", config, port, issuer=issuer)

    return start
