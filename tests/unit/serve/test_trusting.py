"""A revocation on its way: from the store to every worker, in order, and back to whoever asked for it."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gatebook.model.deployment import Trust
from gatebook.serve.activation import DeskSide, Trusting
from gatebook.serve.control import Adopt, InForce, Serve
from gatebook.serve.desk_http.authority import Authority
from gatebook.serve.rooms import Room


class FakeRoom:
    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.told: list[object] = []

    def send(self, message: object) -> None:
        self.told.append(message)


class World:
    def __init__(self) -> None:
        self.desk = FakeRoom("desk")
        self.workers = [FakeRoom("gate-0"), FakeRoom("gate-1")]
        self.side = DeskSide(Path("gatebook.toml"), lambda: cast(Room, self.desk), lambda: (cast(Room, self.desk),))
        self.trusting = Trusting(self.side, lambda: cast(list[Room], self.workers))

    def adopted(self, index: int, number: int) -> None:
        self.trusting.adopted(cast(Room, self.workers[index]), number)

    @property
    def in_force(self) -> list[int]:
        return [message.number for message in self.desk.told if isinstance(message, InForce)]


def trust(number: int, *sids: str) -> Trust:
    return Trust(number=number, revoked=frozenset(sids))


async def test_it_is_in_force_when_every_worker_has_said_so() -> None:
    world = World()
    world.trusting.new(trust(1, "a"))
    assert [worker.told for worker in world.workers] == [[Adopt(trust=trust(1, "a"))]] * 2
    world.adopted(0, 1)
    assert world.in_force == []
    world.adopted(1, 1)
    assert world.in_force == [1]


async def test_a_worker_that_has_ended_is_not_waited_for_and_its_successor_is_told_first() -> None:
    world = World()
    world.trusting.new(trust(1, "a"))
    world.adopted(0, 1)
    world.workers[1].alive = False
    world.trusting.ended(cast(Room, world.workers[1]))
    assert world.in_force == [1]
    world.workers[1] = FakeRoom("gate-1")
    world.trusting.bring_up(cast(Room, world.workers[1]))
    assert world.workers[1].told == [Adopt(trust=trust(1, "a"))]
    world.trusting.new(trust(2, "a", "b"))
    world.adopted(0, 2)
    assert world.in_force == [1], "what its predecessor said does not count for it"
    world.adopted(1, 2)
    assert world.in_force == [1, 2]


async def test_an_older_trust_takes_nothing_back() -> None:
    world = World()
    world.trusting.new(trust(5, "a"))
    world.trusting.new(trust(4))
    assert list(world.workers[0].told) == [Adopt(trust=trust(5, "a"))]


async def test_another_desk_goes_on_from_the_number_in_force() -> None:
    world = World()
    world.trusting.new(trust(7, "a"))
    world.side.keep_keys(cast(Any, SimpleNamespace(issuers=())))
    [serve] = [message for message in world.desk.told if isinstance(message, Serve)]
    assert serve.trust_number == 7


class SlowStore:
    """Answers the first question last, with what was true when it was asked."""

    def __init__(self) -> None:
        self.revoked = ["a"]
        self.asked = 0

    def revoked_since(self, since_s: float) -> frozenset[str]:
        import time

        found = frozenset(self.revoked)
        self.asked += 1
        if self.asked == 1:
            time.sleep(0.1)
        return found


async def test_of_two_revocations_at_once_the_later_reading_is_published_last() -> None:
    published: list[Trust] = []
    authority = Authority(cast(Any, None), cast(Any, None), published.append, cast(Any, None))
    store = SlowStore()
    authority._world = cast(Any, SimpleNamespace(store=store, now_s=lambda: 0.0))
    first = asyncio.ensure_future(authority._publish_trust())
    await asyncio.sleep(0.02)
    store.revoked.append("b")
    await asyncio.gather(first, authority._publish_trust())
    assert published[-1].revoked == {"a", "b"}
    assert [each.number for each in published] == sorted({each.number for each in published})
