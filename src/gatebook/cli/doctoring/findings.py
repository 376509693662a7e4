"""One thing that is wrong: how urgent, where, what, and the line to type."""

from typing import Final, Literal

import msgspec

Urgency = Literal["now", "soon", "later"]
"""now: calls are refused, or evidence is in danger. soon: it will be so, or a part does not work. later: worth knowing."""

ORDER: Final[dict[Urgency, int]] = {"now": 0, "soon": 1, "later": 2}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`line`: what to type or, where no line would mend it, what to do."""

    urgency: Urgency
    where: str
    what: str
    line: str


def now(where: str, what: str, line: str) -> Finding:
    return Finding(urgency="now", where=where, what=what, line=line)


def soon(where: str, what: str, line: str) -> Finding:
    return Finding(urgency="soon", where=where, what=what, line=line)


def later(where: str, what: str, line: str) -> Finding:
    return Finding(urgency="later", where=where, what=what, line=line)


def in_order(found: list[Finding]) -> list[Finding]:
    """The most urgent first; of equals, in the order they were found."""
    return sorted(found, key=lambda finding: ORDER[finding.urgency])
