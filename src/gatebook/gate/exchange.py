"""The way of one message, whole:

arrives → identify → inspect arguments → authorize → record intent → forward → inspect answer → record outcome → reply

One straight function over ports, one task per request. Each stage returns the value that the next one demands, so the order is a type:
`upstreams.send` takes a Receipt, and only the ledger makes one. Everything that fails, fails closed, in the one place below (`_refuse`).

A call like one before goes the same way with what is known of it filled in (`_once_more`, `again`).
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

import msgspec

from gatebook.gate import again, doors, drafting, refusal, tracing
from gatebook.gate.again import Call
from gatebook.gate.answering import answer, headers_of, whole_answer
from gatebook.gate.asking import Question, new_call_id, read
from gatebook.gate.authorizing import Denied, Permitted, StepUp, authorize
from gatebook.gate.forwarding import forward, passed_on, trace_passed_on
from gatebook.gate.identifying import Caller, identify
from gatebook.gate.leaving import Gone
from gatebook.gate.places import Place
from gatebook.gate.refusal import Refused
from gatebook.gate.releasing import Releaser
from gatebook.gate.turns import NoRoom
from gatebook.gate.world import OFF_LOOP_BYTES, Standing, Traced, World
from gatebook.identity.challenge import challenge
from gatebook.identity.errors import TokenRefused
from gatebook.masking import MaskingFailed
from gatebook.model.deployment import Server
from gatebook.model.errors import CallerError, LedgerUnavailable, Reason, UpstreamError
from gatebook.model.http import Answer, Arrival, Headers, Reply
from gatebook.model.record import Draft
from gatebook.ports import Receipt
from gatebook.wire.jsonrpc import Notification, Request, salvage_id


class _Way(msgspec.Struct):
    """How far one exchange has come: what a failure needs to be answered and recorded properly."""

    arrival: Arrival
    standing: Standing
    server: Server | None = None
    caller: Caller | None = None
    question: Question | None = None
    releaser: Releaser | None = None
    call: str | None = None
    """The id under which a refusal is in the book; None where it is only counted."""
    refused: Reason | None = None
    sent_s: float | None = None
    head_s: float | None = None
    """How long the server took until the head of its answer was here; None where none came."""


def exchange(arrival: Arrival, gone: Gone, world: World) -> Coroutine[Any, Any, Answer]:
    """When awaited: one HTTP request to its answer. Never raises but for cancellation; `gone` is set when the client has hung up."""
    # No coroutine of its own: each time a call is woken, it would be gone through once more.
    way = _once_more if again.BESIDE in arrival.said else _whole
    return way(arrival, gone, world)


async def _whole(arrival: Arrival, gone: Gone, world: World) -> Answer:
    began = world.stopwatch()
    standing = world.standing()
    way = _Way(arrival, standing)
    try:
        closed = world.closed()
        server = doors.open_door(arrival, standing, ready=closed is None)
        if isinstance(server, Reply):
            return server
        way.server = server
        way.caller = caller = identify(arrival, server, standing, world)
        if closed is not None:
            raise Refused(closed)
        place = Place(caller, world, arrival.method)
        try:
            injected = world.injected(server)  # may fail; and no intent is recorded whose end nobody would record
            way.question = question = await read(arrival, caller, injected.secrets, world)
            permitted = authorize(question, world)
            passed_on(question)  # what cannot be sent is refused before an intent says that it will be
            if question.repeated is not None:
                again.remember(permitted, injected, world)
            receipt = await _record_intents(permitted, world)
            way.releaser = releaser = Releaser(question, world, injected)
            way.sent_s = sent = world.stopwatch()
            response = await forward(receipt, permitted, injected.headers, gone, world)
            way.head_s = world.stopwatch() - sent
            answered = await answer(permitted, receipt, response, releaser, gone, world, place)
        finally:
            if not place.kept:
                place.give_back()
    except Exception as failure:  # whatever it is becomes a refusal and a record
        answered = await _refuse(failure, way, world)
    if way.head_s is not None and way.server is not None and way.releaser is not None:
        upstream_s = way.head_s + way.releaser.reading_s
        world.times.add(way.server.name, world.stopwatch() - began - upstream_s, upstream_s)
    if world.traced is not None and way.question is not None:
        _trace(way, way.question, world.traced, answered.status, began, world)
    return answered


async def _once_more(arrival: Arrival, gone: Gone, world: World) -> Answer:
    """As `_whole`, from the intent on, for a call like one before. What nobody expects of it goes on as there."""
    began = world.stopwatch()
    call = _recognised(arrival, world)
    if call is None:
        return await _whole(arrival, gone, world)
    found, place = call.again, call.place
    caller = found.caller
    limits = caller.standing.snapshot.deployment.limits
    releaser: Releaser | None = None
    sent: float | None = None
    head_s: float | None = None
    try:
        try:
            receipt = await world.ledger.record_intent(call.intent())
            sent = world.stopwatch()
            sending = world.upstreams.send(
                receipt, caller.server, call.request(), first_byte_s=limits.upstream_response_s, idle_s=limits.stream_idle_s
            )  # fmt: skip
            response = await (sending if found.repeated.era == "legacy" else gone.cancels(sending))
            head_s = world.stopwatch() - sent
            head = found.injected.heads.get(response.headers) if response.status == 200 else None
            if head is not None and (head.media_type != "application/json" or head.session is not None):
                head = None
            body = response.at_once(limits.response_bytes) if head is not None else None
            looked = call.looked(body) if body and len(body) <= OFF_LOOP_BYTES else None
            if head is not None and looked is not None:
                envelope, masked = looked
                recorded = await world.ledger.record(call.outcome(envelope, masked))
                headers = headers_of(head, recorded, call.id, arrival)
                answered: Answer = Reply(status=200, headers=headers, body=masked.body)
            else:
                question = call.question()
                releaser = Releaser(question, world, found.injected)
                permitted = call.permitted(question)
                if head is None or body is None:
                    answered = await answer(permitted, receipt, response, releaser, gone, world, place)
                else:
                    answered = await whole_answer(permitted, receipt, 200, head, body, releaser, world)
        finally:
            if not place.kept:
                place.give_back()
    except Exception as failure:
        question = call.question()
        if sent is not None and releaser is None:
            releaser = Releaser(question, world, found.injected)
        way = _Way(arrival, caller.standing, caller.server, caller, question, releaser)
        answered = await _refuse(failure, way, world)
    if head_s is not None:
        upstream_s = head_s + (releaser.reading_s if releaser is not None else 0.0)
        world.times.add(caller.server.name, world.stopwatch() - began - upstream_s, upstream_s)
    return answered


def _recognised(arrival: Arrival, world: World) -> Call | None:
    """See `again.recognised`. What fails there is met again, refused and recorded on the whole way."""
    try:
        return again.recognised(arrival, world)
    except (Refused, CallerError, UpstreamError):
        return None
    except Exception as bug:
        world.report_bug("recognising a call", bug)
        return None


def _trace(way: _Way, question: Question, traced: Traced, status: int, began: float, world: World) -> None:
    trace = tracing.wanted(trace_passed_on(question), question.call, traced.share)
    if trace is None:
        return
    ended, ended_ns = world.stopwatch(), world.clock.now().unix_us * 1000

    def at(moment: float | None) -> int | None:
        return None if moment is None else ended_ns - int((ended - moment) * 1e9)

    reading_s = way.releaser.reading_s if way.releaser is not None else 0.0
    answered = None if way.sent_s is None or way.head_s is None else way.sent_s + way.head_s + reading_s
    began_ns = ended_ns - int((ended - began) * 1e9)
    told = tracing.span(
        question, trace, began_ns=began_ns, ended_ns=ended_ns, sent_ns=at(way.sent_s), answered_ns=at(answered), status=status,
        refused=way.refused,
    )  # fmt: skip
    traced.tell(told)


def _record_intents(permitted: Permitted, world: World) -> Awaitable[Receipt]:
    """Durable when awaited, for every element of the question."""
    drafts = drafting.intents(permitted)
    return world.ledger.record_intent(drafts[0]) if len(drafts) == 1 else _all_recorded(drafts, world)


async def _all_recorded(drafts: tuple[Draft, ...], world: World) -> Receipt:
    receipts = await asyncio.gather(*map(world.ledger.record_intent, drafts))
    return receipts[-1]


async def _refuse(failure: Exception, way: _Way, world: World) -> Reply:
    """The refusal that `failure` means, recorded before it is answered; where it cannot be recorded, that is the refusal."""
    refused = _as_refused(failure)
    if isinstance(failure, TokenRefused) and failure.reason is Reason.TOKEN_KEY_UNKNOWN and failure.issuer:
        world.keys_wanted(failure.issuer)
    try:
        await _record_refusal(refused, way, world)
    except LedgerUnavailable:
        refused = Refused(Reason.LEDGER_UNAVAILABLE)
    except Exception as bug:
        world.report_bug("recording a refusal", bug)
        refused = Refused(Reason.INTERNAL)
    way.refused = refused.reason
    if refused.reason is Reason.INTERNAL:
        world.report_bug("an exchange", failure)
    return _reply(refusal.after_sending(refused) if way.releaser is not None else refused, way)


def _as_refused(failure: Exception) -> Refused:
    match failure:
        case Refused():
            return failure
        case CallerError():
            return Refused(failure.reason, failure.words, data=getattr(failure, "data", None))
        case UpstreamError():
            return Refused(failure.reason)
        case NoRoom():
            return Refused(Reason.OVERLOADED)
        case MaskingFailed():
            return Refused(Reason.INSPECTION_FAILED)
        case LedgerUnavailable():
            return Refused(Reason.LEDGER_UNAVAILABLE)
        case _:
            return Refused(Reason.INTERNAL)


async def _record_refusal(refused: Refused, way: _Way, world: World) -> None:
    if way.releaser is not None:
        await way.releaser.settle(refused.reason)
        return
    for draft in _refusal_drafts(refused, way, world):
        await world.ledger.record(draft)


def _refusal_drafts(refused: Refused, way: _Way, world: World) -> tuple[Draft, ...]:
    if way.caller is None:
        draft = drafting.unauthenticated(way.arrival, way.server, refused.reason)
        return world.attempts.count(draft, world.clock.now().unix_us)
    if refused.reason is Reason.DISK_SHORT:
        # An entry for each would take what is left for calls under way.
        call = new_call_id(world)
        drafts = world.attempts.count(
            drafting.unread(way.caller, way.arrival, refused.reason, call), world.clock.now().unix_us
        )
        way.call = call if drafts else None
        return drafts
    if way.question is None:
        way.call = new_call_id(world)
        return (drafting.unreadable(way.caller, way.arrival, refused.reason, way.call),)
    way.call = way.question.call
    element = refused.element if isinstance(refused, Denied) else None
    rule = refused.rule if isinstance(refused, Denied) else str(refused.reason)
    return (drafting.refusal(way.question, refused.reason, element, rule),)


def _reply(refused: Refused, way: _Way) -> Reply:
    question = way.question
    element = question.elements[0] if question and question.elements else None
    message_id = _message_id(way)
    call = question.call if question else way.call
    headers: Headers = doors.cors(way.arrival) if refused.reason is not Reason.ORIGIN_FORBIDDEN else ()
    if way.server is not None and way.caller is None and refusal.challenges(refused.reason):
        headers = (*headers, (b"www-authenticate", challenge(way.server, refused.reason, refused.words)))
    if way.server is not None and isinstance(refused, StepUp):
        told = challenge(way.server, refused.reason, refused.words, refused.scope, max_age_s=refused.max_age_s)
        headers = (*headers, (b"www-authenticate", told))
    if element is not None and isinstance(element.message, Notification):
        return _notification_reply(refused, headers)
    modern = question is not None and question.era == "modern"
    answer_ = refusal.reply(refused, message_id, call=call, headers=headers, modern=modern)
    if question is not None and question.batch:
        return _batch_reply(answer_, refused, question)
    return answer_


def _notification_reply(refused: Refused, headers: Headers) -> Reply:
    """A notification has no answer: an unknown one is dropped (and recorded), another refusal is an HTTP error (MCP 2025-11-25, transports)."""
    if refused.reason is Reason.METHOD_UNKNOWN:
        return Reply(status=202, headers=headers)
    reply = refusal.reply(refused, None, headers=headers)
    return msgspec.structs.replace(reply, status=400) if reply.status == 200 else reply


def _message_id(way: _Way) -> bytes | None:
    """The id to answer with: the request's own, also where the message was refused before it became a question."""
    if way.question is None:
        return salvage_id(way.arrival.body) if way.arrival.method == "POST" else None
    first = way.question.elements[0].message if way.question.elements else None
    return first.id if isinstance(first, Request) else None


def _batch_reply(reply: Reply, refused: Refused, question: Question) -> Reply:
    """Every call of a batch is answered: the batch goes through whole or not at all."""
    errors = [
        refusal.error_body(refused, e.message.id, call=e.call) for e in question.calls if isinstance(e.message, Request)
    ]
    return msgspec.structs.replace(reply, body=b"[" + b",".join(errors) + b"]") if errors else reply
