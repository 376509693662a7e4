"""C2SP signed-note with Ed25519 (type 0x01): keys in their text forms, signing, opening."""

import base64
import hashlib
import re

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gatebook.model.secret import Secret

ED25519 = 1
MAX_NOTE_BYTES = 1 << 20
MAX_SIGNATURES = 100
_SIGNATURE = re.compile(r"— (\S+) ([A-Za-z0-9+/]+={0,2})\n")


class NoteError(ValueError):
    """A key or a note that cannot be read, or a signature that does not hold."""


class Signer(msgspec.Struct, frozen=True):
    """A log's signing key: its name and number, which verifiers look for, and the seed."""

    name: str
    key_hash: bytes
    seed: Secret[bytes]

    @property
    def vkey(self) -> str:
        """The verifier's half: `<name>+<hash>+<base64>`, to be published where the log's own host cannot change it."""
        return _vkey(self.name, _key(self.seed).public_key().public_bytes_raw())


class Verifier(msgspec.Struct, frozen=True):
    name: str
    key_hash: bytes
    public: bytes


def generate_key(origin: str) -> tuple[str, str]:
    """A new key pair named `origin`, as text: (`PRIVATE+KEY+name+hash+base64`, `name+hash+base64`)."""
    _check_name(origin)
    seed = Ed25519PrivateKey.generate().private_bytes_raw()
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    secret = base64.b64encode(bytes([ED25519]) + seed).decode()
    return f"PRIVATE+KEY+{origin}+{_key_hash(origin, public).hex()}+{secret}", _vkey(origin, public)


def load_signer(text: str) -> Signer:
    """The signer in `text`. Raises NoteError; its words never hold the key."""
    parts = text.strip().split("+", 4)
    if len(parts) != 5 or parts[:2] != ["PRIVATE", "KEY"]:
        raise NoteError("not a signing key (PRIVATE+KEY+name+hash+base64)")
    name, seed = parts[2], _key_bytes(parts[4])
    _check_name(name)
    signer = Signer(name, _key_hash(name, _key(Secret(seed)).public_key().public_bytes_raw()), Secret(seed))
    if signer.key_hash.hex() != parts[3]:
        raise NoteError("the signing key does not match its own hash")
    return signer


def load_verifier(text: str) -> Verifier:
    """The verifier in `text`. Raises NoteError."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or parts[:2] == ["PRIVATE", "KEY"]:
        raise NoteError("not a verifier key (name+hash+base64)")
    name, public = parts[0], _key_bytes(parts[2])
    _check_name(name)
    if _key_hash(name, public).hex() != parts[1]:
        raise NoteError("the verifier key does not match its own hash")
    return Verifier(name, bytes.fromhex(parts[1]), public)


def sign(text: str, signer: Signer) -> bytes:
    """`text` as a note with this one signature. Raises NoteError where `text` cannot be one."""
    if not text.endswith("\n") or any(character < " " and character != "\n" for character in text):
        raise NoteError("a note's text ends in a newline and holds no other control character")
    signature = _key(signer.seed).sign(text.encode())
    line = base64.b64encode(signer.key_hash + signature).decode()
    return f"{text}\n— {signer.name} {line}\n".encode()


def open_note(note: bytes, verifier: Verifier) -> str:
    """The text of `note`, signed by `verifier` itself: other signatures count for nothing here. Raises NoteError.

    x/mod's Open takes any known key; a witness must not be able to stand in for the log.
    """
    text, signatures = split_note(note)
    for name, line in signatures:
        if name == verifier.name and line[:4] == verifier.key_hash:
            try:
                Ed25519PublicKey.from_public_bytes(verifier.public).verify(line[4:], text.encode())
            except InvalidSignature as error:
                raise NoteError(f"the signature of {name} does not hold") from error
            return text
    raise NoteError(f"not signed by {verifier.name}+{verifier.key_hash.hex()}")


def split_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """The text, and each signature line as (name, key hash ‖ signature); nothing is verified. Raises NoteError on any other form."""
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError("the note is too large")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError("the note is not UTF-8") from error
    if any(character < " " and character != "\n" for character in whole):
        raise NoteError("the note holds a control character")
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail:
        raise NoteError("the note has no signatures")
    signatures: list[tuple[str, bytes]] = []
    position = 0
    while position < len(tail):
        line = _SIGNATURE.match(tail, position)
        if line is None or len(signatures) == MAX_SIGNATURES:
            raise NoteError("a signature line cannot be read")
        raw = _canonical_base64(line[2])
        if len(raw) < 5:
            raise NoteError("a signature is too short")
        signatures.append((line[1], raw))
        position = line.end()
    return text + "\n", signatures


def _key(seed: Secret[bytes]) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed.reveal())


def _key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([ED25519]) + public).digest()[:4]


def _vkey(name: str, public: bytes) -> str:
    encoded = base64.b64encode(bytes([ED25519]) + public).decode()
    return f"{name}+{_key_hash(name, public).hex()}+{encoded}"


def _key_bytes(text: str) -> bytes:
    raw = _canonical_base64(text)
    if len(raw) != 33 or raw[0] != ED25519:
        raise NoteError("not an Ed25519 key of signed-note type 0x01")
    return raw[1:]


def _canonical_base64(text: str) -> bytes:
    # b64decode ignores the unused bits of the last character: without the second encoding a changed character could pass.
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise NoteError("not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise NoteError("not canonical base64")
    return raw


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() or character < " " for character in name):
        raise NoteError("a key's name is not empty and holds no space and no plus")
