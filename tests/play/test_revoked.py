"""A login of our own authorization server that was revoked: refused at its next call, and its open streams end."""

import asyncio

from gatebook.gate.exchange import exchange
from gatebook.model.deployment import Trust
from gatebook.model.errors import Reason
from gatebook.model.http import EventStream, Reply
from tests.world import Play

SID = "5" * 32
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_order","arguments":{}}}'
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'


def desk_play() -> Play:
    play = Play()
    play.tokens.sids["alice"] = SID
    return play


async def test_a_revoked_login_is_refused_and_another_of_the_same_person_is_not() -> None:
    play = desk_play()
    play.tokens.sids["bob"] = "6" * 32
    play.trust = Trust(number=2, revoked=frozenset({SID}))
    refused = await play.ask(CALL)
    assert isinstance(refused, Reply) and refused.status == 401
    assert "sent" not in play.events
    play.answers(RESULT)
    passed = await play.ask(CALL, token="bob")
    assert isinstance(passed, Reply) and passed.status == 200


async def test_a_head_that_was_known_is_refused_all_the_same() -> None:
    """The connection remembers who stands behind its head; that must not outlive a revocation."""
    play = desk_play()
    said: dict[str, object] = {}
    for trust, status in ((Trust(number=1), 200), (Trust(number=2, revoked=frozenset({SID})), 401)):
        play.trust = trust
        play.answers(RESULT)
        arrival = play.arrival(CALL)
        arrival.said.update(said)
        answer = await exchange(arrival, play.gone, play.world)
        said = dict(arrival.said)
        assert isinstance(answer, Reply) and answer.status == status


async def test_while_nobody_knows_what_was_revoked_nothing_of_the_desk_passes() -> None:
    play = desk_play()
    play.trust = None
    refused = await play.ask(CALL)
    assert isinstance(refused, Reply) and refused.status == 503
    play.answers(RESULT)
    passed = await play.ask(CALL, token="bob")
    assert isinstance(passed, Reply) and passed.status == 200, "bob's token is of another issuer"


async def test_an_open_stream_of_a_revoked_login_ends_with_its_record_and_an_answer() -> None:
    play = desk_play()
    never = asyncio.Event()
    progress = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
    play.answers(progress, never, content_type=b"text/event-stream")
    stream = await play.ask(CALL)
    assert isinstance(stream, EventStream)
    assert await anext(stream.events) == progress
    [live] = play.world.live[SID]
    waiting = asyncio.ensure_future(anext(stream.events))
    await asyncio.sleep(0)
    await live.cut(Reason.LOGIN_REVOKED)
    last = await asyncio.wait_for(waiting, 1)
    assert b'"reason":"login_revoked"' in last
    assert play.world.live == {}
    assert [draft.reason for draft in play.drafts if draft.event == "call.result"] == ["login_revoked"]
