"""An executor without threads: a test says which piece of work ends when."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class ByHand(Executor):
    """`started`: what was started and has not ended, as (what it will return, its future), in order."""

    def __init__(self) -> None:
        self.started: list[tuple[Any, Future[Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self.started.append((fn(*args, **kwargs), future))
        return future

    @property
    def names(self) -> list[Any]:
        return [result for result, _ in self.started]

    async def end(self, place: int = 0, failure: Exception | None = None) -> Any:
        """The piece at this place ends, by `failure` where one is given; everybody has heard of it."""
        result, future = self.started.pop(place)
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)
        for _ in range(10):
            await asyncio.sleep(0)
        return result
