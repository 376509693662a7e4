"""Logging in anew because a tool demands a fresh proof: what the scope says, what the provider is asked, and whether it gave that. Pure.

The gate answers 403 with the scopes of the call; the client asks for them here, as clients do with `insufficient_scope`. The scope itself gives no right: the
gate judges the evidence in the token. It only tells the desk that an old login will not do.
"""

import msgspec

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.records import LoggedIn
from gatebook.model.deployment import IdentityProvider, Server

SKEW_S = 60.0


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """A login by several factors, proven; at most `max_age_s` ago, where that is said."""

    max_age_s: float | None


def mfa_scope_of(server: Server) -> str:
    return f"mcp:{server.name}:mfa"


def demand_of(server: Server) -> Demand | None:
    """What is enough for every tool of `server`; None where none demands anything."""
    rules = [rule for rule in server.tool_rules if rule.mfa is not None]
    ages = [rule.mfa_max_age_s for rule in rules if rule.mfa_max_age_s is not None]
    return Demand(max_age_s=min(ages) if ages else None) if rules else None


def demanded(scope: str, server: Server) -> Demand | None:
    """What a login for this scope must prove."""
    return demand_of(server) if mfa_scope_of(server) in scope.split(" ") else None


def is_met(seen: LoggedIn, demand: Demand, now_s: float) -> bool:
    since = seen.evidence.auth_time
    fresh = demand.max_age_s is None or (since is not None and -SKEW_S <= now_s - since <= demand.max_age_s)
    return seen.mfa == "proven" and fresh


def demand_met(seen: LoggedIn, demand: Demand | None, now_s: float) -> None:
    """Raise LoginRefused(MFA_MISSING) where a login that has just ended did not prove what it was for."""
    if demand is None or is_met(seen, demand, now_s):
        return
    words = "The identity provider did not prove a fresh login by several factors, which this server demands for what was called."
    why = "no auth_time" if seen.mfa == "proven" and seen.evidence.auth_time is None else f"mfa is {seen.mfa}"
    raise LoginRefused(Cause.MFA_MISSING, words, hint=f"{why}; amr {','.join(seen.evidence.amr)[:80] or 'absent'}")


def parameters(idp: IdentityProvider, demand: Demand | None) -> dict[str, str]:
    """What the provider is asked beside the usual: log in again, now, and by these means (OIDC Core §3.1.2.1)."""
    if demand is None:
        return {}
    asked = {"prompt": "login"}
    if demand.max_age_s is not None:
        asked["max_age"] = str(int(demand.max_age_s))  # only then must it say `auth_time`
    if idp.mfa.acr:
        asked["acr_values"] = " ".join(idp.mfa.acr)
    return asked
