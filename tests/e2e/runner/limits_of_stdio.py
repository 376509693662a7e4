"""What the conformance baseline holds and stdio cannot do, check by check, each with the limit of stdio that costs it."""

NO_STREAMS = (
    "stdio has one stream, which a server can neither leave nor hand an event id: there is nothing to resume "
    "(priming event, retry, Last-Event-ID)"
)

LIMITS: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("2025-11-25", "server-sse-polling"): {
        NO_STREAMS: ("server-sse-priming-event", "server-sse-retry-field", "server-sse-disconnect-resume"),
    },
}
"""(Revision, scenario) → limit → the checks that it costs."""


def excused() -> dict[tuple[str, str, str], str]:
    """(Revision, scenario, check) → the limit of stdio that causes its loss."""
    return {
        (*place, check): limit
        for place, limits in LIMITS.items()
        for limit, checks in limits.items()
        for check in checks
    }
