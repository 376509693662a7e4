"""A call like one before: the same head, a message of the same template, under the same standing. What follows from those was worked out when
an earlier one went the whole way (`exchange`), and stands beside the head; it goes with the head.

What does not follow from those is asked anew for each call: whether the gate is open, the time and its synchronisation, whether the token still counts
and the login was ended, the recording session, the places of the principal, the server's credential, and all that is in the message.
"""

import msgspec

from gatebook.gate.asking import Question, Repeated, asked_again, message_again, question_again, recording_of
from gatebook.gate.authorizing import Permitted
from gatebook.gate.drafting import credential_of, policy_ref
from gatebook.gate.forwarding import ours_beside, passed_on
from gatebook.gate.identifying import Caller, session_of, time_of
from gatebook.gate.places import Place
from gatebook.gate.tracing import traceparent
from gatebook.gate.world import Injected, Known, Standing, World
from gatebook.ledger.entry import uuid7
from gatebook.masking import Masked, mask
from gatebook.model.decision import Permit
from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Arrival, Headers, Lasting, UpstreamRequest
from gatebook.model.record import Asked, Draft, Payload, PolicyRef
from gatebook.wire import jsonrpc
from gatebook.wire.jsonrpc import Envelope, Request

BESIDE = "again"
"""Under this name it stands in what is said of a head."""
# Looked up once: a member of an enumeration is found by three calls.
_PERMITTED, _COMPLETED, _TOOL_ERROR = str(Reason.PERMITTED), str(Reason.COMPLETED), str(Reason.TOOL_ERROR)


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of a call that may come again. `ours`: the headers that the gate sets, but for the call's own."""

    standing: Standing
    known: Known
    caller: Caller
    repeated: Repeated
    permits: tuple[Permit, ...]
    policy: PolicyRef
    credential: str | None
    injected: Injected
    passed_on: Lasting
    ours: Headers
    upstream_session: str | None
    traces: bool
    """Whether the caller sends no trace of its own, so that one of ours begins."""
    recorded: bool
    """Whether the bodies are recorded."""


class Call(msgspec.Struct, kw_only=True):
    """One more such call, with its place taken."""

    again: Again
    arrival: Arrival
    message: Request
    asked: Asked
    id: str
    place: Place

    def question(self) -> Question:
        """The same as the whole way would have it."""
        again = self.again
        return question_again(
            self.arrival, again.caller, again.repeated, self.message, self.asked, self.id, again.upstream_session
        )

    def permitted(self, question: Question) -> Permitted:
        """The same as the whole way would have it."""
        return Permitted(question=question, permits=self.again.permits, body=self.arrival.body)

    def intent(self) -> Draft:
        """What must be durable before anything is sent: see `drafting.intents`."""
        again = self.again
        caller = again.caller
        return Draft(
            event="call.intent",
            ok=True,
            reason=_PERMITTED,
            who=caller.who,
            origin=caller.origin,
            resource=again.repeated.resource,
            call=self.id,
            session=caller.session,
            policy=again.policy,
            credential=again.credential,
            asked=self.asked,
            payloads=(Payload(part="request", body=self.arrival.body),) if again.recorded else (),
        )

    def request(self) -> UpstreamRequest:
        """What the server gets: see `forwarding.upstream_request`."""
        again, call = self.again, self.id
        ours: Headers = ((b"gatebook-call-id", call.encode()), *again.ours)
        if again.traces:
            ours = (*ours, (b"traceparent", traceparent(call)))
        return UpstreamRequest(
            method="POST", passed_on=again.passed_on, ours=ours, injected=again.injected.headers, body=self.arrival.body
        )

    def looked(self, body: bytes) -> tuple[Envelope, Masked] | None:
        """A server's whole answer, where it is a plain result of this call. None for anything else. Raises MaskingFailed."""
        try:
            envelope = jsonrpc.parse_server(body)
        except Malformed:
            return None
        if (
            not isinstance(envelope, Envelope)
            or envelope.kind != "response"
            or envelope.id is None
            or envelope.error_code is not None
            or envelope.result_type not in (None, "complete")
            or (envelope.id != self.message.id and jsonrpc.plain_id(envelope.id) != jsonrpc.plain_id(self.message.id))
        ):
            return None
        return envelope, mask(envelope.raw, self.again.injected.secrets)

    def outcome(self, envelope: Envelope, masked: Masked) -> Draft:
        """What is recorded of that answer: see `drafting.result`."""
        again = self.again
        caller = again.caller
        return Draft(
            event="call.result",
            ok=not envelope.is_error,
            reason=_TOOL_ERROR if envelope.is_error else _COMPLETED,
            who=caller.who,
            origin=caller.origin,
            resource=again.repeated.resource,
            call=self.id,
            session=caller.session,
            findings=masked.findings,
            payloads=(Payload(part="response", body=masked.body),) if again.recorded else (),
        )


def remember(permitted: Permitted, injected: Injected, world: World) -> None:
    """A call that was read by a template and may pass: the next one like it need not go the whole way. Not where more than head, template
    and standing decides: proofs of a login, pinned tools; nor where calls are traced."""
    question = permitted.question
    repeated, caller, said = question.repeated, question.caller, question.arrival.said
    known = said.get("known")
    if repeated is None or not isinstance(known, Known) or known.who is not caller.who:
        return
    rule = repeated.rule
    if (
        repeated.target.kind != "tool"
        or (rule is not None and rule.mfa is not None)
        or caller.server.pins is not None
        or world.traced is not None
        or permitted.body is not question.arrival.body
    ):
        return
    headers, trace = passed_on(question)
    again = Again(
        standing=caller.standing,
        known=known,
        caller=caller,
        repeated=repeated,
        permits=permitted.permits,
        policy=policy_ref(caller.standing, permitted.permits[0].rule, "permit"),
        credential=credential_of(caller.server),
        injected=injected,
        passed_on=headers,
        ours=ours_beside(question, world),
        upstream_session=question.upstream_session,
        traces=trace is None,
        recorded=recording_of(question) != "shape",
    )
    before = said.get(BESIDE)
    kept = [
        each
        for each in (before if isinstance(before, tuple) else ())
        # No standing and no credential is kept beyond its time by a head that still comes.
        if each.repeated is not repeated and each.standing is caller.standing and each.injected is injected
    ]
    said[BESIDE] = (again, *kept)  # one for each template, of which there are few


def recognised(arrival: Arrival, world: World) -> Call | None:
    """The call that `arrival` is, where it is like one before and nothing stands against it; its place is taken. None: it goes the whole way, which
    also says what is wrong with it. Raises whatever a port raises; then no place is taken."""
    if world.closed() is not None:
        return None
    standing = world.standing()
    now = time_of(standing, world)
    for again in arrival.said[BESIDE]:  # type: ignore[attr-defined]  # only `remember` writes there
        caller = again.caller
        if again.standing is not standing or world.injected(caller.server) is not again.injected:
            continue
        # Before anything of the message is looked at: who is not let in costs no more than that.
        if session_of(again.known, arrival, now, world) != caller.session:
            continue
        call, place = None, Place(caller, world, "POST")
        try:
            message = message_again(arrival.body, again.injected.secrets, again.repeated)
            if message is not None:
                identity = uuid7(now.unix_us // 1000, world.random(10))
                asked = asked_again(message, again.repeated, world)
                call = Call(again=again, arrival=arrival, message=message, asked=asked, id=identity, place=place)
        finally:
            if call is None:
                place.give_back()
        if call is not None:
            return call
    return None
