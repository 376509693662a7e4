"""How many calls one principal may have under way at a time, and how many streams open, in one worker."""

from gatebook.gate.identifying import Caller
from gatebook.gate.refusal import Refused
from gatebook.gate.world import World
from gatebook.model.errors import Reason


class Place:
    """A place among a principal's calls under way; entering raises Refused(TOO_MANY_CALLS) where there is none.

    It is given back on exit, unless a stream keeps it: then when that has ended. A GET stream is no call, but each holds a connection to
    the server: they have as many places of their own."""

    def __init__(self, caller: Caller, world: World, verb: str) -> None:
        self._key = (caller.principal.issuer, caller.principal.subject, "stream" if verb == "GET" else "call")
        self._running = world.running
        self._limit = caller.standing.snapshot.deployment.limits.calls_per_principal
        self._kept = False

    def __enter__(self) -> "Place":
        under_way = self._running.get(self._key, 0)
        if under_way >= self._limit:
            raise Refused(Reason.TOO_MANY_CALLS)
        self._running[self._key] = under_way + 1
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self.give_back()

    def keep(self) -> None:
        """The answer goes on: whoever keeps the place calls `give_back` once."""
        self._kept = True

    def give_back(self) -> None:
        left = self._running[self._key] - 1
        if left:
            self._running[self._key] = left
        else:
            del self._running[self._key]
