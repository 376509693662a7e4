"""A call like one before takes over what was found of that one: nothing but the cost may differ, and whatever can change is asked anew."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gatebook.gate import again, asking, exchange
from gatebook.gate.leaving import Gone
from gatebook.gate.quarantine import Seen
from gatebook.gate.world import OFF_LOOP_BYTES, Traced
from gatebook.ledger.entry import Clocked
from gatebook.model.deployment import Command, Deployment, ToolRule, Trust
from gatebook.model.errors import Reason
from gatebook.model.http import Arrival, EventStream, Headers, Reply
from gatebook.model.record import Draft
from tests.play.test_one_call import MODERN_HEADERS, PAN, RESULT, modern_call
from tests.world import SECRET, Play, deployment

LEGACY = b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":{"name":"get_order","arguments":%b}}'
ONE = RESULT.replace(b'"a/1"', b"1")
SERVER = deployment().servers[0]
TIMES = 3
"""So often a call comes before the next one is known whole: its head, its template, and all that follows."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each call whose like came before, whether it went the short way."""
    went: list[bool] = []
    recognised = again.recognised

    def spy(arrival: Arrival, world: Any) -> Any:
        went.append(False)
        found = recognised(arrival, world)
        went[-1] = found is not None
        return found

    monkeypatch.setattr(again, "recognised", spy)
    return went


async def ask(play: Play, arrival: Arrival, body: bytes | None = None, gone: Gone | None = None) -> Reply:
    answer = await exchange.exchange(
        msgspec.structs.replace(arrival, body=body or arrival.body), gone or play.gone, play.world
    )
    assert isinstance(answer, Reply)
    return answer


async def warm(
    play: Play, *, headers: Headers = MODERN_HEADERS, body: bytes = modern_call(note="a"), **how: Any
) -> Arrival:
    """An arrival whose like came often enough."""
    arrival = play.arrival(body, headers=headers, **how)
    play.upstreams.at_once = True
    for _ in range(TIMES):
        play.answers(ONE)
        assert (await ask(play, arrival)).status == 200
    assert again.BESIDE in arrival.said
    return arrival


def legacy(identity: bytes = b"1", arguments: bytes = b'{"a":1}') -> bytes:
    return LEGACY % (identity, arguments)


def told(draft: Draft) -> dict[str, Any]:
    return {**msgspec.structs.asdict(draft), "call": draft.call and "a call"}


def crossed(play: Play) -> list[tuple[str, Any]]:
    """All that crossed the ports, but for what is another's in each call."""
    return [(kind, told(item) if isinstance(item, Draft) else item and item.body) for kind, item in play.journal]


RULES = (ToolRule(tools=("get_order",), record="shape"),)
SERVERS = {
    "plain": SERVER,
    "recorded by shape": msgspec.structs.replace(SERVER, tool_rules=RULES),
    "without a credential": msgspec.structs.replace(SERVER, credential=None),
    "a command": msgspec.structs.replace(SERVER, command=Command(argv=("true",))),
}
TOOL_ERROR = b'{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}'
ANSWERS = {
    "a result": (ONE, 200, b"application/json"),
    "a result with parameters of its type": (ONE, 200, b"application/json; charset=utf-8"),
    "a tool's error": (TOOL_ERROR, 200, b"application/json"),
    "a card number": (ONE.replace(b'"ok"', b'"' + PAN.encode() + b'"'), 200, b"application/json"),
    "the credential": (ONE.replace(b'"ok"', b'"' + SECRET + b'"'), 200, b"application/json"),
    "a large result": (ONE.replace(b'"ok"', b'"' + b"word " * (OFF_LOOP_BYTES // 4) + b'"'), 200, b"application/json"),
    "an error": (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}', 200, b"application/json"),
    "an error without an id": (b'{"jsonrpc":"2.0","error":{"code":-32000,"message":"no"}}', 200, b"application/json"),
    "another type of result": (b'{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}', 200, b"application/json"),
    "the answer to another call": (ONE.replace(b'"id":1', b'"id":2'), 200, b"application/json"),
    "the same id as a text": (ONE.replace(b'"id":1', b'"id":"1"'), 200, b"application/json"),
    "a notification": (b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}', 200, b"application/json"),
    "a batch": (b"[" + ONE + b"]", 200, b"application/json"),
    "what is no message": (b"oops", 200, b"application/json"),
    "half a surrogate pair": (ONE.replace(b'"ok"', b'"\\ud83d"'), 200, b"application/json"),
    "nothing": (b"", 200, b"application/json"),
    "a text": (b"oops", 200, b"text/plain"),
    "status 500": (b"oops", 500, b"text/plain"),
    "status 400 with an error": (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}', 400, b"application/json"),
    "status 202": (b"", 202, b"application/json"),
    "a refused credential": (b"", 401, b"application/json"),
    "a session's header": (ONE, 200, b"application/json"),
}  # fmt: skip


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in its time"])
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
@pytest.mark.parametrize("said", ANSWERS)
async def test_whatever_the_server_answers_nothing_differs_from_the_whole_way(
    said: str, modern: bool, server: Any, at_once: bool, short: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    body, status, media_type = ANSWERS[said]
    plays = Play(servers=(server,)), Play(servers=(server,))
    replies = []
    for play, remembers in zip(plays, (True, False), strict=True):
        if not remembers:
            monkeypatch.setattr(again, "remember", lambda *_: None)
        arrival = play.arrival(modern_call(note="a"), headers=MODERN_HEADERS) if modern else play.arrival(legacy())
        play.upstreams.at_once = True
        for _ in range(TIMES):
            play.answers(ONE)
            await ask(play, arrival)
        play.upstreams.at_once = at_once
        if said == "a session's header":
            play.upstreams.extra_headers = ((b"mcp-session-id", b"theirs"),)
        for again_body in (
            (modern_call(note="b"), modern_call(other=[1])) if modern else (legacy(), legacy(arguments=b"{}"))
        ):
            play.answers(body, status=status, content_type=media_type)
            answer = await ask(play, arrival, again_body)
            headers = tuple(
                (name, b"" if name in (b"gatebook-receipt", b"gatebook-call-id", b"mcp-session-id") else value)
                for name, value in answer.headers
            )
            replies.append((answer.status, headers, answer.body.partition(b'"call":')[0]))
        assert play.world.running == {} and play.bugs == []
    assert short == [True, True]
    assert replies[:2] == replies[2:]
    assert crossed(plays[0]) == crossed(plays[1])
    sent = [
        [{**dict(request.headers), b"gatebook-call-id": b"", b"traceparent": b""} for request in play.sent]
        for play in plays
    ]
    assert sent[0] == sent[1]


async def test_a_streamed_answer_keeps_its_place_until_it_ends(short: list[bool]) -> None:
    play = Play()
    arrival = await warm(play)
    play.answers(b"event: message\ndata: " + ONE + b"\n\n", content_type=b"text/event-stream")
    answer = await exchange.exchange(arrival, play.gone, play.world)
    assert isinstance(answer, EventStream) and short == [True]
    assert sum(play.world.running.values()) == 1
    assert [event async for event in answer.events] and play.world.running == {}
    await answer.events.aclose()  # type: ignore[attr-defined]
    assert play.events[-1] in ("call.result", "upstream closed")


async def test_each_call_has_an_id_and_a_trace_of_its_own() -> None:
    play = Play()
    drawn = iter(range(1, 200))
    play.world.random = lambda count: next(drawn).to_bytes(count, "big")
    arrival = await warm(play)
    for _ in range(3):
        play.answers(ONE)
        await ask(play, arrival)
    intents = [draft.call for draft in play.drafts if draft.event == "call.intent"]
    results = [draft.call for draft in play.drafts if draft.event == "call.result"]
    ids = [dict(request.headers)[b"gatebook-call-id"].decode() for request in play.sent]
    traces = [dict(request.headers)[b"traceparent"] for request in play.sent]
    assert intents == results == ids and len(set(ids)) == len(set(traces)) == 6


def expired(play: Play, arrival: Arrival) -> Arrival:
    play.clock.unix_us += 400_000_000
    play.tokens.refused.add("alice")
    return arrival


def closed(play: Play, arrival: Arrival) -> Arrival:
    play.closed = Reason.DRAINING
    return arrival


def denied(play: Play, arrival: Arrival) -> Arrival:
    play.standing = play.standing_of(deployment(roles=()))
    return arrival


def full(play: Play, arrival: Arrival) -> Arrival:
    most = play.standing.snapshot.deployment.limits.calls_per_principal
    play.world.running["https://idp.example.com", "alice", "call"] = most
    return arrival


def with_a_card(play: Play, arrival: Arrival) -> Arrival:
    return msgspec.structs.replace(arrival, body=modern_call(note=PAN))


def another_tool(play: Play, arrival: Arrival) -> Arrival:
    return msgspec.structs.replace(arrival, body=modern_call(note="a").replace(b'"get_order"', b'"refund"'))


def no_json(play: Play, arrival: Arrival) -> Arrival:
    return msgspec.structs.replace(arrival, body=arrival.body + b"x")


REFUSED: dict[str, tuple[Callable[[Play, Arrival], Arrival], Reason]] = {
    "the token is over": (expired, Reason.TOKEN_INVALID),
    "the gate is closed": (closed, Reason.DRAINING),
    "the role is gone": (denied, Reason.DENIED),
    "too many calls are under way": (full, Reason.TOO_MANY_CALLS),
    "a card number in the arguments": (with_a_card, Reason.CARD_NUMBER_IN_ARGUMENTS),
    "another tool than the header says": (another_tool, Reason.HEADER_MISMATCH),
    "no JSON": (no_json, Reason.PARSE_ERROR),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
async def test_what_has_changed_since_is_found_and_refused_as_ever(
    change: Callable[[Play, Arrival], Arrival], reason: Reason, short: list[bool]
) -> None:
    play = Play()
    arrival = change(play, await warm(play))
    sent, before = len(play.sent), dict(play.world.running)
    answer = await ask(play, arrival)
    assert f'"reason":"{reason}"'.encode() in answer.body
    assert short == [False] and len(play.sent) == sent and play.world.running == before


async def test_a_login_that_was_ended_is_refused_at_its_next_call(short: list[bool]) -> None:
    play = Play()
    play.tokens.sids["alice"] = "5" * 32
    arrival = await warm(play)
    play.answers(ONE)
    assert (await ask(play, arrival)).status == 200
    play.trust = Trust(number=2, revoked=frozenset({"5" * 32}))
    assert (await ask(play, arrival)).status == 401
    play.trust = None
    assert (await ask(play, arrival)).status == 503
    assert short == [True, False, False] and len(play.sent) == TIMES + 1


async def test_another_address_another_session_and_another_credential_go_the_whole_way_once(short: list[bool]) -> None:
    play = Play()
    arrival = await warm(play)
    other = msgspec.structs.replace(arrival, client_ip="192.0.2.8")
    play.answers(ONE)
    await ask(play, other)
    assert play.drafts[-1].origin.ip == "192.0.2.8"
    play.world.sessions = OneSession()
    play.answers(ONE)
    await ask(play, other)
    assert play.drafts[-1].session == "e" * 32
    play.world.credentials = AnotherSecret()
    play.answers(ONE.replace(b'"ok"', b'"another"'))
    assert b"another" not in (await ask(play, other)).body
    assert (b"authorization", b"Bearer another") in play.sent[-1].headers
    assert short == [False, False, False]
    play.answers(ONE)
    await ask(play, other)
    assert short[3:] == [True] and play.drafts[-1].origin.ip == "192.0.2.8" and play.drafts[-1].session == "e" * 32


class OneSession:
    def touch(self, key: bytes, now_us: int) -> str:
        return "e" * 32


class AnotherSecret:
    def resolve(self, reference: object) -> Any:
        return again_secret


class _Secret:
    def reveal(self) -> bytes:
        return b"another"


again_secret = _Secret()


@pytest.mark.parametrize("why", ["the login was ended", "the token is over", "too many calls"])
async def test_of_somebody_who_is_not_let_in_nothing_is_inspected(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play()
    play.tokens.sids["alice"] = "5" * 32
    arrival = await warm(play)
    monkeypatch.setattr(asking, "inspect", lambda *_: pytest.fail("inspected"))
    if why == "the login was ended":
        play.trust = Trust(number=2, revoked=frozenset({"5" * 32}))
    elif why == "the token is over":
        expired(play, arrival)
    else:
        full(play, arrival)
    assert (await ask(play, arrival)).status in (401, 429)


async def test_in_pci_nobody_is_judged_by_a_clock_that_nobody_keeps(short: list[bool]) -> None:
    play = Play(profile="pci")
    arrival = await warm(play)
    now, unkept = play.clock.now, Clocked(src="test", off=0, ok=False)
    play.world.clock = type("Clock", (), {"now": lambda _: msgspec.structs.replace(now(), clocked=unkept)})()
    answer = await ask(play, arrival)
    assert b"clock_unsynchronised" in answer.body and short == [False]


async def test_where_a_fresh_login_is_wanted_each_call_is_asked() -> None:
    rules = (ToolRule(tools=("get_order",), mfa="proven", mfa_max_age_s=600.0),)
    play = Play(servers=(msgspec.structs.replace(SERVER, tool_rules=rules),))
    play.tokens.sids["alice"] = "5" * 32
    play.tokens.proofs["alice"] = ("proven", play.clock.unix_us // 1_000_000 - 500)
    arrival = play.arrival(modern_call(note="a"), headers=MODERN_HEADERS)
    for _ in range(2 * TIMES):
        play.answers(ONE)
        assert (await ask(play, arrival)).status == 200
    play.clock.unix_us += 200_000_000
    assert (await ask(play, arrival)).status == 403


async def test_where_tools_are_pinned_each_call_is_asked() -> None:
    play = Play(servers=(msgspec.structs.replace(SERVER, pins={"get_order": ("ab",)}),))
    arrival = play.arrival(modern_call(note="a"), headers=MODERN_HEADERS)
    for _ in range(2 * TIMES):
        play.answers(ONE)
        assert (await ask(play, arrival)).status == 200
    seen = Seen(tool="get_order", pinned=("ab",), digest="cd", quarantined=True)
    play.world.quarantine.learn(play.standing.servers["payments"], seen)
    assert b"tool_quarantined" in (await ask(play, arrival)).body


async def test_each_call_is_traced() -> None:
    play, traced = Play(), []
    play.world.traced = Traced(share=1.0, tell=traced.append)
    arrival = play.arrival(modern_call(note="a"), headers=MODERN_HEADERS)
    for _ in range(2 * TIMES):
        play.answers(ONE)
        await ask(play, arrival)
    assert len(traced) == 2 * TIMES


async def test_a_list_that_is_asked_for_with_arguments_is_filtered_each_time() -> None:
    play = Play()
    play.upstreams.at_once = True
    arrival = play.arrival(b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"arguments":{}}}')
    for _ in range(2 * TIMES):
        play.answers(b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"refund"},{"name":"get_order"}]}}')
        assert b"refund" not in (await ask(play, arrival)).body


async def test_a_servers_request_with_the_calls_own_id_is_no_answer_to_it(short: list[bool]) -> None:
    play = Play()
    arrival = await warm(play)
    play.answers(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert (await ask(play, arrival)).status == 502 and short == [True]


async def test_who_is_cancelled_before_the_first_step_holds_no_place() -> None:
    play = Play()
    arrival = await warm(play)
    exchange.exchange(arrival, play.gone, play.world).close()
    assert play.world.running == {}


async def test_a_fault_of_the_short_ways_own_is_told_and_the_call_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play()
    arrival = await warm(play)

    def bug(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(again, "asked_again", bug)
    play.answers(ONE)
    assert (await ask(play, arrival)).status == 200
    assert len(play.bugs) == 1 and play.world.running == {}


async def test_a_head_that_goes_on_coming_keeps_no_standing_and_no_credential_that_is_over() -> None:
    play = Play()
    arrival = play.arrival(b"")

    async def several() -> None:
        for tool in (b"list_a", b"list_b", b"list_c") * (TIMES + 1):
            play.answers(ONE)
            assert (await ask(play, arrival, legacy().replace(b"get_order", tool))).status == 200

    await several()
    assert len(arrival.said[again.BESIDE]) == 3  # type: ignore[arg-type]
    for _ in range(3):
        play.standing = play.standing_of(msgspec.json.decode(msgspec.json.encode(deployment()), type=Deployment))
        await several()
    assert [each.standing is play.standing for each in arrival.said[again.BESIDE]] == [True] * 3  # type: ignore[attr-defined]
    play.world.credentials = AnotherSecret()
    await several()
    values = [each.injected.headers.headers[0][1] for each in arrival.said[again.BESIDE]]  # type: ignore[attr-defined]
    assert values == [b"Bearer another"] * 3


async def test_a_port_that_fails_meanwhile_is_met_by_the_whole_way(short: list[bool]) -> None:
    play = Play()
    arrival = await warm(play)

    def fails(key: bytes, now_us: int) -> str:
        raise OSError("no map")

    play.world.sessions = type("Sessions", (), {"touch": staticmethod(fails)})()
    with pytest.raises(OSError, match="no map"):
        again.recognised(arrival, play.world)
    answer = await ask(play, arrival)
    assert answer.status == 500 and play.world.running == {} and len(play.bugs) == 2


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_client_that_hangs_up_meanwhile(era: str) -> None:
    """Modern: the call is cancelled, and the book says so. Legacy: it goes on (MCP 2025-11-25, cancellation)."""
    play = Play()
    arrival = await warm(play) if era == "modern" else await warm(play, headers=(), body=legacy())
    gone = Gone()
    play.upstreams.hold = asyncio.Event()
    play.answers(ONE)
    asking = asyncio.ensure_future(ask(play, arrival, gone=gone))
    for _ in range(6):
        await asyncio.sleep(0)
    assert len(play.sent) == TIMES + 1
    gone.set()
    for _ in range(6):
        await asyncio.sleep(0)
    if era == "legacy":
        assert not asking.done()
        play.upstreams.hold.set()
    await asking
    assert play.drafts[-1].reason == ("cancelled" if era == "modern" else "completed")
    assert play.drafts[-1].call == play.drafts[-2].call and play.world.running == {}


async def test_one_call_is_remembered_for_each_template_and_not_more() -> None:
    play = Play()
    arrival = play.arrival(b"")
    for round_ in range(3):
        for number in range(2 * asking.TEMPLATES_KEPT):
            play.answers(ONE)
            await ask(play, arrival, legacy().replace(b"get_order", b"list_%d" % number))
        assert len(arrival.said.get(again.BESIDE, ())) <= asking.TEMPLATES_KEPT, round_  # type: ignore[arg-type]


async def test_two_addresses_that_take_turns_leave_one_call_behind() -> None:
    play = Play()
    arrival = await warm(play)
    for number in range(6):
        play.answers(ONE)
        await ask(play, msgspec.structs.replace(arrival, client_ip=f"192.0.2.{number % 2}"))
    assert len(arrival.said[again.BESIDE]) == 1  # type: ignore[arg-type]


async def test_a_large_answer_is_not_looked_at_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play()
    arrival = await warm(play)
    monkeypatch.setattr(again, "mask", lambda *_: pytest.fail("looked at on the loop"))
    play.answers(ANSWERS["a large result"][0])
    assert (await ask(play, arrival)).status == 200


def test_what_is_kept_holds_no_call() -> None:
    """Nothing of one call's own stays with the head."""
    kept = {field.name for field in msgspec.structs.fields(again.Again)}
    assert kept == {
        "standing", "known", "caller", "repeated", "permits", "policy", "credential", "injected", "passed_on", "ours", "upstream_session",
        "traces", "recorded",
    }  # fmt: skip


@pytest.mark.parametrize("identity", [b"-1", b'"\\u0061"', b"1" * 19])
async def test_a_message_whose_id_no_template_reads_leaves_no_template(identity: bytes) -> None:
    """One of each copy would be tried in vain with every message that comes, and a large one inspected each time."""
    play = Play()
    arrival = play.arrival(legacy(identity))
    for _ in range(6):
        play.answers(ONE.replace(b'"id":1', b'"id":' + identity))
        assert (await ask(play, arrival)).status == 200
    assert arrival.said["seen"] == ()


async def test_a_template_is_kept_once_though_something_keeps_it_from_being_used() -> None:
    play = Play()
    arrival = await warm(play, headers=(), body=legacy())
    for number in range(4):
        body = legacy(str(number + 2).encode(), b'{"a":"%b"}' % PAN.encode())
        play.answers(ONE)
        await ask(play, arrival, body)
        play.answers(ONE.replace(b'"id":1', b'"id":7'))
        await ask(play, arrival, legacy(b"7"))
    seen = arrival.said["seen"]
    assert isinstance(seen, tuple) and len(seen) == 1


@pytest.mark.parametrize(("headers", "named"), [((), b"content-type"), (MODERN_HEADERS, b"mcp-name")])
async def test_a_call_that_cannot_be_sent_is_recorded_alike_each_time(headers: Headers, named: bytes) -> None:
    """Its `Connection` names a header that goes on. No intent says that it will be sent."""
    play = Play()
    arrival = play.arrival(modern_call(a=1) if headers else legacy(), headers=(*headers, (b"connection", named)))
    for _ in range(5):
        play.journal.clear()
        assert (await ask(play, arrival)).status == 400
        assert [(draft.event, draft.reason) for draft in play.drafts] == [("call.refused", "bad_request")]
        assert play.sent == []
