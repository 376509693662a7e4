"""What goes into the book at each step of an exchange. Pure: values in, drafts out; the ledger numbers and stores them."""

from typing import Literal

from msgspec.structs import replace

from gatebook.gate.asking import Element, Question, recording_of
from gatebook.gate.authorizing import Permitted
from gatebook.gate.identifying import Caller, origin_of
from gatebook.gate.quarantine import Seen
from gatebook.gate.world import Standing
from gatebook.masking import Masked
from gatebook.model.deployment import Server
from gatebook.model.errors import Reason
from gatebook.model.finding import Finding
from gatebook.model.http import Arrival
from gatebook.model.record import Draft, Event, Payload, PolicyRef, Resource, Who

_VERB_METHOD = {"GET": "GET stream", "DELETE": "DELETE session"}
Part = Literal["request", "response", "event", "message"]
UNKNOWN = Who(kind="unknown", iss="none", sub="unauthenticated")


def intents(permitted: Permitted) -> tuple[Draft, ...]:
    """One entry per element that is about to be sent (a stream's opening where there is none). The first carries the payload."""
    question = permitted.question
    if not question.elements:
        event: Event = "stream.open" if question.verb == "GET" else "message.client"
        method, rule = _VERB_METHOD[question.verb], permitted.permits[0].rule
        return (_draft(question.caller, event, None, method=method, rule=rule, call=question.call),)
    events: list[Draft] = []
    for position, (element, permit) in enumerate(zip(question.elements, permitted.permits, strict=True)):
        event = "call.intent" if element in question.calls else "message.client"
        payloads = payload(question, "request", question.masked) if position == 0 else ()
        events.append(
            _draft(question.caller, event, element, rule=permit.rule, payloads=payloads, findings=question.findings)
        )
    return tuple(events)


def refusal(question: Question, reason: Reason, element: Element | None, rule: str) -> Draft:
    """A question that may not pass, with what was asked (masked)."""
    element = element or (question.elements[0] if question.elements else None)
    return _draft(
        question.caller,
        "call.refused",
        element,
        ok=False,
        reason=reason,
        method=None if element else _VERB_METHOD[question.verb],
        rule=rule,
        decision="deny",
        call=question.call,
        findings=question.findings,
        payloads=payload(question, "request", question.masked) if element else (),
    )


def unreadable(caller: Caller, arrival: Arrival, reason: Reason, call: str) -> Draft:
    """A request of an identified caller that is no message: its size is kept, its bytes are not (they were never inspected)."""
    return _draft(
        caller,
        "call.refused",
        None,
        ok=False,
        reason=reason,
        method=f"{arrival.method} unreadable",
        call=call,
        detail={"bytes": len(arrival.body)},
    )


def unread(caller: Caller, arrival: Arrival, reason: Reason, call: str) -> Draft:
    """A request of an identified caller that was turned away before anything of it was read."""
    detail: dict[str, str | int | bool] = {"bytes": len(arrival.body)}
    return _draft(
        caller, "call.refused", None, ok=False, reason=reason, method=arrival.method, call=call, detail=detail
    )


def unauthenticated(arrival: Arrival, server: Server | None, reason: Reason) -> Draft:
    """An attempt by nobody we know. No byte of the credential is kept."""
    return Draft(
        event="auth.failed",
        ok=False,
        reason=str(reason),
        who=UNKNOWN,
        origin=origin_of(arrival),
        resource=Resource(kind="server", server=server.name if server else None, method=arrival.method),
    )


def result(
    question: Question,
    element: Element,
    reason: Reason,
    *,
    inspected: Masked | None = None,
    detail: dict[str, str | int | bool] | None = None,
) -> Draft:
    """How a call ended. `inspected` is the answer as released; absent where there was none."""
    caller = question.caller
    # As `_draft` would; one for each call.
    return Draft(
        event="call.result",
        ok=reason is Reason.COMPLETED,
        reason=str(reason),
        who=caller.who,
        origin=caller.origin,
        resource=element.resource,
        call=element.call,
        session=caller.session,
        findings=inspected.findings if inspected else (),
        payloads=payload(question, "response", inspected) if inspected else (),
        detail=detail or {},
    )


def server_message(
    question: Question,
    method: str | None,
    inspected: Masked,
    detail: dict[str, str | int | bool],
    *,
    reason: Reason = Reason.PERMITTED,
) -> Draft:
    """What the server says of its own, before it is delivered: a request to the client, or (without a `method`) an error that answers no call."""
    return _draft(
        question.caller,
        "message.server",
        None,
        ok=reason is Reason.PERMITTED,
        reason=reason,
        method=method,
        findings=inspected.findings,
        payloads=payload(question, "message", inspected),
        call=question.call,
        detail=detail,
    )


def pinned(question: Question, seen: Seen, tool: str) -> Draft:
    """That a tool is no longer, or again, as it was pinned; found in a list on its way to this caller. `tool`: its name, masked."""
    reason = Reason.TOOL_QUARANTINED if seen.quarantined else Reason.COMPLETED
    event: Event = "tool.quarantined" if seen.quarantined else "tool.restored"
    draft = _draft(question.caller, event, None, ok=not seen.quarantined, reason=reason, call=question.call)
    resource = Resource(kind="server", server=question.caller.server.name, method="tools/list", name=tool)
    detail: dict[str, str | int | bool] = {"pinned": " ".join(seen.pinned[:8]) or "none", "seen": seen.digest}
    return replace(draft, resource=resource, detail=detail)


def late_result(question: Question, reason: Reason, inspected: Masked, detail: dict[str, str | int | bool]) -> Draft:
    """A response that came on a resumed stream: it belongs to the call with the JSON-RPC id in `detail` in the session."""
    return _draft(
        question.caller,
        "call.result",
        None,
        ok=reason is Reason.COMPLETED,
        reason=reason,
        method="(resumed)",
        findings=inspected.findings,
        payloads=payload(question, "response", inspected),
        detail=detail,
    )


def chunk(question: Question, pieces: tuple[Masked, ...]) -> Draft:
    """Notifications that have passed, gathered."""
    findings = tuple(finding for piece in pieces for finding in piece.findings)
    payloads = tuple(item for piece in pieces for item in payload(question, "event", piece))
    return _draft(
        question.caller,
        "session.chunk",
        None,
        method="notifications",
        findings=findings,
        payloads=payloads,
        call=question.call,
        detail={"events": len(pieces), "bytes": sum(len(piece.body) for piece in pieces)},
    )


def stream_close(question: Question, reason: Reason, totals: dict[str, str | int | bool]) -> Draft:
    """The end of a GET stream, with totals."""
    return _draft(
        question.caller,
        "stream.close",
        None,
        ok=reason is Reason.COMPLETED,
        reason=reason,
        method=_VERB_METHOD["GET"],
        call=question.call,
        detail=totals,
    )


def undelivered(question: Question, reason: Reason, detail: dict[str, str | int | bool]) -> Draft:
    """Messages that await no answer, and that the server did not take, or that nobody knows whether it took."""
    element = question.elements[0] if question.elements else None
    return _draft(
        question.caller,
        "message.client",
        element,
        ok=False,
        reason=reason,
        method=None if element else _VERB_METHOD[question.verb],
        call=question.call,
        detail=detail,
    )


def payload(question: Question, part: Part, masked: Masked) -> tuple[Payload, ...]:
    """The recording of one body, or nothing where the tool is recorded by shape."""
    if recording_of(question) == "shape":
        return ()
    return (Payload(part=part, body=masked.body),)


def _draft(
    caller: Caller,
    event: Event,
    element: Element | None,
    *,
    ok: bool = True,
    reason: Reason = Reason.PERMITTED,
    method: str | None = None,
    rule: str | None = None,
    decision: Literal["permit", "deny"] = "permit",
    findings: tuple[Finding, ...] = (),
    payloads: tuple[Payload, ...] = (),
    detail: dict[str, str | int | bool] | None = None,
    call: str | None = None,
) -> Draft:
    return Draft(
        event=event,
        ok=ok,
        reason=str(reason),
        who=caller.who,
        origin=caller.origin,
        resource=element.resource if element else Resource(kind="server", server=caller.server.name, method=method),
        call=element.call if element else call,
        session=caller.session,
        policy=policy_ref(caller.standing, rule, decision) if rule else None,
        credential=credential_of(caller.server) if event == "call.intent" else None,
        asked=element.asked if element else None,
        findings=findings,
        payloads=payloads,
        detail=detail or {},
    )


def policy_ref(standing: Standing, rule: str, decision: Literal["permit", "deny"]) -> PolicyRef:
    """What judged, for the book: one object for all that it judges so by one standing."""
    known = standing.policy_refs.get((rule, decision))
    if known is None:
        snapshot = standing.snapshot
        known = standing.policy_refs[rule, decision] = PolicyRef(
            config=snapshot.config_sha256,
            snapshot=snapshot.number,
            rule=rule,
            decision=decision,
        )
    return known


def credential_of(server: Server) -> str | None:
    """The name, never the value, of what is injected."""
    if server.credential is None:
        return None
    reference = server.credential.secret
    return f"{reference.scheme}:{reference.locator}" if reference.scheme != "literal" else "literal"
