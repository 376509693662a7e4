"""How long to wait, at next to no cost."""

import asyncio
from collections.abc import Callable

_NEVER = float("inf")


class Deadline:
    """A deadline that moves with every request and costs a timer only now and then: a timer that fires early is set anew.

    The way of every request does without the call of `set`: it puts `at`, and arms the timer where that would fire later."""

    def __init__(self, passed: Callable[[], None]) -> None:
        self._passed = passed
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.at: float | None = None
        """When it is, by the loop's clock; None where nothing is waited for."""
        self._timer: asyncio.TimerHandle | None = None
        self.timer_at = _NEVER
        """When the timer fires. Whoever puts `at` earlier must `arm` it."""

    def set(self, seconds: float) -> None:
        """It is in so many seconds."""
        self.at = at = self.now() + seconds
        if at < self.timer_at:
            self.arm(at)

    def stop(self) -> None:
        self.at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self.timer_at = None, _NEVER

    def arm(self, at: float) -> None:
        """The timer fires at `at` at the latest."""
        if self._timer is not None:
            self._timer.cancel()
        self.timer_at = at
        self._timer = self.loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer, self.timer_at = None, _NEVER
        if self.at is None:
            return
        if self.now() >= self.at:
            self.at = None
            self._passed()
        else:
            self.arm(self.at)
