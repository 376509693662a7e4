"""How a room that works behind the scenes lets others on its core go first."""

import time
from collections.abc import Callable
from typing import Final

STRETCH_S: Final = 0.00025
PAUSE_S: Final = 0.00002
"""Asked for; with a timer's slack it is some 0.1 ms. Only that others get the core matters."""
WRITTEN_BYTES: Final = 256 << 10
WRITTEN_PAUSE_S: Final = 0.0005


class GiveWay:
    """Called between the steps of long work: after a stretch of it there is a pause. A system that does not interrupt programs lets one run to the
    next tick of its clock, 4 ms later, and whoever a call needs on this core waits as long. Not `sched_yield`: who yields so often gets half
    of its share beside a program that never waits; who pauses keeps nearly all of it (docs/performance.md, Linux 6.18).

    While `behind`, there is none: on a machine without a free core, work that gives way might never be done."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.behind = True
        self._clock, self._sleep = clock, sleep
        self._since = clock()
        self._written_bytes = 0

    def __call__(self) -> None:
        if self.behind or self._clock() - self._since < STRETCH_S:
            return
        self._sleep(PAUSE_S)
        self._since = self._clock()

    def written(self, count: int) -> None:
        """Called when `count` bytes more are on their way to the disk. Whoever syncs a file next waits for all that the disk has got by then: the
        megabytes of a second in one go are milliseconds for every call of that moment."""
        self._written_bytes += count
        if self._written_bytes < WRITTEN_BYTES:
            return
        self._written_bytes = 0
        if not self.behind:
            self._sleep(WRITTEN_PAUSE_S)
            self._since = self._clock()
