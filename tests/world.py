"""A world in memory: every port of the gate, and a journal of what crossed them, in order."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from gatebook.gate.exchange import exchange
from gatebook.gate.handles import SessionHandles
from gatebook.gate.leaving import Gone
from gatebook.gate.turns import Turns
from gatebook.gate.world import FingerprintKey, Standing, World
from gatebook.identity.errors import TokenRefused
from gatebook.identity.tokens import Judged
from gatebook.ledger.entry import Clocked
from gatebook.model.deployment import (
    Allow,
    Credential,
    Deployment,
    Issuer,
    Match,
    Role,
    SecretReference,
    Server,
    Snapshot,
    Trust,
)
from gatebook.model.errors import LedgerUnavailable, Reason, UpstreamError
from gatebook.model.http import Answer, Arrival, EventStream, Headers, UpstreamRequest
from gatebook.model.principal import Evidence, Principal
from gatebook.model.record import Draft
from gatebook.model.secret import Secret
from gatebook.ports import Instant, Receipt, Recorded

SECRET = b"upstream-secret-8c1f"
PUBLIC = "https://gate.example.com"
ORIGIN = "gate.example.com/test"


def deployment(**changes: object) -> Deployment:
    """One server `payments`, one issuer `corp`, a role `support` that may use get_order, list_* and orders://*."""
    server = Server(
        name="payments",
        url="https://payments.internal/mcp",
        resource=f"{PUBLIC}/payments/mcp",
        audiences={"corp": f"{PUBLIC}/payments/mcp"},
        credential=Credential(
            header="Authorization",
            template="Bearer {secret}",
            secret=SecretReference(scheme="file", locator="/run/secrets/payments"),
        ),
    )
    base = Deployment(
        profile="pci",
        public_url=PUBLIC,
        listen=("127.0.0.1:0",),
        workers=1,
        data_dir="/nonexistent",
        origin=ORIGIN,
        log_key="",
        payload_public_key="",
        issuers=(Issuer(name="corp", url="https://idp.example.com", kind="person"),),
        servers=(server,),
        roles=(
            Role(
                name="support",
                match=(Match(issuer="corp", group="support"),),
                allow=(Allow(server="payments", tools=("get_order", "list_*"), resources=("orders://*",)),),
            ),
        ),
    )
    return msgspec.structs.replace(base, **changes)


class KnownTokens:
    """Stands where the verifier stands: the token is the person's name; who is `refused` is nobody. In `sids`: people who came through the
    desk, with the grant behind them."""

    def __init__(self) -> None:
        self.refused = {"nobody"}
        self.sids: dict[str, str] = {}
        self.proofs: dict[str, tuple[str, int | None]] = {}
        """`mfa` and `auth_time` of people's tokens."""

    def judge(self, token: str, server: Server, now_s: float) -> Judged:
        return Judged(principal=self._principal(token, now_s), good_until=now_s + 300)

    def _principal(self, token: str, now_s: float) -> Principal:
        if token in self.refused:
            raise TokenRefused(Reason.TOKEN_INVALID, "the token is not valid here")
        return Principal(
            kind="person",
            issuer="https://idp.example.com",
            issuer_name="corp",
            subject=token,
            agent="test-client",
            login="sid:1",
            groups=frozenset({"support"} if token != "stranger" else ()),
            claims={"mfa": self.proofs[token][0]} if token in self.proofs else {},
            evidence=Evidence(amr=("pwd", "otp"), auth_time=self.proofs.get(token, ("", None))[1]),
            expires_at=now_s + 300,
            sid=self.sids.get(token),
        )


class FixedClock:
    def __init__(self) -> None:
        self.unix_us = 1_780_000_000_000_000

    def now(self) -> Instant:
        self.unix_us += 1000
        return Instant(unix_us=self.unix_us, clocked=Clocked(src="test", off=0, ok=True))


class JournalLedger:
    """Keeps drafts in the order they became durable. `fails_on(draft)` makes a record fail; `happened` whether it was stored all the same.
    `holds_on(draft)`: an event that is waited for before it is stored."""

    def __init__(self, journal: list[tuple[str, object]]) -> None:
        self.journal = journal
        self.fails_on: Callable[[Draft], bool] = lambda draft: False
        self.holds_on: Callable[[Draft], asyncio.Event | None] = lambda draft: None
        self.held: list[Draft] = []
        self.happened = False

    async def record_intent(self, draft: Draft) -> Receipt:
        return Receipt(origin=ORIGIN, leaf=await self._store("intent", draft))

    async def record(self, draft: Draft) -> Recorded:
        return Recorded(origin=ORIGIN, leaf=await self._store("record", draft))

    async def _store(self, kind: str, draft: Draft) -> bytes:
        await asyncio.sleep(0)
        hold = self.holds_on(draft)
        if hold is not None:
            self.held.append(draft)
            await hold.wait()
        fails = self.fails_on(draft)
        if not fails or self.happened:
            self.journal.append((kind, draft))
        if fails:
            raise LedgerUnavailable("the test's disk is full")
        return hashlib.sha256(msgspec.json.encode(draft.call)).digest()


Piece = bytes | Exception | asyncio.Event
"""What a scripted body does next: give bytes, raise, or wait (until the event is set, or until nobody wants the body any more)."""


async def gathered(body: AsyncIterator[bytes], limit: int) -> bytes:
    """What `whole` of ports.UpstreamResponse gives for this body."""
    whole = b""
    async for piece in body:
        whole += piece
        if len(whole) > limit:
            raise UpstreamError(Reason.UPSTREAM_TOO_LARGE, "too large", sent=True)
    return whole


class ScriptedResponse:
    def __init__(self, status: int, headers: Headers, pieces: list[Piece], journal: list[tuple[str, object]]) -> None:
        self.status = status
        self.headers = headers
        self._pieces = pieces
        self._journal = journal
        self.closed = False
        self.all_here = False
        """The pieces came with the head."""
        self._let_go = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await asyncio.sleep(0)
            if isinstance(piece, asyncio.Event):
                await self._wait(piece)
            elif isinstance(piece, Exception):
                raise piece
            else:
                yield piece

    def at_once(self, limit: int) -> bytes | None:
        pieces = [piece for piece in self._pieces if isinstance(piece, bytes)]
        if not self.all_here or len(pieces) < len(self._pieces) or sum(map(len, pieces)) > limit:
            return None
        self.closed = True
        self._journal.append(("upstream closed", None))
        return b"".join(pieces)

    async def whole(self, limit: int) -> bytes:
        return await gathered(self.body(), limit)

    async def _wait(self, event: asyncio.Event) -> None:
        """As the port says: whoever reads on when the answer is let go gets CANCELLED; a cancelled reader ends the connection."""
        waiting = [asyncio.ensure_future(it.wait()) for it in (event, self._let_go)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._let_go.set()
            raise
        finally:
            for task in waiting:
                task.cancel()
        if self._let_go.is_set():
            raise UpstreamError(Reason.CANCELLED, "the answer was let go", sent=True)

    async def close(self) -> None:
        self._let_go.set()
        if not self.closed:
            self.closed = True
            self._journal.append(("upstream closed", None))


class ScriptedUpstreams:
    """Answers every request with the next of `script`: (status, content type, pieces), or an exception to raise."""

    def __init__(self, journal: list[tuple[str, object]]) -> None:
        self.journal = journal
        self.script: list[tuple[int, bytes, list[Piece]] | Exception] = []
        self.extra_headers: Headers = ()
        self.hold: asyncio.Event | None = None
        self.at_once = False

    async def send(
        self, receipt: Receipt, server: Server, request: UpstreamRequest, *, first_byte_s: float, idle_s: float
    ) -> ScriptedResponse:
        assert isinstance(receipt, Receipt)
        self.journal.append(("sent", request))
        if self.hold is not None:
            await self.hold.wait()
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        status, content_type, pieces = step
        headers = ((b"content-type", content_type), *self.extra_headers)
        response = ScriptedResponse(status, headers, pieces, self.journal)
        response.all_here = self.at_once
        return response


class OneSecret:
    def resolve(self, reference: SecretReference) -> Secret[bytes]:
        return Secret(SECRET)


class MemorySessions:
    def __init__(self) -> None:
        self._ids: dict[bytes, str] = {}

    def touch(self, key: bytes, now_us: int) -> str:
        return self._ids.setdefault(key, hashlib.sha256(key).hexdigest()[:32])


class Play:
    """One gate in memory. `ask` sends a request and gives the answer, whole; `events` names what crossed the ports."""

    def __init__(self, **changes: object) -> None:
        self.journal: list[tuple[str, object]] = []
        self.ledger = JournalLedger(self.journal)
        self.upstreams = ScriptedUpstreams(self.journal)
        self.gone = Gone()
        self.closed: Reason | None = None
        self.trust: Trust | None = Trust(number=1)
        self.bugs: list[BaseException | None] = []
        self.tokens = KnownTokens()
        self.clock = FixedClock()
        self.standing = self.standing_of(deployment(**changes))
        self.world = World(
            clock=self.clock,
            ledger=self.ledger,
            upstreams=self.upstreams,
            credentials=OneSecret(),
            sessions=MemorySessions(),
            handles=SessionHandles(b"k" * 32),
            fingerprint=FingerprintKey(b"f" * 32, "kid"),
            standing=lambda: self.standing,
            trust=lambda: self.trust,
            keys_wanted=lambda issuer: None,
            closed=lambda: self.closed,
            random=lambda n: b"\x07" * n,
            report_bug=lambda where, failure: self.bugs.append(failure),
            turns=Turns(ThreadPoolExecutor(1)),
        )

    def standing_of(self, deployment: Deployment) -> Standing:
        return Standing(
            snapshot=Snapshot(number=1, config_sha256="c0" * 32, deployment=deployment),
            verifier=self.tokens,  # type: ignore[arg-type]
            servers={server.name: server for server in deployment.servers},
        )

    def answers(self, *pieces: Piece, status: int = 200, content_type: bytes = b"application/json") -> None:
        self.upstreams.script.append((status, content_type, list(pieces)))

    def fails(self, reason: Reason, *, sent: bool) -> None:
        self.upstreams.script.append(UpstreamError(reason, "scripted", sent=sent))

    async def ask(
        self, body: bytes, *, token: str | None = "alice", headers: Headers = (), method: str = "POST"
    ) -> Answer:
        return await exchange(self.arrival(body, token=token, headers=headers, method=method), self.gone, self.world)

    def arrival(
        self, body: bytes, *, token: str | None = "alice", headers: Headers = (), method: str = "POST"
    ) -> Arrival:
        base: list[tuple[bytes, bytes]] = [(b"host", b"gate.example.com"), (b"content-type", b"application/json")]
        base.append((b"accept", b"application/json, text/event-stream"))
        if token is not None:
            base.append((b"authorization", b"Bearer " + token.encode()))
        return Arrival(
            method=method,
            target=b"/payments/mcp",
            headers=(*base, *headers),
            body=body,
            client_ip="192.0.2.7",
            tls=True,
        )

    @property
    def events(self) -> list[str]:
        """What crossed, in order: event names for records, `sent` and `upstream closed` for the upstream."""
        return [item.event if isinstance(item, Draft) else kind for kind, item in self.journal]

    @property
    def drafts(self) -> list[Draft]:
        return [item for _, item in self.journal if isinstance(item, Draft)]

    @property
    def sent(self) -> list[UpstreamRequest]:
        return [item for _, item in self.journal if isinstance(item, UpstreamRequest)]


async def whole(answer: Answer) -> bytes:
    """The answer's body; a stream is read to its end."""
    if isinstance(answer, EventStream):
        return b"".join([piece async for piece in answer.events])
    return answer.body
