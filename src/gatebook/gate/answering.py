"""A server's HTTP answer: read, released through the `Releaser`, and given the gate's own headers."""

import asyncio
from collections.abc import AsyncIterator

from gatebook.gate import doors, drafting, refusal
from gatebook.gate.asking import Element, Permitted
from gatebook.gate.refusal import Refused
from gatebook.gate.releasing import Releaser
from gatebook.gate.world import World
from gatebook.masking import MaskingFailed, mask_text
from gatebook.model.errors import LedgerUnavailable, Malformed, Reason, UpstreamError
from gatebook.model.http import Answer, EventStream, Headers, Reply
from gatebook.ports import Receipt, Recorded, UpstreamResponse
from gatebook.wire import headers as wire_headers
from gatebook.wire.jsonrpc import Request
from gatebook.wire.sse import EventSplitter

UNWATCHED_S = 60.0
_PLAIN_BYTES = 64 << 10


async def answer(
    permitted: Permitted, receipt: Receipt, response: UpstreamResponse, releaser: Releaser, world: World
) -> Answer:
    """The answer that may leave. The response is closed when this returns, or when the stream it returns has ended."""
    if response.status in (401, 403):
        await response.close()  # its challenge would send the client to authorise against the server behind us
        raise Refused(Reason.UPSTREAM_REFUSED_CREDENTIAL)
    if response.status == 200 and wire_headers.media_type(response.headers) == "text/event-stream":
        headers = _headers(permitted, response, receipt, world)
        return EventStream(status=200, headers=headers, events=ReleasedStream(permitted, response, releaser, world))
    try:
        body = await _read_whole(response, permitted.question.caller.standing.snapshot.deployment.limits.response_bytes)
    finally:
        await response.close()
    released = await _released(body, response, permitted, releaser)
    await releaser.settle(Reason.UPSTREAM_INVALID)
    return Reply(
        status=response.status,
        headers=_headers(permitted, response, releaser.last_recorded or receipt, world),
        body=released,
    )


async def _released(body: bytes, response: UpstreamResponse, permitted: Permitted, releaser: Releaser) -> bytes:
    if wire_headers.media_type(response.headers) == "application/json" and body:
        return await releaser.body(body, whole=response.status == 200 and bool(permitted.question.calls))
    if permitted.question.calls and response.status < 300:
        raise Refused(Reason.UPSTREAM_INVALID)  # a request was answered with no message at all
    if not body or len(body) > _PLAIN_BYTES:
        return b""
    return mask_text(body.decode("utf-8", "replace"))[0].encode()


async def _read_whole(response: UpstreamResponse, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.body():
        size += len(piece)
        if size > limit:
            raise UpstreamError(Reason.UPSTREAM_TOO_LARGE, f"more than {limit} bytes", sent=True)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _headers(permitted: Permitted, response: UpstreamResponse, record: Receipt | Recorded, world: World) -> Headers:
    question = permitted.question
    return (
        *wire_headers.forwardable_response_headers(response.headers),
        *_session_header(permitted, response, world),
        (b"gatebook-receipt", f"{record.origin} {record.leaf.hex()}".encode()),
        *(((b"gatebook-call-id", question.elements[0].call.encode()),) if question.elements else ()),
        *doors.cors(question.arrival),
    )


def _session_header(permitted: Permitted, response: UpstreamResponse, world: World) -> Headers:
    """The client's own handle for the upstream's session; the upstream's id itself never leaves."""
    question = permitted.question
    upstream = next((value.decode("latin-1") for name, value in response.headers if name == b"mcp-session-id"), None)
    if upstream is None or question.era == "modern":
        return ()
    if upstream == question.upstream_session:
        return ((b"mcp-session-id", question.arrival.header(b"mcp-session-id") or b""),)
    caller = question.caller
    handle = world.handles.seal(upstream, caller.principal, caller.server.name, world.clock.now().unix_us)
    return ((b"mcp-session-id", handle),)


class ReleasedStream:
    """The events of one SSE answer, each recorded before it is given out. `aclose()` is what a client's hang-up means in its era."""

    def __init__(self, permitted: Permitted, response: UpstreamResponse, releaser: Releaser, world: World) -> None:
        self._permitted = permitted
        self._response = response
        self._releaser = releaser
        self._world = world
        self._events = self._released()
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await self._events.__anext__()

    async def aclose(self) -> None:
        """The client is gone. Legacy: hanging up cancels nothing, so the server's answer is read to its end and recorded, for at most
        60 s. Modern: hanging up cancels (MCP 2026-07-28, cancellation). Idempotent; returns when the record is durable."""
        if self._over:
            return
        try:
            if self._permitted.question.era == "legacy" and self._permitted.question.verb == "POST":
                async with asyncio.timeout(UNWATCHED_S):
                    async for _ in self._events:
                        pass
        except (TimeoutError, LedgerUnavailable):
            pass  # what is not settled is recorded below, or stays open for the sealer to close as unknown
        finally:
            await self._end(Reason.CANCELLED)

    async def _released(self) -> AsyncIterator[bytes]:
        limits = self._permitted.question.caller.standing.snapshot.deployment.limits
        splitter = EventSplitter(limits.response_bytes)
        reason = Reason.COMPLETED
        try:
            async for piece in self._response.body():
                released = [await self._releaser.event(event) for event in splitter.feed(piece)]
                if any(released):
                    yield b"".join(released)
            for event in splitter.finish():
                yield await self._releaser.event(event)
        except (UpstreamError, Malformed) as failure:
            reason = failure.reason
        except MaskingFailed:
            reason = Reason.INSPECTION_FAILED
        except LedgerUnavailable:
            await self._response.close()
            raise  # nothing can be recorded, so not even an error event may leave: the shell cuts the connection
        except Exception as bug:  # a stream's own last place: what nobody foresaw becomes a refusal and a record
            self._world.report_bug("a stream", bug)
            reason = Reason.INTERNAL
        unanswered = await self._end(reason)
        for element in unanswered:
            refused = Refused(Reason.UPSTREAM_BROKEN if reason is Reason.COMPLETED else reason)
            message_id = element.message.id if isinstance(element.message, Request) else None
            yield b"event: message\ndata: " + refusal.error_body(refused, message_id, call=element.call) + b"\n\n"

    async def _end(self, reason: Reason) -> tuple[Element, ...]:
        """Close the upstream and the record. Returns the calls that must still be answered with an error."""
        if self._over:
            return ()
        self._over = True
        await self._response.close()
        await self._releaser.flush()
        question = self._permitted.question
        if question.verb == "GET":
            await self._world.ledger.record(drafting.stream_close(question, reason, self._releaser.totals))
            return ()
        if (
            question.era == "legacy"
            and self._releaser.resumable
            and reason in (Reason.COMPLETED, Reason.UPSTREAM_BROKEN)
        ):
            return ()  # the server may hang up and go on when the client resumes (MCP 2025-11-25): the result comes later or never
        return await self._releaser.settle(Reason.UPSTREAM_BROKEN if reason is Reason.COMPLETED else reason)
