"""Payloads beside the log: masked bodies sealed so that the process that writes them cannot read old ones.

A data key (AES-256-GCM) lives in the writer's memory for one session; it is stored only wrapped to the payload key's public half (HPKE,
RFC 9180, KEM MLKEM768X25519). What is signed with the entry is in `Pay`; docs/adr/0001-payload-digest.md says why there are two digests.
"""

import base64
import hmac
import struct
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatebook.ledger.entry import Pay
from gatebook.model.mac import pads
from gatebook.model.secret import Secret

PublicKey = hpke.MLKEM768X25519PublicKey
PrivateKey = hpke.MLKEM768X25519PrivateKey

SALT_BYTES = 32
DATA_KEY_BYTES = 32
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_MLKEM_SEED_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184
_WRAP = b"gatebook data key 1"
_SEAL = b"gatebook payload 1"
_PLACE = struct.Struct("<16sQIII")
_NONCE = struct.Struct(">QI")
_pack_place, _pack_nonce = _PLACE.pack, _NONCE.pack
_BEGINNINGS = {part: b"%c%b" % (len(part), part.encode()) for part in ("request", "response", "event", "message")}
"""What a sealed body begins with: which part of a call it is, and its length."""


class PayloadError(ValueError):
    """A key that cannot be read, or a payload that does not open or is not what its entry says."""


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a stored frame belongs: the entry (writer, epoch, sequence) of a session, its `part` from 0, piece `piece` of `pieces`.
    A data key's frame has part 0 and one piece, and the sequence of its `session.open`."""

    session: str
    writer: str
    epoch: str
    sequence: int
    part: int
    piece: int
    pieces: int


def generate_key_pair() -> tuple[bytes, bytes]:
    """A new payload key pair as the contents of two files (private, public), one line each: `PAYLOAD+PRIVATE+<id>+<base64>` and
    `PAYLOAD+PUBLIC+<id>+<base64>`."""
    mlkem, x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    private = mlkem.private_bytes_raw() + x25519.private_bytes_raw()
    return _text("PRIVATE", public, private), _text("PUBLIC", public, public)


def load_public_key(text: str) -> PublicKey:
    """Raises PayloadError."""
    raw = _raw("PUBLIC", text, _MLKEM_PUBLIC_BYTES + 32)
    return _public(raw, text)


def load_private_key(text: str) -> PrivateKey:
    """Raises PayloadError; its words never hold the key."""
    raw = _raw("PRIVATE", text, _MLKEM_SEED_BYTES + 32)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(raw[:_MLKEM_SEED_BYTES])
    x25519 = X25519PrivateKey.from_private_bytes(raw[_MLKEM_SEED_BYTES:])
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    if text.strip().split("+")[2] != _identifier(public):
        raise PayloadError("the payload key does not match its own id")
    return PrivateKey(mlkem, x25519)


def wrap_data_key(data_key: Secret[bytes], public: PublicKey, session: str, writer: str, epoch: str) -> bytes:
    """The data key of this session and writer, sealed to `public`; about 75 µs."""
    return _SUITE.encrypt(data_key.reveal(), public, info=_bound(_WRAP, session, writer, epoch))


def open_data_key(wrapped: bytes, private: PrivateKey, place: Place) -> Secret[bytes]:
    """Raises PayloadError."""
    try:
        return Secret(_SUITE.decrypt(wrapped, private, info=_bound(_WRAP, place.session, place.writer, place.epoch)))
    except (InvalidTag, ValueError) as error:
        raise PayloadError("the data key does not open: another payload key, or changed bytes") from error


def digest(stored: bytes) -> str:
    """SHA-256 in hex, of sealed bytes or a wrapped key: what an entry says of what is stored beside the log."""
    return sha256(stored).hexdigest()


def key_id(wrapped: bytes) -> str:
    """A data key's name in entries: the first 16 hex digits of SHA-256 over its wrapped form."""
    return digest(wrapped)[:16]


class SessionKey:
    """The data key of one session and writer, ready to seal, with what is the same in all that it seals. It takes 3 KB and is made in 3 µs.
    Any thread may use it."""

    __slots__ = ("_author", "_encrypt", "_name", "_sealed_for", "_session", "quick")

    def __init__(self, data_key: Secret[bytes], name: str, session: str, writer: str, epoch: str) -> None:
        """`name`: its `key_id`."""
        self._encrypt, self._name = AESGCM(data_key.reveal()).encrypt, name
        self._sealed_for = _bound(_SEAL, session, writer, epoch)
        self._session, self._author = bytes.fromhex(session), written_by(writer, epoch)
        self.quick: object | None = None
        """The same key, as a `scribe.Quick` wants it."""

    def seal(self, salt: bytes, part: str, body: bytes, sequence: int, number: int) -> tuple[bytes, Pay]:
        """`body`, the payload `number` (from 0) of entry `sequence`, sealed, and what its entry says of it.

        The nonce is (sequence, number), which a data key sees once: its writer never goes back. `salt`: SALT_BYTES that nobody else has."""
        place = b"%b\0%d\0%d" % (self._sealed_for, sequence, number)
        sealed = self._encrypt(_pack_nonce(sequence, number), _BEGINNINGS[part] + salt + body, place)
        inner, outer = pads(salt)
        commitment = sha256(outer + sha256(inner + body).digest()).hexdigest()  # HMAC-SHA-256(salt, body)
        told = Pay(part=part, c=commitment, x=sha256(sealed).hexdigest(), bytes=len(body), key=self._name)
        return sealed, told

    def place(self, sequence: int, number: int, piece: int = 0, pieces: int = 1) -> bytes:
        """What a stored frame's body begins with; see `Place`."""
        return _pack_place(self._session, sequence, number, piece, pieces) + self._author


def open_sealed(sealed: bytes, data_key: Secret[bytes], pay: Pay, place: Place) -> bytes:
    """The masked body of a payload, which is the one its entry committed to. Raises PayloadError."""
    if digest(sealed) != pay.x:
        raise PayloadError("the sealed bytes are not those of the entry")
    try:
        plain = AESGCM(data_key.reveal()).decrypt(_NONCE.pack(place.sequence, place.part), sealed, _aad(place))
    except InvalidTag as error:
        raise PayloadError("the payload does not open") from error
    length = 1 + plain[0]
    part, salt, body = plain[1:length].decode(), plain[length : length + SALT_BYTES], plain[length + SALT_BYTES :]
    if part != pay.part or len(body) != pay.bytes or hmac.digest(salt, body, "sha256").hex() != pay.c:
        raise PayloadError("the payload is not what its entry committed to")
    return body


def stored_body(place: Place, content: bytes) -> bytes:
    """The body of a stored frame: its place in clear, then sealed bytes or a wrapped key."""
    numbers = _PLACE.pack(bytes.fromhex(place.session), place.sequence, place.part, place.piece, place.pieces)
    return numbers + written_by(place.writer, place.epoch) + content


def read_stored_body(body: bytes) -> tuple[Place, bytes]:
    """The inverse of `stored_body`. Raises PayloadError."""
    try:
        session, sequence, part, piece, pieces = _PLACE.unpack_from(body)
        at = _PLACE.size
        writer = body[at + 1 : at + 1 + body[at]].decode()
        at += 1 + body[at]
        epoch = body[at + 1 : at + 1 + body[at]].decode()
        at += 1 + body[at]
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise PayloadError("a stored frame without a place") from error
    return Place(session.hex(), writer, epoch, sequence, part, piece, pieces), body[at:]


def written_by(writer: str, epoch: str) -> bytes:
    """How a stored body names its writer: what follows the numbers."""
    return b"".join((bytes([len(writer)]), writer.encode(), bytes([len(epoch)]), epoch.encode()))


def numbers_in(stored: bytes, at: int, by: bytes) -> tuple[bytes, int, int, int, int]:
    """(session, sequence, part, piece, pieces) of the stored body at offset `at`, which `by` (from `written_by`) wrote; quicker than
    `read_stored_body`. Raises PayloadError."""
    if not stored.startswith(by, at + _PLACE.size):
        raise PayloadError("a stored frame of another writer")
    session, sequence, part, piece, pieces = _PLACE.unpack_from(stored, at)
    return session, sequence, part, piece, pieces


def _aad(place: Place) -> bytes:
    return b"%b\0%d\0%d" % (_bound(_SEAL, place.session, place.writer, place.epoch), place.sequence, place.part)


def _bound(label: bytes, *names: str) -> bytes:
    return b"\0".join((label, *(name.encode() for name in names)))


def _public(raw: bytes, text: str) -> PublicKey:
    if text.strip().split("+")[2] != _identifier(raw):
        raise PayloadError("the payload key does not match its own id")
    mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES])
    return PublicKey(mlkem, X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:]))


def _identifier(public: bytes) -> str:
    return sha256(public).hexdigest()[:8]


def _text(kind: str, public: bytes, raw: bytes) -> bytes:
    return f"PAYLOAD+{kind}+{_identifier(public)}+{base64.b64encode(raw).decode()}\n".encode()


def _raw(kind: str, text: str, length: int) -> bytes:
    parts = text.strip().split("+", 3)
    if len(parts) != 4 or parts[:2] != ["PAYLOAD", kind]:
        raise PayloadError(f"not a payload key (PAYLOAD+{kind}+id+base64)")
    try:
        raw = base64.b64decode(parts[3], validate=True)
    except ValueError as error:
        raise PayloadError("the payload key is not base64") from error
    if len(raw) != length:
        raise PayloadError("the payload key has a wrong length")
    return raw
