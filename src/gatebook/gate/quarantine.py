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
STRANGE_TOLD: Final = 1_000
"""So many tools without a pin are told of one server. They are refused whatever is known of them: one that invents names without end fills neither our
memory nor the book, and drives nothing out that is known of its pinned tools, or of another server's."""


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
        self._changed: dict[tuple[str, str], str] = {}
        """Of pinned tools only: as many as there are pins."""
        self._strange: dict[str, dict[str, str]] = {}
        """Server → its tools without a pin."""

    def holds(self, server: Server, tool: str) -> bool:
        """Whether a call to `tool` may not pass."""
        if server.pins is None:
            return False
        accepted = server.pins.get(tool)
        if accepted is None:
            return True
        seen = self._last(server, tool)
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
        known = self._last(server, tool)
        if (known is None and sound) or known == now:
            return sound, None
        return sound, Seen(tool=tool, pinned=accepted, digest=now, quarantined=not sound)

    def is_told(self, server: Server, seen: Seen) -> bool:
        """Whether it is for the book, and to be learned: all but strange tools beyond `STRANGE_TOLD`."""
        strange = self._strange.get(server.name, {})
        return bool(seen.pinned) or seen.tool in strange or len(strange) < STRANGE_TOLD

    def learn(self, server: Server, seen: Seen) -> None:
        """What was found is known from now on."""
        key = (server.name, seen.tool)
        strange = self._strange.setdefault(server.name, {})
        if not seen.quarantined:
            self._changed.pop(key, None)
            strange.pop(seen.tool, None)
        elif seen.pinned:
            self._changed[key] = seen.digest
        else:
            strange[seen.tool] = seen.digest

    def _last(self, server: Server, tool: str) -> str | None:
        """What it was last, where it was not as it is pinned; also from when it had no pin yet."""
        return self._changed.get((server.name, tool)) or self._strange.get(server.name, {}).get(tool)
