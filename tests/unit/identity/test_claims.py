"""What a verified token makes of its bearer."""

from typing import Any

import pytest

from gatebook.identity.errors import TokenRefused
from gatebook.identity.tokens import Verifier
from gatebook.model.deployment import Allow, Match, Role
from gatebook.model.errors import Reason
from gatebook.model.principal import Evidence, Principal
from tests import issuing
from tests.issuing import NOW_S, Issuer

CORP = Issuer()
CI = Issuer("https://ci.example", name="ci", kind="job", algorithm="RS256")
SERVER = issuing.server("payments", "corp", "ci")
READERS = Role(
    name="readers",
    match=(
        Match(issuer="ci", claims={"environment_protected": "true", "level": "3"}),
        Match(issuer="corp", claims={"department": "x"}),
    ),
    allow=(Allow(server="payments"),),
)
VERIFIER = Verifier(issuing.snapshot((CORP, CI), (SERVER,), (READERS,)))


def person(**claims: Any) -> Principal:
    return VERIFIER.verify(CORP.token(**claims), SERVER, NOW_S)


def job(**claims: Any) -> Principal:
    return VERIFIER.verify(CI.token(**claims), SERVER, NOW_S)


def refusal(**claims: Any) -> Reason:
    with pytest.raises(TokenRefused) as refused:
        person(**claims)
    return refused.value.reason


def test_a_person_is_known_by_issuer_and_subject_through_an_agent() -> None:
    alice = person(
        sid="s-1",
        groups=["pay-readers"],
        scope="mcp:read mcp:write",
        amr=["pwd", "otp"],
        acr="loa-2",
        auth_time=NOW_S - 60,
    )
    assert alice == Principal(
        kind="person",
        issuer="https://idp.example",
        issuer_name="corp",
        subject="00u1alice",
        agent="claude-code",
        login="sid:s-1",
        groups=frozenset({"pay-readers"}),
        claims={"jti": "jti-1"},
        evidence=Evidence(amr=("pwd", "otp"), acr="loa-2", auth_time=NOW_S - 60),
        expires_at=NOW_S + 300,
        scopes=frozenset({"mcp:read", "mcp:write"}),
    )


def test_a_github_run_is_a_job_for_the_human_who_started_it() -> None:
    run = job(
        sub="repo:org/app:ref:refs/heads/main",
        azp=None,
        repository_id="42",
        run_id="9001",
        run_attempt="2",
        actor_id="17",
        actor="alice",
    )
    assert (run.kind, run.agent, run.login, run.acting_for) == ("job", None, "run_id:9001/2", "17")
    assert run.claims["repository_id"] == "42"


def test_a_gitlab_job_acts_for_its_user() -> None:
    assert (job(job_id="7", pipeline_id="5", user_id="3").login, job(user_id=3).acting_for) == ("job_id:7", "3")


def test_an_exchanged_token_acts_for_its_actor() -> None:
    assert job(act={"sub": "alice"}).acting_for == "alice"
    assert person(act={"sub": "mallory"}).acting_for is None


@pytest.mark.parametrize(
    ("claims", "login"),
    [
        ({"sid": "s"}, "sid:s"),
        ({}, "jti:jti-1"),
        ({"jti": None, "auth_time": 5}, "auth_time:5"),
        ({"jti": None}, f"iat:{NOW_S}"),
        ({"jti": None, "iat": None}, f"exp:{NOW_S + 300}"),
        ({"jti": None, "iat": None, "exp": NOW_S + 1.5}, f"exp:{NOW_S + 1}"),
        ({"sid": ["s"]}, "jti:jti-1"),
    ],
)
def test_a_login_is_told_by_the_best_claim_there_is(claims: dict[str, Any], login: str) -> None:
    assert person(**claims).login == login


@pytest.mark.parametrize("name", ["azp", "client_id", "cid", "appid"])
def test_the_agent_is_the_client_whatever_the_issuer_calls_it(name: str) -> None:
    assert person(**{"azp": None, name: "inspector"}).agent == "inspector"


@pytest.mark.parametrize("agent", ["", 7, ["a"], "a\nb", "x" * 2000])
def test_an_agent_that_is_no_name_is_refused(agent: object) -> None:
    assert refusal(azp=agent) is Reason.TOKEN_CLAIMS


@pytest.mark.parametrize(
    "sub", ["", None, 7, ["a"], "a\x00b", "a\nb", "a\u202eb", "a\u200bb", "a\U000e0041", "x" * 256]
)
def test_a_subject_that_could_be_read_as_another_is_refused(sub: object) -> None:
    assert refusal(sub=sub) is Reason.TOKEN_CLAIMS


@pytest.mark.parametrize("sub", ["x" * 255, "auth0|5f7c", "Zoë Ångström", "system:serviceaccount:ns:name"])
def test_a_subject_is_kept_as_it_is(sub: str) -> None:
    assert person(sub=sub).subject == sub


@pytest.mark.parametrize("groups", ["admins", "a,b", {"admins": True}, [["admins"]], ["a", 1], 7])
def test_groups_that_are_no_list_of_strings_are_refused(groups: object) -> None:
    assert refusal(groups=groups) is Reason.TOKEN_CLAIMS


def test_groups_are_kept_to_the_byte() -> None:
    names = ["a*", "/realm/group", "new\nline", "Ops", "ops", " ops"]
    assert person(groups=names).groups == frozenset(names)


def test_without_a_groups_claim_there_are_no_groups() -> None:
    assert person().groups == frozenset()


def test_the_groups_claim_is_the_one_configured() -> None:
    issuer = Issuer(groups_claim="https://corp.example/groups")
    verifier = Verifier(issuing.snapshot((issuer,)))
    token = issuer.token(groups=["admins"], **{"https://corp.example/groups": ["readers"]})
    assert verifier.verify(token, issuing.server(), NOW_S).groups == {"readers"}


@pytest.mark.parametrize(
    "mark",
    [
        {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}},
        {"_claim_names": {"groups": "src1"}, "groups": ["admins"]},
        {"_claim_names": "groups", "groups": ["admins"]},
        {"hasgroups": True, "groups": ["admins"]},
        {"hasgroups": "true"},
    ],
)
def test_groups_that_the_issuer_left_out_are_no_groups(mark: dict[str, Any]) -> None:
    found = person(**mark)
    assert (found.groups, found.claims["groups_overage"]) == (frozenset(), "true")


def test_a_token_cannot_say_itself_that_groups_were_left_out_or_not() -> None:
    assert "groups_overage" not in person(groups_overage="false", hasgroups=False).claims


def test_claims_that_roles_match_on_are_text() -> None:
    assert job(environment_protected=True, level=3).claims | {"jti": ""} == {
        "environment_protected": "true",
        "level": "3",
        "jti": "",
    }
    assert job(environment_protected="true", level="3").claims["environment_protected"] == "true"


@pytest.mark.parametrize("value", [["true"], {"a": 1}, 1.0, "x" * 2000])
def test_a_claim_of_another_shape_is_left_out(value: object) -> None:
    assert "environment_protected" not in job(environment_protected=value).claims


def test_claims_that_nobody_asks_for_are_not_kept() -> None:
    assert person(department="x", phone_number="1", level=3).claims.keys() == {"department", "jti"}


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "a  b"}, {"a", "b"}),
        ({"scp": ["a", "b"]}, {"a", "b"}),
        ({"scp": "a"}, {"a"}),
        ({"scope": ""}, set()),
        ({}, set()),
    ],
)
def test_scopes_are_read_in_both_their_forms(claims: dict[str, Any], scopes: set[str]) -> None:
    assert person(**claims).scopes == scopes


def test_scopes_of_another_shape_are_refused() -> None:
    assert refusal(scope=7) is Reason.TOKEN_CLAIMS


@pytest.mark.parametrize(
    "claims",
    [
        {"amr": "mfa", "acr": 2, "auth_time": "x"},
        {"amr": ["mfa", 1], "acr": ["a"], "auth_time": -1},
        {"auth_time": 1e300},
    ],
)
def test_evidence_of_the_wrong_shape_is_no_evidence(claims: dict[str, Any]) -> None:
    assert person(**claims).evidence == Evidence()
