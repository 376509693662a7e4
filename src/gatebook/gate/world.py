"""What one exchange holds of the world: the ports, and the standing it is judged by."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

import msgspec

from gatebook.gate.attempts import Attempts
from gatebook.gate.handles import SessionHandles
from gatebook.identity.cache import CachedVerifier
from gatebook.masking import NO_SECRETS, Secrets
from gatebook.model.deployment import Server, Snapshot
from gatebook.model.errors import Reason
from gatebook.ports import Clock, Credentials, Ledger, SessionBook, Upstreams

OFF_LOOP_BYTES = 64 << 10
P = ParamSpec("P")
T = TypeVar("T")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot made ready: a call holds one standing from its first byte to its last, whatever is activated meanwhile."""

    snapshot: Snapshot
    verifier: CachedVerifier
    servers: dict[str, Server]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Standing":
        return cls(
            snapshot=snapshot,
            verifier=CachedVerifier(snapshot),
            servers={server.name: server for server in snapshot.deployment.servers},
        )


class FingerprintKey(msgspec.Struct, frozen=True):
    """Keys the fingerprint of arguments (HMAC-SHA-256), so that equal calls can be found and values not guessed. `kid` goes into entries."""

    key: bytes
    kid: str


class World(msgspec.Struct, kw_only=True):
    """The ports of a worker, and the little state that its exchanges share."""

    clock: Clock
    ledger: Ledger
    upstreams: Upstreams
    credentials: Credentials
    sessions: SessionBook
    handles: SessionHandles
    fingerprint: FingerprintKey
    standing: Callable[[], Standing]
    keys_wanted: Callable[[str], None]
    """Called with an issuer's name when a token names a key that its set does not hold; whoever fetches keys throttles."""
    closed: Callable[[], Reason | None]
    """Why nothing may pass at the moment; None while the gate is open."""
    random: Callable[[int], bytes]
    report_bug: Callable[[str, BaseException | None], None]
    """Tells the operator's diagnostics of an exception that should not exist; the message that met it was refused."""
    executor: Executor
    attempts: Attempts = msgspec.field(default_factory=Attempts)
    running: dict[tuple[str, str, str], int] = msgspec.field(default_factory=dict)
    """Under way per (issuer, subject, `call` or `stream`)."""
    secrets: dict[bytes, Secrets] = msgspec.field(default_factory=dict)

    async def off_loop(self, body: bytes, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work(*args)`; in a thread where `body` is large, so that one message does not hold up the others."""
        if len(body) <= OFF_LOOP_BYTES:
            return work(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self.executor, lambda: work(*args, **kwargs))

    def secrets_of(self, server: Server) -> Secrets:
        """What must be redacted from this server's answers: its injected credential in every form, compiled once per value."""
        if server.credential is None:
            return NO_SECRETS
        value = self.credentials.resolve(server.credential.secret).reveal()
        compiled = self.secrets.get(value)
        if compiled is None:
            if len(self.secrets) > 4 * len(self.standing().servers) + 16:
                self.secrets.clear()  # rotated values; answers under way hold their own reference
            compiled = self.secrets[value] = Secrets((value,))
        return compiled
