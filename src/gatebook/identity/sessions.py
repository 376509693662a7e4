"""Which calls belong together: one key for all calls of one person (or job) through one program at one server under one login."""

import hashlib

import msgspec


def session_key(issuer: str, subject: str, agent: str | None, login: str, server: str) -> bytes:
    """16 bytes. The gate keeps under it when the last call came; the desk asks under it, for the grant behind the calls."""
    return hashlib.sha256(msgspec.json.encode((issuer, subject, agent, login, server))).digest()[:16]
