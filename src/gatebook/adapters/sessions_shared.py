"""ports.SessionBook: one map in memory shared by all workers, kept in a file so that sessions survive restarts.

A slot is 64 bytes: key 16, session 16, opened 8, CRC-32 of the first forty, whose it is 4, last seen 8, padding. Readers take no lock: a slot that
is being written fails its checksum and is read again under the lock. Only opening a session locks (flock). `last seen` lies outside the checksum
and is one aligned store; two workers may overwrite each other's by microseconds, which no rule of idle time can notice.

Where a key's 32 places are all taken, somebody's session is given up: the one seen longest ago of whoever holds the most of these places. So one
caller with many logins, or the jobs of one issuer, make room for each other and not at the cost of people.
"""

import fcntl
import mmap
import os
import secrets
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gatebook.identity.sessions import KEY_BYTES
from gatebook.model.deployment import Deployment, Limits

SLOT_BYTES = 64
SLOTS = 1 << 16
_PROBES = 32
_SLOT = struct.Struct("=16s16sQI4sQ")
_SUMMED = 40
_SOUND_BYTES = 44
_REMEMBERED = 4096
_NOBODY = bytes(4)
"""Whose a slot is that an earlier build wrote: each counts as somebody else's."""
TELL_US = 60_000_000


class _Remembered(msgspec.Struct, frozen=True, gc=False):
    """A slot that was sound: where it begins, its bytes up to and with the checksum, and what they say."""

    start: int
    sound: bytes
    opened_us: int
    session: str


class SharedSessions:
    """LIMIT: 65,536 sessions at a time, and where many meet somewhat fewer. Whose is given up gets a new session at the next call, and until then
    counts as somebody who has not called."""

    def __init__(
        self, path: Path, limits: Limits, slots: int = SLOTS, *, tell: Callable[[int], None] = lambda given_up: None
    ) -> None:
        """Makes the map where it is absent. `tell` gets how many live sessions were given up since it was told last, at most once a minute, and at
        the end. Raises OSError."""
        self._idle_us = int(limits.session_idle_s * 1_000_000)
        self._absolute_us = int(limits.session_absolute_s * 1_000_000)
        self._slots = slots
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        # Space for all of it, now: a full disk would end the process (SIGBUS) when it first touches a page that has none.
        # LIMIT: a file system that copies on write may still run out of space for a page that it had.
        os.posix_fallocate(self._descriptor, 0, slots * SLOT_BYTES)
        self._map = mmap.mmap(self._descriptor, slots * SLOT_BYTES)
        self._words = memoryview(self._map).cast("Q")
        self._remembered: dict[bytes, _Remembered] = {}
        self._tell = tell
        self._given_up = 0
        self._told_us = -TELL_US

    @classmethod
    def open(cls, deployment: Deployment) -> "SharedSessions":
        """The deployment's map, `data_dir/sessions.map`. Raises OSError."""
        return cls(Path(deployment.data_dir) / "sessions.map", deployment.limits)

    def touch(self, key: bytes, now_us: int) -> str:
        known = self._remembered.get(key)
        # The same bytes are as sound as they were: a slot is never written twice with the same session.
        if known is not None and self._map[known.start : known.start + _SOUND_BYTES] == known.sound:
            seen = known.start // 8 + 6
            if self._live(known.opened_us, self._words[seen], now_us):
                self._words[seen] = now_us
                return known.session
        return self._found(key, now_us)

    def _found(self, key: bytes, now_us: int) -> str:
        for place in self._places(key):
            found, session, opened_us, seen_us, _, sound = self._slot(place)
            if found == key[:KEY_BYTES] and sound:
                if not self._live(opened_us, seen_us, now_us):
                    break
                self._seen(place, now_us)
                self._remember(place, key, session.hex(), opened_us)
                return session.hex()
            if not sound:
                break
        return self._open(key, now_us)

    def _remember(self, place: int, key: bytes, session: str, opened_us: int) -> None:
        if len(self._remembered) >= _REMEMBERED:
            # The one remembered first: to read a slot anew costs a microsecond.
            del self._remembered[next(iter(self._remembered))]
        slot = _SLOT.pack(key[:KEY_BYTES], bytes.fromhex(session), opened_us, 0, _NOBODY, 0)[:_SUMMED]
        self._remembered[key] = _Remembered(
            place * SLOT_BYTES, slot + zlib.crc32(slot).to_bytes(4, sys.byteorder), opened_us, session
        )

    def last_seen_us(self, key: bytes) -> int | None:
        """When `key` was last touched, by any worker, also if its session is closed since; None where the map does not know it (any more)."""
        for place in self._places(key):
            found, _, _, seen_us, _, sound = self._slot(place)
            if found == key[:KEY_BYTES] and sound:
                return seen_us
        return None

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            if self._given_up:
                self._tell(self._given_up)
            self._words.release()
            self._map.close()
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, key: bytes, now_us: int) -> str:
        """Under the lock: the session that another worker just opened, else a new one in the best place."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError:
            # Not recorded in the map, but a session all the same: the next call gets another one.
            return secrets.token_hex(16)
        try:
            free: int | None = None
            live: list[tuple[int, bytes, int]] = []
            for place in self._places(key):
                found, session, opened_us, seen_us, whose, sound = self._slot(place)
                is_live = sound and self._live(opened_us, seen_us, now_us)
                if sound and found == key[:KEY_BYTES]:
                    if is_live:
                        self._seen(place, now_us)
                        return session.hex()
                    # The key's own old place, so that a key is never in the map twice.
                    free = place
                    break
                if is_live:
                    live.append((place, whose, seen_us))
                elif free is None:
                    free = place
            if free is None:
                free = _most_crowding(live, key[KEY_BYTES:])
                self._count_given_up(now_us)
            return self._write(free, key, now_us)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _count_given_up(self, now_us: int) -> None:
        self._given_up += 1
        if not 0 <= now_us - self._told_us < TELL_US:
            self._tell(self._given_up)
            self._given_up, self._told_us = 0, now_us

    def _write(self, place: int, key: bytes, now_us: int) -> str:
        session, whose = secrets.token_bytes(16), key[KEY_BYTES:]
        slot = _SLOT.pack(key[:KEY_BYTES], session, now_us, 0, whose, now_us)
        slot = _SLOT.pack(key[:KEY_BYTES], session, now_us, zlib.crc32(slot[:_SUMMED]), whose, now_us)
        start = place * SLOT_BYTES
        self._map[start : start + len(slot)] = slot
        return session.hex()

    def _places(self, key: bytes) -> Iterator[int]:
        start = int.from_bytes(key[:8], "big")
        return ((start + step) % self._slots for step in range(_PROBES))

    def _slot(self, place: int) -> tuple[bytes, bytes, int, int, bytes, bool]:
        """(key, session, opened, last seen, whose, sound): an empty slot is not sound."""
        start = place * SLOT_BYTES
        slot = self._map[start : start + _SLOT.size]
        key, session, opened_us, checksum, whose, seen_us = _SLOT.unpack(slot)
        return key, session, opened_us, seen_us, whose, checksum == zlib.crc32(slot[:_SUMMED]) and opened_us > 0

    def _live(self, opened_us: int, seen_us: int, now_us: int) -> bool:
        return now_us - seen_us < self._idle_us and now_us - opened_us < self._absolute_us

    def _seen(self, place: int, now_us: int) -> None:
        # The last-seen field is the seventh eight-byte word of its slot.
        self._words[place * (SLOT_BYTES // 8) + 6] = now_us


def _most_crowding(live: list[tuple[int, bytes, int]], comes: bytes) -> int:
    """The place to give up, of (place, whose, last seen): the one seen longest ago of whoever has the most, with the one that `comes`."""
    crowd = Counter(whose for _, whose, _ in live)
    crowd[comes] += 1
    crowd[_NOBODY] = 1
    place, _, _ = max(live, key=lambda each: (crowd[each[1]], -each[2]))
    return place
