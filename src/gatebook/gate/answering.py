"""A server's HTTP answer: read, released through the `Releaser`, and given the gate's own headers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gatebook.gate import doors, refusal
from gatebook.gate.asking import Element
from gatebook.gate.authorizing import Permitted
from gatebook.gate.leaving import Gone
from gatebook.gate.outliving import reason_to_cut
from gatebook.gate.places import Place
from gatebook.gate.refusal import Refused
from gatebook.gate.releasing import Releaser
from gatebook.gate.world import AnswerHead, Standing, World
from gatebook.masking import MaskingFailed, mask
from gatebook.model.deployment import Trust
from gatebook.model.errors import LedgerUnavailable, Malformed, Reason, UpstreamError
from gatebook.model.http import Answer, Arrival, EventStream, Headers, Reply
from gatebook.ports import Receipt, Recorded, UpstreamResponse
from gatebook.wire.jsonrpc import Request
from gatebook.wire.sse import EventSplitter
from gatebook.wire.strict_json import decode

UNWATCHED_S = 60.0
_PLAIN_BYTES = 64 << 10
_LISTENED_OUT = (Reason.COMPLETED, Reason.UPSTREAM_BROKEN, Reason.UPSTREAM_TIMEOUT, Reason.DRAINING)
"""How a subscription's stream may end without anybody's refusal (MCP 2026-07-28, subscriptions, cancellation)."""


async def answer(
    permitted: Permitted,
    receipt: Receipt,
    response: UpstreamResponse,
    releaser: Releaser,
    gone: Gone,
    world: World,
    place: Place,
) -> Answer:
    """The answer that may leave. The response is closed when this returns, or when the stream it returns has ended.

    A stream keeps the caller's place until then."""
    if response.status in (401, 403):
        await response.close()  # its challenge would send the client to authorise against the server behind us
        raise Refused(Reason.UPSTREAM_REFUSED_CREDENTIAL)
    head = releaser.head(response.headers)
    if response.status == 200 and head.media_type == "text/event-stream":
        headers = _headers(permitted, head, receipt, world)
        place.kept = True
        return EventStream(
            status=200, headers=headers, events=ReleasedStream(permitted, response, releaser, world, place)
        )
    limit = permitted.question.caller.standing.snapshot.deployment.limits.response_bytes
    # Most answers come in one piece with their head.
    body = response.at_once(limit)
    if body is None:
        body = await _read(response, limit, permitted, releaser, gone, world)
    return await whole_answer(permitted, receipt, response.status, head, body, releaser, world)


async def whole_answer(
    permitted: Permitted,
    receipt: Receipt,
    status: int,
    head: AnswerHead,
    body: bytes,
    releaser: Releaser,
    world: World,
) -> Reply:
    """As `answer`, once the body is here and the response let go."""
    if head.media_type == "application/json" and body and status < 400 and permitted.question.calls:
        released = await releaser.body(body, "answer")
    else:
        released = await _beside(body, head, status, permitted, releaser)
    took = status < 400 and permitted.question.verb != "GET"
    await releaser.settle(
        Reason.UPSTREAM_INVALID if permitted.question.calls or not took else Reason.COMPLETED, status=status
    )
    return Reply(
        status=status,
        headers=_headers(permitted, head, releaser.last_recorded or receipt, world),
        body=released,
    )


async def _read(
    response: UpstreamResponse, limit: int, permitted: Permitted, releaser: Releaser, gone: Gone, world: World
) -> bytes:
    """The whole body; the response is closed. A modern client that hangs up meanwhile cancels (Refused)."""
    try:
        reading = response.whole(limit)
        began = world.stopwatch()
        body = await (reading if permitted.question.era == "legacy" else gone.cancels(reading))
        releaser.reading_s = world.stopwatch() - began
        return body
    finally:
        await response.close()


async def _beside(body: bytes, head: AnswerHead, status: int, permitted: Permitted, releaser: Releaser) -> bytes:
    """What a server says where no call is answered with a message: the HTTP error that a call gets, or what nobody asked for."""
    failed = status >= 400
    if head.media_type == "application/json" and body:
        try:
            return await releaser.body(body, "failure" if failed else "event")
        except Malformed:
            if not failed:
                raise
            return _plain_json(body, releaser) if len(body) <= _PLAIN_BYTES else b""
    if permitted.question.calls and not failed:
        raise Refused(Reason.UPSTREAM_INVALID)  # a request was answered with no message at all
    # An HTTP error without a message of MCP: a dual-era client falls back on its status, so that passes, and its text masked.
    return releaser.text(body) if len(body) <= _PLAIN_BYTES and not head.foreign else b""


def _plain_json(body: bytes, releaser: Releaser) -> bytes:
    """JSON that is no message of MCP, masked. Nothing of what says that it is JSON and can be read otherwise than we read it."""
    try:
        decode(body)
    except Malformed:
        return b""
    return mask(body, releaser.secrets).body


def _headers(permitted: Permitted, head: AnswerHead, record: Receipt | Recorded, world: World) -> Headers:
    question = permitted.question
    session = () if head.session is None else _session_header(permitted, head.session, world)
    return headers_of(head, record, question.call, question.arrival, session)


def headers_of(
    head: AnswerHead, record: Receipt | Recorded, call: str, arrival: Arrival, session: Headers = ()
) -> Headers:
    """What an answer leaves with: the server's headers that may, and ours. `session`: that of the client's handle, where it gets one."""
    return (
        *head.clean,
        *session,
        (b"gatebook-receipt", f"{record.origin} {record.leaf.hex()}".encode()),
        (b"gatebook-call-id", call.encode()),
        *doors.cors(arrival),
    )


def _session_header(permitted: Permitted, upstream: str, world: World) -> Headers:
    """The client's own handle for the upstream's session; the upstream's id itself never leaves."""
    question = permitted.question
    if question.era == "modern":
        return ()
    if upstream == question.upstream_session:
        return ((b"mcp-session-id", question.arrival.header(b"mcp-session-id") or b""),)
    caller = question.caller
    handle = world.handles.seal(upstream, caller.principal, caller.server.name, world.clock.now().unix_us)
    return ((b"mcp-session-id", handle),)


class ReleasedStream:
    """The events of one SSE answer, each recorded before it is given out. `aclose()` is what a client's hang-up means in its era."""

    def __init__(
        self, permitted: Permitted, response: UpstreamResponse, releaser: Releaser, world: World, place: Place
    ) -> None:
        self._place = place
        self._permitted = permitted
        self._response = response
        self._releaser = releaser
        self._world = world
        self._events = self._released()
        self._coming: asyncio.Future[bytes | None] | None = None
        self._left_because = Reason.CANCELLED
        self._cut: Reason | None = None
        self._over = False
        self._sid = permitted.question.caller.principal.sid
        world.streams.add(self)
        if self._sid is not None:
            world.live.setdefault(self._sid, set()).add(self)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        events = await self._next()
        if events is None:
            raise StopAsyncIteration
        return events

    async def _next(self) -> bytes | None:
        """Shielded: whoever waits here may be cancelled by a hang-up, and must tear neither the server's answer nor its record in two."""
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._events_or_end())
        events = await asyncio.shield(self._coming)
        self._coming = None
        return events

    async def _events_or_end(self) -> bytes | None:
        return await anext(self._events, None)

    async def aclose(self) -> None:
        """The client is gone. Legacy: hanging up cancels nothing, so the server's answer is read to its end and recorded, for at most
        60 s. Modern: hanging up cancels (MCP 2026-07-28, cancellation). Idempotent; returns when the record is durable."""
        if self._over:
            await self._run_out()  # whoever read last may have left while the end was being recorded
            return
        question = self._permitted.question
        if question.era == "legacy" and question.verb == "POST":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNWATCHED_S):
                    await self._run_out()
        await self._response.close()  # what still reads there now comes to its end by itself
        await self._run_out()
        await self._end(self._left_because)

    def outlived(self, standing: Standing, trust: Trust | None, now_s: float) -> Reason | None:
        """See world.Live."""
        return reason_to_cut(self._permitted, standing, trust, now_s)

    @property
    def endless(self) -> bool:
        """See world.Live."""
        return self._permitted.question.endless

    async def cut(self, reason: Reason) -> None:
        """See world.Live. The server's answer is closed, so that whoever reads here comes to the end, and finds the reason."""
        self._cut = reason
        await self._response.close()

    async def _run_out(self) -> None:
        with contextlib.suppress(LedgerUnavailable):  # what could not be recorded is tried once more in `_end`
            while await self._next() is not None:
                pass

    async def _released(self) -> AsyncIterator[bytes]:
        limits = self._permitted.question.caller.standing.snapshot.deployment.limits
        splitter = EventSplitter(limits.response_bytes)
        reason = Reason.COMPLETED
        released: list[bytes] = []
        try:
            async for piece in self._response.body():
                for event in splitter.feed(piece):
                    released.append(await self._releaser.event(event))
                if any(released):
                    yield b"".join(released)
                released.clear()
            for event in splitter.finish():
                released.append(await self._releaser.event(event))
        except (UpstreamError, Malformed) as failure:
            reason = failure.reason
        except MaskingFailed:
            reason = Reason.INSPECTION_FAILED
        except LedgerUnavailable:
            self._left_because = Reason.LEDGER_UNAVAILABLE
            await self._response.close()
            raise  # nothing can be recorded, so not even an error event may leave: the shell cuts the connection
        except Exception as bug:  # a stream's own last place: what nobody foresaw becomes a refusal and a record
            self._world.report_bug("a stream", bug)
            reason = Reason.INTERNAL
        if any(released):
            yield b"".join(released)  # its record is durable, whatever came behind it
        unanswered = await self._end(self._cut or reason)
        for element in unanswered:
            why = self._cut or (Reason.UPSTREAM_BROKEN if reason is Reason.COMPLETED else reason)
            refused = refusal.after_sending(Refused(why))
            message_id = element.message.id if isinstance(element.message, Request) else None
            yield b"event: message\ndata: " + refusal.error_body(refused, message_id, call=element.call) + b"\n\n"

    async def _end(self, reason: Reason) -> tuple[Element, ...]:
        """Close the upstream and the record. Returns the calls that must still be answered with an error."""
        if self._over:
            return ()
        self._over = True
        try:
            return await self._ended(reason)
        finally:
            self._place.give_back()
            self._forget()

    def _forget(self) -> None:
        """Nobody can cut it any more."""
        self._world.streams.discard(self)
        if self._sid is not None and (others := self._world.live.get(self._sid)) is not None:
            others.discard(self)
            if not others:
                del self._world.live[self._sid]

    async def _ended(self, reason: Reason) -> tuple[Element, ...]:
        try:
            await self._response.close()
        except Exception as bug:  # the record does not depend on how a connection is let go
            self._world.report_bug("letting go of a server's answer", bug)
        question = self._permitted.question
        broken = reason in (Reason.COMPLETED, Reason.UPSTREAM_BROKEN)
        if question.calls and question.era == "legacy" and self._releaser.resumable and broken:
            # The server may hang up and go on when the client resumes (MCP 2025-11-25): the result comes later or never.
            await self._releaser.flush()
            return ()
        if question.listens and reason in _LISTENED_OUT:
            # A subscription may end with its stream and without a result: an error in its place would be ours, not the server's.
            await self._releaser.settle(reason)
            return ()
        if question.calls and reason is Reason.COMPLETED:
            reason = Reason.UPSTREAM_BROKEN
        return await self._releaser.settle(reason)
