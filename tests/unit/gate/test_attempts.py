"""How many entries a flood of nobodies makes."""

from gatebook.gate.attempts import MAX_SOURCES, WINDOW_US, Attempts
from gatebook.gate.drafting import UNKNOWN
from gatebook.model.record import Draft, Origin, Resource


def _attempt(ip: str) -> Draft:
    return Draft(
        event="auth.failed",
        ok=False,
        reason="credential_missing",
        who=UNKNOWN,
        origin=Origin(ip=ip),
        resource=Resource(kind="server", server="payments", method="POST"),
    )


def test_all_addresses_of_an_ipv6_network_are_one_source_and_each_attempt_is_counted() -> None:
    """Whoever has one of these addresses has 2^64 of them, and each had an entry of its own, and another when its minute was over."""
    attempts = Attempts()
    written = [
        draft
        for number in range(2 * MAX_SOURCES)
        for draft in attempts.count(_attempt(f"2001:db8::{number:x}"), number)
    ]
    written += attempts.ended(WINDOW_US + 1)
    assert [(draft.origin.ip, draft.detail["attempts"]) for draft in written] == [
        ("2001:db8::0", 1),
        ("2001:db8::0", 2 * MAX_SOURCES - 1),
    ]


def test_other_networks_and_addresses_of_ipv4_are_sources_of_their_own() -> None:
    attempts = Attempts()
    for ip in ("2001:db8::1", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"):
        assert len(attempts.count(_attempt(ip), 0)) == 1
