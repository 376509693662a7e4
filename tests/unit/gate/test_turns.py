"""Whoever sends large messages waits for itself. No thread and no clock here: the test says which piece of work ends when."""

import asyncio

import pytest

from gatebook.gate.turns import NoRoom, Turns
from tests.threads import ByHand

ENOUGH = 1 << 40
FLOOD, OTHER, THIRD = ("server", "flood"), ("server", "other"), ("server", "third")


class Ground:
    def __init__(self, at_once: int = 2) -> None:
        self.threads = ByHand()
        self.turns = Turns(self.threads, at_once=at_once)

    async def ask(self, sender: tuple[str, ...], *names: str, size: int = 1, most: int = ENOUGH) -> "asyncio.Task[str]":
        """All of these wait when it returns, or run; the last one's task."""
        for name in names:
            task = asyncio.ensure_future(self.turns.take(sender, size, lambda name=name: name, most_bytes=most))
            await asyncio.sleep(0)
        return task

    async def order(self) -> str:
        """The names in the order in which they end, if each ends as soon as it is the oldest."""
        ended = []
        while self.threads.started:
            ended.append(await self.threads.end())
        return " ".join(ended)


async def test_a_sender_has_one_message_judged_at_a_time_however_many_threads_are_free() -> None:
    ground = Ground()
    await ground.ask(FLOOD, "f1", "f2", "f3")
    assert ground.threads.names == ["f1"]
    await ground.threads.end()
    assert ground.threads.names == ["f2"]


async def test_beside_a_server_that_floods_another_is_judged_at_once() -> None:
    ground = Ground()
    await ground.ask(FLOOD, *(f"f{n}" for n in range(100)), size=16 << 20)
    await ground.ask(OTHER, "o1", "o2")
    assert ground.threads.names == ["f0", "o1"]
    await ground.threads.end(1)
    assert ground.threads.names == ["f0", "o2"]


async def test_whoever_comes_when_two_flood_is_next() -> None:
    ground = Ground()
    await ground.ask(FLOOD, "f1", "f2", "f3", size=100)
    await ground.ask(OTHER, "o1", "o2", "o3", size=100)
    await ground.ask(THIRD, "t1")
    await ground.threads.end(0)
    assert ground.threads.names == ["o1", "t1"]


async def test_shares_are_of_bytes_and_not_of_messages() -> None:
    ground = Ground(at_once=1)
    await ground.ask(FLOOD, "F1", "F2", "F3", size=4)
    await ground.ask(OTHER, *(f"o{n}" for n in range(1, 9)), size=1)
    assert await ground.order() == "F1 o1 o2 o3 o4 F2 o5 o6 o7 o8 F3"


async def test_who_was_silent_gets_no_more_than_his_share_for_it() -> None:
    ground = Ground(at_once=1)
    await ground.ask(FLOOD, *(f"f{n}" for n in range(1, 7)))
    for _ in range(3):
        await ground.threads.end()
    await ground.ask(OTHER, "o1", "o2", "o3")
    assert await ground.order() == "f4 o1 f5 o2 f6 o3"


async def test_who_is_ahead_does_not_become_a_newcomer_by_pausing() -> None:
    ground = Ground(at_once=1)
    await ground.ask(FLOOD, "F1", size=4)
    await ground.ask(OTHER, *(f"o{n}" for n in range(1, 7)))
    await ground.threads.end()
    await ground.ask(FLOOD, "F2", size=4)
    assert await ground.order() == "o1 o2 o3 o4 F2 o5 o6"


async def test_beyond_the_bytes_that_may_wait_nothing_is_run_and_room_comes_back() -> None:
    ground = Ground()
    await ground.ask(FLOOD, "f1", "f2", size=40, most=100)
    refused = await ground.ask(OTHER, "o1", size=40, most=100)
    with pytest.raises(NoRoom):
        await refused
    assert (ground.threads.names, ground.turns.waiting_bytes) == (["f1"], 80)
    await ground.threads.end()
    await ground.ask(OTHER, "o2", size=40, most=100)
    assert ground.threads.names == ["f2", "o2"]


async def test_who_is_gone_gives_up_his_turn() -> None:
    ground = Ground()
    await ground.ask(FLOOD, "f1")
    gone = await ground.ask(FLOOD, "f2")
    await ground.ask(FLOOD, "f3")
    gone.cancel()
    assert await ground.order() == "f1 f3"
    assert ground.turns.waiting_bytes == 0


async def test_what_runs_for_one_who_is_gone_ends_unheard() -> None:
    ground = Ground()
    gone = await ground.ask(FLOOD, "f1")
    after = await ground.ask(FLOOD, "f2")
    gone.cancel()
    await ground.threads.end(failure=ValueError("nobody hears this"))
    await ground.threads.end()
    assert await after == "f2"


async def test_what_the_work_raises_is_raised_and_the_next_goes_on() -> None:
    ground = Ground()
    broken = await ground.ask(FLOOD, "f1")
    after = await ground.ask(FLOOD, "f2")
    await ground.threads.end(failure=ValueError("of the work"))
    with pytest.raises(ValueError, match="of the work"):
        await broken
    await ground.threads.end()
    assert await after == "f2"


async def test_nothing_is_remembered_of_those_who_were_served() -> None:
    ground = Ground()
    for number in range(300):
        await ground.ask(("caller", "corp", str(number)), f"c{number}", size=number)
    await ground.order()
    assert (ground.turns.waiting_bytes, ground.turns._judged, ground.turns._queues) == (0, {}, {})
