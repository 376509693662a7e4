"""An answer while it is read: what the connection puts in, what the caller takes out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Headers

INTERIM_RESPONSES = 8
HEADER_FIELDS = 256


class KnownHead(msgspec.Struct, frozen=True, kw_only=True):
    """What `raw`, the head of an answer, was found to say: a final one that may be used, with a body, `whole_bytes` with it, and another
    answer may follow."""

    raw: bytes
    status: int
    headers: Headers
    whole_bytes: int


class Line(Protocol):
    """What an answer asks of the connection that it comes from."""

    def read_on(self) -> None: ...
    def release(self) -> None: ...
    def abort(self) -> None: ...
    def wait_for(self, seconds: float) -> None: ...
    def waited_enough(self) -> None: ...


class HttpResponse:
    """ports.UpstreamResponse. Whole or broken: nothing is taken for an end but the framing's own, or a clean close where that is it."""

    # Slots, all of them set: what an object has only from its class is looked for anew each time.
    __slots__ = (
        "_connection", "_ends_with_connection", "_gathered", "_gathered_bytes", "_idle_s", "_interim", "_loop", "_pieces", "_waiter",
        "begun", "bodiless", "complete", "failure", "headers", "judged", "status", "unread_bytes",
    )  # fmt: skip

    def __init__(self, connection: Line, method: str, idle_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.begun = self.complete = self.judged = False
        """`judged`: begun with a head that was found usable before."""
        self.failure: UpstreamError | None = None
        """Why nothing more will come; None while it may."""
        self.bodiless = method == "HEAD"
        self.status = self.unread_bytes = self._gathered_bytes = self._interim = 0
        self.headers: Headers = ()
        self._gathered: list[tuple[bytes, bytes]] | None = None
        self._ends_with_connection = False
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._connection: Line | None = connection
        self._idle_s = idle_s
        self._pieces: list[bytes] = []

    # For the caller

    async def body(self) -> AsyncIterator[bytes]:
        """See ports.UpstreamResponse. Pieces that came together are given together. At the end the connection is let go."""
        while True:
            if self._pieces:
                yield self._taken()
            elif self.complete:
                self._let_go()
                return
            elif self.failure is not None:
                self._let_go()
                raise self.failure
            else:
                await self._more()

    def at_once(self, limit: int) -> bytes | None:
        """See ports.UpstreamResponse."""
        if not self.complete or self.unread_bytes > limit:
            return None
        body = b"".join(self._pieces)
        self._pieces.clear()
        self.unread_bytes = 0
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()
        return body

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
            elif self.failure is not None:
                self._let_go()
                raise self.failure
            else:
                await self._more()

    async def close(self) -> None:
        """See ports.UpstreamResponse. Whoever is still reading the body gets UpstreamError(CANCELLED)."""
        if self._connection is None:
            return  # let go at its end
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
            await self.changed()
        except BaseException:
            connection.abort()
            raise
        finally:
            connection.waited_enough()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # For the connection

    def changed(self) -> asyncio.Future[None]:
        """Done when something has come or failed. At most one is waited for."""
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def unusable(self) -> UpstreamError | None:
        """Why this answer may not be used, where it has begun or failed; None where it may."""
        return _unusable(self.status, self.headers) if self.begun else self.failure

    def gather(self, name: bytes, value: bytes, header_bytes: int) -> None:
        """One header field of a head that is not complete. Raises UpstreamError where it is one too many."""
        if self._gathered is None:
            self._gathered = []
        self._gathered.append((name, value))
        self._gathered_bytes += len(name) + len(value) + 4
        if self._gathered_bytes > header_bytes or len(self._gathered) > HEADER_FIELDS:
            raise invalid("the answer's header block is too large")

    def begin(self, status: int) -> None:
        """A head is complete. Raises UpstreamError where no body can be told from it."""
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > INTERIM_RESPONSES:
                raise invalid("the answer never begins")
            self._gathered = None
            return
        fields = self._gathered or ()
        codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise invalid("the answer's transfer coding is not exactly chunked")
        framed = bool(codings) or any(name == b"content-length" for name, _ in fields)
        self._ends_with_connection = not framed and status not in (204, 304)
        self.status, self.headers, self.begun = status, tuple(fields), True
        self.complete = self.bodiless
        self._wake()

    def come_whole(self, known: KnownHead, data: bytes) -> None:
        """All of it is here, in `data`: a head that was judged before, and the whole body."""
        body = data[len(known.raw) :]
        self.status, self.headers = known.status, known.headers
        self.begun = self.complete = self.judged = True
        self._pieces.append(body)
        self.unread_bytes = len(body)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

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
        if not self.complete and self.failure is None:
            self.failure = failure
            self._wake()


def _unusable(status: int, headers: Headers) -> UpstreamError | None:
    """What forbids the use of an answer with this head; None where nothing does."""
    if 300 <= status < 400:
        return UpstreamError(Reason.UPSTREAM_REDIRECT, f"the server redirects ({status})", sent=True)
    if any(name == b"content-encoding" and value.lower() != b"identity" for name, value in headers):
        return invalid("the answer is compressed though that was not offered")
    return None


def invalid(words: str) -> UpstreamError:
    """The server sent what nobody can rely on; `words`: what."""
    return UpstreamError(Reason.UPSTREAM_INVALID, words, sent=True)
