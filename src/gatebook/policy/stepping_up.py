"""Which calls demand a fresh login by several factors, and whether the caller's was one. Pure: evidence and an instant in, an answer out.

Only what our own desk vouches for counts: it judged the provider's evidence by the operator's rules when the person logged in, and put `mfa` and
`auth_time` into the token. Tokens of other issuers prove nothing of the kind, whatever claims they hold.
"""

from gatebook.model.deployment import ToolRule
from gatebook.model.principal import Principal

SKEW_S = 60.0
"""How far a provider's clock may be ahead."""


def unproven(rule: ToolRule, principal: Principal, now_s: float) -> str | None:
    """What of the proof that `rule` demands is missing, in words for the operator; None where nothing is."""
    if rule.mfa is None:
        return None
    if principal.kind != "person" or principal.sid is None or principal.claims.get("mfa") != "proven":
        return "the login was not proven to be by several factors"
    if rule.mfa_max_age_s is None:
        return None
    since = principal.evidence.auth_time
    if since is None:
        return "the identity provider did not say when the person logged in"
    if not -SKEW_S <= now_s - since <= rule.mfa_max_age_s:
        return f"the login is older than {rule.mfa_max_age_s:g} s"
    return None
