"""What one exchange holds of the world: the ports, and the standing it is judged by."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec

from gatebook.gate.attempts import Attempts
from gatebook.gate.handles import SessionHandles
from gatebook.gate.turns import Sender, Turns
from gatebook.identity.cache import CachedVerifier
from gatebook.masking import NO_SECRETS, Secrets
from gatebook.model.bounded import Bounded
from gatebook.model.deployment import Credential, Server, Snapshot
from gatebook.model.errors import Reason
from gatebook.model.http import Arrival, Headers
from gatebook.model.principal import Principal
from gatebook.model.record import Origin, Who
from gatebook.ports import Clock, Credentials, Ledger, SessionBook, Upstreams

OFF_LOOP_BYTES = 64 << 10
P = ParamSpec("P")
T = TypeVar("T")


class Injected(msgspec.Struct, frozen=True, kw_only=True):
    """What a server gets that no client ever sees: the header with the credential, if it has one. `secrets`: what must be redacted from
    its answers, the credential in every form, compiled once per value."""

    credential: Credential | None = None
    headers: Headers = ()
    secrets: Secrets = NO_SECRETS
    clean_headers: Bounded[Headers, Headers] = msgspec.field(default_factory=lambda: Bounded(CLEAN_HEADERS_KEPT))
    """Headers of answers, and what of them may leave beside these secrets; worked out before."""


CLEAN_HEADERS_KEPT = 256
NOTHING_INJECTED = Injected()
INJECTIONS_KEPT = 1024


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot made ready: a call holds one standing from its first byte to its last, whatever is activated meanwhile."""

    snapshot: Snapshot
    verifier: CachedVerifier
    servers: dict[str, Server]

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
    good_until: float
    """Seconds since the epoch, exclusive: then the token must be judged again."""
    principal: Principal
    who: Who
    origin: Origin
    session_key: bytes

    def holds(self, arrival: Arrival, server: Server, standing: Standing, now_s: float) -> bool:
        """Whether the same head, come as `arrival`, proves the same once more."""
        here = self.standing is standing and self.server is server and self.ip == arrival.client_ip
        return here and now_s < self.good_until


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
    turns: Turns
    attempts: Attempts = msgspec.field(default_factory=Attempts)
    running: dict[tuple[str, str, str], int] = msgspec.field(default_factory=dict)
    """Under way per (issuer, subject, `call` or `stream`)."""
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
        made = Injected(credential=credential, headers=(header,), secrets=Secrets((value,)))
        return self.injections.keep((server.name, value), made)
