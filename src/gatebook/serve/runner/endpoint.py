"""Streamable HTTP in front of one server that is a command: what its Unix socket serves. Only the gate connects there.

POST carries messages, GET listens to a session, DELETE ends one (MCP 2025-11-25, transports); of 2026-07-28 there is POST alone. Answers
are event streams; one of 2026-07-28 that nothing comes before is a JSON body, since its HTTP status says something. Where a process ends before its answer, the
stream breaks off: the gate then answers, and records, that the outcome is unknown. Nothing is asked twice.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message as Event
from starlette.types import Receive, Scope, Send

from gatebook.model.errors import Malformed, Reason
from gatebook.model.http import Headers
from gatebook.serve.runner import refusals
from gatebook.serve.runner.declaring import demand_declared
from gatebook.serve.runner.keeper import Keeper
from gatebook.serve.runner.lines import event_of
from gatebook.serve.runner.process import Broken, Inbox, ServerProcess
from gatebook.serve.runner.refusals import Refusal
from gatebook.serve.runner.talk import Delivery, Exchange
from gatebook.wire import jsonrpc
from gatebook.wire.jsonrpc import Batch, Message
from gatebook.wire.revisions import Era, revision_of

T = TypeVar("T")
CALLER: Final = b"gatebook-caller"
OFF_LOOP_BYTES: Final = 64 << 10
_SESSION: Final = b"mcp-session-id"
_STATUS: Final = {-32700: 400, -32600: 400, -32602: 400, -32020: 400, -32021: 400, -32022: 400, -32601: 404}
"""HTTP status of an answer that is an error, in 2026-07-28 (transports, status codes)."""
_EVENTS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Endpoint:
    """The ASGI application of one server's socket. `keeper` may be replaced: requests go to the one that is there when they come."""

    def __init__(self, keeper: Keeper, max_body_bytes: int) -> None:
        self.keeper = keeper
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        visit = _Visit(self.keeper, tuple(scope["headers"]), receive, send)
        try:
            if request.method == "POST":
                await visit.post(await self._body(request))
            elif request.method == "GET":
                await visit.listen()
            elif request.method == "DELETE":
                await visit.delete()
            else:
                await visit.reply(405, headers=[(b"allow", b"GET, POST, DELETE")])
        except Refusal as refused:
            await visit.refuse(refused)
        except Malformed as malformed:
            await visit.refuse(Refusal(400, _CODES.get(malformed.reason, -32600), malformed.words))
        except (ClientDisconnect, _HungUp):
            return

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self._max_body_bytes:
                raise Refusal(413, 1413, "The request is larger than limits.request_bytes.")
        return bytes(body)


_CODES: Final = {
    Reason.HEADER_MISMATCH: -32020,
    Reason.PARSE_ERROR: -32700,
    Reason.INVALID_PARAMS: -32602,
    Reason.UNSUPPORTED_VERSION: -32022,
}


class _Visit:
    """One HTTP request."""

    def __init__(self, keeper: Keeper, headers: Headers, receive: Receive, send: Send) -> None:
        self._keeper = keeper
        self._headers = headers
        self._receive = receive
        self._send = send
        self._message_id: bytes | None = None
        self._caller = self._header(CALLER) or b""

    def _header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self._headers if key == name), None)

    # POST

    async def post(self, body: bytes) -> None:
        """Raises Refusal, Malformed."""
        parsed = await _parsed(body)
        messages = parsed.elements if isinstance(parsed, Batch) else (parsed,)
        requests = tuple([message for message in messages if isinstance(message, jsonrpc.Request)])
        if requests and not isinstance(parsed, Batch):
            self._message_id = requests[0].id
        if revision_of(self._headers, parsed).era == "modern":
            await self._post_modern(requests)
        elif (session := self._header(_SESSION)) is not None:
            with self._keeper.at_work(session.decode("latin-1"), self._caller) as process:
                await self._post_to_session(process, messages, requests)
        elif len(messages) == 1 and requests and requests[0].method == "initialize":
            await self._initialize(requests[0])
        else:
            raise refusals.no_session()

    async def _initialize(self, request: jsonrpc.Request) -> None:
        delivery, session = await self._unless_hung_up(self._keeper.initialize(request, self._caller))
        named = [(_SESSION, session.encode())] if session is not None else []
        await self.reply(200, delivery.message, named)

    async def _post_to_session(
        self, process: ServerProcess, messages: tuple[Message, ...], requests: tuple[jsonrpc.Request, ...]
    ) -> None:
        """What awaits no answer is written first: it came in one message with what does."""
        others = tuple([message for message in messages if not isinstance(message, jsonrpc.Request)])
        if others:
            await process.tell(others)
        if not requests:
            await self.reply(202)
            return
        exchange, inbox = await process.ask(requests)
        await self._answer(process, exchange, inbox, "legacy")

    async def _post_modern(self, requests: tuple[jsonrpc.Request, ...]) -> None:
        """A notification has nothing to act on here: hanging up is what cancels (MCP 2026-07-28, cancellation)."""
        process = await self._keeper.process_of(self._caller)
        if not requests:
            await self.reply(202)
            return
        for request in requests:
            if request.method == "tools/call":
                await self._unless_hung_up(demand_declared(process, request, self._headers))
            elif request.method == "tools/list":
                process.tools_may_have_changed()  # whoever asks may be told something else than was known
        exchange, inbox = await process.ask(requests)
        await self._answer(process, exchange, inbox, "modern")

    async def _answer(self, process: ServerProcess, exchange: Exchange, inbox: Inbox, era: Era) -> None:
        """Until the last answer, or until the other side hangs up. The head waits for the first message: until then the gate's own limit
        on a server that says nothing holds. An answer of 2026-07-28 that comes first has its HTTP status, so it is a body."""
        gone = asyncio.ensure_future(self._hung_up())
        try:
            first = await self._next(inbox, gone)
            if era == "modern" and first.last:
                await self.reply(_STATUS.get(first.error_code or 0, 200), first.message)
            else:
                await self._stream(inbox, gone, first)
        except _HungUp:
            await process.leave(exchange, cancel=era == "modern")
        except Broken:
            await self._begin_stream()
            raise BrokenOff from None
        finally:
            gone.cancel()
            await process.leave(exchange, cancel=False)

    # GET and DELETE

    async def listen(self) -> None:
        """What the session's server says of itself, until either side ends. Raises Refusal."""
        process = self._session()
        inbox = process.listen()
        gone = asyncio.ensure_future(self._hung_up())
        try:
            await self._begin_stream()
            while True:
                await self._event(await self._next(inbox, gone), more=True)
        except _HungUp:
            return
        except Broken:
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            process.unlisten(inbox)

    async def delete(self) -> None:
        self._session()
        self._keeper.end_session((self._header(_SESSION) or b"").decode("latin-1"), self._caller)
        await self.reply(200)

    def _session(self) -> ServerProcess:
        session = self._header(_SESSION)
        if session is None:
            raise refusals.no_session()
        return self._keeper.session(session.decode("latin-1"), self._caller)

    # Answers

    async def reply(self, status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
        kind = [(b"content-type", b"application/json")] if body else []
        length = [(b"content-length", b"%d" % len(body))]
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*kind, *length, *(headers or [])]}
        )
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, refused: Refusal) -> None:
        later = [(b"retry-after", b"5")] if refused.status == 503 else []
        await self.reply(refused.status, refused.body(self._message_id), later)

    async def _begin_stream(self) -> None:
        """The head leaves at once: a stream may have nothing to say for long."""
        await self._send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})

    async def _stream(self, inbox: Inbox, gone: "asyncio.Future[None]", first: Delivery) -> None:
        """`first` and what follows, to the last answer. Raises _HungUp, BrokenOff."""
        await self._begin_stream()
        try:
            delivery = first
            while not delivery.last:
                await self._event(delivery, more=True)
                delivery = await self._next(inbox, gone)
        except Broken:
            raise BrokenOff from None
        await self._event(delivery, more=False)

    async def _event(self, delivery: Delivery, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": event_of(delivery.message), "more_body": more})

    async def _next(self, inbox: Inbox, gone: "asyncio.Future[None]") -> Delivery:
        """Raises _HungUp, Broken."""
        coming = asyncio.ensure_future(inbox.next())
        await asyncio.wait((coming, gone), return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            coming.cancel()
            raise _HungUp
        return coming.result()

    async def _unless_hung_up(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` comes to. Raises _HungUp, and then it was cancelled."""
        working, gone = asyncio.ensure_future(work), asyncio.ensure_future(self._hung_up())
        try:
            await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise _HungUp
            return await working
        finally:
            working.cancel()
            gone.cancel()

    async def _hung_up(self) -> None:
        event: Event = {"type": ""}
        while event["type"] != "http.disconnect":
            event = await self._receive()


class _HungUp(Exception):
    """The other side is gone."""


class BrokenOff(Exception):
    """To whoever serves the socket: close the connection, so that the answer that began is seen not to be whole."""


async def _parsed(body: bytes) -> Message | Batch:
    if len(body) <= OFF_LOOP_BYTES:
        return jsonrpc.parse_client(body)
    return await asyncio.to_thread(jsonrpc.parse_client, body)
