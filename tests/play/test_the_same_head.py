"""What is remembered of a request's head must not outlive what it was worked out from."""

import msgspec

from gatebook.gate.exchange import exchange
from gatebook.model.http import Arrival, Reply
from tests.play.test_one_call import CALL, RESULT
from tests.world import Play, deployment


async def status(play: Play, arrival: Arrival) -> int:
    answer = await exchange(arrival, play.gone, play.world)
    assert isinstance(answer, Reply)
    return answer.status


async def test_another_address_with_the_same_head_is_recorded_as_itself():
    play = Play()
    first = play.arrival(CALL)
    for arrival in (first, msgspec.structs.replace(first, client_ip="192.0.2.8")):
        play.answers(RESULT)
        assert await status(play, arrival) == 200
    assert [draft.origin.ip for draft in play.drafts if draft.event == "call.intent"] == ["192.0.2.7", "192.0.2.8"]


async def test_a_token_is_judged_again_when_its_time_is_over_whatever_was_found_before():
    play = Play()
    arrival = play.arrival(CALL)
    play.answers(RESULT)
    assert await status(play, arrival) == 200
    play.tokens.refused.add("alice")
    play.clock.unix_us += 400_000_000
    assert await status(play, arrival) == 401


async def test_a_new_snapshot_judges_every_token_and_every_grant_anew():
    play = Play()
    arrival = play.arrival(CALL)
    play.answers(RESULT)
    assert await status(play, arrival) == 200
    play.standing = play.standing_of(deployment(roles=()))
    assert b"denied" in (await exchange(arrival, play.gone, play.world)).body  # type: ignore[union-attr]
    play.tokens.refused.add("alice")
    play.standing = play.standing_of(deployment())
    assert await status(play, arrival) == 401
    assert len(play.sent) == 1
