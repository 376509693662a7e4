"""What the gate needs of the world. Each port's docstring is its contract; `tests/contracts` runs one suite per port on every adapter."""

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

import msgspec

from gatebook.ledger.entry import Clocked
from gatebook.model.deployment import SecretReference, Server
from gatebook.model.http import Headers, UpstreamRequest
from gatebook.model.record import Draft
from gatebook.model.secret import Secret


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Proof that an intent is durable: the log's origin and the leaf's hash (32 bytes), never an index. Only a ledger makes one."""

    origin: str
    leaf: bytes


class Recorded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Proof that an outcome or a refusal is durable. Only a ledger makes one; no answer leaves without it."""

    origin: str
    leaf: bytes


class Instant(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A reading of the clock: microseconds since the epoch, UTC, and its state as entries say it."""

    unix_us: int
    clocked: Clocked

    @property
    def unix_s(self) -> float:
        return self.unix_us / 1_000_000


class Clock(Protocol):
    def now(self) -> Instant:
        """The time now, with the synchronisation state last observed (at most 60 s old). Never blocks, never raises."""


class Ledger(Protocol):
    """One writer's hand in the book. What both calls give is awaited at once, and there only when the entry and its payloads survive a power loss."""

    def record_intent(self, draft: Draft) -> Awaitable[Receipt]:
        """Store what is about to be sent. Raises LedgerUnavailable: then nothing may be sent."""

    def record(self, draft: Draft) -> Awaitable[Recorded]:
        """Store what happened. Raises LedgerUnavailable: then nothing may be answered but that."""


class UpstreamResponse(Protocol):
    """An answer that has begun: status and headers are here, the body is still to be read."""

    status: int
    headers: Headers

    def body(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive, decoded of transfer encoding; reading stops when nobody asks (back-pressure).

        Raises UpstreamError: UPSTREAM_BROKEN on a cut body, UPSTREAM_TIMEOUT after `idle_s` without a byte."""

    def at_once(self, limit: int) -> bytes | None:
        """The body where all of it is here, of at most `limit` bytes; then the answer is let go. None: wait for `whole`."""

    async def whole(self, limit: int) -> bytes:
        """The body at its end. Raises UpstreamError as `body` does, and UPSTREAM_TOO_LARGE beyond `limit` bytes."""

    async def close(self) -> None:
        """Let go: returns the connection to the pool if the body was read to its end, else closes it. Idempotent."""


class Upstreams(Protocol):
    async def send(
        self, receipt: Receipt, server: Server, request: UpstreamRequest, *, first_byte_s: float, idle_s: float
    ) -> UpstreamResponse:
        """Send one request, once, to the server's own URL, and return when the response's head is here.

        Raises UpstreamError; `sent` False only where no byte of the request can have reached the server. Follows no redirect (UPSTREAM_REDIRECT
        for 3xx), accepts no content coding but identity (UPSTREAM_INVALID). Cancelling the task closes the connection."""


class Credentials(Protocol):
    def resolve(self, reference: SecretReference) -> Secret[bytes]:
        """The secret's present value, trailing newline cut; re-read when its file changed. Raises UpstreamError(CREDENTIAL_UNAVAILABLE, sent=False)."""


class SessionBook(Protocol):
    """Which recording session a login is in, shared by all workers of the deployment (architecture: one shared map of last-seen)."""

    def touch(self, key: bytes, now_us: int) -> str:
        """The session (32 hex digits) of `key` (`identity.sessions`), which becomes last seen now; a new one where there was none, where the old one
        was idle for `session_idle_s` or open for `session_absolute_s`, or where it had to make room. Room is made by whoever has the most
        sessions there. Never blocks for more than the map's lock; never raises."""
