"""The same long story told to two gates, one of which remembers calls and one of which does not: all that crosses the ports is the same.

A story is drawn from its number: reloads, ended logins, expired tokens, rotated secrets, clocks that nobody keeps, ports that fail, servers that say
all sorts of things, callers who hang up or are cancelled, several calls at once."""

import asyncio
import contextvars
import hashlib
import json
import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import msgspec
import pytest

from gatebook.gate import again, exchange
from gatebook.gate.handles import SessionHandles
from gatebook.gate.leaving import Gone
from gatebook.gate.turns import Turns
from gatebook.gate.world import Standing
from gatebook.ledger.entry import Clocked
from gatebook.model.deployment import Deployment, Limits, ToolRule, Trust
from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Arrival, EventStream, Headers
from gatebook.model.record import Draft
from gatebook.model.secret import Secret
from gatebook.ports import Instant
from tests.play.test_one_call import MODERN_HEADERS, PAN
from tests.world import SECRET, JournalLedger, Play, deployment

STEPS = 80
GRANT = "5" * 32
CALLS: contextvars.ContextVar[int] = contextvars.ContextVar("calls", default=0)
"""Which call of the story this task makes: both gates draw the same random bytes for it."""


class Clock:
    unix_us = 1_780_000_000_000_000
    synchronised = True

    def now(self) -> Instant:
        return Instant(unix_us=self.unix_us, clocked=Clocked(src="test", off=0, ok=self.synchronised))


class Sessions:
    salt = b""

    def touch(self, key: bytes, now_us: int) -> str:
        return hashlib.sha256(key + self.salt).hexdigest()[:32]


class Vault:
    value = SECRET

    def resolve(self, reference: object) -> Secret[bytes]:
        if not self.value:
            raise UpstreamError(Reason.CREDENTIAL_UNAVAILABLE, "gone", sent=False)
        return Secret(self.value)


class Handles(SessionHandles):
    """Without a nonce: two gates give the same ones."""

    def seal(self, upstream_id: str, owner: Any, server: str, now_us: int) -> bytes:
        return hashlib.sha256(repr((upstream_id, owner.subject, server, now_us)).encode()).hexdigest().encode()


class Book(JournalLedger):
    """Each entry has a leaf of its own, as in the real one."""

    async def _store(self, kind: str, draft: Draft) -> bytes:
        await super()._store(kind, draft)
        return hashlib.sha256(msgspec.json.encode((draft.event, draft.reason, draft.call))).digest()


class Here(Executor):
    """Threads would end in another order each time."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as failure:
            done.set_exception(failure)
        return done


class Counted:
    def __init__(self) -> None:
        self.servers: list[str] = []

    def add(self, server: str, own_s: float, upstream_s: float) -> None:
        assert own_s >= 0 and upstream_s >= 0
        self.servers.append(server)


def deployments() -> list[Deployment]:
    base = deployment()

    def server(**changes: Any) -> Deployment:
        return msgspec.structs.replace(base, servers=(msgspec.structs.replace(base.servers[0], **changes),))

    return [
        *(base, base, base),
        deployment(roles=()),
        deployment(profile="dev"),
        deployment(limits=Limits(calls_per_principal=1)),
        deployment(limits=Limits(response_bytes=60)),
        server(record="shape"),
        server(credential=None),
        server(card_numbers="allow"),
        server(pins={"get_order": ("ab",)}),
        server(tool_rules=(ToolRule(tools=("get_*",), record="shape"),)),
        server(tool_rules=(ToolRule(tools=("list_*",), mfa="proven"),)),
        server(tool_rules=(ToolRule(tools=("get_*",), card_numbers="allow"),)),
        server(tool_rules=(ToolRule(tools=("get_*",), card_numbers="mask"), ToolRule(tools=("**",), record="shape"))),
    ]


ARGUMENTS: list[dict[str, Any]] = [
    *({"b": 1},) * 12, {"a": 1}, {}, {"note": "x"}, {"note": PAN}, {"note": SECRET.decode()}, {"q": "411111******1111"},
    {"n": "b" * 70_000}, {"deep": {"a": [1, None]}}, {"a": 2}, {"a": 3}, {"a": 5},
]  # fmt: skip
TOOLS = (*("get_order",) * 12, "list_a", "list_a", "list_b", "refund")
IDS = (1, 1, 1, 7, 8, 9, "x", "x", "a/b", -1, "é")
ODD_ANSWERS = (
    b'{"jsonrpc":"2.0","id":%s,"error":{"code":-5,"message":"no"}}', b'{"jsonrpc":"2.0","id":%s,"result":{"resultType":"input_required"}}',
    b'{"jsonrpc":"2.0","id":%s,"result":{"isError":true,"content":[{"text":"4111111111111111"}]}}', b'{"jsonrpc":"2.0","id":%s,"result":[]}',
    b'{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","content":[{"text":"' + SECRET + b'"}]}}',
    b'[{"jsonrpc":"2.0","id":%s,"result":{}}]', b'{"jsonrpc":"2.0","id":%s,"result":{"content":[{"text":"' + b"y" * 70_000 + b'"}]}}',
    b'{"jsonrpc":"2.0","id":%s,"result":{"content":[{"text":"\\ud83d"}]}}', b'{"jsonrpc":"2.0","id":%s,"result":{}, "Id":3}',
    b'{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"refund"}]}}', b'{"jsonrpc":"2.0","id":%s,"result":{"resultType":5}}',
    b'{"jsonrpc":"2.0","id":99,"result":{}}', b"[]", b"", b"<html>", b'{"jsonrpc":"2.0","method":"notifications/x"}',
    b'{"jsonrpc":"2.0","id":4,"method":"ping"}', b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}',
    b'{"jsonrpc":"2.0","id":"\\u0031","result":{}}',
)  # fmt: skip
STATUSES = (*(200,) * 12, 202, 400, 401, 403, 404, 500)
TYPES = (*(b"application/json",) * 8, b"application/json; charset=utf-8", b"text/plain", b"text/event-stream")
BESIDE: tuple[Headers, ...] = (
    (), (), (), ((b"mcp-session-id", b"up-1"),), ((b"mcp-session-id", b"up-2"),), ((b"set-cookie", b"a=b"),),
    ((b"x-a", PAN.encode()), (b"cache-control", b"public")),
)  # fmt: skip
FAILS_ON: tuple[Callable[[Draft], bool], ...] = (
    lambda draft: draft.event == "call.intent",
    lambda draft: draft.event == "call.result",
    lambda draft: draft.event == "call.refused",
    lambda draft: draft.event == "call.result" and draft.reason == "completed",
)


class Asked(msgspec.Struct, frozen=True):
    """One call of a story, and what the server says to it."""

    token: str
    headers: Headers
    body: bytes
    ip: str
    tls: bool
    answer: Any


class Side:
    """One of the two gates. `went`: how many calls went the short way."""

    def __init__(self, *, remembers: bool) -> None:
        self.remembers = remembers
        self.play = play = Play()
        self.clock, self.sessions, self.vault, self.times = Clock(), Sessions(), Vault(), Counted()
        world: Any = play.world
        world.ledger = play.ledger = Book(play.journal)
        world.times, world.turns, world.handles = self.times, Turns(Here()), Handles(b"k" * 32)
        world.clock, world.sessions, world.credentials = self.clock, self.sessions, self.vault
        world.random = lambda count: hashlib.sha256(str(CALLS.get()).encode()).digest()[:count]
        self._said: dict[tuple[str, Headers], dict[object, object]] = {}
        self._standings: dict[int, Standing] = {}

    def standing(self, number: int, *, anew: bool) -> Standing:
        """By the deployment of that number; equal ones are other objects, as after a reload."""
        if anew or number not in self._standings:
            raw = msgspec.json.encode(deployments()[number])
            self._standings[number] = self.play.standing_of(msgspec.json.decode(raw, type=Deployment))
        return self._standings[number]

    async def run(self, number: int, asked: Asked, gone: Gone) -> tuple[Any, ...]:
        CALLS.set(number)
        arrival: Arrival = msgspec.structs.replace(
            self.play.arrival(asked.body, token=asked.token, headers=asked.headers),
            client_ip=asked.ip,
            tls=asked.tls,
            said=self._said.setdefault((asked.token, asked.headers), {}),
        )
        whole = exchange.exchange if self.remembers else exchange._whole
        answer = await whole(arrival, gone, self.play.world)
        if isinstance(answer, EventStream):
            return answer.status, answer.headers, b"".join([piece async for piece in answer.events])
        return answer.status, answer.headers, answer.body

    def crossed(self) -> list[Any]:
        return [
            (kind, msgspec.json.encode(item)) if isinstance(item, Draft)
            else (kind, item.method, item.headers, item.body) if kind == "sent"  # type: ignore[attr-defined]
            else (kind,)
            for kind, item in self.play.journal
        ]  # fmt: skip


def _drawn(chance: random.Random, heads: list[tuple[str, Headers]]) -> Asked:
    token, headers = chance.choice(heads)
    params: dict[str, Any] = {"name": chance.choice(TOOLS), "arguments": chance.choice(ARGUMENTS)}
    if headers == MODERN_HEADERS:
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    identity = chance.choice(IDS)
    body = json.dumps({"jsonrpc": "2.0", "id": identity, "method": "tools/call", "params": params}).encode()
    ip = chance.choice(("192.0.2.7",) * 12 + ("192.0.2.9",))
    return Asked(token, headers, body, ip, chance.random() < 0.8, _answer(chance, json.dumps(identity).encode()))


def _answer(chance: random.Random, identity: bytes) -> Any:
    if chance.random() < 0.06:
        reason = chance.choice((Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_BROKEN, Reason.UPSTREAM_TIMEOUT))
        return UpstreamError(reason, "scripted", sent=chance.random() < 0.5)
    if chance.random() < 0.02:
        return RuntimeError("nobody foresaw this")
    body = b'{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}'
    if chance.random() < 0.7:
        body = chance.choice(ODD_ANSWERS)
    body = body.replace(b"%s", identity)
    media_type = chance.choice(TYPES)
    pieces: list[Any] = [b"data: " + body + b"\n\n" if media_type == b"text/event-stream" else body]
    if chance.random() < 0.06:
        pieces.append(UpstreamError(Reason.UPSTREAM_BROKEN, "cut", sent=True))
    return chance.choice(STATUSES), media_type, pieces


def _change(side: Side, what: float, value: float, number: int) -> None:
    """Something happens between two calls."""
    play = side.play
    side.clock.unix_us += 1_000_000
    if what < 0.08:
        play.standing = side.standing(number, anew=value < 0.5)
    elif what < 0.12:
        revoked = frozenset({GRANT}) if value < 0.6 else frozenset()
        play.trust = None if value < 0.3 else Trust(number=2, revoked=revoked)
    elif what < 0.15:
        play.closed = (Reason.DRAINING, Reason.DISK_SHORT, Reason.LEDGER_UNAVAILABLE)[int(value * 3)]
    elif what < 0.2:
        play.closed, play.trust, side.clock.synchronised = None, Trust(number=1), True
        play.ledger.fails_on = lambda _: False
        side.vault.value = side.vault.value or b"back again"
    elif what < 0.23:
        side.clock.unix_us += 400_000_000
    elif what < 0.25:
        side.clock.synchronised = False
    elif what < 0.28:
        side.vault.value = (b"", b"rotated-secret-1", SECRET)[int(value * 3)]
    elif what < 0.31:
        side.sessions.salt = str(value).encode()
    elif what < 0.35:
        play.ledger.happened = value < 0.3
        play.ledger.fails_on = FAILS_ON[int(value * 4)]


async def _rest() -> None:
    for _ in range(60):
        await asyncio.sleep(0)


async def _told(side: Side, first: int, calls: list[Asked], how: dict[str, Any]) -> list[Any]:
    """What comes of calls made at once, and all that crossed meanwhile."""
    play, held = side.play, asyncio.Event()
    play.journal.clear()
    side.times.servers.clear()
    play.upstreams.script = [
        each.answer if isinstance(each.answer, Exception) else (*each.answer[:2], list(each.answer[2]))
        for each in calls
    ]
    play.upstreams.at_once, play.upstreams.extra_headers = how["at once"], how["beside"]
    play.upstreams.hold = asyncio.Event() if how["server held"] else None
    play.ledger.holds_on = lambda draft: held if draft.event == how["book held"] else None
    gones = [Gone() for _ in calls]
    if how["first"] == "gone before":
        gones[0].set()
    tasks = [asyncio.ensure_future(side.run(first + n, each, gones[n])) for n, each in enumerate(calls)]
    await _rest()
    if how["first"] == "gone":
        gones[0].set()
    elif how["first"] == "cancelled":
        tasks[0].cancel()
    await _rest()
    if play.upstreams.hold is not None:
        play.upstreams.hold.set()
    await _rest()
    held.set()
    answers = [repr(answer) for answer in await asyncio.gather(*tasks, return_exceptions=True)]
    await _rest()
    crossed = side.crossed() if len(calls) == 1 else sorted(map(repr, side.crossed()))
    bugs = [repr(bug) for bug in play.bugs]
    play.bugs.clear()
    return [answers, crossed, dict(play.world.running), bugs, len(play.world.streams), sorted(side.times.servers)]


async def tell(number: int) -> None:
    """One story; the two gates differ in nothing."""
    chance = random.Random(number)
    sides = Side(remembers=True), Side(remembers=False)
    alice = sides[0].play.tokens.judge("alice", sides[0].play.standing.servers["payments"], 0).principal
    session = ((b"mcp-session-id", SessionHandles(b"k" * 32).seal("up-1", alice, "payments", 0)),)
    heads: list[tuple[str, Headers]] = [
        ("alice", ()), ("alice", MODERN_HEADERS), ("alice", session), ("bob", session), ("carl", ()),
        ("alice", ((b"origin", b"https://gate.example.com"), (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"))),
        ("alice", ((b"origin", b"https://evil.example.com"),)), ("alice", ((b"user-agent", PAN.encode()),)),
    ]  # fmt: skip
    used = chance.sample(heads, chance.choice((1, 1, 2)))
    for side in sides:
        side.play.tokens.sids["carl"] = GRANT
    made = 0
    for step in range(STEPS):
        what, value, which = chance.random() * 2.5, chance.random(), chance.randrange(len(deployments()))
        calls = [_drawn(chance, used) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
        how = {
            "at once": chance.random() < 0.8,
            "beside": chance.choice(BESIDE),
            "server held": chance.random() < 0.25,
            "book held": chance.choice((None, None, None, "call.intent", "call.result")),
            "first": chance.choice(("stays", "stays", "gone", "cancelled", "gone before")),
        }
        for side in sides:
            _change(side, what, value, which)
        one, other = [await _told(side, made, calls, how) for side in sides]
        made += len(calls)
        for name, found, wanted in zip(
            ("answers", "crossed", "places", "bugs", "streams", "times"), one, other, strict=True
        ):
            assert found == wanted, (number, step, name, how, calls)


async def _tell(numbers: range, monkeypatch: pytest.MonkeyPatch) -> int:
    went, recognised = 0, again.recognised

    def spy(arrival: Arrival, world: Any) -> Any:
        nonlocal went
        found = recognised(arrival, world)
        went += found is not None
        return found

    monkeypatch.setattr(again, "recognised", spy)
    for number in numbers:
        await tell(number)
    return went


@pytest.mark.parametrize("block", range(4))
async def test_a_gate_that_remembers_calls_differs_in_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _tell(range(block * 10, block * 10 + 10), monkeypatch) >= 50


@pytest.mark.nightly
@pytest.mark.parametrize("block", range(10))
async def test_in_many_stories_neither(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    went = await _tell(range(1000 + block * 100, 1100 + block * 100), monkeypatch)
    print(f"100 stories of {STEPS} steps, {went} calls the short way")
