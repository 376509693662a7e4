"""Which frames of a recording are one payload, and which payload is the one that an entry names: one answer for whoever verifies and whoever shows.

Whoever can write files can lay any frame under any name, but none with the digest that was signed.
"""

from collections.abc import Callable

import msgspec

from gatebook.ledger import payload
from gatebook.ledger.entry import Pay
from gatebook.ledger.payload_frames import Stored

Where = tuple[str, str, int, int]
"""(writer, epoch, sequence, part) of a payload or a data key."""

_AROUND_BYTES = 256
"""More than there is around a body when it is sealed: its part's name, a salt, a tag."""


class Joined(msgspec.Struct, frozen=True):
    """A payload that lies in a file from offset `start` to `end`, all its pieces: `first` is the place of the first. `length`: of its sealed bytes;
    `sealed` is empty where they are more than was to be held."""

    first: payload.Place
    start: int
    end: int
    length: int
    sealed: bytes


class Joining:
    """Puts pieces together, frame by frame in the file's order. The pieces of a payload come one behind the other, for its writer commits them so;
    bytes that are no frame may lie between them. LIMIT: a sound frame that somebody put between two pieces breaks their payload off. `hold`: how many bytes of content to keep of the payload that begins at a place."""

    def __init__(self, hold: Callable[[Where], int]) -> None:
        self._hold = hold
        self._begun: _Begun | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a payload has begun, and its last piece not come."""
        return self._begun is not None

    def breaks_off(self, stored: Stored) -> bool:
        """Whether `stored` comes where a piece of the payload that has begun should; what has begun is forgotten then."""
        if self._begun is None or self._begun.goes_on_with(stored):
            return False
        self._begun = None
        return True

    def take(self, stored: Stored) -> Joined | None:
        """The payload that is whole with this piece, of which `breaks_off` was asked before. One that does not follow the piece before it is none."""
        place = stored.place
        if self._begun is None:
            if place.piece != 0:
                return None
            self._begun = _Begun(place, place, stored.start, self._hold(where_of(place)))
        begun = self._begun
        begun.add(stored)
        if place.piece + 1 < place.pieces:
            return None
        self._begun = None
        return Joined(begun.first, begun.start, stored.end, begun.length, b"".join(begun.content))


class _Begun(msgspec.Struct):
    """`hold`: bytes that it may have; above it its content is forgotten, or whoever can write files could have us hold a whole file."""

    first: payload.Place
    last: payload.Place
    start: int
    hold: int
    length: int = 0
    content: list[bytes] = []

    def goes_on_with(self, stored: Stored) -> bool:
        return stored.is_piece and stored.place == msgspec.structs.replace(self.last, piece=self.last.piece + 1)

    def add(self, stored: Stored) -> None:
        self.last = stored.place
        self.length += len(stored.content)
        if self.length > self.hold:
            self.content = []
        elif stored.content:
            self.content.append(stored.content)


def where_of(place: payload.Place) -> Where:
    return (place.writer, place.epoch, place.sequence, place.part)


def most_bytes(pay: Pay) -> int:
    """More than the payload that `pay` names has when it is sealed."""
    return pay.bytes + _AROUND_BYTES


def is_named(pay: Pay, sealed: bytes) -> bool:
    """Whether these are the bytes that an entry names."""
    return payload.digest(sealed) == pay.x
