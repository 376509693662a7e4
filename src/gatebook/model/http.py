"""What crosses the gate's two HTTP sides, as values. Header names are lower-case bytes; order and repeats are kept."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec

T = TypeVar("T")
_NOTHING = object()

Headers = tuple[tuple[bytes, bytes], ...]


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One whole HTTP request as it arrived, before anything was believed. `target` is the raw request target (path and query).

    `client_ip` is the peer's address, or what a trusted proxy said. `said`: what was worked out from this head before; requests with the
    same head may share it, so nothing but what follows from the head stands there.
    """

    method: str
    target: bytes
    headers: Headers
    body: bytes
    client_ip: str
    tls: bool = False
    said: dict[object, object] = {}

    def once(self, work: Callable[..., T], *args: object) -> T:
        """`work(headers, *args)`, worked out once for all requests with this head. `work` is pure; what it raises it raises each time."""
        key = (work, args) if args else work
        found = self.said.get(key, _NOTHING)
        if found is _NOTHING:
            found = self.said[key] = work(self.headers, *args)
        return found  # type: ignore[return-value]  # a `cast` is a call, and this is the most called line of a request

    def header(self, name: bytes) -> bytes | None:
        """The value of the header `name` (lower-case), the first where it repeats; None where absent."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def all(self, name: bytes) -> tuple[bytes, ...]:
        """Every value of the header `name`, in order."""
        return tuple(value for key, value in self.headers if key == name)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer. The shell adds Content-Length and Date, nothing else."""

    status: int
    headers: Headers = ()
    body: bytes = b""


class EventStream(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that goes on: SSE bytes, each item one or more whole events, written and flushed at once.

    The shell iterates with back-pressure and calls `aclose()` on the iterator when the client hangs up.
    """

    status: int
    headers: Headers
    events: AsyncIterator[bytes]


Answer = Reply | EventStream


class Lasting(msgspec.Struct, frozen=True, kw_only=True):
    """Headers that many requests to a server carry, one object for all of them: a caller's that go on, or the credential's.

    `said`: what was worked out from them before; nothing but what follows from them stands there."""

    headers: Headers
    said: dict[object, object] = {}

    def once(self, work: Callable[[Headers], T]) -> T:
        """`work(headers)`, worked out once for this object. `work` is pure; what it raises it raises each time."""
        found = self.said.get(work, _NOTHING)
        if found is _NOTHING:
            found = self.said[work] = work(self.headers)
        return found  # type: ignore[return-value]  # as above


NO_HEADERS = Lasting(headers=())


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent to a server, at the configured URL's path and query.

    Its headers are the caller's that go on, those that the gate sets for this one request, and the injected credential's."""

    method: str
    passed_on: Lasting = NO_HEADERS
    ours: Headers = ()
    injected: Lasting = NO_HEADERS
    body: bytes

    @property
    def headers(self) -> Headers:
        """All of them, in the order in which they are sent."""
        return self.passed_on.headers + self.ours + self.injected.headers
