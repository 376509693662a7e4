"""How a person stands: which roles a login gives, which not and why. Decided by the very match that the gate makes at each call.

For the person, so it does not tell everything: roles for people of other providers, and for jobs, are left out, and of a role that is given
to named people it does not say to whom.
"""

import msgspec

from gatebook.federation.records import Login
from gatebook.identity.claims import GROUPS_OVERAGE
from gatebook.model.deployment import Allow, Deployment, Match, Role
from gatebook.model.principal import Principal
from gatebook.policy.roles import unmet


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What a held role gives at one server, in words."""

    server: str
    words: str


class OwnRole(msgspec.Struct, frozen=True, kw_only=True):
    """One role as one person sees it. `why`: why it is held, or what is missing; `allows`: what it gives, empty where it is not held."""

    role: str
    held: bool
    why: tuple[str, ...]
    allows: tuple[Allowed, ...] = ()


def principal_of_login(login: Login, issuer_name: str) -> Principal:
    """The caller that a token of this login makes at the gate; `issuer_name`: what the provider is called now. See `identity.own`."""
    seen = login.seen
    claims = {"name": seen.person.label, "mfa": seen.mfa} if seen.person.label else {"mfa": seen.mfa}
    return Principal(
        kind="person",
        issuer=seen.person.issuer,
        issuer_name=issuer_name,
        subject=seen.person.subject,
        agent=None,
        login=f"login:{login.id}",
        groups=frozenset(seen.groups),
        claims=claims | ({GROUPS_OVERAGE: "true"} if seen.groups_left_out else {}),
        evidence=seen.evidence,
        expires_at=login.expires_at,
    )


def own_roles(login: Login, deployment: Deployment) -> tuple[OwnRole, ...]:
    """The roles that people of this login's provider can hold, held ones first. None where the provider is not configured any more."""
    names = [idp.name for idp in deployment.idps if idp.url == login.seen.person.issuer]
    if not names:
        return ()
    principal = principal_of_login(login, names[0])
    found = [_told(role, principal) for role in deployment.roles if _concerns(role, principal)]
    return tuple(sorted(found, key=lambda role: not role.held))


def _concerns(role: Role, principal: Principal) -> bool:
    return any(match.issuer == principal.issuer_name for match in role.match)


def _told(role: Role, principal: Principal) -> OwnRole:
    for match in role.match:
        if unmet(match, principal) is None:
            allows = tuple(_allowed(allow) for allow in role.allow)
            return OwnRole(role=role.name, held=True, why=(_by(match),), allows=allows)
    why = tuple(
        dict.fromkeys(_missing(match, principal) for match in role.match if match.issuer == principal.issuer_name)
    )
    return OwnRole(role=role.name, held=False, why=why)


def _by(match: Match) -> str:
    parts = [f"you are in the group {match.group}"] if match.group is not None else []
    parts += ["it is given to you by name"] if match.subject is not None else []
    parts += [f"your login says {name} = {value}" for name, value in match.claims.items()]
    return " and ".join(parts)


def _missing(match: Match, principal: Principal) -> str:
    if match.group is not None and match.group not in principal.groups:
        return f"it takes the group {match.group}, which your login does not name"
    if match.subject is not None and match.subject != principal.subject:
        return "it is given to other people by name"
    lacking = [f"{name} = {value}" for name, value in match.claims.items() if principal.claims.get(name) != value]
    return f"it takes {' and '.join(lacking)}" if lacking else "it matches nobody"


def allowed_at(server: str, roles: tuple[OwnRole, ...]) -> tuple[str, ...]:
    """What the held ones among these give at `server`, each once; empty where they give nothing there."""
    told = (allowed.words for role in roles for allowed in role.allows if allowed.server == server)
    return tuple(dict.fromkeys(told))


def _allowed(allow: Allow) -> Allowed:
    kinds = (
        ("tools", allow.tools),
        ("prompts", allow.prompts),
        ("resources", allow.resources),
        ("methods", allow.methods),
    )
    told = "; ".join(f"{kind} {', '.join(patterns)}" for kind, patterns in kinds if patterns)
    return Allowed(server=allow.server, words=told or "to connect, nothing more")
