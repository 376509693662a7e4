"""Which calls belong together: one key for all calls of one person (or job) through one program at one server under one login."""

import hashlib

import msgspec

KEY_BYTES = 16


def session_key(issuer: str, subject: str, agent: str | None, login: str, server: str, *, job: bool) -> bytes:
    """KEY_BYTES that name the session, then four that say whose it is: the person's, or of all jobs of one issuer alike, which bring new logins
    all day. Of sessions with the same four, one makes room for another before anybody else's does.

    The gate keeps under it when the last call came; the desk asks under it, for the grant behind the calls."""
    named = hashlib.sha256(msgspec.json.encode((issuer, subject, agent, login, server))).digest()
    whose = hashlib.sha256(msgspec.json.encode((issuer, None if job else subject))).digest()
    return named[:KEY_BYTES] + whose[:4]
