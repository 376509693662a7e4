"""How long a process that starts is waited for: while it gets on, however slowly, a machine that is short of processors must not cost it its life."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")
QUIET_S: Final = 30.0
"""Who got on by less than ENOUGH_S of processor time in so long hangs."""
ENOUGH_S: Final = 0.02
MOST_S: Final = 600.0
"""Whoever is not ready by then is given up in any case: it turns in circles."""


def processor_s(pid: int) -> float:
    """The processor time that this process has had; 0.0 where there is none of that id. Asks the kernel and not /proc, which may hide other users'."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), which Python has for threads only
    except OSError:
        return 0.0


def family_processor_s(pid: int) -> float:
    """As `processor_s`, of the process and of all that it started and are there. Only where this user's processes can be seen in /proc."""
    parents: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # The name, in brackets, may hold anything; the state and the parent come after it.
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it has just ended
    family, more = {pid}, {pid}
    while more := {child for child, parent in parents.items() if parent in more} - family:
        family |= more
    return sum(map(processor_s, family))


async def patiently(
    work: Coroutine[Any, Any, T],
    had_s: Callable[[], float],
    tell: Callable[[float], None],
    *,
    quiet_s: float = QUIET_S,
    least_s: float = 0.0,
) -> T:
    """What `work` comes to. `had_s()`: the processor time of those it waits for; `tell(seconds)`: it waits for so long, and goes on, since they got
    on. Raises TimeoutError once `least_s` have passed and in the last `quiet_s` they hardly got on, or after MOST_S."""
    loop = asyncio.get_running_loop()
    task, began, before = asyncio.ensure_future(work), loop.time(), had_s()
    try:
        while True:
            done, _ = await asyncio.wait((task,), timeout=quiet_s)
            if done:
                return task.result()
            waited_s, now = loop.time() - began, had_s()
            if waited_s >= MOST_S or (waited_s >= least_s and abs(now - before) < ENOUGH_S):
                raise TimeoutError
            before = now  # less than before: one of several has ended, which is getting on, too
            tell(waited_s)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
