"""One client's connection: bytes in, `answer` called, bytes out; one request at a time, in order.

The path of a request: `data_received` → `RequestReader.advance` → one task running `_exchange` → `answer` → written → the next.

A client that hangs up: while `answer` runs, its event is set and nothing else happens; what it returns is dropped. While a stream is
being sent, the wait for the next event is cancelled and then `aclose()` awaited, however long it takes. A stream whose client left
before its first event is not iterated, only closed. So an iterator that must finish a step it has begun (a record being written)
shields that step, and what must happen at the end of a stream happens in `aclose()`.

LIMIT: `buffered_bytes` counts what clients sent and replies they are slow to take. What `answer` holds is counted apart, and only large
messages that are or wait to be judged (`gate/turns.py`), not an answer while it is read.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import assert_never, cast

from gatebook.gate.leaving import Gone
from gatebook.model.deployment import Limits
from gatebook.model.errors import Reason
from gatebook.model.http import Answer, Arrival, EventStream, Reply
from gatebook.model.source import source_of
from gatebook.serve.forwarded import Network, address, client_address, trusts
from gatebook.serve.registry import Admitted, ConnectionRegistry
from gatebook.serve.replying import as_sent
from gatebook.serve.request import Head, RequestReader, Unreadable

Answering = Callable[[Arrival, Gone], Awaitable[Answer]]
"""What answers a request. The event is set when the client is gone; the task is never cancelled for that."""

LastResort = Callable[[Arrival, BaseException], Awaitable[Reply]]
"""Called with what `answer` or a stream raised: what it returns is sent, unless an answer had begun. May itself fail."""

UnreadableSeen = Callable[[str, Reason], Awaitable[object]]
"""Told (client address, reason) of a request that never became one, before its 4xx leaves. Raising turns the 4xx into 503."""

PENDING_BYTES = 64 << 10
"""What a client may send ahead while its request is being answered; beyond that we stop reading."""

LINGER_S = 2.0
"""How long a refused client may go on sending, so that our refusal is not lost to a reset."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
INTERNAL = Reply(status=500, headers=((b"content-type", b"text/plain"),), body=b"internal error\n")
_NEVER = float("inf")


class HttpProtocol(asyncio.Protocol):
    """The server's side of one HTTP/1.1 connection. Contracts of the callables: beside their types, above.

    `trusted_proxies`: only a peer within them is believed about X-Forwarded-For. `handshake`: whose place among the connections it takes.
    """

    def __init__(
        self,
        answer: Answering,
        limits: Limits,
        connections: ConnectionRegistry,
        *,
        unreadable: UnreadableSeen,
        last_resort: LastResort,
        trusted_proxies: tuple[Network, ...] = (),
        handshake: Admitted | None = None,
    ) -> None:
        self._answer = answer
        self._limits = limits
        self._registry = connections
        self._unreadable = unreadable
        self._last_resort = last_resort
        self._trusted = trusted_proxies
        self._handshake = handshake
        self._most_bytes = connections.limits.buffered_bytes
        self._reader = RequestReader(limits, connections.heads)
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._peer = self.source = ""
        self._peer_is_proxy = False
        self._tls = False
        self._task: asyncio.Task[None] | None = None
        self._gone: Gone | None = None
        self._streaming = False
        self._lost = False
        self._closing = False
        self._reading_paused = False
        self.charged = 0
        """Bytes of ours in the registry's `buffered_bytes`."""
        self.waiting_since: float | None = None
        """Since when a reply waits to be taken; None where none does."""
        self._deadline = _NEVER
        self._in_head = False
        self._room: asyncio.Future[None] | None = None
        self._full = False
        self._written = 0
        self._taken = 0
        self._stalled_at = _NEVER

    # What the transport tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        name = transport.get_extra_info("peername")
        peer = address(name[0]) if isinstance(name, tuple) else None
        self._peer = "unix" if peer is None else str(peer)
        self.source = source_of(self._peer)
        if self._handshake is not None:
            self._registry.connections.discard(self._handshake)
            self._handshake = None
        if not self._registry.admit(self):
            self._closing = True
            transport.abort()
            return
        self._peer_is_proxy = peer is not None and trusts(self._trusted, peer)
        self._tls = transport.get_extra_info("sslcontext") is not None
        # From here to the first byte a connection says nothing about itself: it gets no more time than a head does.
        self._deadline = time.monotonic() + min(self._limits.header_s, self._limits.idle_s)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        registry = self._registry
        size = len(data)
        self.charged += size
        registry.buffered_bytes += size
        if self._task is None:
            whole = None if registry.buffered_bytes > self._most_bytes else self._reader.at_once(data)
            if whole is not None:
                head, body = whole
                self._start(head, body)
            else:
                self._reader.feed(data)
                self._read()
            return
        self._reader.feed(data)
        if not self._reading_paused and (len(self._reader.held) > PENDING_BYTES or registry.overloaded):
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        # A client that sends no more counts as gone: nothing tells a half-closed socket from a closed one, and an answer nobody reads
        # must not look delivered.
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._closing = True
        self._registry.connections.discard(self)
        if self._gone is not None:
            self._gone.set()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._streaming and self._task is not None:
            self._task.cancel()
        if self._task is None:
            self._release(0)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # What the registry tells us

    @property
    def ends_at(self) -> float | None:
        """When its time is up, if nothing comes; None while a request is being answered."""
        return self._deadline if self._task is None else None

    def give_way(self) -> None:
        """Refuse what it is sending, of which nothing is held or counted any more."""
        self._refuse(Unreadable(503, Reason.OVERLOADED, "overloaded"))

    def look_at_clock(self, now: float) -> None:
        """Act on a deadline that has passed and on a reader that takes nothing."""
        if self._written != self._taken:
            taken = self._written - self._transport.get_write_buffer_size()
            if taken == self._written:
                self._taken, self._stalled_at = taken, _NEVER
            elif taken > self._taken or self._stalled_at == _NEVER:
                self._taken, self._stalled_at = taken, now + self._limits.stream_idle_s
            elif now >= self._stalled_at:
                self._transport.abort()
                return
        if now >= self._deadline:
            self._deadline = _NEVER
            self._time_is_up()

    def drain(self) -> None:
        """Close if nothing is under way here; what is under way ends with Connection: close."""
        if self._task is None and not self._in_head and self._reader.head is None:
            self._close()

    def cut(self) -> None:
        """Close now, whatever is under way."""
        self._transport.abort()

    def give_up(self) -> None:
        """Close now, and count no more: what is still held is gone a turn of the loop later, and nobody may be refused for it meanwhile."""
        self._closing = True
        self._release(0)
        self._transport.abort()

    def _time_is_up(self) -> None:
        if self._closing:
            self._transport.abort()
        elif self._in_head or self._reader.head is not None:
            self._refuse(Unreadable(408, Reason.BAD_REQUEST, "the request took too long"))
        else:
            self._close()

    # Reading

    def _read(self) -> None:
        """Go on to the next request, if its bytes are here. No request is being answered."""
        try:
            if self._registry.overloaded and not self._registry.make_room(self):
                raise Unreadable(503, Reason.OVERLOADED, "overloaded")
            was_in_body = self._reader.head is not None
            whole = self._reader.advance()
        except Unreadable as refused:
            self._refuse(refused)
            return
        if whole is not None:
            self._start(*whole)
            return
        head = self._reader.head
        if head is None:
            if not self._in_head and self._reader.held:
                self._in_head = True
                self._deadline = time.monotonic() + self._limits.header_s
        elif not was_in_body:
            self._in_head = False
            self._deadline = time.monotonic() + self._limits.body_s
            if head.expects_continue and not self._reader.held:
                self._write(_CONTINUE)

    def _start(self, head: Head, body: bytes) -> None:
        self._in_head = False
        self._deadline = _NEVER
        client_ip = self._peer
        if self._peer_is_proxy:
            client_ip = client_address(self._peer, head.headers, self._trusted)
        arrival = Arrival(
            method=head.method,
            target=head.target,
            headers=head.headers,
            body=body,
            client_ip=client_ip,
            tls=self._tls,
            said=head.said,
        )
        self._gone = gone = Gone()
        # Not `loop.create_task`, which makes every task a name of its own, at a quarter of what a task costs.
        task = asyncio.Task(self._exchange(head, arrival, gone), loop=self._loop, name="exchange")
        self._task = gone.task = task
        self._registry.exchanges.add(task)

    def _refuse(self, refused: Unreadable) -> None:
        self._closing = True
        self._in_head = False
        self._reader.let_go()
        self._release(0)
        self._deadline = time.monotonic() + self._limits.body_s
        self._task = task = self._loop.create_task(self._refusal(refused))
        self._registry.exchanges.add(task)

    # Answering

    async def _exchange(self, head: Head, arrival: Arrival, gone: Gone) -> None:
        """One request is answered and the next one begun, or the connection is being closed.

        Long, because what every request passes is written out here: a step of its own would cost each of them a call."""
        registry, reader = self._registry, self._reader
        closes = True
        try:
            try:
                answer = await self._answer(arrival, gone)
            except Exception as failure:
                answer = await self._rescue(arrival, failure)
            # No goodbye while another request waits here: its client would lose it.
            closes = head.closes or registry.draining or (registry.leaving and not reader.held)
            match answer:
                case Reply():
                    if not self._lost:
                        to_head = head.method == "HEAD"
                        try:
                            whole = as_sent(answer.status, answer.headers, answer.body, closes=closes, to_head=to_head)
                        except ValueError as broken:
                            await self._rescue(arrival, broken)
                            answer = INTERNAL
                            whole = as_sent(answer.status, answer.headers, answer.body, closes=closes, to_head=to_head)
                        transport = self._transport
                        if not transport.is_closing():
                            self._written += len(whole)
                            transport.write(whole)
                        if self._full:
                            await self._until_taken(answer)
                case EventStream():
                    closes = await self._send_stream(head, arrival, answer, closes=closes)
                case _:
                    assert_never(answer)
        except Exception as bug:
            await self._rescue(arrival, bug)
            self._transport.abort()
        except asyncio.CancelledError:
            self._transport.abort()  # Half an answer must not look whole.
            raise
        finally:
            # Here and not in a callback of the task: a callback costs every request another turn of the loop.
            if self._task is not None:
                registry.exchanges.discard(self._task)
            self._task = self._gone = None
            held = 0 if self._lost else len(reader.held)
            registry.buffered_bytes -= self.charged - held
            self.charged = held
        if self._lost:
            return
        if closes or registry.draining:
            self._close()
            return
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        self._deadline = time.monotonic() + self._limits.idle_s
        if held:
            self._read()

    async def _rescue(self, arrival: Arrival, failure: BaseException) -> Reply:
        try:
            return await self._last_resort(arrival, failure)
        except Exception:
            return INTERNAL

    async def _until_taken(self, reply: Reply) -> None:
        """The client has taken most of `reply`, or is gone; until then it counts."""
        self.charged += len(reply.body)
        self._registry.buffered_bytes += len(reply.body)
        self._registry.give_up_replies()
        self.waiting_since = time.monotonic()
        try:
            await self._wait_for_room()
        finally:
            self.waiting_since = None

    async def _send_stream(self, head: Head, arrival: Arrival, stream: EventStream, *, closes: bool) -> bool:
        chunked = not head.http_1_0
        whole = False
        try:
            framing = b"transfer-encoding: chunked\r\n" if chunked else b""
            block = as_sent(stream.status, stream.headers, closes=closes, framing=framing)
            if not self._lost:
                self._write(block)
            if head.method != "HEAD" and not self._lost:
                whole = await self._send_events(stream, chunked=chunked)
        except Exception as failure:
            await self._rescue(arrival, failure)
        finally:
            await self._close_events(arrival, stream)
        if head.method == "HEAD":
            return closes
        if whole and chunked:
            self._write(b"0\r\n\r\n")
        elif not whole and not chunked:
            self._transport.abort()  # Here a close would be read as the end.
        return closes or not whole

    async def _send_events(self, stream: EventStream, *, chunked: bool) -> bool:
        """Every event was written, or the client is gone. Returns whether it was the former."""
        task = asyncio.current_task()
        assert task is not None
        self._streaming = True
        try:
            async for events in stream.events:
                if events:
                    self._write(b"%x\r\n%b\r\n" % (len(events), events) if chunked else events)
                if self._full:
                    await self._wait_for_room()
                if self._lost:
                    return False
            return True
        except asyncio.CancelledError:
            if not self._lost:
                raise
            task.uncancel()  # It was connection_lost that cancelled the waiting, and nothing else.
            return False
        finally:
            self._streaming = False

    async def _close_events(self, arrival: Arrival, stream: EventStream) -> None:
        close = getattr(stream.events, "aclose", None)
        if close is None:
            return
        try:
            await close()
        except Exception as failure:
            await self._rescue(arrival, failure)

    async def _refusal(self, refused: Unreadable) -> None:
        """The refusal is noted, then sent; the connection is closed when the client stops sending or LINGER_S have passed."""
        status, words = refused.status, refused.words
        try:
            try:
                await self._unreadable(self._peer, refused.reason)
            except Exception:
                status, words = 503, "not available"
            if self._lost:
                return
            body = words.encode("ascii") + b"\n"
            headers = ((b"content-type", b"text/plain"),)
            self._write(as_sent(status, headers, body, closes=True))
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()  # TLS says goodbye and waits for the other side's.
            self._deadline = time.monotonic() + LINGER_S
        finally:
            if self._task is not None:
                self._registry.exchanges.discard(self._task)
            self._task = None
            self._release(0)

    # Writing

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._written += len(data)
            self._transport.write(data)

    async def _wait_for_room(self) -> None:
        """The client has taken most of what was written, or is gone."""
        while self._full and not self._lost:
            self._room = self._loop.create_future()
            try:
                await self._room
            finally:
                self._room = None

    def _close(self) -> None:
        self._closing = True
        self._deadline = _NEVER
        self._transport.close()

    def _release(self, still_held: int) -> None:
        self._registry.buffered_bytes -= self.charged - still_held
        self.charged = still_held
