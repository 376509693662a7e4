"""Tools that are not as they were pinned: left out of lists, and not called. Only servers with pins have any.

What a call meets: a tool without a pin is refused from the first call on, in every worker. One whose definition changed is refused once this worker
has seen the change in a list, whoever asked for that; until then a call to it passes, as it would have a moment before the server changed it: the
agent that makes it has read the definition that was pinned. A definition that is again as it was pinned ends it, and so do new pins.

LIMIT: each worker knows only the lists that went through it. What the server does, and not what it says of itself, no pin can see.
"""

from typing import Final

import msgspec

from gatebook.model.deployment import Server
from gatebook.model.errors import Malformed
from gatebook.wire.definitions import digest

UNREADABLE: Final = "unreadable"
"""In place of a digest: parsers could read two definitions in it."""
SERVERS_TOOLS_KEPT: Final = 10_000


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of a list that is otherwise than this worker knew it. `pinned`: the digests that are accepted, none for a new tool; `digest`: what it is
    now; `quarantined`: False where it is again as it was pinned."""

    tool: str
    pinned: tuple[str, ...]
    digest: str
    quarantined: bool


class Quarantine:
    """What this worker has seen last of each tool that was not as it was pinned."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], str] = {}

    def holds(self, server: Server, tool: str) -> bool:
        """Whether a call to `tool` may not pass."""
        if server.pins is None:
            return False
        accepted = server.pins.get(tool)
        if accepted is None:
            return True
        seen = self._seen.get((server.name, tool))
        return seen is not None and seen not in accepted

    def look(self, server: Server, tool: str, definition: bytes) -> tuple[bool, Seen | None]:
        """(whether the definition is one that was pinned, what is new of it). Changes nothing: `learn` does, once that is in the book."""
        assert server.pins is not None
        accepted = server.pins.get(tool, ())
        try:
            now = digest(definition)
        except Malformed:
            now = UNREADABLE
        sound = now in accepted
        known = self._seen.get((server.name, tool))
        if (known is None and sound) or known == now:
            return sound, None
        return sound, Seen(tool=tool, pinned=accepted, digest=now, quarantined=not sound)

    def learn(self, server: Server, seen: Seen) -> None:
        """What was found is known from now on."""
        if seen.quarantined:
            if len(self._seen) >= SERVERS_TOOLS_KEPT:
                self._seen.pop(
                    next(iter(self._seen))
                )  # a server that invents tools without end; those have no pin and stay refused
            self._seen[server.name, seen.tool] = seen.digest
        else:
            self._seen.pop((server.name, seen.tool), None)
