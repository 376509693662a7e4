"""Whatever a CI system's issuer signs, the answer is a job that matches in full, or a refusal; a missing or wrong claim never passes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatebook.federation.errors import LoginRefused
from gatebook.federation.workloads import WAYS, job_of, once_key
from gatebook.model.workload import Workload, WorkloadPreset
from tests.ci_issuers import ACCOUNT_UID, github_claims, gitlab_claims, kubernetes_claims
from tests.examples import up_to

MATCHES: dict[WorkloadPreset, dict[str, str]] = {
    "github": {
        "repository_id": "1001",
        "repository_owner_id": "17",
        "ref": "refs/heads/main",
        "ref_protected": "true",
        "job_workflow_ref": str(github_claims()["job_workflow_ref"]),
        "environment": "production",
    },
    "gitlab": {
        "project_id": "42",
        "ref_protected": "true",
        "environment": "production",
        "environment_protected": "true",
    },
    "kubernetes": {"namespace": "payments", "serviceaccount": "reporter", "serviceaccount_uid": ACCOUNT_UID},
}
GOOD: dict[WorkloadPreset, dict[str, Any]] = {
    "github": github_claims(jti="j", environment="production"),
    "gitlab": gitlab_claims(jti="j", environment="production", environment_protected="true"),
    "kubernetes": kubernetes_claims(jti="j"),
}
PRESETS = st.sampled_from(list(MATCHES))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.just("true")
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)


def workload(preset: WorkloadPreset) -> Workload:
    return Workload(
        name="ci", url="https://ci.example", preset=preset, audience="https://desk.example", match=(MATCHES[preset],),
        events=WAYS[preset].events, owner="Team",
    )  # fmt: skip


@pytest.mark.parametrize("preset", list(MATCHES))
def test_the_good_ones_pass(preset: WorkloadPreset) -> None:
    assert job_of(GOOD[preset], workload(preset)).run


@given(preset=st.sampled_from(["github", "gitlab"]), which=st.integers(0, 99), value=VALUES)
@settings(max_examples=up_to(500))
def test_a_claim_that_decides_passes_with_its_one_value_alone(preset: WorkloadPreset, which: int, value: Any) -> None:
    """Also with a boolean, a number or a list in a string's place, whatever they print as."""
    names = sorted(MATCHES[preset])
    name = names[which % len(names)]
    if type(value) is str and value == MATCHES[preset][name]:
        return
    for changed in (
        {**GOOD[preset], name: value},
        {each: found for each, found in GOOD[preset].items() if each != name},
    ):
        with pytest.raises(LoginRefused):
            job_of(changed, workload(preset))


@given(where=st.sampled_from([("namespace",), ("serviceaccount", "name"), ("serviceaccount", "uid")]), value=VALUES)
@settings(max_examples=up_to(300))
def test_a_service_account_passes_with_its_own_names_alone(where: tuple[str, ...], value: Any) -> None:
    claims = kubernetes_claims()
    inner = claims["kubernetes.io"] = {
        name: dict(part) if isinstance(part, dict) else part for name, part in claims["kubernetes.io"].items()
    }
    for step in where[:-1]:
        inner = inner[step]
    if value == inner[where[-1]]:
        return
    inner[where[-1]] = value
    with pytest.raises(LoginRefused):
        job_of(claims, workload("kubernetes"))


@given(
    preset=PRESETS,
    claims=st.dictionaries(
        st.sampled_from(sorted({*github_claims(), *gitlab_claims(), "kubernetes.io", "jti", "exp", "iat"})), VALUES
    ),
)
@settings(max_examples=up_to(500))
def test_any_claims_at_all_give_a_job_that_matches_or_a_refusal(preset: WorkloadPreset, claims: dict[str, Any]) -> None:
    try:
        job = job_of({**GOOD[preset], **claims}, workload(preset))
        once_key(
            "a.b.c",
            {"iat": 1, "exp": 300, **{name: claims[name] for name in ("jti",) if name in claims}},
            workload(preset),
        )
    except LoginRefused:
        return
    assert all(job.claims.get(name) == value for name, value in MATCHES[preset].items())
    assert job.acting_for and all(isinstance(value, str) for value in job.claims.values())
