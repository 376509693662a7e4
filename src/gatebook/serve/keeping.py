"""Keeping the rooms running: whoever ends is started again, and what must not happen meanwhile is prevented."""

import asyncio
from collections.abc import Awaitable, Callable

from gatebook.model.errors import ConfigurationError
from gatebook.serve.diagnostics import say
from gatebook.serve.rooms import Room

PAUSES_S = (0.1, 0.5, 2.0)
"""The last is short enough that a room that was killed again and again still serves within 5 s; nobody stands in for a runner or a desk."""
SETTLED_S = 60.0


async def keep(name: str, present: Callable[[], Room], start_again: Callable[[], Awaitable[object]]) -> None:
    """Until cancelled: the room is started again when it ends, more slowly while it keeps ending.

    `present`: the room that runs now; `start_again` makes another one so, or raises ConfigurationError or OSError."""
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        await present().process.wait()
        failures = failures + 1 if loop.time() - began < SETTLED_S else 0
        say("room.ended", room=name, status=present().process.returncode)
        await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
        try:
            await start_again()
        except (ConfigurationError, OSError) as failure:
            say("room.unstarted", room=name, why=str(failure))


class Grace:
    """How long calls may go on while nothing is sealed: the book must not run ahead of its proof.

    Counted from the first end of the sealer to the next time that one has signed everything, however often it was started between."""

    def __init__(self, grace_s: float, tell: Callable[[bool], None]) -> None:
        """`tell(True)`: refuse calls from now on; `tell(False)`: no longer."""
        self._grace_s = grace_s
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self.refusing = False

    def sealer_ended(self) -> None:
        if self._timer is None and not self.refusing:
            self._timer = asyncio.get_running_loop().call_later(self._grace_s, self._run_out)

    def sealer_is_back(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.refusing:
            self.refusing = False
            self._tell(False)

    def _run_out(self) -> None:
        self._timer = None
        self.refusing = True
        self._tell(True)
