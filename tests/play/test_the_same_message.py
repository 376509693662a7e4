"""A call like the one before, with another id and other arguments, is read the short way: nothing but the cost may differ."""

from typing import Any

import msgspec
import pytest

from gatebook.gate import asking
from gatebook.gate.exchange import exchange
from gatebook.gate.world import OFF_LOOP_BYTES
from gatebook.model.http import Arrival, Reply
from gatebook.model.record import Draft
from gatebook.wire import template
from tests.play.test_one_call import MODERN_HEADERS, PAN, modern_call
from tests.world import Play, deployment

LEGACY = '{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"%s","arguments":%s}}'
RESULT = b'{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}'


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each message that a template was held against, whether it was read by it."""
    held: list[bool] = []

    def spy(known: template.Template, body: bytes) -> Any:
        found = template.filled(known, body)
        held.append(found is not None)
        return found

    monkeypatch.setattr(asking, "filled", spy)
    return held


async def ask(play: Play, arrival: Arrival, body: bytes, identity: bytes = b"1") -> Reply:
    play.answers(RESULT % identity)
    answer = await exchange(msgspec.structs.replace(arrival, body=body), play.gone, play.world)
    assert isinstance(answer, Reply)
    return answer


def told(draft: Draft) -> dict[str, Any]:
    """What a draft says, but for the call's own id."""
    return {**msgspec.structs.asdict(draft), "call": None}


@pytest.mark.parametrize("modern", [True, False])
async def test_what_is_recorded_and_sent_is_the_same_as_of_a_first_message(modern: bool, taken: list[bool]):
    bodies = [
        modern_call(order=42, note="a", lines=[1], deep={"a": None}) if modern
        else (LEGACY % (identity, "get_order", arguments)).encode()
        for identity, arguments in (("1", '{"a":1}'), ("1", "{}"), ("1", '{"b":"\\u00e9","c":[1.5,true]}'), ("1", '{"a":{"a":2}}'))
    ]  # fmt: skip
    if modern:
        bodies[2] = modern_call(other="é", n=1.5)
    headers = MODERN_HEADERS if modern else ()
    same, fresh = Play(), Play()
    known = same.arrival(bodies[0], headers=headers)
    for body in bodies:
        one = await ask(same, known, body)
        other = await ask(fresh, fresh.arrival(body, headers=headers), body)
        assert (one.status, one.body) == (other.status, other.body)
    assert taken == [True, True]  # the third and the fourth: a head that comes but once is not worth a template
    assert [told(draft) for draft in same.drafts] == [told(draft) for draft in fresh.drafts]
    assert [request.body for request in same.sent] == [request.body for request in fresh.sent] == bodies


async def known_head(play: Play, *, times: int = 3) -> Arrival:
    arrival = play.arrival(modern_call(note="a"), headers=MODERN_HEADERS)
    for _ in range(times):
        assert (await ask(play, arrival, modern_call(note="a"))).status == 200
    return arrival


async def test_a_card_number_is_found_and_refused_as_ever(taken: list[bool]):
    play = Play()
    arrival = await known_head(play)
    sent = len(play.sent)
    answer = await ask(play, arrival, modern_call(note=PAN))
    assert b"card_number" in answer.body and PAN.encode() not in answer.body
    assert len(play.sent) == sent
    assert play.drafts[-1].event == "call.refused" and play.drafts[-1].findings
    assert taken[-1]  # it was read, and then looked at once more


async def test_another_tool_under_the_same_head_is_no_match_for_the_template(taken: list[bool]):
    play = Play()
    arrival = await known_head(play)
    answer = await ask(play, arrival, modern_call(note="a").replace(b'"get_order"', b'"refund"'))
    assert answer.status == 400 and b"mcp-name" in answer.body
    assert not taken[-1]


async def test_legacy_calls_of_several_tools_have_a_template_each(taken: list[bool]):
    play = Play()
    arrival = play.arrival(b"")
    for tool in ("get_order", "list_orders") * 3:
        await ask(play, arrival, (LEGACY % (1, tool, "{}")).encode())
    assert len(arrival.said["seen"]) == 2  # type: ignore[arg-type]
    assert [draft.resource.name for draft in play.drafts if draft.event == "call.intent"] == [
        "get_order",
        "list_orders",
    ] * 3


async def test_no_more_templates_are_kept_than_are_worth_it():
    play = Play()
    arrival = play.arrival(b"")
    for number in range(2 * asking.TEMPLATES_KEPT):
        await ask(play, arrival, (LEGACY % (1, f"list_{number}", "{}")).encode())
    assert len(arrival.said["seen"]) == asking.TEMPLATES_KEPT  # type: ignore[arg-type]


async def test_a_new_snapshot_judges_the_same_message_anew(taken: list[bool]):
    play = Play()
    arrival = await known_head(play)
    play.standing = play.standing_of(deployment(roles=()))
    held = len(taken)
    assert b"denied" in (await ask(play, arrival, modern_call(note="a"))).body
    assert len(taken) == held  # what was worked out for the server of before counts no more


async def test_a_large_message_is_read_in_a_thread_as_ever(taken: list[bool]):
    play = Play()
    arrival = await known_head(play)
    held = len(taken)
    large = modern_call(note="a" * (OFF_LOOP_BYTES + 1))
    assert (await ask(play, arrival, large)).status == 200
    assert len(taken) == held
