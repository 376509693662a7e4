"""Whether the native code for records and requests, where it is installed, can be used."""

from collections.abc import Iterator

from gatebook.cli.doctoring.findings import Finding, soon
from gatebook.speed import SpeedUp


def speed(found: SpeedUp, *, reads: bool, looks: bool) -> Iterator[Finding]:
    """Nothing where it is used, turned off, or not installed: the records are the same. `reads`: it reads requests as Python does; `looks`: it
    finds what may be card data as RE2 does, or is not asked to on this machine."""
    again = "pip install --force-reinstall --no-deps ./native  # in the checkout of this release"
    if found.refused:
        yield soon("speed-up", f"records are composed {found.words}: they are right, and cost a gate some CPU", again)
    elif found.composer is not None and not reads:
        what = "requests are read in Python, because gatebook-speed reads otherwise: that is right, and costs a gate some CPU"
        yield soon("speed-up", what, again)
    elif found.composer is not None and not looks:
        what = "messages are looked at by RE2 alone, because gatebook-speed finds otherwise: that is right, and costs a gate some CPU"
        yield soon("speed-up", what, again)
