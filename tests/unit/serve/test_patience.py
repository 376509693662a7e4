"""Who starts is waited for while it gets on, and no longer."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from gatebook.model.errors import ConfigurationError
from gatebook.serve import patience
from gatebook.serve.patience import family_processor_s, patiently, processor_s
from gatebook.serve.rooms import spawn

QUIET_S = 0.02


async def never() -> str:
    await asyncio.Event().wait()
    return "never"


def each_time(*values: float) -> Callable[[], float]:
    remaining = list(values)
    return lambda: remaining.pop(0) if len(remaining) > 1 else remaining[0]


async def test_who_gets_on_is_waited_for_and_that_is_told() -> None:
    told: list[float] = []
    done = asyncio.Event()

    def tell(waited_s: float) -> None:
        told.append(waited_s)
        if len(told) == 3:
            done.set()

    async def work() -> str:
        await done.wait()
        return "ready"

    assert await patiently(work(), each_time(0, 1, 2, 3, 4), tell, quiet_s=QUIET_S) == "ready"
    assert told == sorted(told) and len(told) == 3


async def test_who_gets_on_no_more_is_given_up() -> None:
    told: list[float] = []
    with pytest.raises(TimeoutError):
        await patiently(never(), each_time(0, 1, 1), told.append, quiet_s=QUIET_S)
    assert len(told) == 1, "once it did"


async def test_nobody_is_given_up_before_the_least_time() -> None:
    told: list[float] = []
    with pytest.raises(TimeoutError):
        await patiently(never(), each_time(0), told.append, quiet_s=QUIET_S, least_s=5 * QUIET_S)
    assert len(told) >= 3


async def test_one_of_several_that_ended_is_no_standstill() -> None:
    told: list[float] = []
    with pytest.raises(TimeoutError):
        await patiently(never(), each_time(5, 2, 2), told.append, quiet_s=QUIET_S)
    assert len(told) == 1


async def test_who_turns_in_circles_is_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MOST_S", 4 * QUIET_S)
    with pytest.raises(TimeoutError):
        await patiently(never(), each_time(*range(10_000)), lambda _: None, quiet_s=QUIET_S)


async def test_what_the_work_raises_comes_out() -> None:
    async def fails() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await patiently(fails(), each_time(0), lambda _: None, quiet_s=QUIET_S)


def test_the_processor_time_of_another_process_and_of_its_children_is_known() -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()  # the child has turned, and waits
        assert 0 < processor_s(process.pid) < family_processor_s(process.pid)
        assert family_processor_s(process.pid) >= 0.3
        process.stdin.close()
    assert processor_s(process.pid) == 0.0, "it is gone"
    assert processor_s(os.getpid()) > 0


async def test_a_room_that_hangs_is_given_up_and_nothing_of_it_is_left() -> None:
    room = await spawn("gate-0")
    os.kill(room.process.pid, signal.SIGSTOP)
    room.listen(lambda _room, _message: None)
    with pytest.raises(ConfigurationError, match=r"gate-0 did not start: it got on no more for 0\.2 s"):
        await room.started(0.2)
    assert not room.alive
