"""Moving payload frames out of segments into one file per session, so that doing it twice changes nothing."""

from typing import Protocol

from gatebook.ledger.files import Files
from gatebook.ledger.framing import FrameKind, read_frame
from gatebook.ledger.payload import PayloadError, Place, read_stored_body
from gatebook.ledger.reading import Stored, payload_name, stored_frames

Writer = tuple[str, str]
Position = tuple[int, int, int]


class PayloadFiles(Files, Protocol):
    def append(self, name: str, at: int, content: bytes) -> None:
        """`name` holds its first `at` bytes and then `content`, durably; made where it is absent."""


class _Session:
    __slots__ = ("end", "last", "waiting")

    def __init__(self) -> None:
        self.end = 0
        self.last: dict[Writer, Position] = {}
        self.waiting: list[bytes] = []


class Shelf:
    """Frames handed to `put` are in their session's file, durably, after `flush`. Frames that the file held already are passed over:
    after a crash between the two, the same frames come from the segments once more."""

    def __init__(self, files: PayloadFiles) -> None:
        self._files = files
        self._sessions: dict[str, _Session] = {}
        self.waiting_bytes = 0

    def put(self, frames: tuple[bytes, ...]) -> None:
        """Take the frames of one entry. Raises PayloadError where one is not whole."""
        for stored in frames:
            place = _place(stored)
            session = self._session(place.session)
            writer, position = (place.writer, place.epoch), (place.sequence, place.part, place.piece)
            if position <= session.last.get(writer, (0, 0, -1)):
                continue
            session.last[writer] = position
            session.waiting.append(stored)
            self.waiting_bytes += len(stored)

    def flush(self) -> None:
        """Everything taken is durable. Raises OSError."""
        for name, session in self._sessions.items():
            if session.waiting:
                content = b"".join(session.waiting)
                self._files.append(payload_name(name), session.end, content)
                session.end += len(content)
                session.waiting = []
        self.waiting_bytes = 0

    def forget(self, session: str) -> None:
        """`session` is closed: nothing of it is kept in memory; should it go on, its file is read again."""
        known = self._sessions.get(session)
        if known is not None and not known.waiting:
            del self._sessions[session]

    def _session(self, name: str) -> _Session:
        if name not in self._sessions:
            self._sessions[name] = self._read(name)
        return self._sessions[name]

    def _read(self, name: str) -> _Session:
        """What the session's file holds up to its last whole payload; what is torn behind it will be overwritten."""
        session = _Session()
        pending: list[Stored] = []
        try:
            with self._files.open(payload_name(name)) as file:
                for stored in stored_frames(file):
                    pending.append(stored)
                    if stored.place.piece == stored.place.pieces - 1:
                        for whole in pending:
                            at = whole.place
                            session.last[at.writer, at.epoch] = (at.sequence, at.part, at.piece)
                        session.end, pending = stored.end, []
        except (FileNotFoundError, PayloadError):
            return session
        return session


def _place(stored: bytes) -> Place:
    found = read_frame(stored, 0)
    if found is None or found.kind not in (FrameKind.PAYLOAD, FrameKind.DATA_KEY) or found.end != len(stored):
        raise PayloadError("not a frame of a payload")
    return read_stored_body(found.body)[0]
