"""The official suite through a gate of two workers, with masking and recording on: what it loses against the server direct."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conformance.everything_server import everything_server
from tests.e2e.conformance.forwarder import forwarding
from tests.e2e.conformance.suite import REVISIONS, baseline, compare, run_suite, totals
from tests.e2e.gate import ISSUER_URL, config_for, free_port, running, token
from tests.issuing import Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def server_url(tmp_path: Path) -> Iterator[str]:
    with everything_server(tmp_path / "server.log") as url:
        yield url


def test_nothing_that_passes_direct_is_lost_through_the_gate(server_url: str, tmp_path: Path) -> None:
    port = free_port()
    issuer = Issuer(ISSUER_URL, name="corp")
    entrance_port = free_port()
    public_url = f"http://127.0.0.1:{entrance_port}"
    header = f"Authorization: Bearer {token(issuer, f'{public_url}/everything/mcp')}"
    config = config_for(port, {"everything": server_url}, public_url=public_url)
    with (
        running(tmp_path / "gate", config, port, issuer=issuer),
        forwarding(f"http://127.0.0.1:{port}/everything/mcp", header, port=entrance_port) as entrance,
    ):
        results = run_suite(entrance, REVISIONS, tmp_path / "results")
    assert [str(loss) for loss in compare(baseline(), results)] == []
    assert totals(results) == (101, 295)
    assert '"bug"' not in (tmp_path / "gate" / "gate.log").read_text()
