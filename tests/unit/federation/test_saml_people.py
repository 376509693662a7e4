"""Who an assertion names, by preset. Claim shapes as Okta, Entra ID, Google Workspace, Keycloak and Auth0 document them: their real tenants were
not reachable."""

from typing import Any

import msgspec
import pytest

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.saml import names as n
from gatebook.federation.saml.checks import Asserted
from gatebook.federation.saml.people import logged_in
from gatebook.model.deployment import Evidences, IdentityProvider, Preset, SamlSide

TENANT = "9122040d-6c67-4c5b-b112-36a304b66dad"
OID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
MICROSOFT = "http://schemas.microsoft.com/identity/claims"
ENTRA_GROUPS = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
ENTRA_METHODS = "http://schemas.microsoft.com/claims/authnmethodsreferences"
ENTRA_LINK = "http://schemas.microsoft.com/claims/groups.link"
MULTIPLE = "http://schemas.microsoft.com/claims/multipleauthn"
ENTITIES: dict[Preset, str] = {
    "okta": "http://www.okta.com/exk1example",
    "entra": f"https://sts.windows.net/{TENANT}/",
    "google": "https://accounts.google.com/o/saml2?idpid=C01example",
    "keycloak": "https://sso.example.com/realms/corp",
    "auth0": "urn:example.eu.auth0.com",
    "generic": "https://idp.example/saml",
}
Values = dict[str, tuple[str, ...]]


def idp(preset: Preset, side: SamlSide | None = None, **mfa: Any) -> IdentityProvider:
    return IdentityProvider(
        name="corp", url=ENTITIES[preset], preset=preset, saml=side or SamlSide(), mfa=Evidences(**mfa)
    )


def said(attributes: Values, *, name_id: str = "G-1", kind: str = n.PERSISTENT, context: str | None = None) -> Asserted:
    return Asserted(
        assertion_id="_a",
        in_response_to="_r",
        name_id=name_id,
        name_id_format=kind,
        attributes={name: (values,) for name, values in attributes.items()},
        context=context,
        authenticated_at=1_795_000_000,
        taken_until=0,
        session_until=None,
    )


ENTRA: Values = {
    f"{MICROSOFT}/tenantid": (TENANT,),
    f"{MICROSOFT}/objectidentifier": (OID,),
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name": ("alice@example.com",),
}


@pytest.mark.parametrize(
    ("preset", "attributes", "kind", "subject"),
    [
        ("okta", {"id": ("00u1alice",), "email": ("alice@example.com",)}, n.UNSPECIFIED, "00u1alice"),
        ("entra", ENTRA, n.EMAIL, OID),
        ("google", {}, n.PERSISTENT, "G-1"),
        ("keycloak", {}, n.PERSISTENT, "G-1"),
        ("auth0", {}, n.UNSPECIFIED, "G-1"),
        ("generic", {}, n.PERSISTENT, "G-1"),
    ],
)
def test_a_person_is_who_the_preset_says(preset: Preset, attributes: Values, kind: str, subject: str) -> None:
    seen = logged_in(said(attributes, kind=kind), idp(preset))
    assert (seen.person.issuer, seen.person.subject) == (ENTITIES[preset], subject)


def test_an_attribute_that_is_named_counts_instead_and_so_does_the_name_id() -> None:
    side = SamlSide(subject="employeeNumber")
    assert logged_in(said({"employeeNumber": ("4711",)}, kind=n.EMAIL), idp("google", side)).person.subject == "4711"
    assert logged_in(said({}, name_id="00u2"), idp("okta", SamlSide(subject="NameID"))).person.subject == "00u2"


@pytest.mark.parametrize("kind", [n.EMAIL, n.TRANSIENT])
@pytest.mark.parametrize("preset", ["google", "keycloak", "auth0", "generic"])
def test_a_name_id_that_is_no_name_for_good_is_refused(preset: Preset, kind: str) -> None:
    with pytest.raises(LoginRefused) as refused:
        logged_in(said({}, kind=kind), idp(preset))
    assert refused.value.cause is Cause.PERSON_UNCLEAR and "saml.subject" in refused.value.hint


@pytest.mark.parametrize("values", [(), ("a", "b"), ("",), (" a",), ("a\n",), ("x" * 256,)])
def test_an_id_that_is_not_one_plain_text_is_refused(values: tuple[str, ...]) -> None:
    with pytest.raises(LoginRefused) as refused:
        logged_in(said({"id": values}), idp("okta"))
    assert refused.value.cause is Cause.PERSON_UNCLEAR


@pytest.mark.parametrize(
    "tenant", [(), ("",), ("00000000-0000-0000-0000-000000000000",), (TENANT[:-1],), (TENANT, TENANT)]
)
def test_entra_another_tenant_is_refused(tenant: tuple[str, ...]) -> None:
    with pytest.raises(LoginRefused) as refused:
        logged_in(said({**ENTRA, f"{MICROSOFT}/tenantid": tenant}), idp("entra"))
    assert refused.value.cause is Cause.PERSON_FOREIGN


def test_entra_groups_over_150_are_a_link_and_then_there_are_none() -> None:
    seen = logged_in(said({**ENTRA, ENTRA_GROUPS: ("g1", "g2")}), idp("entra"))
    assert (seen.groups, seen.groups_left_out) == (("g1", "g2"), False)
    link = {ENTRA_LINK: (f"https://graph.windows.net/{TENANT}/users/{OID}/getMemberObjects",)}
    for attributes in ({**ENTRA, **link}, {**ENTRA, **link, ENTRA_GROUPS: ("g1",)}):
        seen = logged_in(said(attributes), idp("entra"))
        assert (seen.groups, seen.groups_left_out) == ((), True)


@pytest.mark.parametrize(("preset", "cut_at"), [("google", 75), ("okta", 100)])
def test_a_list_as_long_as_the_provider_cuts_at_counts_as_cut(preset: Preset, cut_at: int) -> None:
    for length, left_out in ((cut_at - 1, False), (cut_at, True)):
        groups = tuple(f"g{number}" for number in range(length))
        seen = logged_in(said({"groups": groups, "id": ("00u1",)}), idp(preset))
        assert (len(seen.groups), seen.groups_left_out) == ((0 if left_out else length), left_out)


def test_groups_are_compared_whole_and_a_list_in_one_value_is_one_group() -> None:
    seen = logged_in(said({"groups": ("support;admins", "a,b", "/staff/*", "support ")}), idp("generic"))
    assert seen.groups == ("support;admins", "a,b", "/staff/*", "support ")
    assert "support" not in seen.groups


def test_groups_by_another_name() -> None:
    side = SamlSide(groups="memberOf")
    assert logged_in(said({"memberOf": ("a",), "groups": ("b",)}), idp("generic", side)).groups == ("a",)
    assert logged_in(said({"http://schemas.auth0.com/groups": ("a",)}), idp("auth0")).groups == ("a",)


def test_mfa_rests_on_what_is_configured_alone() -> None:
    refeds = "https://refeds.org/profile/mfa"
    assert logged_in(said({}, context=refeds), idp("generic")).mfa == "none"
    assert logged_in(said({}, context=refeds), idp("generic", acr=(refeds,))).mfa == "proven"
    assert logged_in(said({}, context=refeds + "/"), idp("generic", acr=(refeds,))).mfa == "none"
    assert logged_in(said({}), idp("generic", declared=True)).mfa == "declared"
    methods = {
        **ENTRA,
        ENTRA_METHODS: ("http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password", MULTIPLE),
    }
    seen = logged_in(said(methods), idp("entra", amr=(MULTIPLE,)))
    assert seen.mfa == "proven" and MULTIPLE in seen.evidence.amr
    assert logged_in(said({ENTRA_METHODS: (MULTIPLE,)}), idp("generic", amr=(MULTIPLE,))).mfa == "none"


def test_an_attribute_twice_is_refused_where_it_is_read_and_only_there() -> None:
    """Keycloak sends one `Role` attribute for each role; nobody reads it."""
    twice = (("a",), ("b",))
    good = said({"groups": ("support",)})
    assert logged_in(
        msgspec.structs.replace(good, attributes={**good.attributes, "Role": twice}), idp("keycloak")
    ).groups
    with pytest.raises(LoginRefused) as refused:
        logged_in(msgspec.structs.replace(good, attributes={"groups": twice}), idp("keycloak"))
    assert refused.value.cause is Cause.SAML_MALFORMED


def test_the_label_is_for_display_and_never_the_person() -> None:
    seen = logged_in(said({"email": ("mallory@example.com",)}), idp("keycloak"))
    assert (seen.person.label, seen.person.subject) == ("mallory@example.com", "G-1")
