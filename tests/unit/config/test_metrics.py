"""`[metrics]` and `[traces]`: who may read the numbers, and where spans go."""

from pathlib import Path

import pytest

from gatebook.model.deployment import Metrics, SecretReference, Traces
from tests.unit.config.test_desk import PCI, examined, problems

TLS = 'tls = { certificate = "m.pem", key = "m.key" }'
TOKEN = 'token = "file:scraper"'


def with_metrics(*lines: str) -> str:
    return PCI + "\n[metrics]\n" + "\n".join(lines) + "\n"


def metrics(text: str, directory: Path) -> Metrics | None:
    found = examined(text, directory)
    assert found.problems == () and found.deployment is not None
    return found.deployment.metrics


def test_without_the_table_there_are_none(tmp_path: Path) -> None:
    assert metrics(PCI, tmp_path) is None


@pytest.mark.parametrize("where", ["127.0.0.1:9464", "[::1]:9464", "unix:/run/gatebook/metrics.sock"])
def test_on_this_machine_neither_tls_nor_token_is_demanded(where: str, tmp_path: Path) -> None:
    assert metrics(with_metrics(f'listen = "{where}"'), tmp_path) == Metrics(listen=where)


def test_beyond_this_machine_both_are(tmp_path: Path) -> None:
    listen = 'listen = "192.0.2.7:9464"'
    assert metrics(with_metrics(listen, TLS, TOKEN), tmp_path) == Metrics(
        listen="192.0.2.7:9464",
        tls_certificate=str(tmp_path / "m.pem"),
        tls_key=str(tmp_path / "m.key"),
        token=SecretReference(scheme="file", locator=str(tmp_path / "scraper")),
    )
    for given, lacking in (((), "tls and token"), ((TLS,), "token"), ((TOKEN,), "tls")):
        [found] = problems(with_metrics(listen, *given), tmp_path)
        assert "can be reached from other machines" in found and f"give {lacking}, or listen on 127.0.0.1" in found


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (('listen = "unix:/run/m.sock"', TLS), "has no effect"),
        (('listen = "127.0.0.1:9464"', 'token = "literal:hunter2hunter2"'), "the token itself stands"),
        (('listen = "0.0.0.0:9464"',), "can be reached from other machines"),
        (('listen = "nowhere"',), "port"),
        ((TOKEN,), "listen"),
    ],
)
def test_what_is_refused(lines: tuple[str, ...], said: str, tmp_path: Path) -> None:
    found = problems(with_metrics(*lines), tmp_path)
    assert any(said in each for each in found), found
    assert not any("hunter2" in each for each in found)


def with_traces(*lines: str) -> str:
    return PCI + "\n[traces]\n" + "\n".join(lines) + "\n"


def test_spans_go_to_a_collector_over_tls_or_on_this_machine(tmp_path: Path) -> None:
    found = examined(with_traces('endpoint = "https://otel.example.com:4318/v1/traces"', TOKEN), tmp_path)
    assert found.problems == () and found.deployment is not None
    assert found.deployment.traces == Traces(
        endpoint="https://otel.example.com:4318/v1/traces",
        share=0.01,
        token=SecretReference(scheme="file", locator=str(tmp_path / "scraper")),
    )
    assert problems(with_traces('endpoint = "http://127.0.0.1:4318/v1/traces"'), tmp_path) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (('endpoint = "http://otel.example.com/v1/traces"',), "crosses the network in clear"),
        (('endpoint = "https://otel.example.com"',), "is no endpoint"),
        (('endpoint = "https://u:hunter2@otel.example.com/v1/traces"',), "holds a user or password"),
        (('endpoint = "https://otel.example.com/v1/traces"', "share = 1.5"), "share"),
        (('endpoint = "https://otel.example.com/v1/traces"', 'token = "literal:hunter2hunter2"'), "the token itself"),
    ],
)
def test_traces_that_are_refused(lines: tuple[str, ...], said: str, tmp_path: Path) -> None:
    found = problems(with_traces(*lines), tmp_path)
    assert any(said in each for each in found), found
    assert not any("hunter2" in each for each in found)


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatebook.config.metrics.find_spec", lambda _: None)
    [found] = problems(with_traces('endpoint = "https://otel.example.com/v1/traces"'), tmp_path)
    assert "bin/pip install 'opentelemetry-proto" in found
