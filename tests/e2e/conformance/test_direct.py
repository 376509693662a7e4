"""The yardstick itself: what the everything server passes alone, and that adding a header costs nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import nodejs
from tests.e2e.conformance import everything_server as fixture
from tests.e2e.conformance.forwarder import forwarding
from tests.e2e.conformance.suite import REVISIONS, Loss, baseline, compare, passes, run_suite, totals

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.skipif(not nodejs.npm_packages_installed(), reason=nodejs.HOW_TO_INSTALL),
    pytest.mark.skipif(not fixture.fixture_installed(), reason=fixture.HOW_TO_INSTALL),
]


@pytest.fixture
def server_url(tmp_path: Path) -> Iterator[str]:
    with fixture.everything_server(tmp_path / "everything_server.log") as url:
        yield url


def losses_through(url: str, token: str, workdir: Path) -> list[Loss]:
    """What a gate at `url`, entered with `token`, loses of the everything server behind it. Empty is the aim."""
    with forwarding(url, f"Authorization: Bearer {token}") as entrance:
        return compare(baseline(), run_suite(entrance, REVISIONS, workdir))


def test_direct_is_the_baseline(server_url: str, tmp_path: Path) -> None:
    results = run_suite(server_url, REVISIONS, tmp_path / "results")
    assert [str(loss) for loss in compare(baseline(), results)] == []
    assert [sum(map(passes, results[revision].values())) for revision in REVISIONS] == [40, 33, 27, 1]
    assert totals(results) == (101, 295)


def test_the_forwarder_that_adds_the_token_loses_nothing(server_url: str, tmp_path: Path) -> None:
    assert [str(loss) for loss in losses_through(server_url, "any", tmp_path / "results")] == []
