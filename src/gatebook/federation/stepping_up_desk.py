"""Which logins for the desk's API must be by several factors. Pure.

Roles at the desk are given to people, and who somebody is shows only after the login. So every provider whose people hold a role that demands the
proof is asked for it, as a wish, and what comes back is judged by the person: whoever would hold such a role is refused without the proof; whoever
would not is let in with whatever they have, and may do there what needs no role. A role is never held without its proof, however a login came about:
`desk_api.roles_of` looks again at each request.
"""

from gatebook.federation import desk_api, stepping_up
from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.own_roles import principal_of_login
from gatebook.federation.records import Login
from gatebook.federation.stepping_up import Demand
from gatebook.model.deployment import DeskRole, IdentityProvider

_PROVEN = Demand(max_age_s=None)


def wished(idp: IdentityProvider, desk_roles: tuple[DeskRole, ...]) -> Demand | None:
    """What this provider is to be asked for before it is known who comes; None where no role of its people demands it."""
    demanding = any(
        role.mfa is not None and any(match.issuer == idp.name for match in role.match) for role in desk_roles
    )
    return _PROVEN if demanding and _can_prove(idp) else None


def demanded_of(login: Login, idp: IdentityProvider, desk_roles: tuple[DeskRole, ...]) -> Demand | None:
    """What this person's login must prove; None where no role would be gained by it, or the provider has nothing to prove it with: then the
    role is not held, and to refuse the login as well would help nobody."""
    unproven = desk_api.unproven_roles_of(principal_of_login(login, idp.name), desk_roles)
    return _PROVEN if unproven and _can_prove(idp) else None


def demand_met(login: Login, demand: Demand | None, now_s: float) -> None:
    """Raise LoginRefused(MFA_MISSING) where a login that has just ended did not prove it."""
    if demand is None or stepping_up.is_met(login.seen, demand, now_s):
        return
    words = (
        "You hold a role at this desk that takes a login by several factors, and the identity provider did not prove one. "
        "Log in again by gatebook login --fresh."
    )
    evidence = ",".join(login.seen.evidence.amr)[:80] or "absent"
    raise LoginRefused(Cause.MFA_MISSING, words, hint=f"mfa is {login.seen.mfa}; amr {evidence}")


def _can_prove(idp: IdentityProvider) -> bool:
    return bool(idp.mfa.amr or idp.mfa.acr)
