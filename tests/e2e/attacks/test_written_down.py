"""docs/attacks.md says what the tests of this package saw. Last in order, because it needs what they saw."""

import os

import pytest

from tests.e2e.attacks import table
from tests.e2e.attacks.ground import Ground

pytestmark = pytest.mark.e2e


def test_no_callers_token_and_no_cookie_ever_reached_a_server(place: Ground) -> None:
    """Case 63, over everything that this run has sent."""
    received = bytes(place.payments.received)
    assert not any(part.encode() in received for token in place.tokens for part in token.split(".") if len(part) > 40)
    assert b"client-cookie" not in received
    table.saw(
        63,
        "every request of this run: no part of a caller's token and no cookie among what the server got",
        "as above",
        "as above",
    )


def test_the_page_has_what_was_seen_and_what_it_has_was_seen(request: pytest.FixtureRequest) -> None:
    """Where only some tests run, only what they saw is looked for. `WRITE_ATTACKS=1 pytest tests/e2e/attacks` writes the page."""
    here = [item for item in request.session.items if "/e2e/attacks/" in item.nodeid]
    whole = {item.nodeid.split("::")[-1].partition("[")[0] for item in here} >= table.tests_of_the_package()
    if whole and os.environ.get("WRITE_ATTACKS"):
        table.write(table.rendered(table.SEEN))
    assert [row for row in table.SEEN if not table.holds(row)] == []
    if whole:
        assert table.committed() == table.rendered(table.SEEN)
        assert {row.case for row in table.SEEN} == table.TITLES.keys()
