"""What one exchange holds of the world: the ports, and the standing it is judged by."""

import time
from collections.abc import Callable
from hashlib import sha256
from typing import ParamSpec, Protocol, TypeVar

import msgspec

from gatebook.gate.attempts import Attempts
from gatebook.gate.handles import SessionHandles
from gatebook.gate.quarantine import Quarantine
from gatebook.gate.turns import Sender, Turns
from gatebook.identity.cache import CachedVerifier
from gatebook.identity.tokens import Judged
from gatebook.masking import NO_SECRETS, Secrets
from gatebook.model.bounded import Bounded
from gatebook.model.counting import Times
from gatebook.model.deployment import Credential, Server, Snapshot, Trust
from gatebook.model.errors import Reason
from gatebook.model.http import NO_HEADERS, Arrival, Headers, Lasting
from gatebook.model.mac import pads
from gatebook.model.principal import Principal
from gatebook.model.record import Origin, PolicyRef, Who
from gatebook.model.spans import Span
from gatebook.ports import Clock, Credentials, Ledger, SessionBook, Upstreams

OFF_LOOP_BYTES = 64 << 10
P = ParamSpec("P")
T = TypeVar("T")


class Injected(msgspec.Struct, frozen=True, kw_only=True):
    """What a server gets that no client ever sees: the header with the credential, if it has one. `secrets`: what must be redacted from
    its answers, the credential in every form, compiled once per value."""

    credential: Credential | None = None
    headers: Lasting = NO_HEADERS
    secrets: Secrets = NO_SECRETS
    heads: "Bounded[Headers, AnswerHead]" = msgspec.field(default_factory=lambda: Bounded(HEADS_KEPT))
    """What was found in heads of answers before, beside these secrets."""


class AnswerHead(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of a server's answer say. `clean`: those of them that may leave. `session`: the upstream's own id for one."""

    media_type: str | None
    foreign: bool
    """Whether they name a type or a charset that we do not read."""
    clean: Headers
    session: str | None


HEADS_KEPT = 256
KNOWN_KEPT = 4096
NOTHING_INJECTED = Injected()
INJECTIONS_KEPT = 1024


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot made ready: a call holds one standing from its first byte to its last, whatever is activated meanwhile."""

    snapshot: Snapshot
    verifier: CachedVerifier
    servers: dict[str, Server]
    known: "Bounded[tuple[int, str, bytes | None], Known]" = msgspec.field(default_factory=lambda: Bounded(KNOWN_KEPT))
    """By what the verifier said (its object), address and user agent: a caller's heads differ from call to call, and it stays the same caller."""
    policy_refs: dict[tuple[str, str], PolicyRef] = msgspec.field(default_factory=dict)
    """By rule and decision, both of which come from the configuration; made when first needed."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Standing":
        deployment = snapshot.deployment
        return cls(
            snapshot=snapshot,
            verifier=CachedVerifier(snapshot),
            servers={server.name: server for server in deployment.servers},
        )


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Who stands behind the head of a request by one standing, and how that is written down."""

    standing: Standing
    server: Server
    ip: str
    judged: Judged
    """What the verifier said, and until when: then the token must be judged again."""
    who: Who
    origin: Origin
    session_key: bytes

    def holds(self, arrival: Arrival, server: Server, standing: Standing, now_s: float) -> bool:
        """Whether the same head, come as `arrival`, proves the same once more."""
        here = self.standing is standing and self.server is server and self.ip == arrival.client_ip
        return here and now_s < self.judged.good_until

    @property
    def principal(self) -> Principal:
        return self.judged.principal


class Live(Protocol):
    """A stream that is open to a caller."""

    def outlived(self, standing: Standing, trust: Trust | None, now_s: float) -> Reason | None:
        """Why it may not go on by what is in force now; None where it may."""

    @property
    def endless(self) -> bool:
        """It ends only with its reader: GET, or `subscriptions/listen` (MCP 2026-07-28). No call waits for it."""

    async def cut(self, reason: Reason) -> None:
        """It ends soon, with its record and with an answer to what was asked; returns when the server is let go. Idempotent."""


class Traced(msgspec.Struct, frozen=True):
    """What is told of calls to whoever traces. `share`: of those that came without a trace; `tell` must not block and may drop."""

    share: float
    tell: Callable[[Span], None]


class FingerprintKey:
    """Keys the fingerprint of arguments (HMAC-SHA-256), so that equal calls can be found and values not guessed. `kid` goes into entries."""

    __slots__ = ("_inner", "_outer", "key", "kid")

    def __init__(self, key: bytes, kid: str) -> None:
        self.key, self.kid = key, kid
        self._inner, self._outer = pads(key)

    def of(self, method: str, name: str | None, arguments: bytes) -> str:
        """The fingerprint of a call: 32 hex digits of the HMAC over its method, its target's name and its arguments as sent, both masked."""
        return self.going_on(self.begun(method, name), arguments)

    def begun(self, method: str, name: str | None) -> bytes:
        """What the fingerprints of all calls of this method and name begin with, for `going_on`. It is as secret as the key."""
        return b"\0".join((self._inner + method.encode(), (name or "").encode(), b""))

    def going_on(self, begun: bytes, arguments: bytes) -> str:
        """As `of`, for a method and a name that `begun` knows."""
        return sha256(self._outer + sha256(begun + arguments).digest()).hexdigest()[:32]


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
    trust: Callable[[], Trust | None]
    """Which of our own logins count no more; None while the desk has not said. It changes under a standing, and within a call."""
    closed: Callable[[], Reason | None]
    """Why nothing may pass at the moment; None while the gate is open."""
    random: Callable[[int], bytes]
    report_bug: Callable[[str, BaseException | None], None]
    """Tells the operator's diagnostics of an exception that should not exist; the message that met it was refused."""
    turns: Turns
    stopwatch: Callable[[], float] = time.perf_counter
    """Seconds since some moment: for durations that are counted, never for an instant that is written down."""
    times: Times = msgspec.field(default_factory=Times)
    traced: Traced | None = None
    attempts: Attempts = msgspec.field(default_factory=Attempts)
    running: dict[tuple[str, str, str], int] = msgspec.field(default_factory=dict)
    """Under way per (issuer, subject, `call` or `stream`)."""
    live: dict[str, set[Live]] = msgspec.field(default_factory=dict)
    """Open streams by the `sid` behind them, where it is one of our own: those that can be revoked while they run."""
    streams: set[Live] = msgspec.field(default_factory=set)
    """Every open stream."""
    quarantine: Quarantine = msgspec.field(default_factory=Quarantine)
    injections: "Bounded[tuple[str, bytes], Injected]" = msgspec.field(default_factory=lambda: Bounded(INJECTIONS_KEPT))

    async def off_loop(self, sender: Sender, body: bytes, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work(*args)`; in a thread where `body` is large, in its sender's turn, so that one message does not hold up the others.

        Raises NoRoom where the large messages that wait already are all that `limits.buffered_bytes` allows."""
        if len(body) <= OFF_LOOP_BYTES:
            return work(*args, **kwargs)
        most_bytes = self.standing().snapshot.deployment.limits.buffered_bytes
        return await self.turns.take(sender, len(body), lambda: work(*args, **kwargs), most_bytes=most_bytes)

    def injected(self, server: Server) -> "Injected":
        """The credential that this exchange injects, as it is now. Raises UpstreamError(CREDENTIAL_UNAVAILABLE)."""
        credential = server.credential
        if credential is None:
            return NOTHING_INJECTED
        value = self.credentials.resolve(credential.secret).reveal()
        known = self.injections.get((server.name, value))
        if known is not None and known.credential is credential:
            return known
        before, _, after = credential.template.partition("{secret}")
        header = (credential.header.lower().encode(), before.encode() + value + after.encode())
        made = Injected(credential=credential, headers=Lasting(headers=(header,)), secrets=Secrets((value,)))
        return self.injections.keep((server.name, value), made)
