"""The official suite against the same fixture as `tests/e2e/conformance`, but as a command: what stdio, runner and gate together lose."""

import sys
from pathlib import Path

import pytest

from tests.e2e.conformance.everything_server import ROOT
from tests.e2e.conformance.forwarder import forwarding
from tests.e2e.conformance.suite import REVISIONS, Results, baseline, compare, run_suite, totals
from tests.e2e.gate import ISSUER_URL, free_port, running, token
from tests.e2e.runner.configured import commands_config
from tests.e2e.runner.limits_of_stdio import excused
from tests.issuing import Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(420)]

COMMAND = [sys.executable, "-m", "tests.e2e.runner.everything_stdio"]


def test_through_the_runner_nothing_is_lost_but_what_stdio_cannot_do(short_path: Path) -> None:
    port, entrance_port = free_port(), free_port()
    issuer = Issuer(ISSUER_URL, name="corp")
    public_url = f"http://127.0.0.1:{entrance_port}"
    header = f"Authorization: Bearer {token(issuer, f'{public_url}/everything/mcp')}"
    run = f'environment = {{ PYTHONPATH = "{ROOT}" }}\ndirectory = "{ROOT}"\nstart_s = 120\n'
    config = commands_config(port, {"everything": COMMAND}, run=run, public_url=public_url)
    with (
        running(short_path / "gate", config, port, issuer=issuer),
        forwarding(f"http://127.0.0.1:{port}/everything/mcp", header, port=entrance_port) as entrance,
    ):
        # One revision after the other: each of their hundred sessions starts a process, and the suite waits only seconds for one.
        results: Results = {}
        for revision in REVISIONS:
            results |= run_suite(entrance, (revision,), short_path / "results")
    losses = compare(baseline(), results)
    unexcused = [str(loss) for loss in losses if (loss.revision, loss.scenario, loss.check) not in excused()]
    assert unexcused == []
    assert {(loss.revision, loss.scenario, loss.check) for loss in losses} == set(excused()), "a limit that is none"
    assert totals(results) == (100, 292)
    assert '"bug"' not in (short_path / "gate" / "gate.log").read_text()
