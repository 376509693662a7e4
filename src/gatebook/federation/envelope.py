"""What the desk must keep and be able to read again, as it may lie in a database: AES-256-GCM under a key that is not in it.

    1 byte version ‖ 12 bytes nonce (chance) ‖ ciphertext and tag

The associated data is `TABLE|ROW|VERSION`: a ciphertext that is moved to another row, or said to be of another version, opens nothing.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
_VERSION = 1


def seal(key: bytes, table: str, row: str, plain: bytes, nonce: bytes) -> bytes:
    """`key`: 32 bytes. `nonce`: 12 bytes of chance, new each time."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a nonce has 12 bytes")
    return bytes([_VERSION]) + nonce + AESGCM(key).encrypt(nonce, plain, _bound_to(table, row, _VERSION))


def unseal(key: bytes, table: str, row: str, sealed: bytes) -> bytes | None:
    """What was sealed for this row; None where it was not, or with another key."""
    if len(sealed) <= 1 + NONCE_BYTES:
        return None
    version, nonce, rest = sealed[0], sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, rest, _bound_to(table, row, version))
    except InvalidTag:
        return None


def _bound_to(table: str, row: str, version: int) -> bytes:
    return f"{table}|{row}|{version}".encode()
