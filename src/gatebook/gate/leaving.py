"""The client that hangs up while its answer is being made."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gatebook.gate.refusal import Refused
from gatebook.model.errors import Reason

T = TypeVar("T")


class Gone(asyncio.Event):
    """Set when the client has hung up, by the shell, on the event loop. At most one step at a time asks to be cancelled then."""

    def __init__(self) -> None:
        super().__init__()
        self._cancels: asyncio.Task[Any] | None = None

    def set(self) -> None:
        """The client is gone; what asked for it is cancelled."""
        if self.is_set():
            return
        super().set()
        if self._cancels is not None:
            self._cancels.cancel()

    async def cancels(self, step: Coroutine[Any, Any, T]) -> T:
        """What `step` returns; or, where the client hangs up first, it is cancelled. Raises Refused(CANCELLED)."""
        if self.is_set():
            step.close()
            raise Refused(Reason.CANCELLED)
        # No task of its own for the step, nor one that waits for the client: they would cost a call more than its parsing does.
        task = self._cancels = asyncio.current_task()
        try:
            return await step
        except asyncio.CancelledError:
            if task is None or not self.is_set():
                raise  # somebody else wants this task to end
            task.uncancel()
            raise Refused(Reason.CANCELLED) from None
        finally:
            self._cancels = None
