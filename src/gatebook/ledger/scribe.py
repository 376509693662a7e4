"""The scribe numbers a writer's drafts, opens its sessions, seals its payloads and gives the frames to store. It keeps no file."""

import re
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

from gatebook.ledger import entry, payload
from gatebook.ledger.entry import Clocked, Pay, Written
from gatebook.ledger.framing import FRAME_BYTES, FrameKind, frame, frame_head
from gatebook.ledger.merkle import Hash, leaf_hash
from gatebook.ledger.payload import SALT_BYTES, SessionKey
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft, Payload
from gatebook.model.secret import Secret

_SESSION = re.compile(r"[0-9a-f]{32}")
_OVERHEAD_BYTES = 512
_ENTRY_BYTES = entry.MAX_ENTRY_BYTES + _OVERHEAD_BYTES
_OPENING_BYTES = 2 * entry.MAX_ENTRY_BYTES
_CHANCE_BYTES = 10
_READY = 1024
"""Sessions kept ready. Each takes 4 KB (6 KB with a `Quick`), its key alone 32 bytes, and to make it ready anew 4 µs: sessions are many, most of
them silent."""
# Looked up once: a member of an enumeration is found by three calls.
_LEAF, _PAYLOAD = FrameKind.LEAF, FrameKind.PAYLOAD


Composed = tuple[bytes, Hash]
"""One draft as frames, one behind the other as they are stored (its leaf last), and its leaf's hash."""


class Quick(Protocol):
    """Native code that makes of a numbered draft what `Scribe.write_out` would, byte for byte, or says that it will not. Any thread may ask it."""

    def key(self, data_key: bytes, name: str, session: str, /) -> object | None:
        """What `compose` wants as the key of this session; None where there will be none."""

    def compose(
        self, draft: Draft, unix_us: int, clock: Clocked, chance: bytes, number: int, count: int | None, key: object, /
    ) -> Composed | None:
        """None for what is unusual and for whatever fails: nothing was made."""

    def fits(
        self, draft: Draft, unix_us: int, clock: Clocked, chance: bytes, number: int, count: int | None, key: object, /
    ) -> bool:
        """Whether the draft makes an entry that `compose` of the same arguments can give."""


class _Session:
    __slots__ = ("count", "data_key", "name", "ready", "seen_us")

    def __init__(self, name: str, data_key: tuple[Secret[bytes], str] | None) -> None:
        self.name, self.data_key = name, data_key
        self.count = 0
        self.seen_us = 0
        self.ready: SessionKey | None = None


class Scribe:
    """`entropy(n)` gives n random bytes. Without a `payload_key` sessions are not opened here and payloads are refused. `quick` is asked first, and
    whatever it does not compose is composed here.

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
        quick: Quick | None = None,
    ) -> None:
        self.writer, self.epoch = writer, epoch
        self.sequence = 0
        self._entropy, self._payload_key = entropy, payload_key
        self._development, self._piece_bytes = development, piece_bytes
        self._forget_after_us, self._quick = forget_after_us, quick
        self._sessions: OrderedDict[str | None, _Session] = OrderedDict()
        self._made_ready: deque[_Session] = deque()

    def bound(self, draft: Draft) -> int:
        """Not fewer bytes than the frames of `draft` will take."""
        size = _ENTRY_BYTES
        for part in draft.payloads:
            length = len(part.body)
            size += length + _OVERHEAD_BYTES * (1 + length // self._piece_bytes)
        return size if draft.session in self._sessions or draft.session is None else size + _OPENING_BYTES

    def compose(self, draft: Draft, unix_us: int, clock: Clocked) -> Composed:
        """The frames of `draft`, numbered. Raises LedgerUnavailable; then no number was taken."""
        # Two records are made for each call: what a known session needs is written out here.
        session = self._sessions.get(draft.session)
        if session is None or session.ready is None:
            return self._compose_first(draft, unix_us, clock)
        number, count, key = self.sequence + 1, session.count + 1, session.ready
        # One drawing for all: the identifier's bytes, then a salt for each payload.
        chance = self._entropy(_CHANCE_BYTES + SALT_BYTES * len(draft.payloads))
        composed = self.write_out(draft, unix_us, clock, chance, number, count, key)
        # Only now is the number taken.
        self.sequence = number
        session.count, session.seen_us = count, unix_us
        self._sessions.move_to_end(session.name)
        return composed

    def _compose_first(self, draft: Draft, unix_us: int, clock: Clocked) -> Composed:
        """As `compose`, where there is no session, or its key is not ready."""
        frames: list[bytes] = []
        session, number = self._begin(draft, unix_us, clock, frames)
        key = self._ready(session)
        count = session.count + 1 if session is not None else None
        chance = self._entropy(_CHANCE_BYTES + SALT_BYTES * len(draft.payloads))
        written, leaf = self.write_out(draft, unix_us, clock, chance, number, count, key)
        self._commit(session, number, unix_us)
        return b"".join((*frames, written)), leaf

    def defer(self, draft: Draft, unix_us: int, clock: Clocked) -> Callable[[], Composed]:
        """As `compose`, but sealing and hashing of the payloads is left to what is returned, which may run in another thread, once.

        The numbers are taken now. Raises LedgerUnavailable now; what is returned does not (a stand-in entry of the same length was made).
        """
        frames: list[bytes] = []
        session, number = self._begin(draft, unix_us, clock, frames)
        key = self._ready(session)
        count = session.count + 1 if session is not None else None
        chance = self._entropy(_CHANCE_BYTES + SALT_BYTES * len(draft.payloads))
        quick = self._quick
        if quick is None or not quick.fits(draft, unix_us, clock, chance, number, count, key.quick if key else None):
            blank = tuple(
                Pay(part=p.part, c="0" * 64, x="0" * 64, bytes=len(p.body), key="0" * 16) for p in draft.payloads
            )
            self._leaf(draft, unix_us, clock, chance, number, count, blank)
        self._commit(session, number, unix_us)

        def finish() -> Composed:
            written, leaf = self.write_out(draft, unix_us, clock, chance, number, count, key)
            return b"".join((*frames, written)), leaf

        return finish

    def write_out(
        self,
        draft: Draft,
        unix_us: int,
        clock: Clocked,
        chance: bytes,
        number: int,
        count: int | None,
        key: SessionKey | None,
    ) -> Composed:
        """The frames of a draft that is entry `number`, and the `count`-th of its session. `chance`: 10 bytes, and 32 for each payload.

        Changes nothing of the scribe's own: any thread may do it. Raises LedgerUnavailable."""
        if self._quick is not None:
            made = self._quick.compose(
                draft, unix_us, clock, chance, number, count, key.quick if key is not None else None
            )
            if made is not None:
                return made
        frames: list[bytes] = []
        pay = self._seal(draft.payloads, key, chance, number, frames) if draft.payloads else ()
        leaf = self._leaf(draft, unix_us, clock, chance, number, count, pay)
        frames.append(frame(_LEAF, leaf))
        return b"".join(frames), leaf_hash(leaf)

    def _begin(self, draft: Draft, unix_us: int, clock: Clocked, frames: list[bytes]) -> tuple[_Session | None, int]:
        """The session of `draft` (opened where it is new: `frames` gets what that takes) and the draft's own number."""
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
        return session, number

    def _open(
        self, draft: Draft, name: str, unix_us: int, clock: Clocked, number: int, frames: list[bytes]
    ) -> _Session:
        if self._payload_key is None:
            return _Session(name, None)
        data_key = Secret(self._entropy(payload.DATA_KEY_BYTES))
        wrapped = payload.wrap_data_key(data_key, self._payload_key, name, self.writer, self.epoch)
        key = payload.key_id(wrapped)
        session = _Session(name, (data_key, key))
        opening = Draft(
            event="session.open",
            ok=True,
            reason="opened",
            who=draft.who,
            origin=draft.origin,
            resource=draft.resource,
            session=name,
            policy=draft.policy,
            detail={"key": key, "key_sha256": payload.digest(wrapped)},
        )
        leaf = self._leaf(opening, unix_us, clock, self._entropy(_CHANCE_BYTES), number, 1, ())
        session.count = 1
        place = payload.Place(name, self.writer, self.epoch, number, 0, 0, 1)
        frames.append(frame(FrameKind.DATA_KEY, payload.stored_body(place, wrapped)))
        frames.append(frame(_LEAF, leaf))
        return session

    def _ready(self, session: _Session | None) -> SessionKey | None:
        """The session's key, ready to seal; None where it has none."""
        if session is None or session.data_key is None:
            return None
        if session.ready is None:
            if len(self._made_ready) == _READY:
                self._made_ready.popleft().ready = None
            self._made_ready.append(session)
            data_key, name = session.data_key
            session.ready = SessionKey(data_key, name, session.name, self.writer, self.epoch)
            if self._quick is not None:
                session.ready.quick = self._quick.key(data_key.reveal(), name, session.name)
        return session.ready

    def _seal(
        self, payloads: tuple[Payload, ...], key: SessionKey | None, chance: bytes, number: int, frames: list[bytes]
    ) -> tuple[Pay, ...]:
        if key is None:  # pragma: no cover - refused by _begin
            raise LedgerUnavailable("no data key")
        told: list[Pay] = []
        at, most = _CHANCE_BYTES, self._piece_bytes
        for part, recorded in enumerate(payloads):
            sealed, pay = key.seal(chance[at : at + SALT_BYTES], recorded.part, recorded.body, number, part)
            at += SALT_BYTES
            told.append(pay)
            if len(sealed) <= most:
                place = key.place(number, part)
                frames += (frame_head(_PAYLOAD, place, sealed), place, sealed)
                continue
            pieces = -(-len(sealed) // most)
            for piece in range(pieces):
                content = sealed[piece * most : (piece + 1) * most]
                place = key.place(number, part, piece, pieces)
                frames += (frame_head(_PAYLOAD, place, content), place, content)
        return tuple(told)

    def _leaf(
        self,
        draft: Draft,
        unix_us: int,
        clock: Clocked,
        chance: bytes,
        number: int,
        count: int | None,
        pay: tuple[Pay, ...],
    ) -> bytes:
        identifier = entry.uuid7(unix_us // 1000, chance[:_CHANCE_BYTES])
        written = Written(n=self.writer, e=self.epoch, s=number)
        return entry.compose(
            draft, unix_us=unix_us, clock=clock, identifier=identifier, written=written, count=count, pay=pay,
            development=self._development,
        )  # fmt: skip

    def _commit(self, session: _Session | None, number: int, unix_us: int) -> None:
        self.sequence = number
        if session is None:
            return
        if session.seen_us == 0:
            self._forget(unix_us)
            self._sessions[session.name] = session
        session.count += 1
        session.seen_us = unix_us
        self._sessions.move_to_end(session.name)

    def _forget(self, unix_us: int) -> None:
        while self._sessions:
            oldest = next(iter(self._sessions))
            if unix_us - self._sessions[oldest].seen_us < self._forget_after_us:
                return
            del self._sessions[oldest]


def largest_frame(piece_bytes: int) -> int:
    """Bytes of the largest frame a scribe makes with pieces of `piece_bytes`."""
    return max(piece_bytes, entry.MAX_ENTRY_BYTES) + _OVERHEAD_BYTES + FRAME_BYTES
