"""When a process, a session and a server end, and when not: one keeper with real processes, on a loop whose clock a test sets forward."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatebook.serve.runner.endpoint import BrokenOff
from tests.e2e.life.deployed import alive
from tests.e2e.runner.at_socket import IDLE_S, Caller, serving
from tests.e2e.runner.client import message

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
LOOKS_S = 31.0
"""Longer than from one look at who is idle to the next."""


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time goes on by itself, and by what a test adds to it."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


@pytest.fixture
def on_the_clock() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    with asyncio.Runner(loop_factory=Clock) as runner:
        yield runner.run


async def later(seconds: float) -> None:
    """So much later, and everything that is due then has begun."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Clock)
    loop.ahead_s += seconds
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("processes", ["session", "shared"])
def test_a_call_that_is_under_way_is_not_idle_and_its_session_is_as_young_as_its_end(
    on_the_clock: Callable[[Coroutine[Any, Any, None]], None], tmp_path: Path, processes: str
) -> None:
    async def scene() -> None:
        async with serving(tmp_path, processes=processes) as (endpoint, keeper):
            caller = Caller(endpoint)
            assert await caller.initialize() == 200
            pid = await caller.pid()
            held = asyncio.create_task(caller.call("wait", path=str(tmp_path / "done")))
            for _ in range(3):
                await later(IDLE_S)
            assert alive([pid]) and keeper.alive == 1, "it is at work"
            (tmp_path / "done").touch()
            assert (await held)[0] == 200
            await later(LOOKS_S)
            assert await caller.pid() == pid, "the session began to be idle when its call ended"
            await later(LOOKS_S)
            assert await caller.pid() == pid
            await later(IDLE_S)
            await later(LOOKS_S)
            assert (await caller.call("pid"))[0] == 404
            while keeper.alive:
                await later(5.0)
            assert not alive([pid])

    on_the_clock(scene())


@pytest.mark.parametrize("processes", ["session", "shared"])
def test_what_was_being_started_when_its_server_ended_does_not_stay(
    on_the_clock: Callable[[Coroutine[Any, Any, None]], None], tmp_path: Path, processes: str
) -> None:
    async def scene() -> None:
        async with serving(tmp_path, processes=processes) as (endpoint, keeper):
            beginning = asyncio.create_task(Caller(endpoint).post(message("initialize", {}, request=1)))
            while not keeper.starting:
                await asyncio.sleep(0)
            await keeper.end()
            assert (keeper.alive, keeper.starting) == (0, 0)
            assert (await beginning)[0] == 503

    on_the_clock(scene())


def test_what_got_away_and_holds_its_output_open_holds_up_nobody(
    on_the_clock: Callable[[Coroutine[Any, Any, None]], None], tmp_path: Path
) -> None:
    """Without a sandbox a program may leave a process behind that its end does not reach."""

    async def scene() -> None:
        async with serving(tmp_path) as (endpoint, keeper):
            caller = Caller(endpoint)
            assert await caller.initialize() == 200
            far = await caller.number("daemon")
            try:
                with pytest.raises(BrokenOff):
                    await caller.call("die")
                while keeper.alive:
                    await asyncio.sleep(0.01)
                assert alive([far])
            finally:
                os.kill(far, signal.SIGKILL)

    on_the_clock(scene())


def test_nothing_is_asked_of_a_process_that_is_about_to_end_for_being_idle(
    on_the_clock: Callable[[Coroutine[Any, Any, None]], None], tmp_path: Path
) -> None:
    async def scene() -> None:
        loop, seen = asyncio.get_running_loop(), set[int]()
        assert isinstance(loop, Clock)
        async with serving(tmp_path) as (endpoint, keeper):
            # At whichever turn of the loop the call comes, it goes to a process that stays, or to another one.
            for turns in range(8):
                caller = Caller(endpoint)
                assert (await caller.modern_call("pid"))[0] == 200
                loop.ahead_s += IDLE_S + LOOKS_S
                for _ in range(turns):
                    await asyncio.sleep(0)
                done = tmp_path / f"done-{turns}"
                call = asyncio.create_task(caller.modern_call("wait", path=str(done)))
                for _ in range(4):
                    await later(2.0)
                    await asyncio.sleep(0.05)
                done.touch()
                try:
                    seen.add((await call)[0])
                except BrokenOff:
                    pytest.fail(f"after {turns} turns it was written to a process that was being ended")
                while keeper.alive:
                    await later(IDLE_S + LOOKS_S)
                    await asyncio.sleep(0.01)
            assert seen == {200}

    on_the_clock(scene())
