"""How many calls one principal may have under way at a time, and how many streams open, in one worker."""

from gatebook.gate.identifying import Caller
from gatebook.gate.refusal import Refused
from gatebook.gate.world import World
from gatebook.model.errors import Reason


class Place:
    """A place among a principal's calls under way. Whoever takes it gives it back once, unless a stream keeps it (`kept`), which then does.

    A GET stream is no call, but each holds a connection to the server: they have as many places of their own."""

    __slots__ = ("_key", "_running", "kept")

    def __init__(self, caller: Caller, world: World, verb: str) -> None:
        """Raises Refused(TOO_MANY_CALLS) where there is none."""
        self._key = key = (caller.principal.issuer, caller.principal.subject, "stream" if verb == "GET" else "call")
        self._running = running = world.running
        self.kept = False
        under_way = running.get(key, 0)
        if under_way >= caller.standing.snapshot.deployment.limits.calls_per_principal:
            raise Refused(Reason.TOO_MANY_CALLS)
        running[key] = under_way + 1

    def give_back(self) -> None:
        left = self._running[self._key] - 1
        if left:
            self._running[self._key] = left
        else:
            del self._running[self._key]
