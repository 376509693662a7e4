"""The suite's client scenarios through a gate of two workers: a real client in front, the suite's mock server behind."""

import json

import pytest

from tests.e2e import nodejs
from tests.e2e.conformance import everything_server as fixture
from tests.e2e.conformance.client_suite import RUNS, SCENARIOS, direct, run_client_suite, through
from tests.e2e.conformance.client_through_gate import server_name
from tests.e2e.conformance.suite import Results, compare, totals
from tests.e2e.gate import ISSUER_URL, config_for, free_port, token
from tests.e2e.life.deployed import deployed
from tests.issuing import Issuer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(400),  # fifteen clients and fifteen servers, two at a time
    pytest.mark.skipif(not nodejs.npm_packages_installed(), reason=nodejs.HOW_TO_INSTALL),
    pytest.mark.skipif(not fixture.fixture_installed(), reason=fixture.HOW_TO_INSTALL),
]

CHECKS = {"2025-11-25": 20, "2026-07-28": 64, "2025-06-18": 3}
SKIPPED = [f"http-standard-headers: sep-2243-client-includes-standard-headers#{number} SKIPPED" for number in (10, 11)]
"""The headers of `initialize` and of `notifications/initialized`, which no client sends in 2026-07-28."""


def not_passed(results: Results) -> list[str]:
    """The checks that did not pass, in all scenarios."""
    return [
        f"{scenario}: {check} {status}"
        for scenarios in results.values()
        for scenario, checks in scenarios.items()
        for check, status in checks.items()
        if status != "SUCCESS"
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the client passes without a gate."""
    return run_client_suite(direct(), tmp_path_factory.mktemp("alone") / "results")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What it passes through one; each scenario's calls are in that gate's book, which is whole."""
    directory = tmp_path_factory.mktemp("behind")
    port = free_port()
    issuer = Issuer(ISSUER_URL, name="corp")
    names = [server_name(scenario, revision) for revision, scenario in RUNS]
    tokens = {name: token(issuer, f"http://127.0.0.1:{port}/{name}/mcp") for name in names}
    with deployed(directory / "gate", config_for(port, {}), port, issuer=issuer) as gate:
        told = {"pid": gate.process.pid, "port": port, "tokens": tokens}
        (gate.directory / "gate.json").write_text(json.dumps(told))
        results = run_client_suite(through(gate.directory), directory / "results")
        assert gate.stop() == 0
        gate.verify()
        assert {written.entry.res.server for written in gate.log("call.result")} == set(names)
        assert not gate.said("bug")
    return results


def test_the_client_alone_is_the_yardstick(alone: Results) -> None:
    assert {revision: tuple(scenarios) for revision, scenarios in alone.items()} == SCENARIOS
    assert not_passed(alone) == SKIPPED
    assert {revision: totals({revision: alone[revision]})[1] for revision in alone} == CHECKS


def test_the_client_loses_nothing_through_the_gate(alone: Results, behind: Results) -> None:
    assert [str(loss) for loss in compare(alone, behind)] == []
    assert not_passed(behind) == SKIPPED
    assert {revision: totals({revision: behind[revision]})[1] for revision in behind} == CHECKS
