"""The rule of rotation (RFC 9700 §4.14.2, with the grace that real clients need).

Each refresh gives a successor. A client that repeats a token which already has a successor gets *that* successor again, if the token was
first used within GRACE_S, or if the successor itself was never used: parallel processes that share one token, and a client whose answer was
lost, all end up with the same token. Any other repeat means that two parties hold the token: the grant is revoked.
"""

import base64
import hmac
import re
from collections.abc import Mapping

import msgspec

from gatebook.federation.records import Turn, hashed

GRACE_S = 30.0

_TOKEN = re.compile(r"gbr1\.([0-9a-f]{32})\.(0|[1-9][0-9]{0,8})\.([A-Za-z0-9_-]{43})")


class Rotate(msgspec.Struct, frozen=True):
    """The token is the newest one: its successor is number `number`."""

    number: int


class Repeat(msgspec.Struct, frozen=True):
    """The token was used before, and may be repeated: its successor is number `number`, which exists."""

    number: int


class Replayed(msgspec.Struct, frozen=True):
    """The token was used before, and may not be repeated: somebody else has it. The grant must be revoked."""


def judge(presented: int, turns: Mapping[int, Turn], now_s: float) -> Rotate | Repeat | Replayed:
    """What a genuine token of number `presented` leads to. `turns`: the grant's turns by number, `presented` among them and its successor
    where there is one; older ones may be missing, and count as used long ago."""
    turn = turns.get(presented)
    if turn is None:
        return Replayed()
    if turn.used_at is None:
        return Rotate(presented + 1)
    successor = turns.get(presented + 1)
    if successor is None:
        return Replayed()
    if now_s - turn.used_at <= GRACE_S or successor.used_at is None:
        return Repeat(presented + 1)
    return Replayed()


def token_of(key: bytes, sid: str, number: int) -> str:
    """The refresh token of one turn: by HMAC, so that the same one can be given again although only its hash is stored."""
    code = hmac.digest(key, f"refresh\0{sid}\0{number}".encode(), "sha256")
    return f"gbr1.{sid}.{number}.{base64.urlsafe_b64encode(code).rstrip(b'=').decode()}"


def turn_of(key: bytes, sid: str, number: int) -> Turn:
    """A turn that nobody has used yet, as it is stored."""
    return Turn(sid=sid, number=number, token_hash=hashed(token_of(key, sid, number)))


def read(key: bytes, token: str) -> tuple[str, int] | None:
    """(sid, number) of a token that was made with `key`; None for any other text."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    sid, number = found[1], int(found[2])
    return (sid, number) if hmac.compare_digest(token_of(key, sid, number).encode(), token.encode()) else None
