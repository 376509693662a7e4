"""Moving payload frames out of segments into one file per session, so that doing it twice changes nothing."""

from collections.abc import Callable
from io import SEEK_END
from typing import BinaryIO, Protocol

from gatebook.ledger.files import Files
from gatebook.ledger.framing import FRAME_BYTES
from gatebook.ledger.gist import Writer
from gatebook.ledger.payload import PayloadError, numbers_in, written_by
from gatebook.ledger.payload_frames import Stored, payload_name, sound_frames, stored_frames
from gatebook.ledger.remembering import Position, Shelved

_NOWHERE: Position = (0, 0, -1)


class PayloadFiles(Files, Protocol):
    def append(self, pieces: list[tuple[str, int, bytes]]) -> None:
        """For each (name, at, content): `name` holds its first `at` bytes and then `content`, durably; made where it is absent. A name comes
        once. Not atomic over several files."""


class _Session:
    __slots__ = ("end", "last", "waiting")

    def __init__(self, end: int, last: dict[Writer, Position]) -> None:
        self.end, self.last = end, last
        self.waiting: list[bytes] = []

    def pass_over(self, frames: list[Stored]) -> None:
        """These, the next in the file, are there: what comes again of them is not wanted."""
        for stored in frames:
            at = stored.place
            self.last[at.writer, at.epoch] = (at.sequence, at.part, at.piece)
        self.end = frames[-1].end


class Shelf:
    """Frames handed to `put` are in their session's file, durably, after `flush`. Frames that the file held already are passed over:
    after a crash between the two, the same frames come from the segments once more."""

    def __init__(
        self,
        files: PayloadFiles,
        remembered: dict[str, Shelved] | None = None,
        *,
        in_log: Callable[[Writer, int], bool],
    ) -> None:
        """`remembered`: from `remember`, of the process before. `in_log`: this writer's entry of that sequence has its place, so that its frames
        were durable before, and no segment will bring them again."""
        self._files, self._in_log = files, in_log
        self._damaged: dict[str, None] = {}
        self._remembered = remembered or {}
        self._sessions: dict[str, _Session] = {}
        self._waiting: dict[str, None] = {}
        self._by: dict[Writer, bytes] = {}
        self.waiting_bytes = 0

    def put(self, frames: tuple[bytes, ...], writer: Writer, session: str | None, sequence: int) -> None:
        """Take the frames of one entry: whole as a segment held them, checked against their sums there. Raises PayloadError where one is not of
        this writer, session and entry: it would hide another's behind it."""
        by = self._by.get(writer)
        if by is None:
            by = self._by[writer] = written_by(*writer)
        for stored in frames:
            named, number, part, piece, _ = numbers_in(stored, FRAME_BYTES, by)
            if session is None or number != sequence or named.hex() != session:
                raise PayloadError("a stored frame of another entry")
            known = self._session(session)
            position = (number, part, piece)
            if position <= known.last.get(writer, _NOWHERE):
                continue
            known.last[writer] = position
            if not known.waiting:
                self._waiting[session] = None
            known.waiting.append(stored)
            self.waiting_bytes += len(stored)

    @property
    def damaged(self) -> tuple[str, ...]:
        """Names of files that were found to hold bytes that are no frame before frames that are: a disk, or a person, has changed them. What can be
        read there is as it was, and what is new stands behind it."""
        return tuple(self._damaged)

    def flush(self) -> None:
        """Everything taken is durable. Raises OSError."""
        pieces: list[tuple[str, int, bytes]] = []
        for name in self._waiting:
            session = self._sessions[name]
            pieces.append((payload_name(name), session.end, b"".join(session.waiting)))
        self._files.append(pieces)
        for name, (_, end, content) in zip(self._waiting, pieces, strict=True):
            session = self._sessions[name]
            session.end, session.waiting = end + len(content), []
        self._waiting = {}
        self.waiting_bytes = 0

    def remember(self) -> dict[str, Shelved]:
        """What is known of the sessions' files; ask after `flush`."""
        known = {name: Shelved(session.end, session.last) for name, session in self._sessions.items()}
        return {**self._remembered, **known}

    def forget(self, session: str) -> None:
        """`session` is closed: nothing of it is kept in memory; should it go on, its file is read again."""
        known = self._sessions.get(session)
        if known is not None and session not in self._waiting:
            del self._sessions[session]
        self._remembered.pop(session, None)

    def _session(self, name: str) -> _Session:
        known = self._sessions.get(name)
        if known is None:
            known = self._sessions[name] = self._read(name)
            if known.end:
                # Written once more, as nothing: a sealer that was killed may have written what is there, and not synced it.
                self._waiting[name] = None
        return known

    def _read(self, name: str) -> _Session:
        """What the session's file holds up to its last whole payload, or up to the last frame of an entry that is in the log; what is torn behind it
        will be overwritten."""
        before = self._remembered.pop(name, None)
        session = _Session(0, {})
        pending: list[Stored] = []
        try:
            with self._files.open(payload_name(name)) as file:
                # Remembered and shorter than that: somebody put back an older copy.
                if before is not None and before.end <= file.seek(0, SEEK_END):
                    session = _Session(before.end, before.last)
                file.seek(session.end)
                try:
                    for stored in stored_frames(file):
                        pending.append(stored)
                        if stored.place.piece == stored.place.pieces - 1:
                            session.pass_over(pending)
                            pending = []
                except PayloadError:
                    self._look_behind(name, session, file)
        except FileNotFoundError:
            return session
        return session

    def _look_behind(self, name: str, session: _Session, file: BinaryIO) -> None:
        """Behind `session.end` are bytes that are no frame. Mostly they are what a power loss left of the last append: then no entry behind them is
        in the log, for none gets its place before its frames are durable. Where one is, the bytes were whole once: they stay, and so does what is behind
        them. Cutting there would destroy recordings because of one bit before them."""
        start, named = session.end, bytes.fromhex(name)
        try:
            kept = max(
                (stored.end for stored in sound_frames(file, start, named) if self._is_in_log(stored)), default=0
            )
        except PayloadError:
            # Nobody knows what is behind it: all of it stays.
            self._damaged[payload_name(name)] = None
            session.end = file.seek(0, SEEK_END)
            return
        if not kept:
            return
        self._damaged[payload_name(name)] = None
        pending: list[Stored] = []
        for stored in sound_frames(file, start, named):
            if stored.end > kept and stored.start != (pending[-1].end if pending else session.end):
                return
            pending.append(stored)
            if stored.end <= kept or stored.place.piece == stored.place.pieces - 1:
                session.pass_over(pending)
                pending = []

    def _is_in_log(self, stored: Stored) -> bool:
        return self._in_log((stored.place.writer, stored.place.epoch), stored.place.sequence)
