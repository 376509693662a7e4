"""The connections of one worker taken together: how many there may be, what they may hold, when their time is up, and their end."""

import asyncio
import time
from collections import Counter
from typing import Protocol

from gatebook.model.deployment import Limits
from gatebook.serve.crowding import who_goes
from gatebook.serve.request import Heads


class Admitted(Protocol):
    """A connection as its registry knows it."""

    source: str
    """Where it comes from: see `crowding`."""
    charged: int
    """Bytes of its own in the registry's `buffered_bytes`."""
    waiting_since: float | None
    """Since when a reply waits to be taken; None where none does."""

    @property
    def ends_at(self) -> float | None:
        """When its time is up, if nothing comes; None while a request is being answered."""

    def give_way(self) -> None:
        """Refuse what it is sending, of which nothing is held or counted any more."""

    def look_at_clock(self, now: float) -> None:
        """Act on a deadline that has passed and on a reader that takes nothing."""

    def drain(self) -> None:
        """Close if nothing is under way here; what is under way ends with Connection: close."""

    def cut(self) -> None:
        """Close now, whatever is under way."""

    def give_up(self) -> None:
        """Close now, and count no more: what is still held is gone a turn of the loop later, and nobody may be refused for it meanwhile."""


class ConnectionRegistry:
    """The connections of one worker: their bounds, their clocks, and their end."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.connections: set[Admitted] = set()
        self.exchanges: set[asyncio.Task[None]] = set()
        self.heads = Heads()
        self.buffered_bytes = 0
        """Bytes received or waiting to be taken, over all connections."""
        self.accepted = 0
        self.turned_away = 0
        """Connections closed at once because there were too many."""
        self.given_up = 0
        """Quiet connections closed for others because there were too many."""
        self.draining = False
        self.leaving = False
        """Each answer is the last on its connection; who is connected and says nothing is left alone until its time is up."""
        self._tick_s = min(1.0, limits.header_s / 4, limits.body_s / 4, limits.idle_s / 4, limits.stream_idle_s / 4)
        self._ticking = False

    def admit(self, connection: Admitted) -> bool:
        """As `seat`; a connection that can be asked something is counted as accepted."""
        seated = self.seat(connection)
        self.accepted += seated
        return seated

    def seat(self, connection: Admitted) -> bool:
        """Whether there is room for one more, or quiet ones of whoever has the most make some; then it is known, and its deadlines are watched."""
        if not self.draining and len(self.connections) >= self.limits.connections:
            for each in who_goes(self.connections, connection.source):
                self.given_up += 1
                self.connections.discard(each)
                each.give_up()
        if self.draining or len(self.connections) >= self.limits.connections:
            self.turned_away += 1
            return False
        self.connections.add(connection)
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(self._tick_s, self._tick)
        return True

    @property
    def overloaded(self) -> bool:
        return self.buffered_bytes > self.limits.buffered_bytes

    def make_room(self, comes: Admitted) -> bool:
        """Whether `comes` may go on: whoever sends the most that is not whole yet is refused it until the rest fits, and that may be `comes`. So requests
        that never end, from one place, refuse nobody elsewhere."""
        while self.overloaded:
            sent: Counter[str] = Counter()
            sending = [each for each in self.connections if each.charged and each.ends_at is not None]
            for each in sending:
                sent[each.source] += each.charged
            most = max(sending, key=lambda each: (sent[each.source], each.charged), default=comes)
            if most is comes:
                return False
            most.give_way()
        return True

    def _tick(self) -> None:
        # One timer for all: a deadline per request then costs an assignment. Late by a tick at most.
        now = time.monotonic()
        for connection in tuple(self.connections):
            connection.look_at_clock(now)
        self.give_up_replies()
        self._ticking = bool(self.connections)
        if self._ticking:
            asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def give_up_replies(self) -> None:
        """Replies that wait longest for their clients are given up until the rest fits: a few that read slowly must not refuse all others."""
        too_much = self.buffered_bytes - self.limits.buffered_bytes
        if too_much <= 0:
            return
        waiting = [each for each in self.connections if each.waiting_since is not None]
        for connection in sorted(waiting, key=lambda each: each.waiting_since or 0.0):
            if too_much > 0:
                too_much -= connection.charged
                connection.give_up()

    async def emptied(self, settle_s: float, deadline_s: float) -> None:
        """No connection and no exchange is left after `settle_s`, or `deadline_s` have passed."""
        await asyncio.sleep(settle_s)
        await self._settled(deadline_s - settle_s)

    async def drain(self, deadline_s: float, *, settle_s: float = 2.0) -> int:
        """Every connection is closed. Idle ones at once; answers under way may end within `deadline_s` and say `Connection: close`.

        What then still runs loses its client (streams are closed, `gone` is set) and gets `settle_s` more to write its records.
        Returns how many exchanges were cut or still ran. Close the listener first."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.drain()
        await self._settled(deadline_s)
        cut = len(self.exchanges)
        for connection in tuple(self.connections):
            connection.cut()
        await self._settled(settle_s)
        return cut

    async def _settled(self, deadline_s: float) -> None:
        deadline = time.monotonic() + deadline_s
        # Polled once in a worker's life; an event would cost every request.
        while (self.connections or self.exchanges) and (left := deadline - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(0.02, left))
