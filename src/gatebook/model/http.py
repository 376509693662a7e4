"""What crosses the gate's two HTTP sides, as values. Header names are lower-case bytes; order and repeats are kept."""

from collections.abc import AsyncIterator

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One whole HTTP request as it arrived, before anything was believed. `target` is the raw request target (path and query).

    `client_ip` is the peer's address, or what a trusted proxy said; `client` names the program as it says itself (User-Agent, cut).
    """

    method: str
    target: bytes
    headers: Headers
    body: bytes
    client_ip: str
    tls: bool = False

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
