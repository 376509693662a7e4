"""What crosses the gate's two HTTP sides, as values. Header names are lower-case bytes; order and repeats are kept."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar, cast

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
        found = self.said.get((work, args), _NOTHING)
        if found is _NOTHING:
            found = self.said[work, args] = work(self.headers, *args)
        return cast(T, found)

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


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent to a server: `path` replaces nothing (it is the configured URL's path and query)."""

    method: str
    headers: Headers
    body: bytes
