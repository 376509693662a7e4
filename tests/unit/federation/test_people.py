"""An ID token's claims → a person, by the provider's preset; each provider's trap is one test."""

from typing import Any

import msgspec
import pytest

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.people import logged_in
from gatebook.model.deployment import Evidences, IdentityProvider

TENANT = "11111111-2222-3333-4444-555555555555"


def idp(**changed: Any) -> IdentityProvider:
    base = IdentityProvider(
        name="corp", url="https://idp.example", client_id="gatebook", mfa=Evidences(amr=("otp", "mfa"), acr=("loa3",))
    )
    return msgspec.structs.replace(base, **changed)


def claims(**changed: Any) -> dict[str, Any]:
    base = {
        "sub": "00u1alice",
        "groups": ["support"],
        "email": "alice@example.com",
        "amr": ["pwd", "otp"],
        "auth_time": 1_795_000_000,
    }
    return {name: value for name, value in {**base, **changed}.items() if value is not None}


def cause(told: dict[str, Any], provider: IdentityProvider, userinfo: dict[str, Any] | None = None) -> Cause:
    with pytest.raises(LoginRefused) as refused:
        logged_in(told, userinfo, provider)
    return refused.value.cause


def test_a_person_is_the_provider_and_an_immutable_id_and_never_an_address() -> None:
    seen = logged_in(claims(), None, idp())
    assert (seen.person.issuer, seen.person.subject) == ("https://idp.example", "00u1alice")
    assert seen.person.label == "alice@example.com"
    other = logged_in(claims(sub="00u2mallory"), None, idp())
    assert other.person.subject != seen.person.subject, "one address, two people"
    assert (seen.groups, seen.groups_left_out, seen.mfa) == (("support",), False, "proven")


@pytest.mark.parametrize("subject", [None, "", 7, "a" * 256, "ali\u202ece", "ali\x00ce", ["a"]])
def test_without_a_usable_subject_there_is_nobody(subject: Any) -> None:
    assert cause(claims(sub=subject), idp()) is Cause.PERSON_UNCLEAR


@pytest.mark.parametrize(
    ("told", "mfa"),
    [
        ({"amr": ["pwd"]}, "none"),
        ({"amr": "otp"}, "none"),  # a string is no list of methods
        ({"amr": None, "acr": "loa3"}, "proven"),
        ({"amr": None, "acr": "loa2"}, "none"),
        ({"amr": None}, "none"),
        ({"amr": ["mfa"]}, "proven"),
    ],
)
def test_only_configured_evidence_is_evidence(told: dict[str, Any], mfa: str) -> None:
    assert logged_in(claims(**told), None, idp()).mfa == mfa


def test_what_the_operator_declares_is_called_declared() -> None:
    assert logged_in(claims(amr=None), None, idp(mfa=Evidences(declared=True))).mfa == "declared"


@pytest.mark.parametrize("groups", ["support,admin", {"support": True}, [1], ["support", ""], ["x" * 513]])
def test_groups_of_another_shape_are_refused(groups: Any) -> None:
    assert cause(claims(groups=groups), idp()) is Cause.ID_TOKEN_INVALID


def test_no_groups_are_no_groups() -> None:
    assert logged_in(claims(groups=None), None, idp()).groups == ()


@pytest.mark.parametrize("mark", [{"_claim_names": {"groups": "src1"}}, {"hasgroups": True}, {"_claim_names": "x"}])
def test_an_overage_gives_no_groups_at_all(mark: dict[str, Any]) -> None:
    seen = logged_in(claims(**mark), None, idp())
    assert (seen.groups, seen.groups_left_out) == ((), True)


@pytest.mark.parametrize(("count", "left_out"), [(99, False), (100, True), (101, False)])
def test_exactly_a_hundred_groups_of_okta_were_cut(count: int, left_out: bool) -> None:
    groups = [f"g{number}" for number in range(count)]
    assert logged_in(claims(groups=groups), None, idp(preset="okta")).groups_left_out is left_out
    assert logged_in(claims(groups=groups), None, idp(preset="generic")).groups_left_out is False


def test_groups_may_come_by_userinfo_of_the_same_person_only() -> None:
    thin = claims(groups=None)
    assert logged_in(thin, {"sub": "00u1alice", "groups": ["support"]}, idp(preset="okta")).groups == ("support",)
    assert cause(thin, idp(preset="okta"), {"sub": "00u2mallory", "groups": ["admin"]}) is Cause.ID_TOKEN_INVALID
    assert cause(thin, idp(preset="okta"), {"groups": ["admin"]}) is Cause.ID_TOKEN_INVALID


def entra(url: str = f"https://login.microsoftonline.com/{TENANT}/v2.0", **changed: Any) -> IdentityProvider:
    return idp(preset="entra", url=url, **changed)


def test_entras_person_is_oid_in_the_tenant_of_the_url() -> None:
    told = claims(sub="pairwise", oid="o-1", tid=TENANT, preferred_username="alice@corp.example")
    assert logged_in(told, None, entra()).person.subject == "o-1"
    assert cause(claims(oid="o-1", tid="99999999-2222-3333-4444-555555555555"), entra()) is Cause.PERSON_FOREIGN
    assert cause(claims(oid="o-1"), entra()) is Cause.PERSON_FOREIGN
    for foreign in ("", "v2.0", TENANT[:-1], f"{TENANT}/v2.0", TENANT.upper() + "A", "login.microsoftonline.com"):
        assert cause(claims(oid="o-1", tid=foreign), entra()) is Cause.PERSON_FOREIGN
    elsewhere = entra(url=f"https://login.microsoftonline.com/99999999-2222-3333-4444-555555555555/{TENANT}/v2.0")
    assert cause(claims(oid="o-1", tid=TENANT), elsewhere) is Cause.PERSON_FOREIGN, "any other part of the path"
    v1 = entra(url=f"https://sts.windows.net/{TENANT}/")
    assert logged_in(claims(oid="o-1", tid=TENANT), None, v1).person.subject == "o-1"
    assert cause(claims(tid=TENANT), entra()) is Cause.PERSON_UNCLEAR, "sub is another for each application"


def test_googles_people_are_of_the_domain_and_have_a_verified_address_and_no_groups() -> None:
    provider = idp(preset="google", url="https://accounts.google.com", domain="example.com")
    good = claims(hd="example.com", email_verified=True)
    seen = logged_in(good, None, provider)
    assert (seen.groups, seen.groups_left_out) == ((), False), "a claim that Google does not send is not believed"
    assert cause(claims(email_verified=True), provider) is Cause.PERSON_FOREIGN, "a consumer account"
    assert cause(claims(hd="evil.example", email_verified=True), provider) is Cause.PERSON_FOREIGN
    assert cause(claims(hd="example.com"), provider) is Cause.PERSON_UNCLEAR
    assert cause(claims(hd="example.com", email_verified="true"), provider) is Cause.PERSON_UNCLEAR


@pytest.mark.parametrize(
    "mark",
    [
        {"idtyp": "app"},
        {"gty": "client-credentials"},
        {"preferred_username": "service-account-ci"},
        {"email": "ci@project.iam.gserviceaccount.com"},
    ],
)
def test_an_application_is_no_person(mark: dict[str, Any]) -> None:
    assert cause(claims(**mark), idp()) is Cause.APPLICATION


def test_auth0s_slash_is_part_of_the_issuer() -> None:
    provider = idp(preset="auth0", url="https://t.auth0.com/")
    assert logged_in(claims(sub="google-oauth2|1"), None, provider).person.issuer == "https://t.auth0.com/"
