"""Sealed MCP session ids: what the client holds instead of the upstream's own.

Any worker opens them (the key is the deployment's and survives restarts), and one taken from another person, client or server
opens to nothing: python-sdk CVE-2026-52869 was an id that anybody could use.
"""

import base64
import binascii
import os

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatebook.model.principal import Principal

_NONCE_BYTES = 12


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    upstream_id: str
    created_us: int


class SessionHandles:
    """Seals and opens MCP session ids with AES-256-GCM; the owner is bound as associated data. `key`: 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, upstream_id: str, owner: Principal, server: str, now_us: int) -> bytes:
        """An id for the client: base64url, visible ASCII, meaningless to anybody else (MCP 2025-11-25, transports, session management)."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = msgspec.json.encode(_Sealed(upstream_id, now_us))
        return base64.urlsafe_b64encode(nonce + self._aead.encrypt(nonce, plain, _owner(owner, server))).rstrip(b"=")

    def open(self, handle: bytes, owner: Principal, server: str) -> str | None:
        """The upstream's id, or None: forged, of another person, client or server, or sealed with another key."""
        try:
            raw = base64.b64decode(handle + b"=" * (-len(handle) % 4), altchars=b"-_", validate=True)
            plain = self._aead.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _owner(owner, server))
            return msgspec.json.decode(plain, type=_Sealed).upstream_id
        except (binascii.Error, ValueError, InvalidTag, msgspec.MsgspecError):
            return None


def _owner(owner: Principal, server: str) -> bytes:
    return msgspec.json.encode((owner.issuer, owner.subject, owner.agent, server))
