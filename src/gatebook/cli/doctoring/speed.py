"""Whether the native code for records, where it is installed, can be used."""

from collections.abc import Iterator

from gatebook.adapters.ledger_segment.speed import SpeedUp
from gatebook.cli.doctoring.findings import Finding, soon


def speed(found: SpeedUp) -> Iterator[Finding]:
    """Nothing where it is used, turned off, or not installed: the records are the same."""
    if found.refused:
        what = f"records are composed {found.words}: they are right, and cost a gate some CPU"
        yield soon(
            "speed-up", what, "pip install --force-reinstall --no-deps ./native  # in the checkout of this release"
        )
