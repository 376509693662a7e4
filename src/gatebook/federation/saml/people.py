"""A verified assertion → who logged in, by the provider's preset. Never by e-mail address or name."""

from typing import Final

import msgspec

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.people import MAX_GROUP_CHARACTERS, MAX_GROUPS, MAX_LABEL_CHARACTERS, MAX_SUBJECT_CHARACTERS
from gatebook.federation.records import LoggedIn, Person
from gatebook.federation.saml import names as n
from gatebook.federation.saml.checks import Asserted
from gatebook.federation.shared import looks_shared
from gatebook.model.deployment import IdentityProvider, Preset
from gatebook.model.principal import Evidence

_MICROSOFT = "http://schemas.microsoft.com/identity/claims"
_SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
_LABELS = (
    "email",
    "mail",
    "urn:oid:0.9.2342.19200300.100.1.3",
    f"{_SOAP}/emailaddress",
    f"{_SOAP}/name",
    "displayName",
)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of provider says things in SAML. `subject`: the attribute that names a person for good, None where the NameID does; `left_out`: an
    attribute that stands there instead of groups that were too many; `cut_at`: a list of exactly this many may have been cut, silently;
    `methods`: the attribute that lists how the person authenticated; `tenant`: one that must stand in the entity id."""

    subject: str | None = None
    groups: str = "groups"
    left_out: tuple[str, ...] = ()
    cut_at: int | None = None
    methods: str | None = None
    tenant: str | None = None


WAYS: Final[dict[Preset, Way]] = {
    # The NameID is the login name unless the operator changes it; the id (00u…) comes by an attribute statement.
    "okta": Way(subject="id", cut_at=100),
    # The NameID is the login name by default; the object id is always there. More than 150 groups: none, and a link to Graph.
    "entra": Way(
        subject=f"{_MICROSOFT}/objectidentifier",
        groups="http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
        left_out=("http://schemas.microsoft.com/claims/groups.link",),
        methods="http://schemas.microsoft.com/claims/authnmethodsreferences",
        tenant=f"{_MICROSOFT}/tenantid",
    ),
    # Only groups that were entered at the app are sent, at most 75; the NameID is the e-mail address unless mapped to another field.
    "google": Way(cut_at=75),
    "keycloak": Way(),
    # The NameID is the user id (`auth0|…`).
    "auth0": Way(groups="http://schemas.auth0.com/groups"),
    "generic": Way(),
}


def logged_in(asserted: Asserted, idp: IdentityProvider) -> LoggedIn:
    """Who the assertion says logged in. Raises LoginRefused: PERSON_UNCLEAR, PERSON_FOREIGN, SAML_MALFORMED."""
    way = WAYS[idp.preset]
    if way.tenant is not None:
        tenant = _one(asserted, way.tenant)
        if not tenant or f"/{tenant}/" not in f"{idp.url}/":
            raise LoginRefused(
                Cause.PERSON_FOREIGN, "This account is of another organisation.", hint="tenantid is not in idp.url"
            )
    groups, left_out = _groups(asserted, idp, way)
    methods = _values(asserted, way.methods) if way.methods is not None else ()
    evidence = Evidence(amr=methods, acr=asserted.context, auth_time=asserted.authenticated_at)
    proven = bool(set(methods) & set(idp.mfa.amr)) or (asserted.context is not None and asserted.context in idp.mfa.acr)
    return LoggedIn(
        person=Person(issuer=idp.url, subject=_subject(asserted, idp, way), label=_label(asserted)),
        idp=idp.name,
        groups=groups,
        groups_left_out=left_out,
        evidence=evidence,
        mfa="proven" if proven else "declared" if idp.mfa.declared else "none",
        shared=looks_shared(({"email": _label(asserted)}, _as_claims(asserted)), groups, idp.shared),
    )


def _as_claims(asserted: Asserted) -> dict[str, str]:
    """The attributes of one value, as marks of shared accounts are written."""
    return {name: each[0][0] for name, each in asserted.attributes.items() if len(each) == 1 and len(each[0]) == 1}


def _subject(asserted: Asserted, idp: IdentityProvider, way: Way) -> str:
    attribute = idp.saml.subject if idp.saml is not None and idp.saml.subject is not None else way.subject
    if attribute is not None and attribute != "NameID":
        subject, hint = _one(asserted, attribute), f"there is not exactly one value of {attribute}"
    else:
        subject, hint = asserted.name_id, "the NameID is empty or cannot be recorded"
        if asserted.name_id_format in (n.TRANSIENT, n.EMAIL):
            # A transient one is new at each login; an address is given to somebody else one day.
            kind = "transient" if asserted.name_id_format == n.TRANSIENT else "an e-mail address"
            raise _unclear(f"the NameID is {kind}: send a persistent one, or an attribute, and name it in saml.subject")
    if subject is None or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        raise _unclear(hint)
    if subject != subject.strip():
        raise _unclear("the id begins or ends with a blank")
    return subject


def groups_attribute(idp: IdentityProvider) -> str:
    """The attribute that names a person's groups at this provider."""
    return idp.saml.groups if idp.saml is not None and idp.saml.groups is not None else WAYS[idp.preset].groups


def _groups(asserted: Asserted, idp: IdentityProvider, way: Way) -> tuple[tuple[str, ...], bool]:
    """The groups, and whether some or all were left out: then there are none, so that no role rests on a part of them."""
    if any(name in asserted.attributes for name in way.left_out):
        return (), True
    values = _values(asserted, groups_attribute(idp))
    if not all(0 < len(value) <= MAX_GROUP_CHARACTERS for value in values):
        raise LoginRefused(
            Cause.SAML_MALFORMED,
            "The identity provider's list of groups is malformed.",
            hint="an empty or very long group",
        )
    if len(values) == way.cut_at or len(values) > MAX_GROUPS:
        return (), True
    return tuple(dict.fromkeys(values)), False


def _label(asserted: Asserted) -> str:
    for name in _LABELS:
        for values in asserted.attributes.get(name, ()):
            if len(values) == 1 and values[0] and values[0].isprintable():
                return values[0][:MAX_LABEL_CHARACTERS]
    return ""


def _one(asserted: Asserted, name: str) -> str | None:
    values = _values(asserted, name)
    return values[0] if len(values) == 1 else None


def _values(asserted: Asserted, name: str) -> tuple[str, ...]:
    """The values of an attribute that stands there at most once: of two, one reader would take the first and another the last."""
    found = asserted.attributes.get(name, ())
    if len(found) > 1:
        raise LoginRefused(
            Cause.SAML_MALFORMED,
            "The identity provider's answer cannot be read.",
            hint="an attribute that is read stands twice",
        )
    return found[0] if found else ()


def _unclear(hint: str) -> LoginRefused:
    return LoginRefused(Cause.PERSON_UNCLEAR, "The identity provider does not say who you are.", hint=hint)
