"""C2SP tlog-checkpoint: origin, size and root as the text of a signed note. No extension lines, ever (ML-DSA cosignatures skip them)."""

import base64
import binascii

import msgspec

from gatebook.ledger.note import NoteError, Signer, Verifier, open_note, sign, split_note


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One state of the log: `root` (32 bytes) over the first `size` entries."""

    origin: str
    size: int
    root: bytes


def checkpoint_text(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """The signed note of `checkpoint`. Pure; that one size gets one root is the sealer's care."""
    return sign(checkpoint_text(checkpoint), signer)


def open_checkpoint(note: bytes, verifier: Verifier, origin: str | None = None) -> Checkpoint:
    """The checkpoint in `note`, signed by the log's own key and of this origin (the key's name where not given). Raises NoteError."""
    checkpoint = _parse(open_note(note, verifier))
    if checkpoint.origin != (origin or verifier.name):
        raise NoteError(f"a checkpoint of {checkpoint.origin!r}, not of {origin or verifier.name!r}")
    return checkpoint


def claimed(note: bytes) -> Checkpoint:
    """The checkpoint that `note` claims to be; its signature is not looked at. Raises NoteError."""
    return _parse(split_note(note)[0])


def _parse(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] != "" or not lines[0]:
        raise NoteError("a checkpoint is three lines: origin, size, root")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except binascii.Error as error:
        raise NoteError("the root is not base64") from error
    if not lines[1].isascii() or not lines[1].isdecimal() or str(int(lines[1])) != lines[1]:
        raise NoteError("the size is not a plain number")
    checkpoint = Checkpoint(origin=lines[0], size=int(lines[1]), root=root)
    if len(root) != 32 or checkpoint_text(checkpoint) != text:
        raise NoteError("the root is not 32 bytes in canonical base64")
    return checkpoint
