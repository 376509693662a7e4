"""[18]-[21] [24] The keeper of all issuers' keys, through rotations, outages, floods and poison."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gatebook.adapters.keys_file import KeyFiles
from gatebook.adapters.keys_oidc import RENEW_S, KeyKeeper, OidcKeys
from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import MAX_STALE_S, MIN_INTERVAL_S, TTL_S, acceptable_key_set
from gatebook.model import deployment
from gatebook.model.deployment import KeySet
from tests import issuing
from tests.faults.key_server import hang, key_server, response
from tests.issuing import NOW_S, Issuer

PATIENCE_S = 60.0
"""Real seconds that a test waits at most for what must happen; nothing waits for as long when it works."""


class World:
    """One keeper with a clock that stands still until it is moved, and sources that say what the test puts there."""

    def __init__(self, *issuers: Issuer, known: dict[str, KeySet] | None = None) -> None:
        self.now_s = float(NOW_S)
        self.says: dict[str, object] = {issuer.name: json.dumps(issuer.jwks()).encode() for issuer in issuers}
        self.fetches: list[str] = []
        self.published: list[dict[str, KeySet]] = []
        self._happened = asyncio.Event()
        self.keeper = KeyKeeper(
            tuple(issuer.model for issuer in issuers),
            lambda issuer: self,
            self._publish,
            now_s=lambda: self.now_s,
            known=known,
            poll_s=0.005,
        )

    async def fetch(self, issuer: deployment.Issuer) -> bytes:
        self.fetches.append(issuer.name)
        self._happened.set()
        said = self.says[issuer.name]
        if isinstance(said, asyncio.Event):
            await said.wait()
            said = self.says[issuer.name]
        if isinstance(said, Exception):
            raise said
        assert isinstance(said, bytes)
        return said

    def mark(self, issuer: deployment.Issuer) -> object:
        return None

    def _publish(self, key_sets: dict[str, KeySet]) -> None:
        self.published.append(key_sets)
        self._happened.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._happened.clear()
                await self._happened.wait()

    async def fetched_again(self, name: str = "corp") -> None:
        """The next fetch of `name` has begun, ended, and been judged."""
        before = self.fetches.count(name)
        await self.until(lambda: self.fetches.count(name) > before)
        await self.settle()

    async def settle(self) -> None:
        """The keeper has looked at clock and events a few times more."""
        for _ in range(4):
            await asyncio.sleep(0.006)


@asynccontextmanager
async def running(keeper: KeyKeeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_keys_of_all_issuers_are_published_at_start() -> None:
    world = World(Issuer(), Issuer("https://ci.example", name="ci"))
    async with running(world.keeper):
        await world.keeper.answered()
        await world.until(lambda: bool(world.published) and world.published[-1].keys() == {"corp", "ci"})
    assert world.published[-1]["corp"] == KeySet(
        jwks=acceptable_key_set(json.dumps(Issuer().jwks()).encode()), fetched_at=NOW_S
    )


async def test_one_issuer_that_hangs_delays_no_other() -> None:
    world = World(Issuer(), Issuer("https://ci.example", name="ci"))
    world.says["ci"] = asyncio.Event()
    async with running(world.keeper):
        await world.until(lambda: bool(world.published) and world.published[-1].keys() == {"corp"})


async def test_nothing_is_published_while_nothing_is_known_and_nothing_at_all_once_all_have_failed() -> None:
    world = World(Issuer(), Issuer("https://ci.example", name="ci"))
    waiting = asyncio.Event()
    world.says |= {"corp": KeySetRefused("down"), "ci": waiting}
    async with running(world.keeper):
        await world.until(lambda: len(world.fetches) == 2)
        await world.settle()
        assert world.published == []
        world.says["ci"] = KeySetRefused("down too")
        waiting.set()
        await world.until(lambda: bool(world.published))
    assert world.published == [{}]
    assert world.keeper.problems() == {"corp": "down", "ci": "down too"}


async def test_without_issuers_there_is_nothing_to_wait_for() -> None:
    world = World()
    async with running(world.keeper):
        await world.keeper.answered()
        await world.until(lambda: world.published == [{}])


async def test_equal_keys_are_fetched_and_not_published_again() -> None:
    world = World(Issuer())
    async with running(world.keeper):
        await world.until(lambda: len(world.published) == 1)
        world.now_s += TTL_S
        await world.fetched_again()
    assert len(world.published) == 1


async def test_unchanged_keys_are_published_again_before_the_workers_find_them_too_old() -> None:
    world = World(Issuer())
    async with running(world.keeper):
        await world.until(lambda: len(world.published) == 1)
        world.now_s += RENEW_S
        await world.until(lambda: len(world.published) == 2)
    assert world.published[1]["corp"].fetched_at == NOW_S + RENEW_S
    assert RENEW_S < MAX_STALE_S


async def test_a_rotated_key_is_published_when_a_token_names_it() -> None:
    issuer = Issuer()
    world = World(issuer)
    async with running(world.keeper):
        await world.until(lambda: len(world.published) == 1)
        issuer.rotate()
        world.says["corp"] = json.dumps(issuer.jwks()).encode()
        world.now_s += MIN_INTERVAL_S
        world.keeper.unknown_kid("corp")
        await world.until(lambda: len(world.published) == 2)
    assert "corp-1" in world.published[1]["corp"].jwks


async def test_a_flood_of_unknown_keys_is_one_fetch_and_takes_no_key_away() -> None:
    world = World(Issuer())
    async with running(world.keeper):
        await world.until(lambda: len(world.published) == 1)
        for _ in range(10_000):
            world.keeper.unknown_kid("corp")
            world.keeper.unknown_kid("nobody's")
        await world.settle()
        assert world.fetches == ["corp"]
        world.now_s += MIN_INTERVAL_S
        await world.fetched_again()
        for _ in range(10_000):
            world.keeper.unknown_kid("corp")
        await world.settle()
    assert world.fetches == ["corp", "corp"]
    assert len(world.published) == 1


async def test_who_asks_again_waits_for_the_fetch_and_no_longer() -> None:
    issuer = Issuer()
    world = World(issuer)
    async with running(world.keeper), asyncio.timeout(PATIENCE_S):
        await world.until(lambda: len(world.published) == 1)
        # Too early for another fetch: whatever is asked for, nobody waits.
        for name in ("corp", "nobody's"):
            await world.keeper.asked_again(name)
        assert world.fetches == ["corp"]
        world.now_s += MIN_INTERVAL_S
        await world.fetched_again()  # one was wanted above
        issuer.rotate()
        world.says["corp"] = hanging = asyncio.Event()
        world.now_s += MIN_INTERVAL_S
        waiting = [asyncio.create_task(world.keeper.asked_again("corp")) for _ in range(100)]
        await world.until(lambda: len(world.fetches) == 3)
        await world.settle()
        assert not any(task.done() for task in waiting)
        world.says["corp"] = json.dumps(issuer.jwks()).encode()
        hanging.set()
        await asyncio.gather(*waiting)
        assert "corp-1" in world.published[-1]["corp"].jwks, "what was fetched is published by then"
        # A fetch that brings nothing new, or nothing, ends the waiting as well.
        for said in (world.says["corp"], OSError("unreachable")):
            world.says["corp"] = said
            world.now_s += MIN_INTERVAL_S
            await world.keeper.asked_again("corp")
    assert world.fetches == ["corp"] * 5


@pytest.mark.parametrize(
    "outage", [KeySetRefused("500"), RuntimeError("a bug"), b'{"keys":[]}', b"<html>maintenance</html>"]
)
async def test_an_outage_takes_the_keys_away_after_a_day_and_not_before(outage: object) -> None:
    world = World(Issuer())
    async with running(world.keeper):
        await world.until(lambda: len(world.published) == 1)
        good, world.says["corp"] = world.says["corp"], outage
        for offset_s in (TTL_S, MAX_STALE_S / 2, MAX_STALE_S - 1):
            world.now_s = NOW_S + offset_s
            await world.fetched_again()
            assert len(world.published) == 1
        assert world.keeper.problems().keys() == {"corp"}
        world.now_s = NOW_S + MAX_STALE_S
        await world.until(lambda: world.published[-1] == {})
        world.says["corp"] = good
        world.now_s += MIN_INTERVAL_S
        await world.until(lambda: world.published[-1].keys() == {"corp"})
    assert world.keeper.problems() == {}


async def test_a_poisoned_set_is_gone_with_the_next_fetch() -> None:
    issuer, attacker = Issuer(), Issuer(name="attacker")
    world = World(issuer)
    good, world.says["corp"] = world.says["corp"], json.dumps(attacker.jwks()).encode()
    async with running(world.keeper):
        await world.until(lambda: len(world.published) == 1)
        world.says["corp"] = good
        world.now_s += TTL_S
        await world.until(lambda: len(world.published) == 2)
    assert "attacker" in world.published[0]["corp"].jwks
    assert "attacker" not in world.published[1]["corp"].jwks


async def test_keys_that_survived_a_restart_serve_at_once_and_no_longer_than_they_would_have() -> None:
    known = {"corp": issuing.Issuer().key_set(NOW_S - 1000), "gone": issuing.Issuer().key_set()}
    world = World(Issuer(), known=known)
    world.says["corp"] = KeySetRefused("down")
    async with running(world.keeper):
        await world.until(lambda: world.published == [{"corp": known["corp"]}])
        world.now_s = NOW_S - 1000 + MAX_STALE_S
        await world.until(lambda: world.published[-1] == {})


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file, issuer = tmp_path / "jwks.json", Issuer(jwks_file=str(tmp_path / "jwks.json"))
    file.write_text(json.dumps(issuer.jwks()))
    world, files = World(), KeyFiles()
    published: list[dict[str, KeySet]] = []
    keeper = KeyKeeper((issuer.model,), lambda _: files, published.append, now_s=lambda: world.now_s, poll_s=0.005)
    async with running(keeper), asyncio.timeout(PATIENCE_S):
        await keeper.answered()
        await world.settle()
        issuer.rotate()
        file.write_text(json.dumps(issuer.jwks()))
        # The clock stands still: who changes a file does not wait until others could have asked too often.
        while len(published) < 2:
            await asyncio.sleep(0.005)
    assert "corp-1" in published[-1]["corp"].jwks


class OverTheNetwork:
    """The source that ships, with a deadline that a test sets anew while it runs: only an answer that never comes may meet a short one,
    however busy the machine is."""

    def __init__(self) -> None:
        self.total_s = PATIENCE_S

    async def fetch(self, issuer: deployment.Issuer) -> bytes:
        return await OidcKeys("dev", total_s=self.total_s).fetch(issuer)

    def mark(self, issuer: deployment.Issuer) -> object:
        return None


async def test_over_the_network_good_keys_are_kept_through_every_kind_of_outage() -> None:
    async with key_server() as server:
        server.publish(Issuer().jwks())
        world = World()
        published: list[dict[str, KeySet]] = []
        source = OverTheNetwork()
        keeper = KeyKeeper(
            (server.issuer(),), lambda _: source, published.append, now_s=lambda: world.now_s, poll_s=0.005
        )
        outages: dict[str, Any] = {
            "answered 500": response(b"", "500 Oops"),
            "holds no usable signature key": response(b'{"keys":[]}'),
            "answered 302": response(b"", "302 Found", "Location: /x"),
        }
        async with asyncio.timeout(PATIENCE_S), running(keeper):
            await keeper.answered()
            for problem, outage in outages.items():
                server.answers["/jwks"] = outage
                asked = len(server.asked)
                world.now_s += TTL_S
                while len(server.asked) < asked + 2 or problem not in keeper.problems().get("corp", ""):
                    await asyncio.sleep(0.005)
            server.answers["/jwks"] = hang
            source.total_s = 0.2
            world.now_s += TTL_S
            while "no complete answer within 0.2 s" not in keeper.problems()["corp"]:
                await asyncio.sleep(0.005)
            # While it hangs and has time to, the desk can stop: the timeout around all this is shorter than that time.
            source.total_s = 10 * PATIENCE_S
            asked = len(server.asked)
            world.now_s += TTL_S
            while len(server.asked) < asked + 2:
                await asyncio.sleep(0.005)
        assert [sets.keys() for sets in published] == [{"corp"}]
