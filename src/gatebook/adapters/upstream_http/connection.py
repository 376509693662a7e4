"""One connection to an upstream and the response that is being read from it.

llhttp (through httptools) parses; what it cannot know, that a body ended with the connection, is judged here.
"""

import asyncio
import select
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

import httptools
import msgspec

from gatebook.model.bounded import Bounded
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Headers

IDLE_S = 4.0
"""Servers close idle connections after 5 s and more: what is younger is rarely closing just now."""

UNREAD_BYTES = 256 << 10
"""How much of a body may wait unread before we stop reading from the socket."""

INTERIM_RESPONSES = 8
HEADS_KEPT = 256
REMEMBERED_BYTES = 2 << 10
HEADER_FIELDS = 256
_SILENT_BYTES = 64 << 10


class KnownHead(msgspec.Struct, frozen=True):
    """What the head of an answer was found to say: a final one, whose body is `length` bytes, with another answer to follow."""

    status: int
    headers: Headers
    length: int


class Home(Protocol):
    """Where a connection belongs. `heads`: those of earlier answers, by their bytes."""

    heads: Bounded[bytes, KnownHead]

    def opened(self, connection: "Connection") -> None: ...
    def put_back(self, connection: "Connection") -> None: ...
    def lost(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """One connection to an upstream. After `exchange` it is busy until its response is at its end or let go."""

    def __init__(self, home: Home, header_bytes: int) -> None:
        self._home = home
        self._header_bytes = header_bytes
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._response: HttpResponse | None = None
        self._spoilt = False
        self._silent_bytes = 0
        self._untouched = True
        """No byte of the present answer was given to llhttp."""
        self._reading_paused = False
        self._peek: select.poll | None = None
        self._clock = _Deadline(self._time_is_up)

    # What the transport tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._tls = transport.get_extra_info("ssl_object")
        self._home.opened(self)
        if self._spoilt:
            self._transport.abort()  # Given up before it was made.
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._peek = select.poll()
            self._peek.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.abort()  # Nobody asked: the next answer could not be told from this.
            return
        if self._untouched and not response.bodiless and self._is_known(response, data):
            return
        self._untouched = False
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._spoilt = True
            cause = error.__context__
            response.fail(cause if isinstance(cause, UpstreamError) else _invalid("the answer is not HTTP/1.1"))
        if self._silent_bytes > (_SILENT_BYTES if response.begun else self._header_bytes):
            self._spoilt = True
            response.fail(_invalid("the answer's head or framing is too large"))
        if response.failed:
            self.abort()
        elif response.whole_at_once and not self._spoilt:
            self._remember(response, data)
        elif response.unread_bytes > UNREAD_BYTES and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _is_known(self, response: "HttpResponse", data: bytes) -> bool:
        """Whether `data` is exactly one answer whose head came before, byte for byte: then llhttp need not take it apart again."""
        end = data.find(b"\r\n\r\n") + 4
        known = self._home.heads.get(data[:end]) if end > 3 else None
        if known is None or len(data) - end != known.length:
            return False
        response.begin_as(known.status, known.headers)
        response.take(data[end:])
        response.end()
        return True

    def _remember(self, response: "HttpResponse", data: bytes) -> None:
        """What llhttp made of `data`, one whole answer: its head says the same the next time."""
        end = data.find(b"\r\n\r\n") + 4
        length = next((value for name, value in response.headers if name == b"content-length"), b"")
        if end <= REMEMBERED_BYTES and length == b"%d" % (len(data) - end) and len(data) > end:
            self._home.heads.keep(data[:end], KnownHead(response.status, response.headers, len(data) - end))

    def eof_received(self) -> bool:
        return False  # Close: a server that has said its last word is not asked again.

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._clock.stop()
        self._home.lost(self)
        response, self._response = self._response, None
        if response is not None:
            response.end_with_connection(clean=exc is None and self._was_closed_by_word())

    def _was_closed_by_word(self) -> bool:
        """Whether TLS said goodbye; true in clear. RFC 9112 §9.8: anybody on the way can send a FIN and cut a body short."""
        if self._tls is None:
            return True
        try:
            return self._tls.read(1) == b""
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False

    # What llhttp tells us

    def on_message_begin(self) -> None:
        if self._response is not None and self._response.complete:
            self._spoilt = True  # More than was asked for.

    def on_header(self, name: bytes, value: bytes) -> None:
        response = self._response
        if response is not None and not response.begun:
            response.gather(name.lower(), value.strip(b" \t"), self._header_bytes)

    def on_headers_complete(self) -> None:
        response = self._response
        if response is None or response.begun:
            return
        self._silent_bytes = 0
        response.begin(self._parser.get_status_code())
        if response.complete:
            # llhttp cannot be told that an answer to HEAD has no body: whatever comes next would be misread.
            self._spoilt = True

    def on_body(self, piece: bytes) -> None:
        self._silent_bytes = 0
        if self._response is not None and not self._response.complete:
            self._response.take(piece)

    def on_message_complete(self) -> None:
        response = self._response
        if response is not None and response.begun and not response.complete:
            if not self._parser.should_keep_alive():
                self._spoilt = True
            response.end()

    # What the pool and the response ask of us

    def fresh(self) -> bool:
        """Whether the server has neither closed nor said anything since the last answer, as far as this machine knows."""
        if self._transport is None or self._spoilt or self._transport.is_closing():
            return False
        # Asked of the kernel: in a busy worker the loop may be milliseconds behind, and what is sent now would be lost for certain.
        return self._peek is None or not self._peek.poll(0)

    async def exchange(self, message: bytes, method: str, *, first_byte_s: float, idle_s: float) -> "HttpResponse":
        """Send and return when the response's head is here. Raises UpstreamError; `sent` from the first byte given to the system."""
        if self._transport is None or self._transport.is_closing():
            raise UpstreamError(Reason.UPSTREAM_UNREACHABLE, "the connection ended at once", sent=False)
        response = self._response = HttpResponse(self, method, idle_s)
        self._silent_bytes = 0
        self._untouched = True
        self._clock.set(first_byte_s)
        self._transport.write(message)
        try:
            await response.head()
        except BaseException:
            self.abort()
            raise
        self._clock.clear()
        return response

    def wait_for(self, seconds: float) -> None:
        """The response fails with UPSTREAM_TIMEOUT unless `waited_enough` comes within `seconds`."""
        self._clock.set(seconds)

    def waited_enough(self) -> None:
        """What was waited for is here."""
        self._clock.clear()

    def read_on(self) -> None:
        """The caller took what there was."""
        if self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    def release(self) -> None:
        """The response is let go: at its end the connection serves again, else it is closed."""
        response, self._response = self._response, None
        if response is None or self._transport is None:
            return
        if not response.complete or self._spoilt or self._transport.get_write_buffer_size():
            self.abort()
            return
        self.read_on()
        self._clock.set(IDLE_S)
        self._home.put_back(self)

    def abort(self) -> None:
        """The connection is being closed, and what was not sent is forgotten."""
        self._spoilt = True
        if self._transport is not None:
            self._transport.abort()

    def _time_is_up(self) -> None:
        if self._response is not None:
            self._response.fail(UpstreamError(Reason.UPSTREAM_TIMEOUT, "the server is silent", sent=True))
        self.abort()


class HttpResponse:
    """ports.UpstreamResponse. Whole or broken: nothing is taken for an end but the framing's own, or a clean close where that is it."""

    def __init__(self, connection: Connection, method: str, idle_s: float) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.begun = False
        self.complete = False
        self.bodiless = method == "HEAD"
        self.unread_bytes = 0
        self._connection: Connection | None = connection
        self._idle_s = idle_s
        self._gathered: list[tuple[bytes, bytes]] = []
        self._gathered_bytes = 0
        self._interim = 0
        self._ends_with_connection = False
        self._pieces: deque[bytes] = deque()
        self._failure: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # For the caller

    async def body(self) -> AsyncIterator[bytes]:
        """See ports.UpstreamResponse. Pieces that came together are given together. At the end the connection is let go."""
        while True:
            if self._pieces:
                yield self._taken()
            elif self.complete:
                self._let_go()
                return
            elif self._failure is not None:
                self._let_go()
                raise self._failure
            else:
                await self._more()

    async def whole(self, limit: int) -> bytes:
        """See ports.UpstreamResponse. At the end the connection is let go."""
        pieces: list[bytes] = []
        size = 0
        while True:
            if self._pieces:
                piece = self._taken()
                size += len(piece)
                if size > limit:
                    raise UpstreamError(Reason.UPSTREAM_TOO_LARGE, f"more than {limit} bytes", sent=True)
                pieces.append(piece)
            elif self.complete:
                self._let_go()
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            elif self._failure is not None:
                self._let_go()
                raise self._failure
            else:
                await self._more()

    async def close(self) -> None:
        """See ports.UpstreamResponse. Whoever is still reading the body gets UpstreamError(CANCELLED)."""
        if not self.complete:
            self.fail(UpstreamError(Reason.CANCELLED, "the answer was let go", sent=True))
        self._let_go()

    def _taken(self) -> bytes:
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread_bytes = 0
        if self._connection is not None:
            self._connection.read_on()
        return piece

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    async def _more(self) -> None:
        """Something has changed; a reader that is cancelled meanwhile closes the connection."""
        connection = self._connection
        assert connection is not None  # Let go only at the end or with a failure.
        connection.wait_for(self._idle_s)
        try:
            await self._changed()
        except BaseException:
            connection.abort()
            raise
        finally:
            connection.waited_enough()

    async def head(self) -> None:
        """The final response's head is here and may be used. Raises UpstreamError."""
        while not self.begun and self._failure is None:
            await self._changed()
        if not self.begun and self._failure is not None:
            raise self._failure
        if 300 <= self.status < 400:
            raise UpstreamError(Reason.UPSTREAM_REDIRECT, f"the server redirects ({self.status})", sent=True)
        if any(name == b"content-encoding" and value.lower() != b"identity" for name, value in self.headers):
            raise _invalid("the answer is compressed though that was not offered")

    async def _changed(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # For the connection

    @property
    def failed(self) -> bool:
        return self._failure is not None

    def gather(self, name: bytes, value: bytes, header_bytes: int) -> None:
        """One header field of a head that is not complete. Raises UpstreamError where it is one too many."""
        self._gathered.append((name, value))
        self._gathered_bytes += len(name) + len(value) + 4
        if self._gathered_bytes > header_bytes or len(self._gathered) > HEADER_FIELDS:
            raise _invalid("the answer's header block is too large")

    def begin(self, status: int) -> None:
        """A head is complete. Raises UpstreamError where no body can be told from it."""
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > INTERIM_RESPONSES:
                raise _invalid("the answer never begins")
            self._gathered.clear()
            return
        codings = [value.lower() for name, value in self._gathered if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise _invalid("the answer's transfer coding is not exactly chunked")
        framed = bool(codings) or any(name == b"content-length" for name, _ in self._gathered)
        self._ends_with_connection = not framed and status not in (204, 304)
        self.begin_as(status, tuple(self._gathered))
        self.complete = self.bodiless

    def begin_as(self, status: int, headers: Headers) -> None:
        """The final head is here: these are its status and fields."""
        self.status, self.headers, self.begun = status, headers, True
        self._wake()

    @property
    def whole_at_once(self) -> bool:
        """The answer is complete, had a body, and no interim answer came before it."""
        return self.complete and not self.bodiless and not self._interim

    def take(self, piece: bytes) -> None:
        """A piece of the body is here."""
        self._pieces.append(piece)
        self.unread_bytes += len(piece)
        self._wake()

    def end(self) -> None:
        """The body is whole."""
        self.complete = True
        self._wake()

    def end_with_connection(self, *, clean: bool) -> None:
        """The connection is closed: the end of a body that ends so, a cut for any other."""
        if self.begun and self._ends_with_connection and clean:
            self.end()
        elif not self.complete:
            words = "the answer was cut" if self.begun else "the connection ended before an answer"
            self.fail(UpstreamError(Reason.UPSTREAM_BROKEN, words, sent=True))

    def fail(self, failure: UpstreamError) -> None:
        """Nothing more will come; the first failure counts, and none after the end."""
        if not self.complete and self._failure is None:
            self._failure = failure
            self._wake()


def _invalid(words: str) -> UpstreamError:
    return UpstreamError(Reason.UPSTREAM_INVALID, words, sent=True)


class _Deadline:
    """A deadline that moves with every request and costs a timer only now and then: a timer that fires early is set anew."""

    def __init__(self, passed: Callable[[], None]) -> None:
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, seconds: float) -> None:
        self._at = self._loop.time() + seconds
        if self._timer is None or self._at < self._timer_at:
            self._arm(self._at)

    def clear(self) -> None:
        self._at = None

    def stop(self) -> None:
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._at is None:
            return
        if self._loop.time() >= self._at:
            self._at = None
            self._passed()
        else:
            self._arm(self._at)
