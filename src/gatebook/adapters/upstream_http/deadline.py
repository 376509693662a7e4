"""How long to wait, at next to no cost."""

import asyncio
from collections.abc import Callable


class Deadline:
    """A deadline that moves with every request and costs a timer only now and then: a timer that fires early is set anew."""

    def __init__(self, passed: Callable[[], None]) -> None:
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self.at: float | None = None
        """When it is, by the loop's clock; None where nothing is waited for."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, seconds: float) -> None:
        self.at = at = self._loop.time() + seconds
        if self._timer is None or at < self._timer_at:
            self._arm(at)

    def stop(self) -> None:
        self.at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self.at is None:
            return
        if self._loop.time() >= self.at:
            self.at = None
            self._passed()
        else:
            self._arm(self.at)
