"""An ID token's claims, whose signature has been verified → who logged in, by the provider's preset. Never by e-mail address or name."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.presets import PRESETS
from gatebook.federation.records import LoggedIn, Person
from gatebook.federation.shared import looks_shared
from gatebook.identity.claims import bears_application_marks, evidence_of, groups_left_out
from gatebook.model.deployment import IdentityProvider

MAX_SUBJECT_CHARACTERS = 255
MAX_GROUPS = 2_000
MAX_GROUP_CHARACTERS = 512
MAX_LABEL_CHARACTERS = 120


def logged_in(claims: Mapping[str, Any], userinfo: Mapping[str, Any] | None, idp: IdentityProvider) -> LoggedIn:
    """Who the claims say logged in. `userinfo`: the UserInfo response of the same login, None where it was not asked.

    Raises LoginRefused: PERSON_UNCLEAR, PERSON_FOREIGN (of another tenant or domain), APPLICATION, ID_TOKEN_INVALID."""
    if userinfo is not None and userinfo.get("sub") != claims.get("sub"):
        # OIDC Core §5.3.2: else somebody else's groups could be put in.
        raise LoginRefused(Cause.ID_TOKEN_INVALID, "The identity provider's answers are about two different people.")
    _demand_home(claims, idp)
    if bears_application_marks(dict(claims)):
        raise LoginRefused(Cause.APPLICATION, "This is the account of an application, not of a person.")
    person = Person(issuer=idp.url, subject=_subject(claims, idp), label=_label(claims, userinfo, idp))
    groups, left_out = _groups(claims, userinfo, idp)
    evidence = evidence_of(dict(claims))
    proven = bool(set(evidence.amr) & set(idp.mfa.amr)) or (evidence.acr is not None and evidence.acr in idp.mfa.acr)
    return LoggedIn(
        person=person,
        idp=idp.name,
        groups=groups,
        groups_left_out=left_out,
        evidence=evidence,
        mfa="proven" if proven else "declared" if idp.mfa.declared else "none",
        shared=looks_shared((claims, userinfo or {}), groups, idp.shared),
    )


def _demand_home(claims: Mapping[str, Any], idp: IdentityProvider) -> None:
    """The person belongs to the tenant or domain that is configured."""
    way = PRESETS[idp.preset]
    if way.tenant is not None:
        tenant = claims.get(way.tenant)
        if not isinstance(tenant, str) or not tenant or tenant != _tenant_in(idp.url):
            raise LoginRefused(
                Cause.PERSON_FOREIGN,
                "This account is of another organisation.",
                hint=f"{way.tenant} is not the tenant in idp.url",
            )
    if way.domain is not None:
        if idp.domain is None or claims.get(way.domain) != idp.domain:
            raise LoginRefused(
                Cause.PERSON_FOREIGN, "This account is of another organisation.", hint=f"{way.domain} is not idp.domain"
            )
        if claims.get("email_verified") is not True:
            raise LoginRefused(Cause.PERSON_UNCLEAR, "This account's e-mail address is not verified.")


def _tenant_in(url: str) -> str:
    """The tenant in an issuer of Entra ID, `https://HOST/TENANT/v2.0`: the first part of its path, and no other part."""
    return urlsplit(url).path.removeprefix("/").partition("/")[0]


def _subject(claims: Mapping[str, Any], idp: IdentityProvider) -> str:
    name = next((name for name in PRESETS[idp.preset].subject if name in claims), None)
    subject = claims.get(name) if name is not None else None
    # isprintable: no control, bidirectional or zero-width characters, which would read as somebody else in the record
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        raise LoginRefused(
            Cause.PERSON_UNCLEAR, "The identity provider does not say who you are.", hint="no usable subject claim"
        )
    return subject


def _label(claims: Mapping[str, Any], userinfo: Mapping[str, Any] | None, idp: IdentityProvider) -> str:
    for source in (claims, userinfo or {}):
        for name in PRESETS[idp.preset].label:
            value = source.get(name)
            if isinstance(value, str) and value and value.isprintable():
                return value[:MAX_LABEL_CHARACTERS]
    return ""


def _groups(
    claims: Mapping[str, Any], userinfo: Mapping[str, Any] | None, idp: IdentityProvider
) -> tuple[tuple[str, ...], bool]:
    """The groups, and whether some or all were left out: then there are none, so that no role rests on a part of them."""
    way = PRESETS[idp.preset]
    for source in (claims, userinfo or {}):
        if groups_left_out(dict(source), idp.groups_claim):
            return (), True
    if not way.groups:
        return (), False
    value = claims.get(idp.groups_claim)
    if value is None and userinfo is not None:
        value = userinfo.get(idp.groups_claim)
    if value is None:
        return (), False
    # A string is no list of one: some providers join groups into one string, and a part of it would be a group of its own.
    if not isinstance(value, list) or not all(_is_group(item) for item in value):
        raise LoginRefused(
            Cause.ID_TOKEN_INVALID, "The identity provider's list of groups is malformed.", hint=idp.groups_claim
        )
    if len(value) == way.cut_at or len(value) > MAX_GROUPS:
        return (), True
    return tuple(dict.fromkeys(value)), False


def _is_group(item: object) -> bool:
    return isinstance(item, str) and 0 < len(item) <= MAX_GROUP_CHARACTERS
