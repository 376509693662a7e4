"""HMAC-SHA-256 of short texts (RFC 2104 §2), written out: `hmac.digest` looks its hash up in OpenSSL's tables each time, which costs as
much as hashing 1 KB. With `inner, outer = pads(key)` it is `sha256(outer + sha256(inner + text).digest())`."""

from typing import Final

_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


def pads(key: bytes) -> tuple[bytes, bytes]:
    """The two paddings of a key. Raises ValueError for one of more than 64 bytes, which RFC 2104 would have hashed first."""
    if len(key) > _BLOCK_BYTES:
        raise ValueError("a key for HMAC-SHA-256 has at most 64 bytes here")
    padded = key.ljust(_BLOCK_BYTES, b"\0")
    return padded.translate(_INNER), padded.translate(_OUTER)
