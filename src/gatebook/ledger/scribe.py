"""The scribe numbers a writer's drafts, opens its sessions, seals its payloads and gives the frames to store. It keeps no file."""

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatebook.ledger import entry, payload
from gatebook.ledger.entry import Clocked, Pay, Written
from gatebook.ledger.framing import FRAME_BYTES, FrameKind, frame
from gatebook.ledger.merkle import Hash, leaf_hash
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft
from gatebook.model.secret import Secret

_SESSION = re.compile(r"[0-9a-f]{32}")
_OVERHEAD_BYTES = 512
_OPENING_BYTES = 2 * entry.MAX_ENTRY_BYTES
_CIPHERS = 256
"""Ciphers kept ready. Each takes 2.6 KB, its key 32 bytes, and to make it anew 2 µs: sessions are many, most of them silent."""


class Composed(msgspec.Struct, frozen=True):
    """One draft as frames, in the order they are stored (its leaf last), and its leaf's hash."""

    frames: list[bytes]
    leaf: Hash


class _Session:
    __slots__ = ("count", "data_key", "key", "seen_us")

    def __init__(self, data_key: Secret[bytes] | None, key: str) -> None:
        self.data_key, self.key = data_key, key
        self.count = 0
        self.seen_us = 0


class Scribe:
    """`entropy(n)` gives n random bytes. Without a `payload_key` sessions are not opened here and payloads are refused.

    Not thread-safe: one scribe, one thread; what `defer` returns may run elsewhere.
    """

    def __init__(
        self,
        *,
        writer: str,
        epoch: str,
        entropy: Callable[[int], bytes],
        payload_key: payload.PublicKey | None,
        development: bool,
        piece_bytes: int,
        forget_after_us: int,
    ) -> None:
        self.writer, self.epoch = writer, epoch
        self.sequence = 0
        self._entropy, self._payload_key = entropy, payload_key
        self._development, self._piece_bytes = development, piece_bytes
        self._forget_after_us = forget_after_us
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._cipher = lru_cache(_CIPHERS)(AESGCM)

    def bound(self, draft: Draft) -> int:
        """Not fewer bytes than the frames of `draft` will take."""
        size = entry.MAX_ENTRY_BYTES + _OVERHEAD_BYTES
        for part in draft.payloads:
            size += len(part.body) + _OVERHEAD_BYTES * (1 + len(part.body) // self._piece_bytes)
        return size if draft.session in self._sessions or draft.session is None else size + _OPENING_BYTES

    def compose(self, draft: Draft, unix_us: int, clock: Clocked) -> Composed:
        """The frames of `draft`, numbered. Raises LedgerUnavailable; then no number was taken."""
        session, frames, written = self._begin(draft, unix_us, clock)
        pay = self._seal(draft, session, written, frames) if draft.payloads else ()
        leaf = self._leaf(draft, unix_us, clock, written, session, pay)
        self._commit(draft, session, written, unix_us)
        frames.append(frame(FrameKind.LEAF, leaf))
        return Composed(frames, leaf_hash(leaf))

    def defer(self, draft: Draft, unix_us: int, clock: Clocked) -> Callable[[], Composed]:
        """As `compose`, but sealing and hashing of the payloads is left to what is returned, which may run in another thread, once.

        The numbers are taken now. Raises LedgerUnavailable now; what is returned does not (a stand-in entry of the same length was made).
        """
        session, frames, written = self._begin(draft, unix_us, clock)
        count = session.count + 1 if session is not None else None
        blank = tuple(Pay(part=p.part, c="0" * 64, x="0" * 64, bytes=len(p.body), key="0" * 16) for p in draft.payloads)
        self._leaf(draft, unix_us, clock, written, session, blank)
        self._commit(draft, session, written, unix_us)

        def finish() -> Composed:
            pay = self._seal(draft, session, written, frames)
            leaf = self._leaf(draft, unix_us, clock, written, session, pay, count)
            frames.append(frame(FrameKind.LEAF, leaf))
            return Composed(frames, leaf_hash(leaf))

        return finish

    def _begin(self, draft: Draft, unix_us: int, clock: Clocked) -> tuple[_Session | None, list[bytes], Written]:
        """The session of `draft` (opened where it is new), the frames that opening it takes, and the draft's own number."""
        frames: list[bytes] = []
        number = self.sequence + 1
        session: _Session | None = None
        if draft.session is not None:
            session = self._sessions.get(draft.session)
            if session is None:
                if not _SESSION.fullmatch(draft.session):
                    raise LedgerUnavailable("a session is named by 32 hex digits")
                session = self._open(draft, draft.session, unix_us, clock, number, frames)
                number += session.count
        if draft.payloads and (session is None or session.data_key is None):
            raise LedgerUnavailable("a payload can be recorded only within a session and with a payload key")
        return session, frames, Written(n=self.writer, e=self.epoch, s=number)

    def _open(
        self, draft: Draft, name: str, unix_us: int, clock: Clocked, number: int, frames: list[bytes]
    ) -> _Session:
        if self._payload_key is None:
            return _Session(None, "")
        data_key = Secret(self._entropy(payload.DATA_KEY_BYTES))
        wrapped = payload.wrap_data_key(data_key, self._payload_key, name, self.writer, self.epoch)
        session = _Session(data_key, payload.key_id(wrapped))
        opening = Draft(
            event="session.open",
            ok=True,
            reason="opened",
            who=draft.who,
            origin=draft.origin,
            resource=draft.resource,
            session=name,
            policy=draft.policy,
            detail={"key": session.key, "key_sha256": payload.digest(wrapped)},
        )
        written = Written(n=self.writer, e=self.epoch, s=number)
        leaf = self._leaf(opening, unix_us, clock, written, session, ())
        session.count = 1
        place = payload.Place(name, self.writer, self.epoch, number, 0, 0, 1)
        frames.append(frame(FrameKind.DATA_KEY, payload.stored_body(place, wrapped)))
        frames.append(frame(FrameKind.LEAF, leaf))
        return session

    def _seal(self, draft: Draft, session: _Session | None, written: Written, frames: list[bytes]) -> tuple[Pay, ...]:
        if session is None or session.data_key is None or draft.session is None:  # pragma: no cover - refused by _begin
            raise LedgerUnavailable("no data key")
        cipher = self._cipher(session.data_key.reveal())
        told: list[Pay] = []
        for part, recorded in enumerate(draft.payloads):
            place = payload.Place(draft.session, self.writer, self.epoch, written.s, part, 0, 1)
            salt = self._entropy(payload.SALT_BYTES)
            sealed, pay = payload.seal(cipher, session.key, salt, recorded.part, recorded.body, place)
            told.append(pay)
            if len(sealed) <= self._piece_bytes:
                frames.append(frame(FrameKind.PAYLOAD, payload.stored_body(place, sealed)))
                continue
            pieces = -(-len(sealed) // self._piece_bytes)
            for piece in range(pieces):
                here = payload.Place(draft.session, self.writer, self.epoch, written.s, part, piece, pieces)
                content = sealed[piece * self._piece_bytes : (piece + 1) * self._piece_bytes]
                frames.append(frame(FrameKind.PAYLOAD, payload.stored_body(here, content)))
        return tuple(told)

    def _leaf(
        self,
        draft: Draft,
        unix_us: int,
        clock: Clocked,
        written: Written,
        session: _Session | None,
        pay: tuple[Pay, ...],
        count: int | None = None,
    ) -> bytes:
        if count is None and session is not None:
            count = session.count + 1
        return entry.compose(
            draft,
            unix_us=unix_us,
            clock=clock,
            identifier=entry.uuid7(unix_us // 1000, self._entropy(10)),
            written=written,
            count=count,
            pay=pay,
            development=self._development,
        )

    def _commit(self, draft: Draft, session: _Session | None, written: Written, unix_us: int) -> None:
        self.sequence = written.s
        if session is None or draft.session is None:
            return
        if session.seen_us == 0:
            self._forget(unix_us)
            self._sessions[draft.session] = session
        session.count += 1
        session.seen_us = unix_us
        self._sessions.move_to_end(draft.session)

    def _forget(self, unix_us: int) -> None:
        while self._sessions:
            oldest = next(iter(self._sessions))
            if unix_us - self._sessions[oldest].seen_us < self._forget_after_us:
                return
            del self._sessions[oldest]


def largest_frame(piece_bytes: int) -> int:
    """Bytes of the largest frame a scribe makes with pieces of `piece_bytes`."""
    return max(piece_bytes, entry.MAX_ENTRY_BYTES) + _OVERHEAD_BYTES + FRAME_BYTES
