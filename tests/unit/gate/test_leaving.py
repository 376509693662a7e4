"""What a client's hang-up does to the step that asked to be cancelled, and to nobody else."""

import asyncio

import pytest

from gatebook.gate.leaving import Gone
from gatebook.gate.refusal import Refused
from gatebook.model.errors import Reason
from tests.faults.http_ends import on_both_loops


@on_both_loops
async def test_whoever_waits_for_it_is_told_once_the_client_is_gone() -> None:
    gone = Gone()
    waiting = [asyncio.ensure_future(gone.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not gone.is_set()
    gone.set()
    gone.set()
    await asyncio.gather(*waiting, gone.wait())
    assert gone.is_set()


@on_both_loops
async def test_the_step_that_asked_is_cancelled_and_the_task_goes_on() -> None:
    gone = Gone()

    async def way() -> str:
        with pytest.raises(Refused) as caught:
            await gone.cancels(asyncio.sleep(60))
        assert caught.value.reason is Reason.CANCELLED
        await asyncio.sleep(0)
        return "recorded"

    walking = asyncio.ensure_future(way())
    await asyncio.sleep(0)
    gone.set()
    assert await walking == "recorded"


@on_both_loops
async def test_a_step_is_not_begun_when_the_client_is_gone_already() -> None:
    gone, begun = Gone(), False

    async def step() -> None:
        nonlocal begun
        begun = True

    gone.set()
    with pytest.raises(Refused):
        await gone.cancels(step())
    assert not begun


@on_both_loops
async def test_somebody_elses_cancellation_is_not_taken_for_a_hang_up() -> None:
    gone = Gone()
    walking = asyncio.ensure_future(gone.cancels(asyncio.sleep(60)))
    await asyncio.sleep(0)
    walking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walking


@on_both_loops
async def test_the_task_that_was_named_is_the_one_that_is_cancelled() -> None:
    gone = Gone()

    async def way() -> str:
        with pytest.raises(Refused):
            await gone.cancels(asyncio.sleep(60))
        return "recorded"

    walking = gone.task = asyncio.ensure_future(way())
    await asyncio.sleep(0)
    gone.set()
    assert await walking == "recorded"
    assert walking.cancelling() == 0
