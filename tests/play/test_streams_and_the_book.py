"""Every port, at every step: it fails, it fails but it happened, it is slow, it is cut off. Nothing is sent and nothing is answered meanwhile."""

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import pytest

from gatebook.model.errors import Reason, UpstreamError
from gatebook.model.http import Answer, EventStream, Headers, Reply
from tests.play.test_hostile_answers import INITIALIZED, NOTE, REQUEST, STREAM, event
from tests.play.test_one_call import CALL, MODERN_HEADERS, PAN, RESULT, modern_call
from tests.world import Play, whole

SAID = b"x-unknown"
"""Stands in the server's result and nowhere else."""


class Step(msgspec.Struct, frozen=True):
    """One record: of which event, in what exchange, and how often something was sent by then. `left`: what may have left before it."""

    event: str
    body: bytes = CALL
    sent: int = 0
    method: str = "POST"
    headers: Headers = ()
    token: str | None = "alice"
    arrange: Callable[[Play], None] = lambda play: play.answers(RESULT)
    left: bytes = b""


def stream(*events: bytes) -> Callable[[Play], None]:
    return lambda play: play.answers(*map(event, events), content_type=STREAM)


STEPS = {
    "a call's intent": Step("call.intent"),
    "a modern call's intent": Step("call.intent", modern_call(id="42"), headers=MODERN_HEADERS),
    "a notification": Step("message.client", INITIALIZED),
    "a client's answer": Step("message.client", b'{"jsonrpc":"2.0","id":9,"result":{}}'),
    "a stream's opening": Step("stream.open", b"", method="GET"),
    "a session's end": Step("message.client", b"", method="DELETE"),
    "a batch's intents": Step(
        "call.intent", b"[" + CALL + b"," + CALL.replace(b'"a/1"', b"2") + b"]",
        headers=((b"mcp-protocol-version", b"2025-03-26"),),
    ),
    "a denial": Step("call.refused", CALL.replace(b"get_order", b"delete_customer")),
    "a card number": Step("call.refused", CALL.replace(b'"42"', b'"' + PAN.encode() + b'"')),
    "unreadable bytes": Step("call.refused", CALL + b"x"),
    "another person's session": Step("call.refused", headers=((b"mcp-session-id", b"AAAA"),)),
    "a stranger": Step("auth.failed", token="nobody"),
    "nobody": Step("auth.failed", token=None),
    "a foreign origin": Step("auth.failed", headers=((b"origin", b"https://evil.example"),)),
    "a result": Step("call.result", sent=1),
    "a modern result": Step(
        "call.result", modern_call(id="42"), headers=MODERN_HEADERS, sent=1,
        arrange=lambda play: play.answers(RESULT.replace(b'"a/1"', b"1")),
    ),
    "a lie": Step("call.result", sent=1, arrange=lambda play: play.answers(RESULT.replace(b'"a/1"', b"2"))),
    "an unreachable server": Step(
        "call.result", sent=1, arrange=lambda play: play.fails(Reason.UPSTREAM_UNREACHABLE, sent=False)
    ),
    "a refused credential": Step("call.result", sent=1, arrange=lambda play: play.answers(b"", status=401)),
    "a result in a stream": Step("call.result", sent=1, arrange=stream(RESULT)),
    "a result behind a notification": Step("call.result", sent=1, arrange=stream(NOTE, RESULT), left=event(NOTE)),
    "a server's request": Step("message.server", sent=1, arrange=stream(REQUEST, RESULT)),
    "a resumed result": Step(
        "call.result", b"", method="GET", headers=((b"last-event-id", b"1"),), sent=1, arrange=stream(RESULT)
    ),
    "a server's request on a GET stream": Step("message.server", b"", method="GET", sent=1, arrange=stream(REQUEST)),
}  # fmt: skip
EVERY = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


def arranged(step: Step) -> Play:
    play = Play()
    step.arrange(play)
    return play


async def asked(play: Play, step: Step, received: list[bytes]) -> Answer:
    """The exchange to its end, as the shell runs it; `received` is what the client has."""
    answer = await play.ask(step.body, token=step.token, headers=step.headers, method=step.method)
    if isinstance(answer, Reply):
        received.append(answer.body)
        return answer
    try:
        async for piece in answer.events:
            received.append(piece)
    finally:
        await answer.events.aclose()  # type: ignore[attr-defined]
    return answer


def nothing_left(received: list[bytes], step: Step) -> bool:
    return b"".join(received) in (b"", step.left)


@EVERY
@pytest.mark.parametrize("happened", [False, True], ids=["fails", "fails but happened"])
async def test_where_the_book_fails_nothing_is_sent_and_nothing_is_answered(step: Step, happened: bool) -> None:
    play = arranged(step)
    play.ledger.fails_on = lambda draft: draft.event == step.event
    play.ledger.happened = happened
    received: list[bytes] = []
    with contextlib.suppress(Exception):  # the shell cuts a stream that raises
        answer = await asked(play, step, received)
        assert isinstance(answer, Reply), "a stream that could not be recorded must not look whole"
        assert answer.status == (502 if step.sent else 503) and b'"ledger_unavailable"' in received.pop()
    assert nothing_left(received, step)
    assert len(play.sent) == step.sent
    assert play.world.running == {}
    assert [bug for bug in play.bugs if bug is not None] == []


@EVERY
async def test_while_the_book_is_slow_nothing_is_sent_and_nothing_is_answered(step: Step) -> None:
    play, durable = arranged(step), asyncio.Event()
    play.ledger.holds_on = lambda draft: durable if draft.event == step.event else None
    received: list[bytes] = []
    asking = asyncio.ensure_future(asked(play, step, received))
    await held(play)
    assert not asking.done()
    assert len(play.sent) == step.sent and nothing_left(received, step)
    durable.set()
    async with asyncio.timeout(10):
        await asking
    assert b"".join(received) != step.left or step.body in (INITIALIZED, b"") or step.event == "message.client"
    assert any(draft.event == step.event for draft in play.drafts)


@EVERY
async def test_what_is_cut_off_while_it_is_recorded_neither_goes_nor_comes(step: Step) -> None:
    play, durable = arranged(step), asyncio.Event()
    play.ledger.holds_on = lambda draft: durable if draft.event == step.event else None
    received: list[bytes] = []
    asking = asyncio.ensure_future(asked(play, step, received))
    await held(play)
    asking.cancel()
    await asyncio.sleep(0)
    durable.set()
    await asyncio.gather(asking, return_exceptions=True)
    assert len(play.sent) == step.sent and nothing_left(received, step)
    assert play.world.running == {}


async def held(play: Play) -> None:
    """A record waits, and everything else has come to rest."""
    async with asyncio.timeout(10):
        while not play.ledger.held:
            await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)


# The server's side of the table

QUESTIONS = {
    "legacy call": (CALL, (), "POST", RESULT),
    "modern call": (modern_call(id="42"), MODERN_HEADERS, "POST", RESULT.replace(b'"a/1"', b"1")),
    "notification": (INITIALIZED, (), "POST", b""),
    "GET": (b"", (), "GET", b""),
    "DELETE": (b"", (), "DELETE", b""),
}
ENDS = {"POST": ("call.result", "message.client"), "GET": ("stream.close",), "DELETE": ("message.client",)}
ASKED = pytest.mark.parametrize(("body", "headers", "method", "result"), QUESTIONS.values(), ids=QUESTIONS)


@ASKED
@pytest.mark.parametrize("sent", [False, True], ids=["fails", "fails but happened"])
@pytest.mark.parametrize(
    "reason", [Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_TIMEOUT, Reason.UPSTREAM_BROKEN, Reason.UPSTREAM_REDIRECT]
)
async def test_a_send_that_fails_is_recorded_once_and_never_repeated(
    reason: Reason, sent: bool, body: bytes, headers: Headers, method: str, result: bytes
) -> None:
    play = Play()
    play.fails(reason, sent=sent)
    answer = await play.ask(body, headers=headers, method=method)
    assert isinstance(answer, Reply) and answer.status in (502, 504)
    assert len(play.sent) == 1 and len(play.drafts) == 2
    assert (play.drafts[-1].ok, play.drafts[-1].reason) == (False, reason)
    assert play.drafts[-1].event in ENDS[method]


@ASKED
async def test_a_server_that_is_slow_is_waited_for(body: bytes, headers: Headers, method: str, result: bytes) -> None:
    play = Play()
    play.upstreams.hold = asyncio.Event()
    play.answers(result, status=200 if result else 202)
    asking = asyncio.ensure_future(play.ask(body, headers=headers, method=method))
    async with asyncio.timeout(10):
        while not play.sent:
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asking.done() and len(play.drafts) == 1
    play.upstreams.hold.set()
    answer = await asking
    assert answer.status in (200, 202) and await whole(answer) == result


@ASKED
@pytest.mark.parametrize("kind", [b"application/json", STREAM])
async def test_a_server_that_breaks_off_in_the_middle_is_recorded_once(
    kind: bytes, body: bytes, headers: Headers, method: str, result: bytes
) -> None:
    play = Play()
    play.answers(b"data: {", UpstreamError(Reason.UPSTREAM_BROKEN, "cut", sent=True), content_type=kind)
    answer = await play.ask(body, headers=headers, method=method)
    seen = await whole(answer)
    if isinstance(answer, EventStream):
        await answer.events.aclose()  # type: ignore[attr-defined]
    assert SAID not in seen
    ends = [draft for draft in play.drafts if draft.event in ENDS[method] and not draft.ok]
    assert [draft.reason for draft in ends] == [Reason.UPSTREAM_BROKEN]
    assert play.events.count("upstream closed") == 1


@ASKED
async def test_an_exchange_that_is_cut_off_while_it_waits_leaves_no_place_taken(
    body: bytes, headers: Headers, method: str, result: bytes
) -> None:
    play = Play()
    play.upstreams.hold = asyncio.Event()
    play.answers(result)
    asking = asyncio.ensure_future(play.ask(body, headers=headers, method=method))
    async with asyncio.timeout(10):
        while not play.sent:
            await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert play.world.running == {} and len(play.drafts) == 1


# Credentials that cannot be had


@ASKED
async def test_without_its_credential_nothing_is_sent(
    body: bytes, headers: Headers, method: str, result: bytes
) -> None:
    play = Play()

    class NoSecret:
        def resolve(self, reference: object) -> object:
            raise UpstreamError(Reason.CREDENTIAL_UNAVAILABLE, "the file /run/secrets/payments is gone", sent=False)

    play.world.credentials = NoSecret()  # type: ignore[assignment]
    answer = await play.ask(body, headers=headers, method=method)
    assert isinstance(answer, Reply) and answer.status == 503
    assert play.sent == [] and b"/run/secrets" not in answer.body
    assert (play.drafts[-1].ok, play.drafts[-1].reason) == (False, Reason.CREDENTIAL_UNAVAILABLE)
