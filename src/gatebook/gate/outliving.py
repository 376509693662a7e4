"""Streams that are open while the world goes on: which of them may not, because their token is over, a role was taken away, or the login ended.

A call that was permitted is answered, also where its token ends meanwhile; a stream that ends only with its reader (GET, `subscriptions/listen`)
ends with the token it was opened with. Roles and revocations end either. The worker asks every second.
"""

from gatebook.gate.authorizing import Denied, Permitted, permits_of
from gatebook.gate.identifying import by_standing
from gatebook.gate.world import Standing
from gatebook.model.deployment import DESK_ISSUER, Deployment, Trust
from gatebook.model.errors import Reason
from gatebook.model.principal import Principal

MOST_LEEWAY_S = 50.0
"""A stream is cut at most so long after its token's end, whatever `leeway_s` an issuer has: within a minute, in any case."""


def reason_to_cut(permitted: Permitted, standing: Standing, trust: Trust | None, now_s: float) -> Reason | None:
    """Why a stream that `permitted` opened may not go on; None where it may. `standing`: the one in force now."""
    question = permitted.question
    principal = question.caller.principal
    if principal.sid is not None and trust is not None and principal.sid in trust.revoked:
        return Reason.LOGIN_REVOKED
    if question.endless and now_s >= _ends_at(principal, standing.snapshot.deployment):
        return Reason.TOKEN_EXPIRED
    if standing is question.caller.standing:
        return None  # judged by it when it was opened
    server = standing.servers.get(question.caller.server.name)
    if server is None:
        return Reason.DENIED
    try:
        permits_of(question, by_standing(question.caller, standing, server))
    except Denied as denied:
        return denied.reason
    return None


def _ends_at(principal: Principal, deployment: Deployment) -> float:
    """As long as a new request with this token would be taken: who is cut off earlier would only come again with it."""
    name = principal.issuer_name if principal.sid is None else DESK_ISSUER
    leeway = next((issuer.leeway_s for issuer in deployment.issuers if issuer.name == name), 0)
    return principal.expires_at + min(float(leeway), MOST_LEEWAY_S)
