"""ports.SessionBook: one map in memory shared by all workers, kept in a file so that sessions survive restarts.

A slot is 64 bytes: key 16, session 16, opened 8, last seen 8, CRC-32 of the first forty, padding. Readers take no lock: a slot that is being
written fails its checksum and is read again under the lock. Only opening a session locks (flock). `last seen` lies outside the checksum and
is one aligned store; two workers may overwrite each other's by microseconds, which no rule of idle time can notice.
"""

import fcntl
import mmap
import os
import secrets
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gatebook.model.deployment import Deployment, Limits

SLOT_BYTES = 64
SLOTS = 1 << 16
_PROBES = 32
_SLOT = struct.Struct("=16s16sQIxxxxQ")
_SUMMED = 40
_SOUND_BYTES = 44
_REMEMBERED = 4096


class _Remembered(msgspec.Struct, frozen=True, gc=False):
    """A slot that was sound: where it begins, its bytes up to and with the checksum, and what they say."""

    start: int
    sound: bytes
    opened_us: int
    session: str


class SharedSessions:
    """LIMIT: 65,536 sessions at a time; where a key's 32 places are all taken, the one seen longest ago is given up and its login gets a new
    session at its next call."""

    def __init__(self, path: Path, limits: Limits, slots: int = SLOTS) -> None:
        """Makes the map where it is absent. Raises OSError."""
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
            found, session, opened_us, seen_us, sound = self._slot(place)
            if found == key and sound:
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
        slot = _SLOT.pack(key, bytes.fromhex(session), opened_us, 0, 0)[:_SUMMED]
        self._remembered[key] = _Remembered(
            place * SLOT_BYTES, slot + zlib.crc32(slot).to_bytes(4, sys.byteorder), opened_us, session
        )

    def last_seen_us(self, key: bytes) -> int | None:
        """When `key` was last touched, by any worker, also if its session is closed since; None where the map does not know it (any more)."""
        for place in self._places(key):
            found, _, _, seen_us, sound = self._slot(place)
            if found == key and sound:
                return seen_us
        return None

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
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
            best, best_seen = -1, now_us + 1
            for place in self._places(key):
                found, session, opened_us, seen_us, sound = self._slot(place)
                live = sound and self._live(opened_us, seen_us, now_us)
                if live and found == key:
                    self._seen(place, now_us)
                    return session.hex()
                if sound and found == key:
                    # The key's own old place, so that a key is never in the map twice.
                    best = place
                    break
                age = seen_us if live else 0
                if age < best_seen:
                    best, best_seen = place, age
            return self._write(best, key, now_us)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _write(self, place: int, key: bytes, now_us: int) -> str:
        session = secrets.token_bytes(16)
        slot = _SLOT.pack(key, session, now_us, 0, now_us)
        slot = _SLOT.pack(key, session, now_us, zlib.crc32(slot[:_SUMMED]), now_us)
        start = place * SLOT_BYTES
        self._map[start : start + len(slot)] = slot
        return session.hex()

    def _places(self, key: bytes) -> Iterator[int]:
        start = int.from_bytes(key[:8], "big")
        return ((start + step) % self._slots for step in range(_PROBES))

    def _slot(self, place: int) -> tuple[bytes, bytes, int, int, bool]:
        """(key, session, opened, last seen, sound): an empty slot is not sound."""
        start = place * SLOT_BYTES
        slot = self._map[start : start + _SLOT.size]
        key, session, opened_us, checksum, seen_us = _SLOT.unpack(slot)
        return key, session, opened_us, seen_us, checksum == zlib.crc32(slot[:_SUMMED]) and opened_us > 0

    def _live(self, opened_us: int, seen_us: int, now_us: int) -> bool:
        return now_us - seen_us < self._idle_us and now_us - opened_us < self._absolute_us

    def _seen(self, place: int, now_us: int) -> None:
        # The last-seen field is the seventh eight-byte word of its slot.
        self._words[place * (SLOT_BYTES // 8) + 6] = now_us
