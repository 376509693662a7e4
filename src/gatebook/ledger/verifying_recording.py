"""One payload file against what the entries of its session say is in it, frame by frame."""

from collections.abc import Iterator

import msgspec

from gatebook.ledger import payload
from gatebook.ledger.entry import Pay
from gatebook.ledger.framing import FrameKind
from gatebook.ledger.payload_frames import Damage, Stored
from gatebook.ledger.verifying_unsigned import Unsigned, Written
from gatebook.model.secret import Secret

Where = tuple[str, str, int, int]
"""(writer, epoch, sequence, part) of a payload or a data key."""

_AROUND_BYTES = 256
"""More than there is around a body when it is sealed: its part's name, a salt, a tag."""


class RecordingCheck:
    """One pass over a payload file; what fits is taken out of `pays` and `keys`. `damaged`: some of it could not be read. `unsigned`: frames
    that no entry names yet; `begun`: frames that are not whole yet."""

    def __init__(
        self,
        pays: dict[Where, tuple[int, Pay]],
        keys: dict[Where, tuple[int, str, str]],
        written: Written,
        private: payload.PrivateKey | None,
    ) -> None:
        self._pays, self._keys = pays, keys
        self._written, self._private = written, private
        self._data_keys: dict[str, Secret[bytes]] = {}
        self._payload: _Payload | None = None
        self._behind_damage = False
        self._changed: set[Where] = set()
        self.damaged = False
        self.unsigned = Unsigned()
        self.begun = 0
        self.opened = 0

    def pass_over(self, damage: Damage) -> list[str]:
        """What is wrong with bytes that are no frame. Pieces on both sides of them may still be one payload: its digest tells."""
        if damage.begun:
            # What no entry names yet. Where it was the frame of one, that entry's payload is missing, and is said to be.
            self.begun += 1
            return []
        self.damaged = self._behind_damage = True
        return [f"{damage.end - damage.start} bytes at offset {damage.start} are no frame of its session"]

    def take(self, stored: Stored) -> list[str]:
        """What is wrong with the next frame."""
        place, told = stored.place, []
        if self._payload is not None and not (stored.kind is FrameKind.PAYLOAD and self._payload.goes_on_with(place)):
            told = self._unless_behind_damage(f"a payload before offset {stored.start} is not whole")
            self._payload = None
        if place.sequence > self._written(place.writer, place.epoch):
            self.unsigned.add(place)
            return told
        if stored.kind is FrameKind.DATA_KEY:
            return told + self._take_key(stored)
        if self._payload is None:
            if place.piece != 0:
                return told + self._unless_behind_damage(f"a payload before offset {stored.end} begins in its middle")
            due = self._pays.get(_where_of(place))
            self._payload = _Payload(place, place, 0 if due is None else due[1].bytes + _AROUND_BYTES)
        self._behind_damage = False
        whole = self._payload
        whole.add(stored)
        if place.piece + 1 < place.pieces:
            return told
        self._payload = None
        return told + self._take_payload(whole, stored.end)

    def finish(self) -> list[str]:
        return self._unless_behind_damage("the last payload is not whole") if self._payload is not None else []

    def missing(self) -> Iterator[tuple[int, str]]:
        """(entry index, what of it) for all that did not come, neither as it was nor changed."""
        yield from (
            (index, f"its {pay.part}") for where, (index, pay) in self._pays.items() if where not in self._changed
        )
        yield from ((index, f"the data key {key}") for index, key, _ in self._keys.values())

    @property
    def lost(self) -> str:
        """Where that is, in words that a file's name follows."""
        return "is damaged in, or gone from," if self.damaged else "is not in"

    def _unless_behind_damage(self, what: str) -> list[str]:
        """Pieces that damage has parted from theirs are not told one by one."""
        return [] if self._behind_damage else [what]

    def _take_key(self, stored: Stored) -> list[str]:
        place, self._behind_damage = stored.place, False
        where = _where_of(place)
        if (place.piece, place.pieces) != (0, 1) or where not in self._keys:
            return [f"a data key before offset {stored.end} that no entry names"]
        _, key, digest = self._keys[where]
        if payload.digest(stored.content) != digest or payload.key_id(stored.content) != key:
            return [f"the data key before offset {stored.end} is not the one of its entry"]
        del self._keys[where]
        if self._private is not None:
            try:
                self._data_keys[key] = payload.open_data_key(stored.content, self._private, place)
            except payload.PayloadError as error:
                return [str(error)]
        return []

    def _take_payload(self, whole: "_Payload", end: int) -> list[str]:
        where = _where_of(whole.first)
        if where not in self._pays:
            return [f"a payload before offset {end} that no entry names"]
        index, pay = self._pays[where]
        sealed = b"".join(whole.content)
        # Before all else: whoever can write files can lay any frame under any name, but none with the digest that was signed.
        if payload.digest(sealed) != pay.x:
            self._changed.add(where)
            return [f"the {pay.part} of entry {index} has changed bytes"]
        del self._pays[where]
        if self._private is None:
            return []
        data_key = self._data_keys.get(pay.key)
        if data_key is None:
            return [f"the {pay.part} of entry {index} is whole, but its data key {pay.key} does not come before it"]
        try:
            payload.open_sealed(sealed, data_key, pay, whole.first)
        except payload.PayloadError as error:
            return [f"the {pay.part} of entry {index}: {error}"]
        self.opened += 1
        return []


class _Payload(msgspec.Struct):
    """One that is being read, piece by piece. `room`: bytes that it may still have; below 0 its content is forgotten, or whoever can write files could
    have us hold a whole file."""

    first: payload.Place
    last: payload.Place
    room: int
    content: list[bytes] = []

    def goes_on_with(self, place: payload.Place) -> bool:
        return place == msgspec.structs.replace(self.last, piece=self.last.piece + 1)

    def add(self, stored: Stored) -> None:
        """Take the next piece."""
        self.last = stored.place
        self.room -= len(stored.content)
        if self.room < 0:
            self.content = []
        elif stored.content:
            self.content.append(stored.content)


def _where_of(place: payload.Place) -> Where:
    return (place.writer, place.epoch, place.sequence, place.part)
