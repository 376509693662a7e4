"""Which job a token is of, and whether it may come: claims alone decide, as strings. Numbers are those of the attack list in docs/attacks.md."""

from typing import Any

import pytest

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.workloads import WAYS, attempt_of, demand_admitted, job_of, once_key, unbound
from gatebook.model.workload import Workload, WorkloadPreset
from tests.ci_issuers import ACCOUNT_UID, CLASSIC_SUB, IMMUTABLE_SUB, github_claims, gitlab_claims, kubernetes_claims

MAIN = {"repository_id": "1001", "repository_owner_id": "17", "ref": "refs/heads/main", "ref_protected": "true"}
PRODUCTION = {"repository_id": "1001", "repository_owner_id": "17", "environment": "production"}
ACCOUNT = {"namespace": "payments", "serviceaccount": "reporter", "serviceaccount_uid": ACCOUNT_UID}


def workload(preset: WorkloadPreset, *match: dict[str, str], **changed: Any) -> Workload:
    base: dict[str, Any] = {
        "name": "ci",
        "url": "https://ci.example",
        "preset": preset,
        "audience": "https://desk.example",
    }
    return Workload(**{**base, "match": match, "events": WAYS[preset].events, **changed})


GITHUB = workload("github", MAIN, PRODUCTION)
GITLAB = workload("gitlab", {"project_id": "42", "ref_protected": "true"})
KUBERNETES = workload("kubernetes", ACCOUNT, owner="Payments team")


def refused(claims: dict[str, Any], workload: Workload) -> LoginRefused:
    with pytest.raises(LoginRefused) as caught:
        job_of(claims, workload)
    return caught.value


def test_a_github_job_names_its_run_and_the_human_behind_it() -> None:
    job = job_of(github_claims(jti="j"), GITHUB, ("workflow",))
    assert (job.run, job.acting_for, job.owned) == ("run_id:9001/1", "58412", False)
    assert job.claims["repository_id"] == "1001" and job.claims["workflow"] == "nightly"
    assert "runner_environment" not in job.claims, "what nobody matches on or records does not travel"


def test_a_gitlab_job_names_its_run_and_the_human_behind_it() -> None:
    job = job_of(gitlab_claims(jti="j"), GITLAB)
    assert (job.run, job.acting_for, job.owned) == ("job_id:777", "301", False)
    assert "user_email" not in job.claims


def test_a_kubernetes_job_is_its_pod_and_its_owner_answers_for_it() -> None:
    job = job_of(kubernetes_claims(), KUBERNETES)
    assert (job.run, job.acting_for, job.owned) == ("pod:p-1", "Payments team", True)
    assert job.claims["namespace"] == "payments" and job.claims["serviceaccount_uid"] == ACCOUNT_UID


@pytest.mark.parametrize(
    "sub", [CLASSIC_SUB, IMMUTABLE_SUB, "anything: an owner may write it", "repo:evil/other:ref:x"]
)
def test_the_form_of_sub_decides_nothing(sub: str) -> None:
    assert job_of(github_claims(jti="j", sub=sub), GITHUB).run == "run_id:9001/1"


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"repository_id": "1002"}, Cause.JOB_UNMATCHED),  # 38: the same name, another id
        ({"repository_owner_id": "18"}, Cause.JOB_UNMATCHED),
        ({"ref": "refs/heads/evil"}, Cause.JOB_UNMATCHED),
        ({"ref": "refs/heads/main2"}, Cause.JOB_UNMATCHED),
        ({"ref": "main"}, Cause.JOB_UNMATCHED),
        ({"ref_protected": "false"}, Cause.JOB_UNMATCHED),
        ({"ref_protected": True}, Cause.JOB_UNMATCHED),
        ({"ref_protected": "True"}, Cause.JOB_UNMATCHED),
        ({"ref_protected": None}, Cause.JOB_UNMATCHED),
        ({"ref_protected": ["true"]}, Cause.JOB_UNMATCHED),
        ({"ref_protected": 1}, Cause.JOB_UNMATCHED),
        ({"ref": "refs/heads/x", "environment": "staging"}, Cause.JOB_UNMATCHED),
        ({"ref": "refs/heads/x", "environment": "Production"}, Cause.JOB_UNMATCHED),
        ({"repository_id": 1001}, Cause.JOB_CLAIMS),  # a number where a string belongs
        ({"repository_id": ""}, Cause.JOB_CLAIMS),
        ({"repository_id": None}, Cause.JOB_CLAIMS),
        ({"actor_id": None}, Cause.JOB_CLAIMS),
        ({"run_id": 9001}, Cause.JOB_CLAIMS),
        ({"jti": None}, Cause.JOB_CLAIMS),
        ({"event_name": None}, Cause.JOB_CLAIMS),
        ({"event_name": "pull_request"}, Cause.JOB_EVENT),
        ({"event_name": "pull_request_target"}, Cause.JOB_EVENT),
        ({"event_name": "workflow_run"}, Cause.JOB_EVENT),
        ({"event_name": "issue_comment"}, Cause.JOB_EVENT),
        ({"event_name": "Push"}, Cause.JOB_EVENT),
        ({"actor": "dependabot[bot]"}, Cause.JOB_NOBODY),
    ],
    ids=str,
)
def test_a_github_job_with_a_wrong_or_missing_claim_is_refused(changed: dict[str, Any], cause: Cause) -> None:
    found = refused(github_claims(**{"jti": "j", **changed}), GITHUB)
    assert found.cause is cause
    assert "evil" not in found.hint, "names of claims, not what somebody wrote into them"


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"project_id": "43"}, Cause.JOB_UNMATCHED),
        ({"project_id": 42}, Cause.JOB_CLAIMS),
        ({"ref_protected": "false"}, Cause.JOB_UNMATCHED),
        ({"ref_protected": True}, Cause.JOB_UNMATCHED),
        ({"pipeline_source": "merge_request_event"}, Cause.JOB_EVENT),
        ({"pipeline_source": "external_pull_request_event"}, Cause.JOB_EVENT),
        ({"user_id": None}, Cause.JOB_CLAIMS),
        ({"user_login": "project_42_bot_1a2b"}, Cause.JOB_NOBODY),
    ],
    ids=str,
)
def test_a_gitlab_job_with_a_wrong_or_missing_claim_is_refused(changed: dict[str, Any], cause: Cause) -> None:
    assert refused(gitlab_claims(**{"jti": "j", **changed}), GITLAB).cause is cause


def bound(**changed: Any) -> dict[str, Any]:
    return {"kubernetes.io": {**kubernetes_claims()["kubernetes.io"], **changed}}


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        (bound(namespace="other"), Cause.JOB_CLAIMS),  # sub says another
        ({**bound(namespace="other"), "sub": "system:serviceaccount:other:reporter"}, Cause.JOB_UNMATCHED),
        (bound(serviceaccount={"name": "reporter", "uid": "made again"}), Cause.JOB_UNMATCHED),
        (bound(serviceaccount={"name": "reporter"}), Cause.JOB_CLAIMS),
        (bound(serviceaccount="reporter"), Cause.JOB_CLAIMS),
        (bound(pod="p"), Cause.JOB_CLAIMS),
        ({"kubernetes.io": None}, Cause.JOB_CLAIMS),
        ({"kubernetes.io": None, **ACCOUNT}, Cause.JOB_CLAIMS),  # the names we give them, as claims of their own
        ({"sub": "system:serviceaccount:payments:other"}, Cause.JOB_CLAIMS),
        ({"sub": None}, Cause.JOB_CLAIMS),
    ],
    ids=str,
)
def test_a_service_account_that_is_not_the_one_is_refused(changed: dict[str, Any], cause: Cause) -> None:
    assert refused(kubernetes_claims(**changed), KUBERNETES).cause is cause


def test_a_program_behind_a_job_is_answered_for_by_the_owner_where_there_is_one() -> None:
    owned = workload("github", MAIN, owner="Release team")
    job = job_of(github_claims(jti="j", actor="dependabot[bot]", actor_id="49699333"), owned)
    assert (job.acting_for, job.owned) == ("Release team", True)
    assert job_of(github_claims(jti="j"), owned).acting_for == "58412", "a human goes first"


def test_an_event_counts_where_it_is_listed() -> None:
    listed = workload("github", MAIN, events=("pull_request",))
    assert job_of(github_claims(jti="j", event_name="pull_request"), listed).run
    assert refused(github_claims(jti="j"), listed).cause is Cause.JOB_EVENT


def test_without_a_match_nobody_comes() -> None:
    for empty in (workload("github"), workload("github", {})):
        assert refused(github_claims(jti="j"), empty).cause is Cause.JOB_UNMATCHED
    with pytest.raises(LoginRefused):
        demand_admitted({}, workload("generic", {}))


def test_a_generic_job_is_matched_by_any_claims_and_its_owner_answers_for_it() -> None:
    generic = workload("generic", {"sub": "batch/7", "tier": "gold"}, owner="Batch team")
    job = job_of({"sub": "batch/7", "tier": "gold", "jti": "x", "level": 7}, generic)
    assert (job.run, job.acting_for, job.claims) == (
        "jti:x",
        "Batch team",
        {"jti": "x", "sub": "batch/7", "tier": "gold"},
    )
    for changed in ({"tier": "silver"}, {"tier": None}, {"tier": ["gold"]}, {"sub": "batch/77"}):
        assert refused({"sub": "batch/7", "tier": "gold", **changed}, generic).cause is Cause.JOB_UNMATCHED


def test_the_hint_names_the_claims_that_differ_from_the_closest_match() -> None:
    found = refused(github_claims(jti="j", ref="refs/heads/x", environment="staging"), GITHUB)
    assert found.hint == "workload ci: differing from the closest match: ref"


def test_what_a_match_must_bind() -> None:
    assert unbound(MAIN, "github") is None and unbound(PRODUCTION, "github") is None
    assert unbound({"repository_id": "1", "repository_owner_id": "2"}, "github") is not None
    assert unbound({"repository_id": "1", "repository_owner_id": "2", "ref": "x"}, "github") is not None
    assert unbound({"repository_owner_id": "2", "environment": "x"}, "github") == "repository_id"
    assert unbound({"project_id": "42", "environment": "production"}, "gitlab") is not None
    assert unbound({"namespace": "a", "serviceaccount": "b"}, "kubernetes") == "serviceaccount_uid"


def test_a_token_is_named_by_its_jti_or_by_what_was_signed_and_never_by_its_signature() -> None:
    times = {"iat": 1000, "exp": 1300}
    assert once_key("a.b.c", {**times, "jti": "x"}, GITHUB) == once_key("d.e.f", {**times, "jti": "x"}, GITHUB)
    assert once_key("a.b.c", times, KUBERNETES) == once_key("a.b.other", times, KUBERNETES)
    assert once_key("a.b.c", times, KUBERNETES) != once_key("a.x.c", times, KUBERNETES)
    other = workload("github", MAIN, url="https://other.example")
    assert once_key("a.b.c", {**times, "jti": "x"}, GITHUB)[0] != once_key("a.b.c", {**times, "jti": "x"}, other)[0]
    assert once_key("a.b.c", times, GITHUB)[1] == 1360, "until it has expired, leeway included"


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1300}, {"iat": 0, "exp": 86_401}, {"iat": 1, "exp": 2, "jti": 7}, {"iat": 1, "exp": 2, "jti": ""}],
    ids=str,
)
def test_a_token_that_cannot_be_remembered_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(LoginRefused):
        once_key("a.b.c", claims, GITHUB)


def test_attempts_are_numbers_of_github() -> None:
    assert attempt_of(job_of(github_claims(jti="j", run_attempt="3"), GITHUB), GITHUB) == ("1001/9001", 3)
    assert attempt_of(job_of(gitlab_claims(jti="j"), GITLAB), GITLAB) is None
    for wrong in ("0", "-1", "1e3", "٣", " 1"):
        with pytest.raises(LoginRefused):
            attempt_of(job_of(github_claims(jti="j", run_attempt=wrong), GITHUB), GITHUB)
