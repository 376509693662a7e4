"""One payload file against what the entries of its session say is in it, frame by frame."""

from collections.abc import Iterator

from gatebook.ledger import payload
from gatebook.ledger.entry import Pay
from gatebook.ledger.joining import Joined, Joining, Where, is_named, most_bytes, where_of
from gatebook.ledger.payload_frames import Damage, Stored
from gatebook.ledger.verifying_unsigned import Unsigned, Written
from gatebook.model.secret import Secret


class RecordingCheck:
    """One pass over a payload file; what fits is taken out of `pays` and `keys`. `damaged`: some of it could not be read. `unsigned`: frames
    that no entry names yet; `begun`: frames that are not whole yet. `locked`: payloads that are whole, but for whose data key the private key is not the one."""

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
        self._locked: set[str] = set()
        self._joining = Joining(lambda where: most_bytes(pays[where][1]) if where in pays else 0)
        self._behind_damage = False
        self._changed: set[Where] = set()
        self.damaged = False
        self.unsigned = Unsigned()
        self.begun = 0
        self.opened = self.locked = 0

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
        if self._joining.breaks_off(stored):
            told = self._unless_behind_damage(f"a payload before offset {stored.start} is not whole")
        if place.sequence > self._written(place.writer, place.epoch):
            self.unsigned.add(place)
            return told
        if not stored.is_piece:
            return told + self._take_key(stored)
        if not self._joining.unfinished and place.piece != 0:
            return told + self._unless_behind_damage(f"a payload before offset {stored.end} begins in its middle")
        self._behind_damage = False
        joined = self._joining.take(stored)
        return told if joined is None else told + self._take_payload(joined)

    def finish(self) -> list[str]:
        return self._unless_behind_damage("the last payload is not whole") if self._joining.unfinished else []

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
        where = where_of(place)
        if (place.piece, place.pieces) != (0, 1) or where not in self._keys:
            return [f"a data key before offset {stored.end} that no entry names"]
        _, key, digest = self._keys[where]
        if payload.digest(stored.content) != digest or payload.key_id(stored.content) != key:
            return [f"the data key before offset {stored.end} is not the one of its entry"]
        del self._keys[where]
        if self._private is not None:
            try:
                self._data_keys[key] = payload.open_data_key(stored.content, self._private, place)
            except payload.PayloadError:
                self._locked.add(key)  # its bytes are those that were signed: it was made for another payload key
        return []

    def _take_payload(self, joined: Joined) -> list[str]:
        where = where_of(joined.first)
        if where not in self._pays:
            return [f"a payload before offset {joined.end} that no entry names"]
        index, pay = self._pays[where]
        if not is_named(pay, joined.sealed):
            self._changed.add(where)
            return [f"the {pay.part} of entry {index} has changed bytes before offset {joined.end}"]
        del self._pays[where]
        if self._private is None:
            return []
        if pay.key in self._locked:
            self.locked += 1
            return []
        data_key = self._data_keys.get(pay.key)
        if data_key is None:
            return [f"the {pay.part} of entry {index} is whole, but its data key {pay.key} does not come before it"]
        try:
            payload.open_sealed(joined.sealed, data_key, pay, joined.first)
        except payload.PayloadError as error:
            return [f"the {pay.part} of entry {index}: {error}"]
        self.opened += 1
        return []
