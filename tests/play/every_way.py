"""A world whose every crossing of a port can fail, and a judge of what then crossed: the generator behind `test_every_way`.

One exchange is first run undisturbed and its crossings are counted. Then it is run once for each crossing and each fault. So a port that
is asked once more, or at another place, is in the matrix without anybody's help.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Literal, TypeVar

import msgspec

from gatebook.gate.again import BESIDE
from gatebook.gate.exchange import exchange
from gatebook.identity.errors import TokenRefused
from gatebook.identity.tokens import Judged
from gatebook.model.deployment import SecretReference, Server
from gatebook.model.errors import LedgerUnavailable, Reason, UpstreamError
from gatebook.model.http import Answer, Arrival, EventStream, Headers, Reply, UpstreamRequest
from gatebook.model.record import Draft
from gatebook.model.secret import Secret
from gatebook.ports import Instant, Receipt, Recorded
from tests.world import ORIGIN, SECRET, FixedClock, KnownTokens, MemorySessions, Play, gathered

T = TypeVar("T")
Fault = Literal[
    "fails", "fails from then on", "fails but happened", "breaks", "slow", "cancelled", "cancelled when done", "hung up"
]
FAULTS: tuple[Fault, ...] = Fault.__args__  # type: ignore[attr-defined]
"""`breaks`: an exception that the port's contract does not know. `slow`: nothing comes until everything else has come to rest; a port that is not
waited for gets two minutes older instead. `cancelled`: while it is waited for; `when done`: at the moment it is back. `hung up`: the client is
gone while it is waited for."""

WELL = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'
TURNS = 8
"""Of the loop, until a record is durable: longer than anything that does not wait for it."""
SLOW_US = 120_000_000
AFTERWARDS = "call.result", "call.refused", "stream.close", "message.client"
"""The events that say how an exchange ended; a `message.client` counts where it says so (`ok` False)."""


class Crossed(msgspec.Struct, frozen=True):
    """One thing that crossed: `what` in order of the story; `draft`, `request` or `said` by kind."""

    what: Literal["durable", "told", "refused by the book", "sent", "left", "closed", "raised"]
    draft: Draft | None = None
    receipt: bytes = b""
    request: UpstreamRequest | None = None
    said: bytes = b""
    status: int = 0


class Way(msgspec.Struct, frozen=True):
    """One exchange: what is asked, and what the server says. `secrets`: what may leave only behind a record of these events."""

    body: bytes
    pieces: tuple[bytes, ...] = ()
    status: int = 200
    content_type: bytes = b"application/json"
    method: str = "POST"
    headers: Headers = ()
    token: str | None = "alice"
    server_headers: Headers = ()
    fails: UpstreamError | None = None
    elements: int = 1
    sent: int = 1
    outcomes: int = 1
    """Records after sending that an undisturbed exchange makes of its end."""
    behind: tuple[tuple[bytes, str], ...] = ()
    """(bytes of the server's, event): they leave only when an entry of that event was told durable."""
    before: int = 0
    """So many calls like it came before, undisturbed and well answered (`WELL`): then it goes the short way."""
    at_once: bool = False
    """The server's answer comes with its head."""


class Crossings:
    """Counts crossings and makes the `at`-th one go wrong. `reached` is set when it does; `release` ends a slow one."""

    def __init__(self, at: int | None, fault: Fault | None) -> None:
        self.names: list[str] = []
        self.at, self.fault = at, fault
        self.reached = asyncio.Event()
        self.release = asyncio.Event()
        self.cancel: Callable[[], None] = lambda: None
        self.older: Callable[[], None] = lambda: None
        self.broken: set[str] = set()

    def _mine(self, name: str) -> bool:
        self.names.append(name)
        return len(self.names) - 1 == self.at

    async def wait(self, name: str, act: Callable[[], Coroutine[Any, Any, T]], failure: Callable[[], Exception]) -> T:
        """A port that is waited for."""
        if name in self.broken:
            raise failure()
        if not self._mine(name):
            return await act()
        match self.fault:
            case "fails":
                raise failure()
            case "fails from then on":
                self.broken.add(name)
                raise failure()
            case "breaks":
                raise RuntimeError("nobody foresaw this")
            case "fails but happened":
                await act()
                raise failure()
            case "cancelled when done":
                done = await act()
                self.cancel()
                return done
            case "slow" | "cancelled" | "hung up":
                self.reached.set()
                await self.release.wait()
        return await act()

    def ask(self, name: str, act: Callable[[], T], failure: Callable[[], Exception]) -> T:
        """A port that answers at once."""
        if name in self.broken:
            raise failure()
        if not self._mine(name):
            return act()
        match self.fault:
            case "fails":
                raise failure()
            case "fails from then on":
                self.broken.add(name)
                raise failure()
            case "breaks":
                raise RuntimeError("nobody foresaw this")
            case "fails but happened":
                act()
                raise failure()
            case "cancelled" | "cancelled when done":
                self.cancel()
            case "slow":
                self.older()
            case "hung up":
                self.reached.set()
        return act()


class Book:
    """ports.Ledger: what is durable, and what was told so."""

    def __init__(self, crossings: Crossings, journal: list[Crossed]) -> None:
        self._crossings, self._journal = crossings, journal

    async def record_intent(self, draft: Draft) -> Receipt:
        return Receipt(origin=ORIGIN, leaf=await self._store("intent", draft))

    async def record(self, draft: Draft) -> Recorded:
        return Recorded(origin=ORIGIN, leaf=await self._store("record", draft))

    async def _store(self, kind: str, draft: Draft) -> bytes:
        async def durable() -> bytes:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self._journal.append(Crossed("durable", draft))
            return hashlib.sha256(msgspec.json.encode((kind, draft.event, draft.call, len(self._journal)))).digest()

        try:
            leaf = await self._crossings.wait(f"ledger {kind}", durable, lambda: LedgerUnavailable("the disk is full"))
        except BaseException:
            self._journal.append(Crossed("refused by the book", draft))
            raise
        self._journal.append(Crossed("told", draft, receipt=leaf))
        return leaf


class OneServer:
    """ports.Upstreams and the one answer of a `Way`."""

    def __init__(self, way: Way, crossings: Crossings, journal: list[Crossed]) -> None:
        self._way, self._crossings, self._journal = way, crossings, journal
        self.status = way.status
        self.headers: Headers = ((b"content-type", way.content_type), *way.server_headers)
        self.opened = self.closed = False
        self._let_go = asyncio.Event()

    async def send(
        self, receipt: Receipt, server: Server, request: UpstreamRequest, *, first_byte_s: float, idle_s: float
    ) -> "OneServer":
        async def sent() -> OneServer:
            self._journal.append(Crossed("sent", receipt=receipt.leaf, request=request))
            await asyncio.sleep(0)
            if self._way.fails is not None:
                raise self._way.fails
            return self

        response = await self._crossings.wait("upstream send", sent, lambda: broken("the server is gone"))
        self.opened = True
        return response

    async def body(self) -> AsyncIterator[bytes]:
        for piece in (*self._way.pieces, None):

            async def come(piece: bytes | None = piece) -> bytes | None:
                await asyncio.sleep(0)
                return piece

            reading = asyncio.ensure_future(self._crossings.wait("upstream body", come, lambda: broken("cut")))
            leaving = asyncio.ensure_future(self._let_go.wait())
            try:
                await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    raise UpstreamError(Reason.CANCELLED, "the answer was let go", sent=True)
                came = reading.result()
            finally:
                leaving.cancel()
                reading.cancel()
            if came is None:
                return
            yield came

    def at_once(self, limit: int) -> bytes | None:
        if not self._way.at_once:
            return None

        self.closed = True
        return b"".join(self._way.pieces)

    async def whole(self, limit: int) -> bytes:
        return await gathered(self.body(), limit)

    async def close(self) -> None:
        async def closed() -> None:
            self.closed = True
            self._let_go.set()

        await self._crossings.wait("upstream close", closed, lambda: OSError("the socket is gone"))


def broken(words: str) -> UpstreamError:
    return UpstreamError(Reason.UPSTREAM_BROKEN, words, sent=True)


class Clock:
    def __init__(self, crossings: Crossings) -> None:
        self._crossings, self.inner = crossings, FixedClock()

    def now(self) -> Instant:
        return self._crossings.ask("clock", self.inner.now, lambda: OSError("no clock"))


class Sessions:
    def __init__(self, crossings: Crossings) -> None:
        self._crossings, self._inner = crossings, MemorySessions()

    def touch(self, key: bytes, now_us: int) -> str:
        return self._crossings.ask("sessions", lambda: self._inner.touch(key, now_us), lambda: OSError("no map"))


class Vault:
    def __init__(self, crossings: Crossings) -> None:
        self._crossings = crossings

    def resolve(self, reference: SecretReference) -> Secret[bytes]:
        def failure() -> Exception:
            return UpstreamError(Reason.CREDENTIAL_UNAVAILABLE, "the file is gone", sent=False)

        return self._crossings.ask("credentials", lambda: Secret(SECRET), failure)


class Tokens:
    def __init__(self, crossings: Crossings) -> None:
        self._crossings = crossings

    def judge(self, token: str, server: Server, now_s: float) -> Judged:
        def failure() -> Exception:
            return TokenRefused(Reason.KEYS_UNAVAILABLE, "no keys")

        return self._crossings.ask("keys", lambda: KnownTokens().judge(token, server, now_s), failure)


class Run:
    """One exchange with one fault, run as the shell runs it."""

    def __init__(self, way: Way, at: int | None = None, fault: Fault | None = None) -> None:
        self.way, self.fault = way, fault
        self.journal: list[Crossed] = []
        self.crossings = Crossings(at, fault)
        self.play = play = Play()
        self.server = OneServer(way, self.crossings, self.journal)
        clock = Clock(self.crossings)
        world = play.world
        world.clock, world.ledger = clock, Book(self.crossings, self.journal)
        world.sessions, world.credentials = Sessions(self.crossings), Vault(self.crossings)
        world.upstreams = self.server
        drawn = world.random
        world.random = lambda n: self.crossings.ask("random", lambda: drawn(n), lambda: OSError("no entropy"))
        standing = msgspec.structs.replace(world.standing(), verifier=Tokens(self.crossings))
        world.standing = lambda: standing
        self._streaming = False
        self._lost = False

        def older() -> None:
            clock.inner.unix_us += SLOW_US

        self.crossings.older = older

    @property
    def where(self) -> str:
        at = self.crossings.at
        name = self.crossings.names[at] if at is not None and at < len(self.crossings.names) else "nowhere"
        return f"crossing {at} ({name}) {self.fault}"

    async def go(self) -> None:
        """To the end, whatever it is; `journal` then holds everything."""
        asking = asyncio.ensure_future(self._shell())
        self.crossings.cancel = lambda: asking.cancel()
        try:
            async with asyncio.timeout(20):
                await self._disturb(asking)
                await asyncio.gather(asking, return_exceptions=True)
        finally:
            self.play.world.turns.executor.shutdown(wait=False)
        if not asking.cancelled() and (failure := asking.exception()) is not None:
            self.journal.append(Crossed("raised", said=repr(failure).encode()))
        await at_rest()

    async def _disturb(self, asking: "asyncio.Future[None]") -> None:
        if self.fault not in ("slow", "cancelled", "hung up"):
            return
        reached = asyncio.ensure_future(self.crossings.reached.wait())
        await asyncio.wait((asking, reached), return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        if not self.crossings.reached.is_set():
            return
        await at_rest()
        before = [each.what for each in self.journal]
        if self.fault == "slow":
            await at_rest()
            assert not asking.done(), f"{self.where}: it did not wait"
            assert [each.what for each in self.journal] == before, f"{self.where}: it went on without"
        elif self.fault == "cancelled":
            asking.cancel()
        else:  # as `HttpProtocol.connection_lost` does
            self._lost = True
            self.play.gone.set()
            if self._streaming:
                asking.cancel()
        await at_rest()
        self.crossings.release.set()

    async def _shell(self) -> None:
        way = self.way
        arrival = self.play.arrival(way.body, token=way.token, headers=way.headers, method=way.method)
        if way.before:
            await self._warm(arrival)
        answer: Answer = await exchange(arrival, self.play.gone, self.play.world)
        if isinstance(answer, Reply):
            if not self._lost:
                self.journal.append(Crossed("left", said=answer.body, status=answer.status))
            return
        await self._stream(answer)

    async def _warm(self, arrival: Arrival) -> None:
        crossings = self.crossings
        at, crossings.at = crossings.at, None
        for _ in range(self.way.before):
            well = msgspec.structs.replace(
                self.way, pieces=(WELL,), status=200, content_type=b"application/json", fails=None, at_once=True
            )
            self.play.world.upstreams = OneServer(well, crossings, [])
            answer = await exchange(arrival, self.play.gone, self.play.world)
            assert isinstance(answer, Reply) and answer.status == 200 and b"result" in answer.body
        assert BESIDE in arrival.said
        self.play.world.upstreams = self.server
        crossings.at = at
        crossings.names.clear()
        self.journal.clear()

    async def _stream(self, answer: EventStream) -> None:
        try:
            if not self._lost:
                self._streaming = True
                async for piece in answer.events:
                    if self._lost:
                        break
                    self.journal.append(Crossed("left", said=piece, status=answer.status))
        except asyncio.CancelledError:
            if not self._lost:
                raise
        finally:
            self._streaming = False
            await answer.events.aclose()  # type: ignore[attr-defined]
            self.journal.append(Crossed("closed"))


async def at_rest() -> None:
    """Everything that could go on without the outside has gone on."""
    for _ in range(60):
        await asyncio.sleep(0)


def wrongs(way: Way, journal: list[Crossed]) -> Iterator[str]:
    """What the journal shows that must never be. The promises of architecture §1, read backwards."""
    told: list[Crossed] = []
    sent = 0
    closed = False
    for crossed in journal:
        match crossed.what:
            case "told":
                told.append(crossed)
                if closed:
                    yield f"{crossed.draft.event if crossed.draft else ''} was recorded after the stream's end was reported"
            case "closed":
                closed = True
            case "sent":
                sent += 1
                yield from _wrong_to_send(way, crossed, told)
            case "left":
                yield from _wrong_to_leave(way, crossed, told, journal)
            case "raised" if not any(each.what == "refused by the book" for each in journal):
                yield f"the shell met {crossed.said!r}"  # a stream may raise, where the book did: the shell cuts it
    if sent > 1:
        yield f"sent {sent} times"


def _wrong_to_send(way: Way, crossed: Crossed, told: list[Crossed]) -> Iterator[str]:
    assert crossed.request is not None
    call = dict(crossed.request.headers)[b"gatebook-call-id"].decode()
    if crossed.receipt not in [each.receipt for each in told]:
        yield "sent with a receipt that no book gave"
    if call not in [each.draft.call for each in told if each.draft is not None]:
        yield f"call {call} was sent and has no intent"
    if len(told) < way.elements:
        yield f"sent with {len(told)} intents of {way.elements}"


def _wrong_to_leave(way: Way, crossed: Crossed, told: list[Crossed], journal: list[Crossed]) -> Iterator[str]:
    events = [each.draft.event for each in told if each.draft is not None]
    for said, event in way.behind:
        if said in crossed.said and event not in events:
            yield f"{said!r} left before its {event} was durable"
    if not told and not _could_not_be_recorded(crossed):
        yield f"{crossed.said!r} left and nothing was recorded"
    position = journal.index(crossed)
    was_sent = any(each.what == "sent" for each in journal[:position])
    if was_sent and crossed.status != 200 and crossed.status < 400 and not events:
        yield "answered without a record"
    if was_sent and crossed.status >= 400 and not _ended(told) and not _could_not_be_recorded(crossed):
        yield f"a refusal after sending left without an outcome: {crossed.said!r}"
    if b'"ledger_unavailable"' in crossed.said and any(said in crossed.said for said, _ in way.behind):
        yield "what could not be recorded left all the same"


def _ended(told: list[Crossed]) -> bool:
    return any(
        each.draft is not None
        and each.draft.event in AFTERWARDS
        and (each.draft.event != "message.client" or not each.draft.ok)
        for each in told
    )


def _could_not_be_recorded(crossed: Crossed) -> bool:
    return b'"ledger_unavailable"' in crossed.said or b'"internal"' in crossed.said


def unended(journal: list[Crossed]) -> list[str]:
    """Calls whose intent is durable and told, and that have no end in the book."""
    drafts = [each.draft for each in journal if each.what == "told" and each.draft is not None]
    ends = {draft.call for draft in drafts if draft.event in AFTERWARDS and draft.event != "message.client"}
    opened = [draft.call or "" for draft in drafts if draft.event in ("call.intent", "stream.open")]
    return [call for call in opened if call not in ends]
