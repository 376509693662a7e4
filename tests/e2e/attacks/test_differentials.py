"""The corpus of requests on which parsers differ, against the running gate: each is refused as it says, recorded, and sent nowhere."""

import pytest

from tests.e2e.attacks.ground import Attempt, Ground
from tests.fuzz.differentials import GOOD, Corpus, Where

pytestmark = pytest.mark.e2e

CASES = Corpus().by_name()


@pytest.fixture(scope="module")
def attempts(place: Ground) -> dict[str, Attempt]:
    """Every case, sent."""
    where = Where(host=f"127.0.0.1:{place.gate.port}", path="/payments/mcp", token=place.token())

    def attempt(sent: bytes) -> Attempt:
        return place.attempt(lambda address: place.raw(sent, address))

    return {name: attempt(case.bytes_for(where)) for name, case in {"good": GOOD, **CASES}.items()}


def test_the_call_that_the_cases_change_passes(place: Ground, attempts: dict[str, Attempt]) -> None:
    attempt = attempts["good"]
    assert (attempt.answer.status, attempt.arrived.count(b"POST /mcp")) == (200, 1)
    assert [entry.out.reason for entry in place.entries(lambda found: len(found) == 2, attempt.address)] == [
        "permitted",
        "completed",
    ]


@pytest.mark.parametrize("name", CASES)
def test_a_request_on_which_parsers_differ_is_refused_recorded_and_sent_nowhere(
    place: Ground, attempts: dict[str, Attempt], name: str
) -> None:
    attempt, case = attempts[name], CASES[name]
    assert attempt.arrived == b""
    assert [answer.status for answer in attempt.got] == [case.status]
    entry = place.refused(attempt.address)
    assert entry.out.reason == case.reason
    if attempt.answer.headers.get("content-type") == "application/json":
        assert attempt.answer.reason == case.reason
