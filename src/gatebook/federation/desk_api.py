"""What the desk's API and its callers say to each other, and which role each act demands. JSON of these structs, and nothing else."""

from typing import Final

import msgspec

from gatebook.model.deployment import DeskRole, DeskRoleName
from gatebook.model.principal import Principal
from gatebook.policy.roles import unmet

MOST_ENTRIES: Final = 500
"""Entries in one answer; whoever wants more asks again with `before`."""


class ServerShown(msgspec.Struct, frozen=True, kw_only=True):
    """A server that tokens can be had for. `resource`: its URL."""

    name: str
    resource: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How a person is seen. `groups`: those of the login that some role matches on; `roles`: what the person may do at the desk itself."""

    issuer: str
    idp: str
    subject: str
    label: str
    groups: tuple[str, ...]
    groups_left_out: bool
    mfa: str
    amr: tuple[str, ...]
    acr: str | None
    roles: tuple[DeskRoleName, ...]
    login_ends_at: float
    servers: tuple[ServerShown, ...]


class GrantShown(msgspec.Struct, frozen=True, kw_only=True):
    """A grant that is in force: who let which client act for them at which server. Times are seconds since the epoch."""

    sid: str
    issuer: str
    idp: str
    subject: str
    label: str
    client_id: str
    client_name: str
    server: str
    created_at: float
    expires_at: float


class Grants(msgspec.Struct, frozen=True, kw_only=True):
    grants: tuple[GrantShown, ...]


class Revocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose grants are to end: all that is given must hold, and something must be given. `person` is the provider's immutable id; `idp` says
    which provider's, where there are several. A person alone, with nothing narrower, is logged out at the desk too."""

    sid: str | None = None
    person: str | None = None
    idp: str | None = None
    client: str | None = None
    server: str | None = None


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """What ended, by its sid."""

    sids: tuple[str, ...]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """That an entry is in the log: `leaf` and `proof` in hex (RFC 9162 §2.1.3), and the signed checkpoint whose root they lead to."""

    index: int
    size: int
    leaf: str
    proof: tuple[str, ...]
    checkpoint: str


def roles_of(principal: Principal, desk_roles: tuple[DeskRole, ...]) -> tuple[DeskRoleName, ...]:
    """What this person may do at the desk, in the order of their names. Only people hold such roles: a job reads nothing here.

    `principal`: of the desk's own token or login, whose `mfa` the desk put there itself when the person logged in."""
    return tuple(sorted({role.role for role in desk_roles if _is_for(role, principal) and _is_proven(role, principal)}))


def unproven_roles_of(principal: Principal, desk_roles: tuple[DeskRole, ...]) -> tuple[DeskRoleName, ...]:
    """What this person could do beside that after a login by several factors."""
    could = {role.role for role in desk_roles if _is_for(role, principal)}
    return tuple(sorted(could - set(roles_of(principal, desk_roles))))


def _is_for(role: DeskRole, principal: Principal) -> bool:
    return principal.kind == "person" and any(unmet(match, principal) is None for match in role.match)


def _is_proven(role: DeskRole, principal: Principal) -> bool:
    return role.mfa is None or principal.claims.get("mfa") == "proven"
