"""What a token is for: `mcp:SERVER`, one for each server. A scope bounds nothing beyond that; what a caller may do, roles decide at each call.

Beside it `mcp:SERVER:mfa`, for what demands a fresh login by several factors (`stepping_up`).

LIMIT: identity.md asks for `mcp:SERVER:OPERATION-CLASS`; there is one class beside that so far, all operations, and it has no name of its own.
"""

from gatebook.federation.stepping_up import demand_of, mfa_scope_of
from gatebook.model.deployment import Server

IGNORED = frozenset({"openid", "profile", "email", "offline_access"})
"""Clients ask for these by habit. They mean nothing here, and refusing them would lock real clients out."""


def scope_of(server: Server) -> str:
    """The scope of everything on `server`."""
    return f"mcp:{server.name}"


def granted(asked: str | None, server: Server) -> str | None:
    """The scope to grant for what was asked at `server`: what was asked and is ours, or all there is where nothing was asked. None where
    only things that are not ours were asked for (RFC 6749 §3.3: invalid_scope)."""
    own = scope_of(server)
    words = [word for word in (asked or "").split(" ") if word]
    if not words or all(word in IGNORED for word in words):
        return own
    if demand_of(server) is not None and mfa_scope_of(server) in words:
        return f"{own} {mfa_scope_of(server)}"
    return own if own in words else None


def within(asked: str | None, held: str) -> bool:
    """Whether a refresh asks for no more than the grant holds (RFC 6749 §6)."""
    return all(word in held.split(" ") or word in IGNORED for word in (asked or "").split(" ") if word)
