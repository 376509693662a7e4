"""The one place that builds what a server receives: the judged bytes, allowed headers, and the credential that no client ever sees."""

import hmac
from collections.abc import Coroutine
from typing import Any

from gatebook.gate.asking import Question
from gatebook.gate.authorizing import Permitted
from gatebook.gate.identifying import Caller
from gatebook.gate.leaving import Gone
from gatebook.gate.tracing import traceparent
from gatebook.gate.world import World
from gatebook.masking import is_clean
from gatebook.model.http import Headers, Lasting, UpstreamRequest
from gatebook.ports import Receipt, UpstreamResponse
from gatebook.wire import headers as wire_headers
from gatebook.wire.revisions import Era

_PLAIN = {b"accept": b"application/json, text/event-stream", b"content-type": b"application/json"}
_BESIDE = frozenset({*_PLAIN, b"accept-language", b"user-agent", b"traceparent", b"tracestate", b"baggage"})
"""Forwarded headers that are inspected here; those that repeat the message are inspected like its arguments."""


def forward(
    receipt: Receipt, permitted: Permitted, injected: Lasting, gone: Gone, world: World
) -> Coroutine[Any, Any, UpstreamResponse]:
    """When awaited: send the question once, with the `injected` headers, and return when the answer's head is here. A modern client that hangs up meanwhile cancels (Refused)."""
    question = permitted.question
    limits = question.caller.standing.snapshot.deployment.limits
    sending = world.upstreams.send(
        receipt,
        question.caller.server,
        upstream_request(permitted, injected, world),
        first_byte_s=limits.upstream_response_s,
        idle_s=limits.stream_idle_s,
    )
    if question.era == "legacy":
        return sending
    return gone.cancels(sending)


def upstream_request(permitted: Permitted, injected: Lasting, world: World) -> UpstreamRequest:
    """Allowed headers of the caller's, then ours: the upstream's session id, the call's id, a trace parent, the injected credential."""
    question = permitted.question
    headers, trace = passed_on(question)
    ours: Headers = ((b"gatebook-call-id", question.call.encode()), *ours_beside(question, world))
    if trace is None:
        ours = (*ours, (b"traceparent", traceparent(question.call)))
    return UpstreamRequest(method=question.verb, passed_on=headers, ours=ours, injected=injected, body=permitted.body)


def ours_beside(question: Question, world: World) -> Headers:
    """What the gate sets that is the same for each of the caller's requests in this session of the server's."""
    session, caller = question.upstream_session, question.caller
    return (
        *(() if session is None else ((b"mcp-session-id", session.encode("latin-1")),)),
        *(() if caller.server.command is None else ((b"gatebook-caller", _caller(caller, world)),)),
    )


def _caller(caller: Caller, world: World) -> bytes:
    """Who calls, for the runner alone: equal for the same principal through the same agent, and telling nothing else."""
    principal = caller.principal
    who = "\0".join((principal.issuer, principal.subject, principal.agent or "", caller.server.name))
    return hmac.digest(world.fingerprint.key, b"caller\0" + who.encode(), "sha256").hex()[:32].encode()


def trace_passed_on(question: Question) -> bytes | None:
    """The caller's `traceparent` as the server gets it; None where it gets one of ours."""
    return passed_on(question)[1]


def passed_on(question: Question) -> tuple[Lasting, bytes | None]:
    """The caller's own headers that the server gets, and the `traceparent` among them."""
    credential = question.caller.server.credential
    return question.arrival.once(_passed_on, credential.header if credential else None, question.era)


def _passed_on(headers: Headers, injected: str | None, era: Era) -> tuple[Lasting, bytes | None]:
    """`injected`: the name of the header that is ours to set."""
    passing = _without_cards(wire_headers.forwardable_request_headers(headers, injected))
    if era != "modern":
        passing = tuple((name, value) for name, value in passing if not wire_headers.mirrors(name))
    trace = next((value for name, value in passing if name == b"traceparent"), None)
    return Lasting(headers=passing), trace


def _without_cards(headers: Headers) -> Headers:
    """The headers that go on without being part of the message, where they hold a card number: none, or what stands for them."""
    if is_clean(b"\n".join([value for _, value in headers])):
        return headers
    plain = (
        (name, _PLAIN.get(name, b"") if name in _BESIDE and not is_clean(value) else value) for name, value in headers
    )
    return tuple((name, value) for name, value in plain if value)
