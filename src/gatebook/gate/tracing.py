"""Which trace a call belongs to, and what is told of it. A caller's trace goes on; else one begins here, under the call's own id."""

import re

from gatebook.gate.asking import Question
from gatebook.model.errors import Reason
from gatebook.model.spans import Span
from gatebook.wire.methods import METHODS

_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1
_NOBODY = (b"0" * 32, b"0" * 16)
OTHER = "other"


def traceparent(call: str) -> bytes:
    """A W3C Trace Context parent, version 00, sampled, for a call that came without: its trace has the call's id, so that who has the one
    finds the other, and its parent is the span of what we send."""
    digits = call.replace("-", "")
    return f"00-{digits}-{digits[16:]}-01".encode()


def wanted(passed_on: bytes | None, call: str, share: float) -> tuple[str, str] | None:
    """Trace and parent of a call that is to be told of; None where it is not. `passed_on`: the caller's `traceparent` as it goes to the server.

    A caller's own flag decides; where there is none, `share` of the calls, by what is random in their id."""
    found = _TRACEPARENT.fullmatch(passed_on) if passed_on is not None else None
    if found is None or found[1] == _NOBODY[0] or found[2] == _NOBODY[1]:
        digits = call.replace("-", "")
        return (digits, "") if int(digits[-8:], 16) < share * 2**32 else None
    return (found[1].decode(), found[2].decode()) if int(found[3], 16) & _SAMPLED else None


def span(
    question: Question,
    trace: tuple[str, str],
    *,
    began_ns: int,
    ended_ns: int,
    sent_ns: int | None,
    answered_ns: int | None,
    status: int,
    refused: Reason | None,
) -> Span:
    method = question.elements[0].method if question.elements else question.verb
    return Span(
        trace=trace[0],
        parent=trace[1],
        call=question.call,
        server=question.caller.server.name,
        method=method if method in METHODS or not question.elements else OTHER,
        protocol=question.era,
        started_ns=began_ns,
        ended_ns=ended_ns,
        sent_ns=sent_ns,
        answered_ns=answered_ns,
        status=status,
        refused=None if refused is None else str(refused),
    )
