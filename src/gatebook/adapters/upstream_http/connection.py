"""One connection to an upstream; the answer that is being read from it is `response`.

llhttp (through httptools) parses; what it cannot know, that a body ended with the connection, is judged here.
"""

import asyncio
import select
import ssl
from typing import Protocol, cast

import httptools

from gatebook.adapters.upstream_http.deadline import Deadline
from gatebook.adapters.upstream_http.response import HttpResponse, KnownHead, invalid
from gatebook.model.bounded import Bounded
from gatebook.model.errors import Reason, UpstreamError

IDLE_S = 4.0
"""Servers close idle connections after 5 s and more: what is younger is rarely closing just now."""

UNREAD_BYTES = 256 << 10
"""How much of a body may wait unread before we stop reading from the socket."""

HEADS_KEPT = 256
REMEMBERED_BYTES = 2 << 10
_SILENT_BYTES = 64 << 10


class Home(Protocol):
    """Where a connection belongs. `heads`: those of earlier answers, by their bytes."""

    heads: Bounded[bytes, KnownHead]

    def opened(self, connection: "Connection") -> None: ...
    def put_back(self, connection: "Connection") -> None: ...
    def lost(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """One connection to an upstream. After `ask` it is busy until its response is at its end or let go."""

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
        """No byte of the present answer has come."""
        self._last_known: KnownHead | None = None
        self._reading_paused = self._had_paused = False
        self._peek: select.poll | None = None
        self.clock = Deadline(self._time_is_up)
        """Until when the server must have begun to answer, or have gone on; or nobody else have asked."""

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
        first, self._untouched = self._untouched, False
        if first and not response.bodiless:
            known = self._last_known  # A server repeats itself: then the head need be neither looked for nor hashed.
            if known is None or not data.startswith(known.raw):
                known = self._known(data)
            if known is not None and len(data) == known.whole_bytes:
                response.come_whole(known, data)
                return
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._spoilt = True
            cause = error.__context__
            response.fail(cause if isinstance(cause, UpstreamError) else invalid("the answer is not HTTP/1.1"))
        if self._silent_bytes > (_SILENT_BYTES if response.begun else self._header_bytes):
            self._spoilt = True
            response.fail(invalid("the answer's head or framing is too large"))
        if response.failure is not None:
            self.abort()
        elif first and response.whole_at_once and not self._spoilt:
            self._remember(response, data)
        elif response.unread_bytes > UNREAD_BYTES and not self._reading_paused and self._transport is not None:
            self._reading_paused = self._had_paused = True
            self._transport.pause_reading()

    def _known(self, data: bytes) -> KnownHead | None:
        """The head that `data` begins with, where it came before, byte for byte: then llhttp need not take it apart again."""
        known = self._home.heads.get(data[: data.find(b"\r\n\r\n") + 4])
        if known is not None:
            self._last_known = known
        return known

    def _remember(self, response: HttpResponse, data: bytes) -> None:
        """What llhttp made of `data`, one whole answer: its head says the same the next time."""
        end = data.find(b"\r\n\r\n") + 4
        length = next((value for name, value in response.headers if name == b"content-length"), b"")
        if end > REMEMBERED_BYTES or length != b"%d" % (len(data) - end) or len(data) <= end:
            return
        if response.unusable() is None:
            raw = data[:end]
            known = KnownHead(raw=raw, status=response.status, headers=response.headers, whole_bytes=len(data))
            self._home.heads.keep(raw, known)

    def eof_received(self) -> bool:
        return False  # Close: a server that has said its last word is not asked again.

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.clock.stop()
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

    def ask(self, message: bytes, method: str, first_byte_s: float, idle_s: float) -> HttpResponse:
        """Sent; what is returned fails unless its head is here within `first_byte_s`. Raises UpstreamError where no byte was given to the
        system."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise UpstreamError(Reason.UPSTREAM_UNREACHABLE, "the connection ended at once", sent=False)
        response = self._response = HttpResponse(self, method, idle_s, self.clock.loop)
        self._silent_bytes = 0
        self._untouched = True
        self._had_paused = False
        clock = self.clock
        clock.at = at = clock.now() + first_byte_s
        if at < clock.timer_at:
            clock.arm(at)
        transport.write(message)
        return response

    def wait_for(self, seconds: float) -> None:
        """The response fails with UPSTREAM_TIMEOUT unless `waited_enough` comes within `seconds`."""
        self.clock.set(seconds)

    def waited_enough(self) -> None:
        """What was waited for is here."""
        self.clock.at = None

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
        if self._had_paused and self._tls is not None:
            # What came behind the answer may have been decrypted while reading paused, and be given to us a turn of the loop later: the kernel does
            # not know of it, and the next caller would get it.
            self.abort()
            return
        if self._reading_paused:
            self.read_on()
        clock = self.clock
        clock.at = at = clock.now() + IDLE_S
        if at < clock.timer_at:
            clock.arm(at)
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
