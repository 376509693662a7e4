"""What the sealer knows of a log beside its tree, as bytes that it can take up again instead of reading hours of entries.

Never a second truth: everything in it follows from the entries below its size, it says by its root which entries those are, and only the
holder of the log key can have written it. What does not hold is not there. docs/adr/0011-the-sealer-remembers.md
"""

import hmac
from collections.abc import Callable

import msgspec

from gatebook.ledger.entry import encode
from gatebook.ledger.gist import Writer
from gatebook.ledger.merkle import Hash
from gatebook.ledger.note import Signer
from gatebook.ledger.sessions import OpenWork, Session

VERSION = 1
_MAGIC = b"gatebook sealer memory\n"
_LABEL = b"gatebook sealer memory 1"
_MAC_BYTES = 32

Position = tuple[int, int, int]


class Shelved(msgspec.Struct, frozen=True):
    """A session's payload file: durable up to `end`, and the last frame of each writer in it."""

    end: int
    last: dict[Writer, Position]


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """True of the first `size` entries, whose root is `root`: the last sequence number of each epoch that still has segments, the index of
    its `log.recover` where it has one, every open session, the closed ones that may go on, longest closed first, and their payload files.
    `from_first`: all of these entries were read; false where an older release does not say so."""

    v: int = VERSION
    size: int
    root: Hash
    cursors: dict[Writer, int]
    recovered: dict[Writer, int]
    open: list[Session]
    closed: list[Session]
    shelved: dict[str, Shelved]
    from_first: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Memory)


def pack(memory: Memory, signer: Signer) -> bytes:
    """`memory`, and a code over it that only the holder of `signer` can make."""
    body = _encoder.encode(_with(memory, lambda work: OpenWork(work.entry(), work.by)))
    return b"".join((_MAGIC, _code(body, signer), body))


def unpack(packed: bytes, signer: Signer) -> Memory | None:
    """The inverse of `pack`; None where it is of another key, another form or changed in any byte."""
    start = len(_MAGIC) + _MAC_BYTES
    body = packed[start:]
    if not packed.startswith(_MAGIC) or not hmac.compare_digest(packed[len(_MAGIC) : start], _code(body, signer)):
        return None
    try:
        memory = _decoder.decode(body)
    except msgspec.MsgspecError:
        return None
    return _with(memory, lambda work: OpenWork(encode(work.entry()), work.by)) if memory.v == VERSION else None


def _with(memory: Memory, form: Callable[[OpenWork], OpenWork]) -> Memory:
    """`memory` with all that is under way in another form: on the disk as the entry itself, which each release reads, else as its leaf."""

    def formed(sessions: list[Session]) -> list[Session]:
        return [
            msgspec.structs.replace(session, work={call: form(work) for call, work in session.work.items()})
            if session.work
            else session
            for session in sessions
        ]

    return msgspec.structs.replace(memory, open=formed(memory.open), closed=formed(memory.closed))


def _code(body: bytes, signer: Signer) -> bytes:
    key = hmac.digest(signer.seed.reveal(), _LABEL, "sha256")
    return hmac.digest(key, body, "sha256")
