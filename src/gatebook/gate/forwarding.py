"""The one place that builds what a server receives: the judged bytes, allowed headers, and the credential that no client ever sees."""

from gatebook.gate.asking import Permitted
from gatebook.gate.leaving import Gone
from gatebook.gate.world import World
from gatebook.masking import is_clean
from gatebook.model.http import Headers, UpstreamRequest
from gatebook.ports import Receipt, UpstreamResponse
from gatebook.wire import headers as wire_headers
from gatebook.wire.revisions import Era

_PLAIN = {b"accept": b"application/json, text/event-stream", b"content-type": b"application/json"}
_BESIDE = frozenset({*_PLAIN, b"accept-language", b"user-agent", b"traceparent", b"tracestate", b"baggage"})
"""Forwarded headers that are inspected here; those that repeat the message are inspected like its arguments."""


async def forward(
    receipt: Receipt, permitted: Permitted, injected: Headers, gone: Gone, world: World
) -> UpstreamResponse:
    """Send the question once, with the `injected` headers, and return when the answer's head is here. A modern client that hangs up meanwhile cancels (Refused)."""
    question = permitted.question
    limits = question.caller.standing.snapshot.deployment.limits
    request = UpstreamRequest(
        method=question.verb, headers=upstream_headers(permitted, injected, world), body=permitted.body
    )
    sending = world.upstreams.send(
        receipt,
        question.caller.server,
        request,
        first_byte_s=limits.upstream_response_s,
        idle_s=limits.stream_idle_s,
    )
    if question.era == "legacy":
        return await sending
    return await gone.cancels(sending)


def upstream_headers(permitted: Permitted, injected: Headers, world: World) -> Headers:
    """Allowed headers of the caller's, then ours: the upstream's session id, the call's id, a trace parent, the injected credential."""
    question = permitted.question
    credential = question.caller.server.credential
    passed_on = question.arrival.once(_passed_on, credential.header if credential else None, question.era)
    headers = [*passed_on]
    if question.upstream_session is not None:
        headers.append((b"mcp-session-id", question.upstream_session.encode("latin-1")))
    headers.append((b"gatebook-call-id", question.call.encode()))
    if not any(name == b"traceparent" for name, _ in passed_on):
        headers.append((b"traceparent", _traceparent(world.random(24))))
    return (*headers, *injected)


def _passed_on(headers: Headers, injected: str | None, era: Era) -> Headers:
    """The caller's own headers that the server gets. `injected`: the name of the header that is ours to set."""
    passed_on = _without_cards(wire_headers.forwardable_request_headers(headers, injected))
    if era == "modern":
        return passed_on
    return tuple((name, value) for name, value in passed_on if not wire_headers.mirrors(name))


def _without_cards(headers: Headers) -> Headers:
    """The headers that go on without being part of the message, where they hold a card number: none, or what stands for them."""
    if is_clean(b"\n".join([value for _, value in headers])):
        return headers
    plain = (
        (name, _PLAIN.get(name, b"") if name in _BESIDE and not is_clean(value) else value) for name, value in headers
    )
    return tuple((name, value) for name, value in plain if value)


def _traceparent(random: bytes) -> bytes:
    """A W3C Trace Context parent, version 00, sampled, from 24 random bytes: the server's own log can be matched with ours."""
    return f"00-{random[:16].hex()}-{random[16:24].hex()}-01".encode()
