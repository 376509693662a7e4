"""The client that hangs up while its answer is being made."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gatebook.gate.refusal import Refused
from gatebook.model.errors import Reason

T = TypeVar("T")


class Gone:
    """Set when the client has hung up, by the shell, on the event loop. At most one step at a time asks to be cancelled then.

    An event only where somebody waits for it: nearly every call ends with its client still there."""

    task: asyncio.Task[Any] | None = None
    """The one that makes the answer, where the shell has said so: asking which task is running costs more."""
    _gone = False
    _event: asyncio.Event | None = None
    _cancels: asyncio.Task[Any] | None = None

    def is_set(self) -> bool:
        """Whether the client is gone."""
        return self._gone

    def set(self) -> None:
        """The client is gone; what asked for it is cancelled."""
        if self._gone:
            return
        self._gone = True
        if self._event is not None:
            self._event.set()
        if self._cancels is not None:
            self._cancels.cancel()

    async def wait(self) -> None:
        """Returns when the client is gone."""
        if self._gone:
            return
        if self._event is None:
            self._event = asyncio.Event()
        await self._event.wait()

    async def cancels(self, step: Coroutine[Any, Any, T]) -> T:
        """What `step` returns; or, where the client hangs up first, it is cancelled. Raises Refused(CANCELLED)."""
        if self._gone:
            step.close()
            raise Refused(Reason.CANCELLED)
        # No task of its own for the step, nor one that waits for the client: they would cost a call more than its parsing does.
        task = self._cancels = self.task or asyncio.current_task()
        try:
            return await step
        except asyncio.CancelledError:
            if task is None or not self.is_set():
                raise  # somebody else wants this task to end
            task.uncancel()
            raise Refused(Reason.CANCELLED) from None
        finally:
            self._cancels = None
