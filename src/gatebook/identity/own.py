"""What a token of our own authorization server says: who vouches for the person, the person's id there, and the grant behind it.

The token's `iss` is the desk; the principal's issuer is the identity provider that the person logged in at, so that roles and entries name
that one. Everything here was put in by the desk, and its signature has been verified; what has the wrong shape is refused all the same.
"""

from collections.abc import Mapping
from typing import Any

from gatebook.identity.claims import GROUPS_OVERAGE, agent_of, evidence_of, scopes_of, shared, strings, subject_in
from gatebook.identity.errors import TokenRefused
from gatebook.model.errors import Reason
from gatebook.model.principal import Principal

_SID_CHARACTERS = 32


def own_principal(claims: dict[str, Any], idps: Mapping[str, str], expires_at: float) -> Principal:
    """The caller. `idps`: issuer URL → name of the identity providers that are configured now: one that was taken away vouches for nobody.

    Raises TokenRefused: TOKEN_CLAIMS, TOKEN_ISSUER."""
    if claims.get("principal_type") != "person":
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token names no kind of principal that is known here.")
    vouching = claims.get("idp")
    if not isinstance(vouching, dict):
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token does not say who vouches for its subject.")
    issuer = vouching.get("iss")
    if not isinstance(issuer, str) or issuer not in idps:
        raise TokenRefused(Reason.TOKEN_ISSUER, "The token's identity provider is not accepted here.")
    sid = claims.get("sid")
    if not isinstance(sid, str) or len(sid) != _SID_CHARACTERS:
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token does not name its login.")
    kept = {name: value for name in ("name", "mfa", "jti") if isinstance(value := claims.get(name), str)}
    if claims.get("groups_left_out") is True:
        kept[GROUPS_OVERAGE] = "true"
    return Principal(
        kind="person",
        issuer=issuer,
        issuer_name=idps[issuer],
        subject=subject_in(vouching.get("sub")),
        agent=agent_of({"client_id": claims.get("client_id")}),
        login=f"sid:{sid}",
        groups=shared(tuple(strings(claims, "groups"))),
        claims=kept,
        evidence=evidence_of(claims),
        expires_at=expires_at,
        scopes=scopes_of(claims),
        sid=sid,
    )
