"""What a verified token says: for whom, until when, as what, and who. Every function takes claims whose signature has been verified.

Three decisions stand here because issuers differ and a wrong guess lets someone pass:

* **Audience.** `aud` is our string, or a list of exactly that one. A token that is for somebody else too can be presented here by that
  somebody, so it is refused; at the issuer, ask for a token per endpoint (Keycloak: drop the "audience resolve" mapper, which adds "account").
* **ID tokens.** A header `typ` of at+jwt is the issuer's word that this is an access token (RFC 9068). Without it, a token with `nonce`,
  `at_hash`, `c_hash` or `s_hash` is an ID token (OIDC Core §2), and so is one whose *claim* `typ` says so (Keycloak: ID, Refresh). LIMIT: an ID token without any of
  these, issued for an audience that equals ours, cannot be told apart: give the endpoint an audience that is nobody's client id.
* **Persons and jobs.** A token of an application is refused as a person, one of a person as a job, by the marks in `_is_of_application`
  and `_is_of_person`. LIMIT: an issuer that puts no such mark into its tokens must be configured with one kind, and it is believed.
"""

import math
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

from gatebook.identity.errors import TokenRefused
from gatebook.model.deployment import Issuer
from gatebook.model.errors import Reason
from gatebook.model.principal import Evidence, Kind, Principal

MAX_SUBJECT_CHARACTERS = 255  # OIDC Core §2
MAX_CLAIM_CHARACTERS = 1024
GROUPS_OVERAGE = "groups_overage"
"""Our own claim, "true" where the issuer left groups out because there were too many: no groups then, so no role by group."""

RECORDED_CLAIMS = frozenset(
    {
        "preferred_username", "email", "name", "oid", "tid", "hd", "jti",
        "repository", "repository_id", "repository_owner_id", "ref", "ref_protected", "sha", "event_name", "environment", "job_workflow_ref",
        "run_id", "run_attempt", "actor", "actor_id",
        "project_id", "project_path", "pipeline_id", "job_id", "user_id", "user_login",
    }
)  # fmt: skip
"""Claims kept for the record beside those that a role matches on: for display and for tracing, never a key to anything."""

_LATEST_S = 253_402_300_800  # the year 10000: beyond it a date is a mistake or a trick
_ID_TOKEN_MARKS = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
_TYPES_OF_ACCESS_TOKENS = frozenset({"bearer", "jwt", "at+jwt", "access", "access_token"})
_AGENT_CLAIMS = ("azp", "client_id", "cid", "appid")
_LOGIN_CLAIMS = ("sid", "run_id", "job_id", "pipeline_id", "jti", "auth_time", "iat", "exp")


def demand_audience(claims: dict[str, Any], audience: str) -> None:
    """Raise TokenRefused(TOKEN_AUDIENCE) unless the token is for `audience` and for nobody else. Compared exactly."""
    named = claims.get("aud")
    if named != audience and named != [audience]:
        raise TokenRefused(Reason.TOKEN_AUDIENCE, "The token is not for this endpoint alone.")


def demand_within_lifetime(claims: dict[str, Any], leeway_s: int, now_s: float) -> float:
    """The token's `exp`, seconds since the epoch. Raises TokenRefused unless `exp` is there and `nbf` ≤ now, `iat` ≤ now < `exp`, give or
    take `leeway_s`: TOKEN_EXPIRED, TOKEN_NOT_YET_VALID, or TOKEN_CLAIMS where one of them is no date. RFC 7519 §4.1.4 to §4.1.6."""
    expires_at, not_before, issued_at = (_date(claims, name) for name in ("exp", "nbf", "iat"))
    if expires_at is None:
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token never expires.")
    if now_s >= expires_at + leeway_s:
        raise TokenRefused(Reason.TOKEN_EXPIRED, "The token has expired.")
    if any(begin is not None and begin > now_s + leeway_s for begin in (not_before, issued_at)):
        raise TokenRefused(Reason.TOKEN_NOT_YET_VALID, "The token is not valid yet.")
    return expires_at


def demand_access_token(claims: dict[str, Any], *, declared: bool, kind: Kind | Literal["desk"]) -> None:
    """Raise TokenRefused unless this is a bearer access token of a `kind`; `declared`: its header `typ` says at+jwt.

    A token bound to a key (`cnf`) is refused: no proof of that key is checked here, and without one it is a stolen token. RFC 9449 §7.
    """
    if "cnf" in claims:
        raise TokenRefused(Reason.TOKEN_TYPE, "The token is bound to a key and no proof of it was asked for.")
    says_otherwise = str(claims.get("typ", "bearer")).lower() not in _TYPES_OF_ACCESS_TOKENS
    if not declared and (_ID_TOKEN_MARKS & claims.keys() or says_otherwise):
        raise TokenRefused(Reason.TOKEN_TYPE, "The token is not an access token.")
    if kind == "person" and _is_of_application(claims):
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token was issued to an application, not to a person.")
    if kind == "job" and _is_of_person(claims):
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token was issued to a person, not to a job.")


def bears_application_marks(claims: dict[str, Any]) -> bool:
    """Whether the claims, of an access token or an ID token, say that an application stands behind them."""
    return (
        claims.get("idtyp") == "app"
        or claims.get("gty") == "client-credentials"  # Auth0
        or str(claims.get("preferred_username", "")).startswith("service-account-")  # Keycloak
        or str(claims.get("email", "")).endswith(".gserviceaccount.com")  # Google: the same issuer as for people
    )


def _is_of_application(claims: dict[str, Any]) -> bool:
    subject = claims.get("sub")
    is_entra = "oid" in claims and "tid" in claims
    return (
        bears_application_marks(claims)
        or (is_entra and not claims.get("scp"))  # Entra: delegated tokens have scp, app tokens have roles only
        or (
            subject is not None and subject in [claims.get(name) for name in _AGENT_CLAIMS]
        )  # RFC 9068 §2.2: sub is the client
    )


def _is_of_person(claims: dict[str, Any]) -> bool:
    is_entra = "oid" in claims and "tid" in claims
    return (
        claims.get("idtyp") == "user"
        or (is_entra and bool(claims.get("scp")))
        or "auth_time" in claims  # somebody logged in: GitLab and Google issue for people and jobs under one URL
        or "amr" in claims
        or "hd" in claims
    )


def principal_of(
    claims: dict[str, Any], issuer: Issuer, claims_of_roles: Iterable[str], expires_at: float
) -> Principal:
    """The caller that the claims describe. Raises TokenRefused(TOKEN_CLAIMS) where a claim that decides has the wrong shape.

    `claims_of_roles`: the names that some role matches on. A claim that is no string (of at most 1024 characters), boolean or integer is left
    out, so that a role that demands it does not match.
    """
    overage = groups_left_out(claims, issuer.groups_claim)
    kept = {
        name: text
        for name in sorted(RECORDED_CLAIMS.union(claims_of_roles) & claims.keys())
        if name != GROUPS_OVERAGE and (text := _as_text(claims[name])) is not None
    }
    assert issuer.kind != "desk"  # those tokens say more: `identity.own`
    return Principal(
        kind=issuer.kind,
        issuer=issuer.url,
        issuer_name=issuer.name,
        subject=_subject(claims),
        agent=agent_of(claims),
        login=_login(claims),
        groups=shared(() if overage else tuple(strings(claims, issuer.groups_claim))),
        claims=kept | ({GROUPS_OVERAGE: "true"} if overage else {}),
        evidence=evidence_of(claims),
        expires_at=expires_at,
        scopes=scopes_of(claims),
        acting_for=_acting_for(claims) if issuer.kind == "job" else None,
    )


def _subject(claims: dict[str, Any]) -> str:
    return subject_in(claims.get("sub"))


def subject_in(subject: object) -> str:
    """A subject as it may be recorded. Raises TokenRefused(TOKEN_CLAIMS)."""
    # isprintable: no control, format (bidirectional, zero width) or unassigned characters, which would read as somebody else in the record
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token does not name its subject.")
    return subject


def agent_of(claims: dict[str, Any]) -> str | None:
    name = next((name for name in _AGENT_CLAIMS if name in claims), None)
    if name is None:
        return None
    agent = claims[name]
    if not isinstance(agent, str) or not 0 < len(agent) <= MAX_CLAIM_CHARACTERS or not agent.isprintable():
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token does not name its client properly.")
    return sys.intern(agent)


def _login(claims: dict[str, Any]) -> str:
    """The first of _LOGIN_CLAIMS that is there, prefixed with its name; `exp` always is. GitHub counts attempts within one run_id."""
    for name in _LOGIN_CLAIMS:
        text = _as_text(claims.get(name))
        if text:
            attempt = _as_text(claims.get("run_attempt")) if name == "run_id" else None
            return f"{name}:{text}" + (f"/{attempt}" if attempt else "")
    return f"exp:{int(claims['exp'])}"


def groups_left_out(claims: dict[str, Any], groups_claim: str) -> bool:
    """Entra beyond 200 groups: `_claim_names` points elsewhere, or `hasgroups`. A list beside the mark would be a part of the groups."""
    elsewhere = claims.get("_claim_names", {})
    if not isinstance(elsewhere, dict) or {"groups", groups_claim} & elsewhere.keys():
        return True
    return claims.get("hasgroups", False) is not False


def scopes_of(claims: dict[str, Any]) -> frozenset[str]:
    name: Literal["scope", "scp"] = "scope" if "scope" in claims else "scp"
    value = claims.get(name)
    return shared(tuple(filter(None, value.split(" "))) if isinstance(value, str) else tuple(strings(claims, name)))


@lru_cache(maxsize=1024)
def shared(names: tuple[str, ...]) -> frozenset[str]:
    """The same object for the same names: of thousands of remembered callers, most hold what others hold."""
    return frozenset(names)


def strings(claims: dict[str, Any], name: str) -> list[str]:
    value = claims.get(name, [])
    # A string is not taken for a list of one: some issuers join groups into one string, and a part of it would be a group of its own.
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TokenRefused(Reason.TOKEN_CLAIMS, "A claim of the token that should be a list of strings is not.")
    return value


def evidence_of(claims: dict[str, Any]) -> Evidence:
    """What counts as evidence must be well-formed; anything else is no evidence, which is not MFA."""
    amr, acr = claims.get("amr"), claims.get("acr")
    is_list = isinstance(amr, list) and all(isinstance(method, str) for method in amr)
    try:
        auth_time = _date(claims, "auth_time")
    except TokenRefused:
        auth_time = None
    return Evidence(
        amr=tuple(amr) if is_list and amr is not None else (),
        acr=acr if isinstance(acr, str) else None,
        auth_time=None if auth_time is None else int(auth_time),
    )


def _acting_for(claims: dict[str, Any]) -> str | None:
    actor = claims.get("act")
    candidates = (claims.get("actor_id"), claims.get("user_id"), actor.get("sub") if isinstance(actor, dict) else None)
    return next((text for candidate in candidates if (text := _as_text(candidate))), None)


def _as_text(value: object) -> str | None:
    if isinstance(value, str):
        return value if len(value) <= MAX_CLAIM_CHARACTERS else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


def _date(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2) between the epoch and the year 10000, None where absent."""
    if name not in claims:
        return None
    value = claims[name]
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 <= value < _LATEST_S
    ):
        raise TokenRefused(Reason.TOKEN_CLAIMS, f"The token's {name} is not a date.")
    return float(value)
