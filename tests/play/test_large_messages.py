"""Messages above 64 KB: judged in turns, and refused where too many wait."""

import asyncio
import json

import msgspec

from gatebook.gate.exchange import exchange
from gatebook.gate.turns import Turns
from gatebook.model.deployment import Limits
from gatebook.model.http import Reply
from tests.threads import ByHand
from tests.world import Play

TEXT = "x" * 100_000


def call(**arguments: object) -> bytes:
    params = {"name": "get_order", "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


def result(text: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}}).encode()


def reason(answer: Reply) -> str:
    return str(json.loads(answer.body)["error"]["data"]["reason"])


async def test_a_large_request_beyond_what_may_wait_is_refused_and_recorded_and_nothing_is_sent() -> None:
    play = Play(limits=Limits(buffered_bytes=50_000))
    answer = await play.ask(call(text=TEXT))
    assert isinstance(answer, Reply) and (answer.status, reason(answer)) == (503, "overloaded")
    assert play.events == ["call.refused"]


async def test_a_large_answer_beyond_what_may_wait_is_withheld_and_recorded() -> None:
    play = Play(limits=Limits(buffered_bytes=50_000))
    play.answers(result(TEXT))
    answer = await play.ask(call(id="A-1"))
    assert isinstance(answer, Reply) and (answer.status, reason(answer)) == (502, "inspection_failed")
    assert json.loads(answer.body)["error"]["data"]["acted"] == "unknown"
    assert [(draft.event, draft.reason) for draft in play.drafts][-1] == ("call.result", "inspection_failed")


async def test_a_large_event_beyond_what_may_wait_ends_its_stream_with_an_error_and_a_record() -> None:
    play = Play(limits=Limits(buffered_bytes=50_000))
    play.answers(b"data: " + result(TEXT) + b"\n\n", content_type=b"text/event-stream")
    answer = await play.ask(call(id="A-1"))
    events = b"".join([piece async for piece in answer.events])  # type: ignore[union-attr]
    assert b"inspection_failed" in events and TEXT.encode() not in events
    assert [(draft.event, draft.reason) for draft in play.drafts][-1] == ("call.result", "inspection_failed")


async def test_large_answers_of_one_server_do_not_delay_those_of_another() -> None:
    threads = ByHand()
    play = Play()
    play.world.turns = Turns(threads)
    [payments] = play.standing.snapshot.deployment.servers
    orders = msgspec.structs.replace(payments, name="orders")
    [role] = play.standing.snapshot.deployment.roles
    allow = (*role.allow, msgspec.structs.replace(role.allow[0], server="orders"))
    play.standing = play.standing_of(
        msgspec.structs.replace(
            play.standing.snapshot.deployment,
            servers=(payments, orders),
            roles=(msgspec.structs.replace(role, allow=allow),),
        )
    )

    async def asked(server: str) -> "asyncio.Task[object]":
        play.answers(result(TEXT))
        arrival = msgspec.structs.replace(play.arrival(call(id="A-1")), target=f"/{server}/mcp".encode())
        asking = asyncio.ensure_future(exchange(arrival, play.gone, play.world))
        for _ in range(30):
            await asyncio.sleep(0)
        return asking

    slow = [await asked("payments") for _ in range(5)]
    other = await asked("orders")
    assert len(threads.started) == 2
    while not other.done():
        # The slow server's first answer is still being looked at; only the other's pieces end.
        await threads.end(1)
    answer = await other
    assert isinstance(answer, Reply) and answer.status == 200 and TEXT.encode() in answer.body
    assert not any(each.done() for each in slow)
    while threads.started:
        await threads.end()
    assert [(await each).status for each in slow] == [200] * 5  # type: ignore[attr-defined]
