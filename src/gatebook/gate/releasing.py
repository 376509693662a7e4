"""What a server says, message by message: inspected, recorded, then released. Nothing leaves by another way, on whatever stream it came."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, ParamSpec, TypeVar

import msgspec

from gatebook.gate import drafting
from gatebook.gate.asking import ID_CHARS, Element, Question
from gatebook.gate.quarantine import Seen
from gatebook.gate.turns import NoRoom
from gatebook.gate.world import OFF_LOOP_BYTES, AnswerHead, Injected, World
from gatebook.masking import Masked, MaskingFailed, is_clean, mask, mask_text
from gatebook.model.errors import LedgerUnavailable, Malformed, Reason
from gatebook.model.http import Headers
from gatebook.model.record import Draft
from gatebook.policy import may_see
from gatebook.ports import Recorded
from gatebook.wire import build, jsonrpc, methods
from gatebook.wire import headers as wire_headers
from gatebook.wire.jsonrpc import BatchEnvelope, Envelope
from gatebook.wire.sse import Event, around_data, rewrite

_bytes_of = attrgetter("raw")
P = ParamSpec("P")
T = TypeVar("T")
Came = Literal["answer", "failure", "event"]
"""How a message came: as the whole body that answers a POST; as the body of an HTTP error; in an event, or beside any call."""

CHUNK_BYTES = 64 << 10
CHUNK_S = 5.0
CHUNK_MESSAGES = 16
"""Each is a recording with some 200 bytes of its own in the entry, and an entry holds 8 KiB."""
REMEMBERED_BYTES = 512
LARGEST_ERROR_CODE = 2**31
"""A larger one is not recorded: with twelve digits and more it could be a card number."""
LISTING_OF = {method.name: method.listing for method in methods.METHODS.values() if method.listing is not None}
LISTINGS = tuple(LISTING_OF.values())


class _Looked(msgspec.Struct, frozen=True, gc=False):
    """One message of the server's that may be said here: `element` the call that it answers, `answered` that call's plain id."""

    envelope: Envelope
    answered: bytes
    element: Element | None
    masked: Masked


class Releaser:
    """The way out for one question's answers. Holds the calls that still await a result, and the notifications not yet recorded."""

    # What most calls never change stands here once, not in each of them.
    last_recorded: Recorded | None = None
    reading_s = 0.0
    resumable = False
    _chunk: tuple[Masked, ...] = ()
    _chunk_timer: asyncio.TimerHandle | None = None
    _flushing: frozenset[asyncio.Task[None]] = frozenset()
    _failed: LedgerUnavailable | None = None
    _seen: deque[Seen] | None = None
    _events = 0
    _bytes = 0
    _ended = False

    def __init__(self, question: Question, world: World, injected: Injected) -> None:
        self._question = question
        self._world = world
        self._injected = injected
        self.secrets = injected.secrets
        self._pending: dict[bytes, Element] = {}
        for element in question.calls:
            if isinstance(element.message, jsonrpc.Request):
                self._pending[jsonrpc.plain_id(element.message.id)] = element

    def body(self, body: bytes, came: Came) -> Coroutine[Any, Any, bytes]:
        """One JSON body or one event's data, released when it is awaited: its bytes as they may leave, after their record is durable.

        Raises Malformed(UPSTREAM_INVALID) also for what the server has no business to say here (`_judge`), MaskingFailed,
        LedgerUnavailable: then nothing of it may leave."""
        if len(body) > OFF_LOOP_BYTES:
            return self._large_body(body, came)
        looked = self._looked_at(body, came)
        return self._release(looked, came) if isinstance(looked, _Looked) else self._unusual(looked, body, came)

    async def _large_body(self, body: bytes, came: Came) -> bytes:
        looked = await self._large(body, self._looked_at, body, came)
        return await (self._release(looked, came) if isinstance(looked, _Looked) else self._unusual(looked, body, came))

    async def _unusual(self, looked: BatchEnvelope | None, body: bytes, came: Came) -> bytes:
        """As `body`, for a batch and for what is no message as it stands."""
        if looked is None:
            return await self._unreadable(body, came)
        if self._question.era == "modern" or (came == "answer" and not self._question.batch):
            raise Malformed(Reason.UPSTREAM_INVALID, "a batch where none may be")
        released = [await self._element_of_batch(envelope, came) for envelope in looked.elements]
        if all(new is envelope.raw for new, envelope in zip(released, looked.elements, strict=True)):
            return body
        return b"[" + b",".join(released) + b"]"

    async def _unreadable(self, body: bytes, came: Came) -> bytes:
        """As `body`, for one that only halves of surrogate pairs make unreadable: judged without them, and released with them unless it
        had to be masked."""
        readable = await self._large(body, jsonrpc.readable, body)
        if readable == body:
            raise Malformed(Reason.UPSTREAM_INVALID, "the server's message is no JSON-RPC, or can be read in two ways")
        released = await self.body(readable, came)
        return body if released is readable else released

    async def event(self, event: Event) -> bytes:
        """One SSE event, released. Comments and priming events pass as they are unless they hold something to mask; then they are dropped.
        Raises as `body` does; MaskingFailed where something to mask stands beside the data."""
        self._events += event.data is not None
        self._bytes += len(event.raw)
        self.resumable = self.resumable or event.id is not None
        if not event.data:
            return event.raw if not await self._finds_in(event, _bytes_of) else b""
        if await self._finds_in(event, around_data):
            raise MaskingFailed("a line beside an event's data holds something that must not leave")
        released = await self.body(event.data, "event")
        return event.raw if released is event.data else rewrite(event, released)

    async def _finds_in(self, event: Event, part: Callable[[Event], bytes]) -> bool:
        if len(event.raw) <= OFF_LOOP_BYTES:
            return self.finds(part(event))
        return await self._large(event.raw, lambda: self.finds(part(event)))

    def text(self, raw: bytes) -> bytes:
        """A body that is no message, as it may leave: nothing of one that is no UTF-8, or has zeros between its characters as UTF-16 does. Who reads it
        so reads what nobody looked at. Raises MaskingFailed."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return b""
        return mask_text(text, self.secrets)[0].encode() if "\0" not in text else b""

    def head(self, headers: Headers) -> AnswerHead:
        """What the server's headers say, and which may leave: a value that would have to be masked does not, but the media type does
        without its parameters."""
        known = self._injected.heads.get(headers)
        if known is None:
            known = AnswerHead(
                media_type=(media_type := wire_headers.media_type(headers)),
                foreign=media_type is None and any(name == b"content-type" for name, _ in headers),
                clean=self._clean(wire_headers.forwardable_response_headers(headers)),
                session=next((value.decode("latin-1") for name, value in headers if name == b"mcp-session-id"), None),
            )
            if sum(map(len, chain.from_iterable(headers))) <= REMEMBERED_BYTES:
                self._injected.heads.keep(headers, known)
        return known

    def _clean(self, headers: Headers) -> Headers:
        clean: list[tuple[bytes, bytes]] = []
        media_type = wire_headers.media_type(headers)
        for name, value in headers:
            if name == b"content-type" and (media_type is None or self.finds(value)):
                value = (media_type or "").encode()
            elif name == b"cache-control":
                value = wire_headers.private_cache_control(value)
            if value and not self.finds(value):
                clean.append((name, value))
        return tuple(clean)

    def finds(self, raw: bytes) -> bool:
        """Whether a header value or a line of a stream holds something that must not leave."""
        return bool(raw) and not is_clean(raw, self.secrets)

    async def _large(self, body: bytes, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work(*args)`, where `body` is large in this server's turn. Raises MaskingFailed where there is no room for one more to wait."""
        try:
            sender = ("server", self._question.caller.server.name)
            return await self._world.off_loop(sender, body, work, *args, **kwargs)
        except NoRoom as full:
            raise MaskingFailed("too many large messages wait to be judged") from full

    def _judge(self, envelope: Envelope, came: Came) -> None:
        """Whether the server may say this, which answers no call of the question, here. Raises Malformed: an answer to another call is a lie
        wherever it stands.

        A response to an earlier call belongs on a stream that resumes one and nowhere else (MCP 2025-11-25, transports, listening).
        2026-07-28 has no requests by servers. An error without an id, or of a failed HTTP request, need not name the call."""
        question = self._question
        if envelope.kind != "response":
            lies = came == "answer" or (envelope.kind == "request" and question.era == "modern")
        elif envelope.error_code is not None and (envelope.id is None or came == "failure"):
            return
        else:
            lies = question.verb != "GET" or question.arrival.header(b"last-event-id") is None
        if lies:
            raise Malformed(Reason.UPSTREAM_INVALID, "the server says what belongs elsewhere")

    def _looked_at(self, body: bytes, came: Came) -> "_Looked | BatchEnvelope | None":
        """All that a whole body is looked at for, in one go: a large one changes threads once. None where it is no message; a batch is only
        taken apart. Raises as `body` does."""
        try:
            parsed = jsonrpc.parse_server(body)
        except Malformed:
            return None
        return parsed if isinstance(parsed, BatchEnvelope) else self._look(parsed, came)

    def _look(self, envelope: Envelope, came: Came) -> "_Looked":
        answered = jsonrpc.plain_id(envelope.id) if envelope.kind == "response" and envelope.id is not None else b""
        element = self._pending.get(answered)
        if element is None:
            self._judge(envelope, came)
        is_list = element is None or element.method in LISTING_OF
        visible = self._visible(envelope, element) if is_list else envelope.raw
        return _Looked(envelope, answered, element, mask(visible, self.secrets))

    async def _element_of_batch(self, envelope: Envelope, came: Came) -> bytes:
        large = len(envelope.raw) > OFF_LOOP_BYTES
        looked = await self._large(envelope.raw, self._look, envelope, came) if large else self._look(envelope, came)
        return await self._release(looked, came)

    async def _release(self, looked: "_Looked", came: Came) -> bytes:
        """Its record is durable, or it is a notification: the bytes that may leave."""
        envelope, masked = looked.envelope, looked.masked
        if self._failed:
            raise self._failed
        if self._seen:
            await self._note_seen()
        match envelope.kind:
            case "response":
                await self._record(self._outcome(envelope, looked.element, masked, came))
                self._pending.pop(looked.answered, None)
            case "request":
                method = self._safe(envelope.method)
                await self._record(drafting.server_message(self._question, method, masked, self._named(envelope)))
            case _:
                await self._gather(masked)
        return masked.body

    def _visible(self, envelope: Envelope, element: Element | None) -> bytes:
        """What this caller may see of it. Lists hold only what this caller may use, and are then private (MCP 2026-07-28, caching)."""
        raw = envelope.raw
        if envelope.kind != "response" or envelope.error_code is not None:
            return raw
        if element is not None:
            listing_of_method = LISTING_OF.get(element.method)
            return raw if listing_of_method is None else self._without_forbidden(raw, listing_of_method, required=True)
        for listing in LISTINGS:  # a response to an earlier request on a resumed stream: judged by what it holds
            raw = self._without_forbidden(raw, listing, required=False)
        return raw

    def _without_forbidden(self, raw: bytes, listing: methods.Listing, *, required: bool) -> bytes:
        caller = self._question.caller
        deployment = caller.standing.snapshot.deployment

        def keep(name: str, definition: bytes) -> bool:
            # A change is noted whoever asks: who may not see the tool keeps nobody from knowing that it changed.
            sound = listing.kind != "tool" or caller.server.pins is None or self._as_pinned(name, definition)
            return sound and may_see(listing.kind, name, caller.principal, deployment, caller.server.name)

        if not required and not _holds(raw, listing.key):
            return raw
        private = self._question.era == "modern"
        return build.filtered_list(raw, listing.key, keep, listing.name_field, make_private=private)[0]

    def _as_pinned(self, name: str, definition: bytes) -> bool:
        sound, seen = self._world.quarantine.look(self._question.caller.server, name, definition)
        if seen is not None:
            if self._seen is None:
                self._seen = deque()
            self._seen.append(seen)
        return sound

    async def _note_seen(self) -> None:
        """What a list showed of pinned tools is in the book before the list leaves."""
        server = self._question.caller.server
        while self._seen:
            seen = self._seen[0]
            if self._world.quarantine.is_told(server, seen):
                await self._record(drafting.pinned(self._question, seen, self._safe(seen.tool)))
                self._world.quarantine.learn(server, seen)
            self._seen.popleft()

    def _outcome(self, envelope: Envelope, element: Element | None, masked: Masked, came: Came) -> Draft:
        reason = (
            Reason.ERROR_RESULT
            if envelope.error_code is not None
            else Reason.TOOL_ERROR
            if envelope.is_error
            else Reason.COMPLETED
        )
        if element is not None:
            return drafting.result(self._question, element, reason, inspected=masked, detail=self._facts(envelope))
        if envelope.id is None or came == "failure":
            # It names no call: as a result it would count as one, and the id of a failed HTTP request's error could end another in the book.
            return drafting.server_message(self._question, None, masked, self._named(envelope), reason=reason)
        return drafting.late_result(self._question, reason, masked, self._named(envelope))

    def _facts(self, envelope: Envelope) -> dict[str, str | int | bool]:
        facts: dict[str, str | int | bool] = {}
        if envelope.error_code is not None and abs(envelope.error_code) <= LARGEST_ERROR_CODE:
            facts["error_code"] = envelope.error_code
        if envelope.result_type not in (None, "complete"):
            facts["result_type"] = self._safe(envelope.result_type)
        return facts

    def _named(self, envelope: Envelope) -> dict[str, str | int | bool]:
        """The facts of a message that is under no call of ours: the id it has is all that says what it belongs to."""
        if envelope.id is None:
            return self._facts(envelope)
        return {"id": self._safe(envelope.id.decode("utf-8", "replace")), **self._facts(envelope)}

    def _safe(self, text: str | None) -> str:
        # Masked, then cut: half a card number is one that no detector knows.
        return mask_text((text or "")[:OFF_LOOP_BYTES], self.secrets)[0][:ID_CHARS]

    async def _record(self, draft: Draft) -> None:
        self.last_recorded = await self._world.ledger.record(draft)

    # Notifications may leave before they are recorded (at most 5 s, 64 KiB or 16 of them), masked like everything.

    async def _gather(self, masked: Masked) -> None:
        self._chunk += (masked,)
        if len(self._chunk) == CHUNK_MESSAGES or sum(len(piece.body) for piece in self._chunk) >= CHUNK_BYTES:
            await self.flush()
        elif self._chunk_timer is None:
            self._chunk_timer = asyncio.get_running_loop().call_later(CHUNK_S, self._flush_soon)

    def _flush_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self._flush_or_fail())
        self._flushing |= {task}
        task.add_done_callback(self._flushed)

    def _flushed(self, task: asyncio.Task[None]) -> None:
        self._flushing -= {task}

    async def _flush_or_fail(self) -> None:
        try:
            await self.flush()
        except LedgerUnavailable as failure:
            self._failed = failure  # the next message raises it: nothing more leaves unrecorded

    async def flush(self) -> None:
        """Make the gathered notifications durable now."""
        if self._chunk_timer is not None:
            self._chunk_timer.cancel()
            self._chunk_timer = None
        pieces, self._chunk = self._chunk, ()
        if pieces:
            await self._record(drafting.chunk(self._question, pieces))

    async def settle(self, reason: Reason, *, status: int | None = None) -> tuple[Element, ...]:
        """Flush, and record `reason` as the end of all that has none yet: of every call, of a GET stream, and, where it is a failure, of
        messages that await no answer. `status`: of the server's HTTP answer. Returns the calls. Idempotent."""
        if not self._pending and self._question.calls and not self._chunk:
            self._ended = True
            return ()
        await self.flush()
        pending, self._pending = tuple(self._pending.values()), {}
        ended, self._ended = self._ended, True
        detail: dict[str, str | int | bool] = {"events": self._events, "bytes": self._bytes}
        if status is not None:
            detail["status"] = status
        for element in pending:
            await self._record(drafting.result(self._question, element, reason, detail=detail))
        if not ended and self._question.verb == "GET":
            await self._record(drafting.stream_close(self._question, reason, detail))
        elif not ended and not self._question.calls and reason is not Reason.COMPLETED:
            await self._record(drafting.undelivered(self._question, reason, detail))
        return pending


def _holds(raw: bytes, key: str) -> bool:
    result = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get("result", msgspec.Raw(b"{}"))
    return bytes(result)[:1] == b"{" and key in msgspec.json.decode(result, type=dict[str, msgspec.Raw])
