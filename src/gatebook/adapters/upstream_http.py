"""Upstreams over HTTP/1.1: own keep-alive pools, one request at a time per connection, nothing ever sent twice.

The path of a request: `send` → a pool's connection → `_Connection.exchange` → `HttpResponse`, whose body is read by the caller.
llhttp (through httptools) parses; what it cannot know, that a body ended with the connection, is judged here.
"""

import asyncio
import re
import select
import ssl
import stat
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec

from gatebook.model.deployment import Limits, Server
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Headers, UpstreamRequest
from gatebook.ports import Receipt

IDLE_S = 4.0
"""Servers close idle connections after 5 s and more: what is younger is rarely closing just now."""

CONNECTIONS = 256
"""Connections to one upstream, per worker."""

UNREAD_BYTES = 256 << 10
"""How much of a body may wait unread before we stop reading from the socket."""

INTERIM_RESPONSES = 8
HEADER_FIELDS = 256
_SILENT_BYTES = 64 << 10

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = bytes(byte for byte in range(32) if byte != 9) + b"\x7f"
_BODILESS = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS"})

# Framing and routing are this side's business; what the caller gives of these is dropped.
_OURS = frozenset(
    {
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class HttpUpstreams:
    """ports.Upstreams over HTTP/1.1. One per worker and event loop; `close` it at the end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pools: dict[tuple[str, str | None, str | None, str | None], _Pool] = {}
        self._closed = False

    async def send(
        self, receipt: Receipt, server: Server, request: UpstreamRequest, *, first_byte_s: float, idle_s: float
    ) -> "HttpResponse":
        """See ports.Upstreams.send. Besides: OVERLOADED (not sent) where no connection came free in `upstream_connect_s`."""
        if self._closed:
            raise UpstreamError(Reason.DRAINING, "the gate is closing", sent=False)
        pool = self._pool(server)
        message = pool.place.message(request)
        connection = await pool.checkout()
        return await connection.exchange(message, request.method, first_byte_s=first_byte_s, idle_s=idle_s)

    async def close(self) -> None:
        """Every connection is closed; answers still being read are cut. Idempotent."""
        self._closed = True
        for pool in self._pools.values():
            pool.close()
        await asyncio.sleep(0)

    def _pool(self, server: Server) -> "_Pool":
        key = (server.url, server.ca_file, server.client_certificate, server.client_key)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(_place(server), self._limits)
        return pool


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where an upstream is, and how a request to it begins. `socket_path` instead of host and port for a Unix socket."""

    host: str
    port: int
    socket_path: str | None
    target: bytes
    authority: bytes
    tls: "_TlsIdentity | None"

    def message(self, request: UpstreamRequest) -> bytes:
        """The request's bytes. Raises UpstreamError (not sent) where a header would begin another one."""
        fields: list[bytes] = []
        values: list[bytes] = []
        for name, value in request.headers:
            if name in _OURS:
                continue
            if _TOKEN.fullmatch(name) is None:
                raise UpstreamError(Reason.INTERNAL, "a request header's name is not a token", sent=False)
            fields.append(b"%b: %b\r\n" % (name, value))
            values.append(value)
        text = b"".join(values)
        if len(text.translate(None, _CONTROL)) != len(text):
            raise UpstreamError(Reason.INTERNAL, "a request header holds a control character", sent=False)
        method = request.method.encode("ascii")
        if _TOKEN.fullmatch(method) is None or method == b"CONNECT":
            raise UpstreamError(Reason.INTERNAL, "the request's method cannot be sent", sent=False)
        length = b"" if method in _BODILESS and not request.body else b"content-length: %d\r\n" % len(request.body)
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n%baccept-encoding: identity\r\n%b\r\n%b" % (
            method,
            self.target,
            self.authority,
            b"".join(fields),
            length,
            request.body,
        )


def _place(server: Server) -> _Place:
    """Where `server.url` points. Raises UpstreamError (not sent) where that is nowhere we can go."""
    if server.url.startswith("unix:"):
        path, _, target = server.url[5:].partition(":/")
        return _Place(
            host="localhost", port=0, socket_path=path, target=_visible("/" + target), authority=b"localhost", tls=None
        )
    try:
        url = urlsplit(server.url)
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise _nowhere(server) from error
    if url.scheme not in ("http", "https") or not host or "@" in url.netloc:
        raise _nowhere(server)
    tls = None
    if url.scheme == "https":
        tls = _TlsIdentity(server.ca_file, server.client_certificate, server.client_key)
    target = (url.path or "/") + ("?" + url.query if url.query else "")
    default = 443 if tls else 80
    return _Place(
        host=host,
        port=port or default,
        socket_path=None,
        target=_visible(target),
        authority=_visible(url.netloc.lower()),
        tls=tls,
    )


def _visible(text: str) -> bytes:
    if not all("!" <= char <= "~" for char in text):
        raise UpstreamError(Reason.UPSTREAM_UNREACHABLE, "the server's URL is not plain ASCII", sent=False)
    return text.encode("ascii")


def _nowhere(server: Server) -> UpstreamError:
    return UpstreamError(Reason.UPSTREAM_UNREACHABLE, f"the URL of server {server.name} cannot be used", sent=False)


class _TlsIdentity:
    """What we trust and who we are to one upstream. The context is made again when one of its files changed."""

    def __init__(self, ca_file: str | None, certificate: str | None, key: str | None) -> None:
        self._ca_file = ca_file
        self._certificate = certificate
        self._key = key
        self._context: ssl.SSLContext | None = None
        self._made_of: tuple[tuple[int, int, int], ...] = ()

    async def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, host name checked, ALPN http/1.1. Raises OSError, ValueError."""
        return await asyncio.to_thread(self._present)

    def _present(self) -> ssl.SSLContext:
        files = tuple(path for path in (self._ca_file, self._certificate, self._key) if path is not None)
        present = tuple(_version(path) for path in files)
        if self._context is None or present != self._made_of:
            self._context, self._made_of = self._make(), present
        return self._context

    def _make(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self._ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A body that ends with the connection is whole only when the server said so: else anyone could cut it short.
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        if self._certificate is not None:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        return context


def _version(path: str) -> tuple[int, int, int]:
    found = Path(path).stat()
    return found[stat.ST_INO], found.st_mtime_ns, found.st_size


def _no_password() -> str:
    raise ValueError("the client key is encrypted")


class _Pool:
    """The connections to one upstream under one TLS identity. Nothing here is shared with another upstream."""

    def __init__(self, place: _Place, limits: Limits) -> None:
        self.place = place
        self._limits = limits
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._resolving: asyncio.Task[list[str]] | None = None

    async def checkout(self) -> "_Connection":
        """A connection on which nothing is under way and, as far as can be known, nothing has ended. Raises UpstreamError, not sent."""
        connection = self._take_idle()
        if connection is not None:
            return connection
        try:
            async with asyncio.timeout(self._limits.upstream_connect_s):
                while len(self._open) + self._connecting >= CONNECTIONS:
                    await self._room()
                    connection = self._take_idle()
                    if connection is not None:
                        return connection
        except TimeoutError as error:
            raise UpstreamError(Reason.OVERLOADED, "too many calls to this server are under way", sent=False) from error
        return await self._connect()

    def _take_idle(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.fresh():
                return connection
            connection.abort()
        return None

    def put_back(self, connection: "_Connection") -> None:
        """The connection may carry another request."""
        self._idle.append(connection)
        self._wake_one()

    def opened(self, connection: "_Connection") -> None:
        self._open.add(connection)

    def lost(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake_one()

    def close(self) -> None:
        for connection in tuple(self._open):
            connection.abort()

    async def _room(self) -> None:
        """A connection came free or was closed. Others may be quicker: look again."""
        room = asyncio.get_running_loop().create_future()
        self._waiting.append(room)
        try:
            await room
        except asyncio.CancelledError:
            # Woken and cancelled at once: the wake-up belongs to the next.
            if room.done() and not room.cancelled():
                self._wake_one()
            elif room in self._waiting:
                self._waiting.remove(room)
            raise

    def _wake_one(self) -> None:
        while self._waiting:
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                return

    async def _connect(self) -> "_Connection":
        self._connecting += 1
        try:
            async with asyncio.timeout(self._limits.upstream_connect_s):
                return await self._reach()
        except (OSError, ValueError, TimeoutError) as error:  # ssl.SSLError and CertificateError are OSErrors
            raise UpstreamError(Reason.UPSTREAM_UNREACHABLE, _why(error), sent=False) from error
        finally:
            self._connecting -= 1
            self._wake_one()

    async def _reach(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        place = self.place
        if place.socket_path is not None:
            _, connection = await loop.create_unix_connection(self._connection, place.socket_path)
            return connection
        context = None if place.tls is None else await place.tls.context()
        addresses = await self._addresses()
        for left in range(len(addresses), 0, -1):
            try:
                # Each address gets its share: a first one that swallows packets must not use up the second one's time.
                async with asyncio.timeout(self._limits.upstream_connect_s / left):
                    _, connection = await loop.create_connection(
                        self._connection,
                        addresses[-left],
                        place.port,
                        ssl=context,
                        server_hostname=place.host if context else None,
                    )
                    return connection
            except (OSError, TimeoutError):
                if left == 1:
                    raise
        raise OSError("the server's name has no address")

    def _connection(self) -> "_Connection":
        return _Connection(self, self._limits.header_bytes)

    async def _addresses(self) -> list[str]:
        # One look-up at a time: a resolver that hangs must not use up the threads that other upstreams' look-ups need.
        if self._resolving is None:
            self._resolving = asyncio.create_task(self._resolve())
            self._resolving.add_done_callback(self._resolved)
        return await asyncio.shield(self._resolving)

    async def _resolve(self) -> list[str]:
        found = await asyncio.get_running_loop().getaddrinfo(self.place.host, self.place.port, type=1)
        return [cast(str, info[4][0]) for info in found]

    def _resolved(self, task: "asyncio.Task[list[str]]") -> None:
        self._resolving = None
        if not task.cancelled():
            task.exception()  # whoever waited has it; if nobody did, nobody needs it


def _why(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is not accepted: {error.verify_message}"
        case ssl.SSLError():
            return f"no TLS connection: {error.reason}"
        case TimeoutError():
            return "no connection in time"
        case OSError():
            return f"no connection: {error.strerror or type(error).__name__}"
        case _:
            return f"no connection: {type(error).__name__}"


class _Connection(asyncio.Protocol):
    """One connection to an upstream. `exchange` it, and it is busy until its response is at its end or let go."""

    def __init__(self, pool: _Pool, header_bytes: int) -> None:
        self._pool = pool
        self._header_bytes = header_bytes
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._response: HttpResponse | None = None
        self._spoilt = False
        self._lost = False
        self._silent_bytes = 0
        self._reading_paused = False
        self._peek: select.poll | None = None
        self._clock = _Deadline(self._time_is_up)

    # What the transport tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._peek = select.poll()
            self._peek.register(sock.fileno(), select.POLLIN)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.abort()  # Nobody asked: the next answer could not be told from this.
            return
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._spoilt = True
            cause = error.__context__
            broken = cause if isinstance(cause, UpstreamError) else _invalid("the answer is not HTTP/1.1")
            response.fail(broken)
        bound = _SILENT_BYTES if response.begun else self._header_bytes
        if self._silent_bytes > bound:
            self._spoilt = True
            response.fail(_invalid("the answer's head or framing is too large"))
        if response.failed:
            self.abort()
        elif response.unread_bytes > UNREAD_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._clock.clear()
        self._pool.lost(self)
        response, self._response = self._response, None
        if response is not None:
            response.end_with_connection(clean=exc is None)

    # What llhttp tells us

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._response is not None and not self._response.begun:
            self._response.gathered.append((name.lower(), value.strip(b" \t")))
            self._response.gathered_bytes += len(name) + len(value) + 4
            if self._response.gathered_bytes > self._header_bytes or len(self._response.gathered) > HEADER_FIELDS:
                raise _invalid("the answer's header block is too large")

    def on_headers_complete(self) -> None:
        response = self._response
        if response is None or response.complete:
            return
        self._silent_bytes = 0
        response.begin(self._parser.get_status_code())
        if response.bodiless:
            # llhttp cannot be told that HEAD's answer has no body: whatever comes next would be misread.
            self._spoilt = True
            response.end()

    def on_message_begin(self) -> None:
        if self._response is not None and self._response.complete:
            self._spoilt = True  # More than was asked for.

    def on_body(self, piece: bytes) -> None:
        self._silent_bytes = 0
        if self._response is not None and not self._response.complete:
            self._response.take(piece)

    def on_message_complete(self) -> None:
        response = self._response
        if response is None or not response.begun:
            return
        if not self._parser.should_keep_alive():
            self._spoilt = True
        response.end()

    # What the pool and the exchange ask of us

    def fresh(self) -> bool:
        """Whether the server has neither closed nor said anything since the last answer, as far as this machine knows."""
        if self._lost or self._spoilt or self._transport.is_closing():
            return False
        # Asked of the kernel: in a busy worker the loop may be milliseconds behind, and what is sent now would be lost for certain.
        return self._peek is None or not self._peek.poll(0)

    async def exchange(self, message: bytes, method: str, *, first_byte_s: float, idle_s: float) -> "HttpResponse":
        """Send and return when the response's head is here. From the first line on the request counts as sent."""
        response = self._response = HttpResponse(self, method, idle_s)
        self._silent_bytes = 0
        self._clock.set(first_byte_s)
        self._transport.write(message)
        try:
            await response.head()
        except BaseException:
            self.abort()
            raise
        return response

    def wait_for(self, seconds: float) -> None:
        """The response fails with UPSTREAM_TIMEOUT unless `waited_enough` comes within `seconds`."""
        self._clock.set(seconds)

    def waited_enough(self) -> None:
        self._clock.clear()

    def read_on(self) -> None:
        """The caller took what there was."""
        if self._reading_paused and not self._lost:
            self._reading_paused = False
            self._transport.resume_reading()

    def release(self) -> None:
        """The response is let go: at its end the connection serves again, else it is closed."""
        response, self._response = self._response, None
        if response is None:
            return
        if not response.complete or self._spoilt or self._lost or self._transport.get_write_buffer_size():
            self.abort()
            return
        self.read_on()
        self._clock.set(IDLE_S)
        self._pool.put_back(self)

    def abort(self) -> None:
        self._spoilt = True
        self._transport.abort()

    def _time_is_up(self) -> None:
        if self._response is not None:
            self._response.fail(UpstreamError(Reason.UPSTREAM_TIMEOUT, "the server is silent", sent=True))
        self.abort()


class HttpResponse:
    """ports.UpstreamResponse. Whole or broken: nothing is taken for an end but the framing's own, or a clean close where that is it."""

    def __init__(self, connection: _Connection, method: str, idle_s: float) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.gathered: list[tuple[bytes, bytes]] = []
        self.gathered_bytes = 0
        self.bodiless = method == "HEAD"
        self.begun = False
        self.complete = False
        self.unread_bytes = 0
        self._connection: _Connection | None = connection
        self._idle_s = idle_s
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
                piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
                self._pieces.clear()
                self.unread_bytes = 0
                if self._connection is not None:
                    self._connection.read_on()
                yield piece
            elif self.complete:
                self._let_go()
                return
            elif self._failure is not None:
                self._let_go()
                raise self._failure
            else:
                await self._wait()

    async def close(self) -> None:
        """See ports.UpstreamResponse."""
        if not self.complete and self._failure is None:
            self._failure = UpstreamError(Reason.CANCELLED, "the answer was let go", sent=True)
        self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    async def head(self) -> None:
        """The final response's head is here. Raises UpstreamError."""
        while not self.begun and self._failure is None:
            await self._sleep()
        if self._connection is not None:
            self._connection.waited_enough()
        if self._failure is not None and not self.begun:
            raise self._failure
        self._judge()

    def _judge(self) -> None:
        if 300 <= self.status < 400:
            raise UpstreamError(Reason.UPSTREAM_REDIRECT, f"the server redirects ({self.status})", sent=True)
        for name, value in self.headers:
            if name == b"content-encoding" and value.lower() != b"identity":
                raise _invalid("the answer is compressed though that was not offered")

    async def _wait(self) -> None:
        connection = self._connection
        assert connection is not None
        connection.wait_for(self._idle_s)
        try:
            await self._sleep()
        except BaseException:
            connection.abort()
            raise
        finally:
            connection.waited_enough()

    async def _sleep(self) -> None:
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

    def begin(self, status: int) -> None:
        """A head is complete. Raises UpstreamError where there can be no body to trust."""
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > INTERIM_RESPONSES:
                raise _invalid("the answer never begins")
            self.gathered.clear()
            return
        self.status, self.headers, self.begun = status, tuple(self.gathered), True
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and codings != [b"chunked"]:
            raise _invalid("the answer's transfer coding is not exactly chunked")
        framed = bool(codings) or any(name == b"content-length" for name, _ in self.headers)
        self._ends_with_connection = not framed and status not in (204, 304)
        self._wake()

    def take(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.unread_bytes += len(piece)
        self._wake()

    def end(self) -> None:
        self.complete = True
        self._wake()

    def end_with_connection(self, *, clean: bool) -> None:
        if self.complete or self._failure is not None:
            return
        if self.begun and self._ends_with_connection and clean:
            self.complete = True
        else:
            words = "the answer was cut" if self.begun else "the connection ended before an answer"
            self._failure = UpstreamError(Reason.UPSTREAM_BROKEN, words, sent=True)
        self._wake()

    def fail(self, failure: UpstreamError) -> None:
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
