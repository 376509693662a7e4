"""Large messages are judged in threads, and whoever sends them takes turns: who sends much, or what takes long, waits for itself.

A server (for its answers) or a caller (for its requests) has one message judged at a time. Of those that wait, the one goes next whose
sender had the least bytes judged so far; a sender that comes anew starts where the others are (start-time fair queueing). So beside
one that sends without end, another waits for at most what is being judged already and for his own share.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

import msgspec

AT_ONCE = 2
T = TypeVar("T")

Sender = tuple[str, ...]
"""Whose message it is: ("server", name) or ("caller", issuer, subject)."""


class NoRoom(Exception):
    """The messages that wait to be judged are all that may be held; this one must be refused, another may pass soon."""


class _Turn(msgspec.Struct):
    size: int
    work: Callable[[], Any]
    done: "asyncio.Future[Any]"


class Turns:
    """`executor` runs the work, `at_once` pieces at a time. `waiting_bytes`: of all that waits or is being judged. One event loop's own."""

    def __init__(self, executor: Executor, *, at_once: int = AT_ONCE) -> None:
        self.executor = executor
        self.waiting_bytes = 0
        self._at_once = at_once
        self._queues: dict[Sender, deque[_Turn]] = {}
        self._judged: dict[Sender, int] = {}
        """Bytes judged so far, for those who are ahead of `_now` or have something waiting or running."""
        self._running: set[Sender] = set()
        self._now = 0
        """What the sender whose turn came last had had judged before it."""

    async def take(self, sender: Sender, size: int, work: Callable[[], T], *, most_bytes: int) -> T:
        """What `work` returns or raises, run in its sender's turn. NoRoom: more than `most_bytes` would wait, and nothing was run.

        Whoever is cancelled while he waits gives up his turn; what runs already runs to its end, and nobody hears of it."""
        if self.waiting_bytes + size > most_bytes:
            raise NoRoom
        self.waiting_bytes += size
        turn = _Turn(size, work, asyncio.get_running_loop().create_future())
        self._queues.setdefault(sender, deque()).append(turn)
        self._judged[sender] = max(self._now, self._judged.get(sender, 0))
        self._go_on()
        result: T = await turn.done
        return result

    def _go_on(self) -> None:
        while len(self._running) < self._at_once:
            ready = [sender for sender in self._queues if sender not in self._running]
            if not ready:
                return
            sender = min(ready, key=self._judged.__getitem__)  # of equals the one that waits longest
            turn = self._next_of(sender)
            if turn.done.done():
                self.waiting_bytes -= turn.size
                continue
            self._now = max(self._now, self._judged[sender])
            self._judged[sender] += turn.size
            self._running.add(sender)
            running = asyncio.get_running_loop().run_in_executor(self.executor, turn.work)
            running.add_done_callback(partial(self._over, sender, turn))

    def _next_of(self, sender: Sender) -> _Turn:
        queue = self._queues.pop(sender)
        turn = queue.popleft()
        if queue:
            self._queues[sender] = queue  # at the end: so that of equals each comes once
        return turn

    def _over(self, sender: Sender, turn: _Turn, ran: "asyncio.Future[Any]") -> None:
        self.waiting_bytes -= turn.size
        self._running.discard(sender)
        if ran.cancelled():
            turn.done.cancel()
        elif not turn.done.done():
            failure = ran.exception()
            if failure is not None:
                turn.done.set_exception(failure)
            else:
                turn.done.set_result(ran.result())
        else:
            ran.exception()  # nobody waits for it; it was looked at
        self._go_on()
        self._forget()

    def _forget(self) -> None:
        """Nothing is remembered of senders that are not ahead of the others: they would start where a newcomer does."""
        for sender in [sender for sender, judged in self._judged.items() if judged <= self._now]:
            if sender not in self._queues and sender not in self._running:
                del self._judged[sender]
        if not self._running and not self._queues:
            self._judged.clear()
            self._now = 0
