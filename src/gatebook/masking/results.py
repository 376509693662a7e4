"""What masking hands back, and how it says no."""

import msgspec

from gatebook.model.finding import Finding


class Masked(msgspec.Struct, frozen=True, gc=False):
    """A body that was inspected and masked: the only thing a recorder accepts. Constructed in this package and nowhere else.

    `body` is the very object that was passed in when nothing changed. `findings` stand in the order of the document.
    """

    body: bytes
    findings: tuple[Finding, ...]


class Inspected(msgspec.Struct, frozen=True):
    """What a client sent, looked at once: `findings` say what it must not send (on any of them it is refused), and `masked` is
    what may be recorded of it. Constructed in this package and nowhere else."""

    findings: tuple[Finding, ...]
    masked: Masked


class MaskingFailed(Exception):
    """The message could not be judged, so it must be refused; trying again gives the same. The text never holds a value."""
