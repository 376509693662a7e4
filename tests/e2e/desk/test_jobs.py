"""Jobs exchange their tokens and call tools of a real MCP server, forged ones do not, and each act is an entry.

The issuers are our own, with the claims of GitHub Actions, GitLab CI and Kubernetes. Numbers are those of the attack list in docs/attacks.md.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gatebook.federation.exchanging import ACCESS_TOKEN_TYPE, ASSERTION_TYPE, TOKEN_EXCHANGE
from gatebook.federation.registered_keys import key_set_of
from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import acceptable_key_set
from tests.ci_issuers import (
    ACCOUNT_UID,
    CLASSIC_SUB,
    IMMUTABLE_SUB,
    Published,
    github_claims,
    gitlab_claims,
    kubernetes_claims,
    published,
    token,
)
from tests.e2e.desk import Place, place
from tests.e2e.desk.command_line import DESK_ROLES, Shell, entries_of, person
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import Person
from tests.issuing import Issuer, compact, private_key

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

JWT = "urn:ietf:params:oauth:token-type:jwt"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
CLUSTER_URL = "https://kubernetes.default.svc.cluster.local"
HOWTO = Path(__file__).parents[3] / "docs/howto"
NIGHTLY = private_key("ES256", "nightly-report")

CONFIGURATION = """
[[workload]]
name = "github"
preset = "github"
url = "{github}"
match = [
  {{ repository_id = "1001", repository_owner_id = "17", ref = "refs/heads/main", ref_protected = "true" }},
  {{ repository_id = "1001", repository_owner_id = "17", environment = "production" }},
]
[[workload]]
name = "gitlab"
preset = "gitlab"
url = "{gitlab}"
match = [{{ project_id = "42", ref_protected = "true" }}]
[[workload]]
name = "cluster"
preset = "kubernetes"
url = "{cluster}"
jwks_file = "cluster.json"
owner = "Payments platform team"
match = [{{ namespace = "payments", serviceaccount = "reporter", serviceaccount_uid = "{uid}" }}]
[[workload]]
name = "silent"
url = "http://localhost:1/silent"
owner = "Nobody in particular"
match = [{{ sub = "batch/7" }}]
[[job]]
name = "nightly-report"
owner = "Dana, finance"
public_key = "nightly.pem"
[[role]]
name = "jobs"
match = [
  {{ issuer = "github", claims = {{ repository_id = "1001" }} }},
  {{ issuer = "gitlab", claims = {{ project_id = "42" }} }},
  {{ issuer = "cluster", claims = {{ namespace = "payments" }} }},
  {{ issuer = "gatebook", subject = "nightly-report" }},
]
allow = [{{ server = "payments", tools = ["get_order"] }}]
"""


class Jobs(msgspec.Struct, kw_only=True):
    """The place, and who issues tokens to jobs."""

    here: Place
    published: Published
    github: Issuer
    gitlab: Issuer
    cluster: Issuer

    @property
    def resource(self) -> str:
        return self.here.resource("payments")

    def of_github(self, **changed: Any) -> str:
        return token(self.github, self.here.issuer, github_claims(run_id=fresh_run()), **changed)

    def of_gitlab(self, **changed: Any) -> str:
        return token(self.gitlab, self.here.issuer, gitlab_claims(job_id=fresh_run()), **changed)

    def of_cluster(self, **changed: Any) -> str:
        return token(self.cluster, [self.here.issuer], kubernetes_claims(), **changed)

    def exchange(self, subject_token: str, kind: str = JWT, **form: str | None) -> httpx2.Response:
        base: dict[str, str | None] = {
            "grant_type": TOKEN_EXCHANGE, "subject_token": subject_token, "subject_token_type": kind, "resource": self.resource,
        }  # fmt: skip
        asked = {name: value for name, value in {**base, **form}.items() if value is not None}
        return self.here.http.post(f"{self.here.issuer}/oauth/token", data=asked)

    def renew(self, access_token: str, **form: str | None) -> httpx2.Response:
        return self.exchange(access_token, ACCESS_TOKEN_TYPE, **form)

    def assertion(self, key: Any = NIGHTLY, header: Any = None, **changed: Any) -> str:
        now = int(time.time())
        base = {
            "iss": "nightly-report", "sub": "nightly-report", "aud": self.here.issuer, "iat": now, "exp": now + 60,
            "jti": str(uuid.uuid4()),
        }  # fmt: skip
        claims = {name: value for name, value in {**base, **changed}.items() if value is not None}
        return compact({"alg": "ES256", "kid": "nightly-report", **(header or {})}, claims, key, "ES256")

    def assert_as_job(self, assertion: str, **form: str) -> httpx2.Response:
        base = {
            "grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion,
            "resource": self.resource,
        }  # fmt: skip
        return self.here.http.post(f"{self.here.issuer}/oauth/token", data={**base, **form})

    def token_for(self, subject_token: str) -> str:
        answer = self.exchange(subject_token)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


def fresh_run() -> str:
    return str(uuid.uuid4().int % 10**12 + 1)


def claims_of(access_token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(access_token.split(".")[1] + "=="))
    return found


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    directory = tmp_path_factory.mktemp("jobs") / "place"
    directory.mkdir()
    cluster = Issuer(CLUSTER_URL, name="cluster", kind="job", algorithm="RS256")
    (directory / "cluster.json").write_text(json.dumps(cluster.jwks()))
    pem = NIGHTLY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (directory / "nightly.pem").write_bytes(pem)
    with published("github", "gitlab") as (served, (github, gitlab)):
        more = (
            CONFIGURATION.format(github=github.url, gitlab=gitlab.url, cluster=CLUSTER_URL, uid=ACCOUNT_UID)
            + DESK_ROLES
        )
        with place(directory, more) as here:
            yield Jobs(here=here, published=served, github=github, gitlab=gitlab, cluster=cluster)


async def tool_called(here: Place, access_token: str) -> str:
    """What the Python SDK's client gets with this token: nothing pasted but what a job has got for itself."""
    headers = {"authorization": f"Bearer {access_token}"}
    url = here.gate.url("payments")
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        result = await client.call_tool("get_order", {"order_id": "ord_5001"})
        return json.dumps(result.model_dump(mode="json"))


@pytest.mark.parametrize("kind", [JWT, ID_TOKEN])
@pytest.mark.parametrize("who", ["github", "gitlab", "cluster"])
async def test_a_job_exchanges_its_token_and_calls_a_tool(jobs: Jobs, who: str, kind: str) -> None:
    made = {"github": jobs.of_github, "gitlab": jobs.of_gitlab, "cluster": jobs.of_cluster}[who]()
    answer = jobs.exchange(made, kind)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert set(found) == {"access_token", "issued_token_type", "token_type", "expires_in", "scope"}, "no refresh token"
    assert (found["issued_token_type"], found["token_type"], found["expires_in"]) == (ACCESS_TOKEN_TYPE, "Bearer", 300)
    claims = claims_of(found["access_token"])
    assert (claims["aud"], claims["principal_type"], claims["scope"]) == (jobs.resource, "job", "mcp:payments")
    assert "ord_5001" in await tool_called(jobs.here, found["access_token"])
    assert jobs.here.call(found["access_token"], "orders") == 401


async def test_a_registered_job_proves_itself_by_its_key_and_calls_a_tool(jobs: Jobs) -> None:
    answer = jobs.assert_as_job(jobs.assertion(run_id="jenkins-nightly-17"), client_id="nightly-report")
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"access_token", "token_type", "expires_in", "scope"}
    assert "ord_5001" in await tool_called(jobs.here, answer.json()["access_token"])


def test_entries_name_the_job_its_run_and_the_human_or_owner_behind_it(jobs: Jobs) -> None:
    run = fresh_run()
    github = token(jobs.github, jobs.here.issuer, github_claims(run_id=run, sub=IMMUTABLE_SUB))
    assert jobs.here.call(jobs.token_for(github)) == 200
    assert jobs.here.call(jobs.token_for(jobs.of_cluster())) == 200
    assertion = jobs.assert_as_job(jobs.assertion(run_id="cron-1"))
    assert jobs.here.call(assertion.json()["access_token"]) == 200
    entries = jobs.here.entries()
    for event in ("token.issued", "call.intent", "call.result"):
        of_run = [entry for entry in entries if entry["ev"] == event and entry["who"].get("login") == f"run_id:{run}/1"]
        assert [entry["who"] for entry in of_run] == [
            {
                "kind": "job", "iss": jobs.github.url, "sub": IMMUTABLE_SUB, "agent": "github", "login": f"run_id:{run}/1",
                "acting_for": "58412",
            }
        ]  # fmt: skip
    issued = [entry for entry in entries if entry["ev"] == "token.issued"]
    behind = {(entry["who"]["agent"], entry["who"]["acting_for"], entry["x"]["how"]) for entry in issued}
    assert ("cluster", "Payments platform team", "exchange") in behind
    assert ("nightly-report", "Dana, finance", "assertion") in behind
    called = [entry["who"] for entry in entries if entry["ev"] == "call.intent"]
    assert {"run_id:cron-1", "pod:p-1"} <= {who["login"] for who in called}
    assert github not in json.dumps(entries)


@pytest.mark.parametrize("sub", [CLASSIC_SUB, IMMUTABLE_SUB, "octo/custom"])
def test_any_form_of_sub_is_good_with_the_right_claims(jobs: Jobs, sub: str) -> None:
    assert jobs.exchange(jobs.of_github(sub=sub)).status_code == 200


# 38: forged ones. Each is sent with a client_id that names the case, which its entry repeats.

FORGED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    # case: (whose, claims, cause, what the hint holds)
    "repository": ("github", {"repository_id": "1002", "repository": "octo-org/payments"}, "job_unmatched", "repository_id"),
    "renamed": ("github", {"repository": "octo-org/renamed", "repository_id": "2002"}, "job_unmatched", "repository_id"),
    "owner": ("github", {"repository_owner_id": "18"}, "job_unmatched", "repository_owner_id"),
    "branch": ("github", {"ref": "refs/heads/feature"}, "job_unmatched", "ref"),
    "sub-right-claims-wrong": ("github", {"sub": CLASSIC_SUB, "repository_id": "3"}, "job_unmatched", "repository_id"),
    "sub-immutable-claims-wrong": ("github", {"sub": IMMUTABLE_SUB, "repository_id": "3"}, "job_unmatched", "repository_id"),
    "environment": ("github", {"ref": "refs/heads/x", "environment": "staging"}, "job_unmatched", "ref"),
    "unprotected": ("github", {"ref_protected": "false"}, "job_unmatched", "ref_protected"),
    "boolean": ("github", {"ref_protected": True}, "job_unmatched", "ref_protected"),
    "no-protection": ("github", {"ref_protected": None}, "job_unmatched", "ref_protected"),
    "id-as-number": ("github", {"repository_id": 1001}, "job_claims", "repository_id"),
    "fork": ("github", {"event_name": "pull_request", "ref": "refs/pull/7/merge", "head_ref": "x"}, "job_event", "event_name"),
    "fork-target": ("github", {"event_name": "pull_request_target"}, "job_event", "event_name"),
    "comment": ("github", {"event_name": "issue_comment"}, "job_event", "event_name"),
    "bot": ("github", {"actor": "dependabot[bot]"}, "job_nobody", "owner"),
    "no-actor": ("github", {"actor_id": None}, "job_claims", "actor_id"),
    "audience": ("github", {"aud": "https://github.com/octo-org"}, "job_token_audience", "token_audience"),
    "audience-of-server": ("github", {"aud": "RESOURCE"}, "job_token_audience", "token_audience"),
    "audiences": ("github", {"aud": ["ISSUER", "https://other.example"]}, "job_token_audience", "token_audience"),
    "audience-slash": ("github", {"aud": "ISSUER/"}, "job_token_audience", "token_audience"),
    "no-audience": ("github", {"aud": None}, "job_token_audience", "token_audience"),
    "expired": ("github", {"exp": -120}, "job_token_expired", "token_expired"),
    "not-yet": ("github", {"iat": 600, "nbf": 600, "exp": 900}, "job_token_invalid", "token_not_yet_valid"),
    "never-expires": ("cluster", {"exp": None}, "job_claims", "token_claims"),
    "two-days": ("github", {"exp": 172_800}, "job_claims", "exp - iat"),
    "no-jti": ("github", {"jti": None}, "job_claims", "jti"),
    "person": ("gitlab", {"auth_time": 1, "amr": ["pwd"]}, "job_claims", "token_claims"),
    "id-token-of-a-login": ("gitlab", {"nonce": "n"}, "job_token_invalid", "token_type"),
    "bound-to-a-key": ("gitlab", {"cnf": {"jkt": "x"}}, "job_token_invalid", "token_type"),
    "project": ("gitlab", {"project_id": "43"}, "job_unmatched", "project_id"),
    "project-number": ("gitlab", {"project_id": 42}, "job_claims", "project_id"),
    "gitlab-unprotected": ("gitlab", {"ref_protected": "false"}, "job_unmatched", "ref_protected"),
    "gitlab-boolean": ("gitlab", {"ref_protected": True}, "job_unmatched", "ref_protected"),
    "merge-request": ("gitlab", {"pipeline_source": "merge_request_event"}, "job_event", "pipeline_source"),
    "namespace": ("cluster", {"sub": "system:serviceaccount:evil:reporter", "NAMESPACE": "evil"}, "job_unmatched", "namespace"),
    "account-made-again": ("cluster", {"UID": "another"}, "job_unmatched", "serviceaccount_uid"),
    "two-accounts": ("cluster", {"sub": "system:serviceaccount:payments:admin"}, "job_claims", "sub"),
    "legacy": ("cluster", {"kubernetes.io": None, "kubernetes.io/serviceaccount/namespace": "payments"}, "job_claims", "kubernetes.io"),
}  # fmt: skip


def forged(jobs: Jobs, case: str) -> str:
    whose, changed, _, _ = FORGED[case]
    found = dict(changed)
    for name in ("iat", "nbf", "exp"):
        if isinstance(found.get(name), int):
            found[name] += int(time.time())
    if isinstance(aud := found.get("aud"), str):
        found["aud"] = aud.replace("RESOURCE", jobs.resource).replace("ISSUER", jobs.here.issuer)
    elif isinstance(aud, list):
        found["aud"] = [jobs.here.issuer if each == "ISSUER" else each for each in aud]
    if {"NAMESPACE", "UID"} & found.keys():
        bound = json.loads(json.dumps(kubernetes_claims()["kubernetes.io"]))
        bound["namespace"] = found.pop("NAMESPACE", "payments")
        bound["serviceaccount"]["uid"] = found.pop("UID", ACCOUNT_UID)
        found["kubernetes.io"] = bound
    return {"github": jobs.of_github, "gitlab": jobs.of_gitlab, "cluster": jobs.of_cluster}[whose](**found)


@pytest.fixture(scope="module")
def refusals(jobs: Jobs) -> dict[str, tuple[httpx2.Response, dict[str, Any]]]:
    """Every forged one sent, with what was answered and its entry."""
    answers = {case: jobs.exchange(forged(jobs, case), client_id=case) for case in FORGED}
    entries = [entry for entry in jobs.here.entries() if entry["ev"] == "token.refused"]
    by_case = {entry["x"]["client"]: entry for entry in entries if "client" in entry["x"]}
    return {case: (answer, by_case.get(case, {})) for case, answer in answers.items()}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_job_token_is_refused_and_recorded(
    refusals: dict[str, tuple[httpx2.Response, dict[str, Any]]], case: str
) -> None:
    answer, entry = refusals[case]
    _, _, cause, hint = FORGED[case]
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), answer.text
    assert "access_token" not in answer.text
    assert (entry["out"]["ok"], entry["x"]["cause"]) == (False, cause)
    assert hint in entry["x"]["hint"]
    assert entry["who"]["kind"] == "unknown", "nobody was proven to be allowed"
    if cause in ("job_unmatched", "job_event", "job_nobody"):
        assert "token of " in entry["x"]["hint"], "but whose token it was is told"


def test_a_token_that_its_issuer_did_not_sign_is_refused(jobs: Jobs) -> None:
    stranger = Issuer(jobs.github.url, name="stranger", kind="job", algorithm="RS256")
    made = token(stranger, jobs.here.issuer, github_claims(), {"kid": jobs.github.kids[-1]})
    good = jobs.of_github()
    header, claims, _ = good.split(".")
    unknown = Issuer("https://unknown.example", name="unknown", kind="job")
    for wrong in (
        made,
        f"{header}.{claims}.",
        f"{header}.{claims}.{'A' * 342}",
        compact({"alg": "none", "kid": jobs.github.kids[-1]}, {"iss": jobs.github.url}, b"", "none"),
        token(unknown, jobs.here.issuer, github_claims()),
        "x.y.z",
        "opaque",
    ):
        answer = jobs.exchange(wrong)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    jobs.here.caused("job_token_invalid")
    assert jobs.exchange(good).status_code == 200, "and none of this used it up"


def test_while_an_issuers_keys_cannot_be_had_its_jobs_are_told_to_try_again(jobs: Jobs) -> None:
    silent = Issuer("http://localhost:1/silent", name="silent", kind="job", algorithm="RS256")
    answer = jobs.exchange(token(silent, jobs.here.issuer, {"sub": "batch/7"}))
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    jobs.here.caused("job_keys_unavailable")


# 39: replay, more than is due, confusion of kinds


@pytest.mark.parametrize("who", ["github", "gitlab", "cluster"])
def test_a_job_token_is_exchanged_once_even_by_many_at_once(jobs: Jobs, who: str) -> None:
    # A cluster before Kubernetes 1.29 put no jti into its tokens.
    changed = {"jti": None} if who == "cluster" else {}
    made = {"github": jobs.of_github, "gitlab": jobs.of_gitlab, "cluster": jobs.of_cluster}[who](**changed)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: jobs.exchange(made).status_code, range(4)))
    assert sorted(answers) == [200] + [400] * 3
    assert jobs.exchange(made, resource=jobs.here.resource("payments")).status_code == 400
    jobs.here.caused("job_token_replayed")


def test_no_other_resource_and_no_more_scope(jobs: Jobs) -> None:
    made = jobs.of_github()
    asked: list[tuple[dict[str, str | None], str]] = [
        ({"resource": jobs.here.resource("orders")}, "invalid_target"),  # no role gives it anything there
        ({"resource": "https://evil.example/mcp"}, "invalid_target"),
        ({"resource": jobs.resource + "/"}, "invalid_target"),
        ({"resource": None}, "invalid_target"),
        ({"audience": "payments"}, "invalid_target"),
        ({"scope": "mcp:orders"}, "invalid_scope"),
        ({"scope": "mcp:payments mcp:orders"}, "invalid_scope"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"actor_token": made, "actor_token_type": JWT}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"subject_token_type": ACCESS_TOKEN_TYPE}, "invalid_request"),
    ]
    answers = [jobs.exchange(made, **form) for form, _ in asked]
    assert [answer.json().get("error") for answer in answers] == [error for _, error in asked]
    jobs.here.caused(
        "resource_invalid", "job_no_role", "scope_invalid", "request_invalid", "subject_token_type", "job_token_invalid"
    )
    twice = f"grant_type={TOKEN_EXCHANGE}&subject_token={made}&subject_token_type={JWT}&resource={jobs.resource}&resource={jobs.resource}"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = jobs.here.http.post(f"{jobs.here.issuer}/oauth/token", content=twice.encode(), headers=headers)
    assert answer.status_code == 400
    assert jobs.exchange(made, scope="mcp:payments").status_code == 200, "none of these used it up"


def test_a_persons_token_is_no_jobs_and_a_jobs_token_is_no_persons(jobs: Jobs) -> None:
    """17, at the desk."""
    person = jobs.here.log_in(jobs.here.browser(Person(sub="00u1alice", groups=("support",))))
    for kind in (JWT, ID_TOKEN, ACCESS_TOKEN_TYPE):
        for held in (person["access_token"], person["refresh_token"]):
            assert jobs.exchange(held, kind).json()["error"] == "invalid_request"
    jobs.here.caused("subject_token_type")
    job = jobs.token_for(jobs.of_github())
    assert jobs.here.refresh(job).json()["error"] == "invalid_grant"
    answer = jobs.here.http.post(f"{jobs.here.issuer}/oauth/revoke", data={"token": person["access_token"]})
    assert answer.json()["error"] == "invalid_client", "a person's token is given up by its client alone"
    assert jobs.here.call(person["access_token"]) == 200
    page = jobs.here.browser(Person(sub="00u1alice")).http.get(f"{jobs.here.issuer}/oauth/authorize?client_id=github")
    assert "client_unknown" in page.text, "a workload is no client"


def test_a_jobs_token_opens_what_its_role_gives_and_no_more(jobs: Jobs) -> None:
    access_token = jobs.token_for(jobs.of_github())
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_orders", "arguments": {}}}
    _, _, body = jobs.here.gate.post("payments", message, token=access_token)
    assert json.loads(body)["error"]["data"]["reason"] == "denied"


# A run that goes on


def test_a_run_renews_its_token_and_two_processes_of_it_may_share_one(jobs: Jobs) -> None:
    first = jobs.token_for(jobs.of_github())
    tokens = [first]
    for turn in range(1, 4):
        answer = jobs.renew(tokens[-1])
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"access_token", "issued_token_type", "token_type", "expires_in", "scope"}
        tokens.append(answer.json()["access_token"])
        assert claims_of(tokens[-1])["turn"] == turn
    assert len({claims_of(each)["sid"] for each in tokens}) == 1
    assert len({claims_of(each)["jti"] for each in tokens}) == 4
    again = jobs.renew(tokens[-2])
    assert claims_of(again.json()["access_token"])["turn"] == 3, "the same place in the row, not a branch of its own"
    assert jobs.here.call(tokens[-1]) == jobs.here.call(again.json()["access_token"]) == 200
    sid = claims_of(first)["sid"]
    hows = [
        entry["x"]["how"]
        for entry in jobs.here.entries()
        if entry["ev"] == "token.issued" and entry["x"].get("sid") == sid
    ]
    assert hows == ["exchange", "renewal", "renewal", "renewal", "renewal_repeated"]


def test_a_token_renewed_long_after_its_successor_ends_the_run(jobs: Jobs) -> None:
    first = jobs.token_for(jobs.of_github())
    second = jobs.renew(first).json()["access_token"]
    third = jobs.renew(second).json()["access_token"]
    jobs.here.age_turns(claims_of(first)["sid"], 31)
    assert jobs.renew(first).json()["error"] == "invalid_request"
    assert [jobs.here.call(third) for _ in range(6)] == [401] * 6
    assert jobs.renew(third).status_code == 400
    jobs.here.caused("refresh_reused", "grant_revoked")
    sid = claims_of(first)["sid"]
    [ended] = [entry for entry in jobs.here.entries() if entry["ev"] == "grant.revoked" and entry["res"]["name"] == sid]
    assert (ended["who"]["kind"], ended["who"]["acting_for"], ended["x"]["why"]) == ("job", "58412", "refresh_reused")


def test_a_renewal_is_for_the_same_resource_and_scope_and_ends_after_an_hour(jobs: Jobs) -> None:
    access_token = jobs.token_for(jobs.of_github())
    assert jobs.renew(access_token, resource=jobs.here.resource("orders")).json()["error"] == "invalid_target"
    assert jobs.renew(access_token, scope="mcp:orders").json()["error"] == "invalid_scope"
    assert jobs.renew(access_token[:-4] + "AAAA").json()["error"] == "invalid_request"
    sid = claims_of(access_token)["sid"]
    grant_s = 3600
    jobs.here.sql("UPDATE grants SET expires_at = expires_at - ? WHERE sid = ?", grant_s - 120, sid)
    last = jobs.renew(access_token).json()
    assert last["expires_in"] <= 120, "the last token ends with the hour"
    jobs.here.sql("UPDATE grants SET expires_at = expires_at - 121 WHERE sid = ?", sid)
    assert jobs.renew(last["access_token"]).json()["error"] == "invalid_request"
    jobs.here.caused("resource_invalid", "scope_invalid", "job_token_invalid", "grant_expired")


def test_a_later_attempt_of_a_run_ends_the_earlier(jobs: Jobs) -> None:
    run = fresh_run()

    def of(attempt: str) -> str:
        return token(jobs.github, jobs.here.issuer, github_claims(run_id=run, run_attempt=attempt))

    kept, first = of("1"), jobs.token_for(of("1"))
    assert jobs.exchange(of("1")).status_code == 200, "another job of the same attempt"
    second = jobs.token_for(of("2"))
    assert jobs.exchange(kept).json()["error"] == "invalid_request"
    assert jobs.renew(first).json()["error"] == "invalid_request"
    assert jobs.renew(second).status_code == 200
    jobs.here.caused("run_over")


def test_a_job_gives_its_token_up_and_it_is_refused_at_once(jobs: Jobs) -> None:
    mine, other = jobs.token_for(jobs.of_gitlab()), jobs.token_for(jobs.of_gitlab())
    assert jobs.here.call(mine) == 200
    answer = jobs.here.http.post(f"{jobs.here.issuer}/oauth/revoke", data={"token": mine})
    assert answer.status_code == 200
    assert [jobs.here.call(mine) for _ in range(6)] == [401] * 6, "every worker knows when it is answered"
    assert jobs.renew(mine).json()["error"] == "invalid_request"
    assert jobs.here.call(other) == 200
    assert (
        jobs.here.http.post(f"{jobs.here.issuer}/oauth/revoke", data={"token": "x.y.z"}).json()["error"]
        == "invalid_client"
    )


# A run that somebody ends


@pytest.fixture(scope="module")
def admin(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(jobs.here, tmp_path_factory.mktemp("admin"), jobs.here.browser(person("00u-admin", "admin")))
    shell.log_in()
    return shell


def test_a_run_that_an_admin_ends_does_not_come_back_with_the_next_token(jobs: Jobs, admin: Shell) -> None:
    run = fresh_run()

    def of(run: str) -> str:
        return token(jobs.github, jobs.here.issuer, github_claims(run_id=run))

    mine, sibling, other = jobs.token_for(of(run)), jobs.token_for(of(run)), jobs.token_for(of(fresh_run()))
    assert "1 grant ended" in admin.type("revoke", "--sid", claims_of(mine)["sid"]).stdout
    assert [jobs.here.call(mine) for _ in range(6)] == [401] * 6
    fresh = of(run)
    for answer in (jobs.exchange(fresh), jobs.exchange(of(run)), jobs.renew(mine), jobs.renew(sibling)):
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), answer.text
    again = jobs.exchange(fresh).json()
    assert "was ended" in again["error_description"], "and not that it was used: a refused token is not used up"
    jobs.here.caused("run_ended", "grant_revoked")
    assert jobs.here.call(other) == 200 and jobs.renew(other).status_code == 200
    assert jobs.exchange(of(fresh_run())).status_code == 200, "another run of the same workload"
    later = token(jobs.github, jobs.here.issuer, github_claims(run_id=run, run_attempt="2"))
    assert jobs.exchange(later).status_code == 200, "a human began it again"
    hints = [entry["x"]["hint"] for entry in jobs.here.entries() if entry.get("x", {}).get("cause") == "run_ended"]
    assert any(hint.startswith(f"run_id:{run}/1 of {CLASSIC_SUB} at github") for hint in hints), hints


@pytest.mark.parametrize("idp", ["github", "gitlab", "cluster"])
def test_an_admin_ends_the_jobs_of_a_workload_by_their_subject(jobs: Jobs, admin: Shell, idp: str) -> None:
    subject = "system:serviceaccount:payments:reporter" if idp == "cluster" else f"by-subject-{idp}"
    run = fresh_run()

    def made() -> str:
        if idp == "github":
            return token(jobs.github, jobs.here.issuer, github_claims(run_id=run, sub=subject))
        if idp == "gitlab":
            return token(jobs.gitlab, jobs.here.issuer, gitlab_claims(job_id=run, sub=subject))
        bound = {**kubernetes_claims()["kubernetes.io"], "pod": {"name": "report", "uid": f"pod-{run}"}}
        return jobs.of_cluster(**{"kubernetes.io": bound})

    held = jobs.token_for(made())
    ended = admin.type("revoke", "--person", subject, "--idp", idp, "--json").stdout
    assert claims_of(held)["sid"] in json.loads(ended)["sids"]
    assert jobs.here.call(held) == 401
    assert jobs.exchange(made()).json()["error"] == "invalid_request"
    jobs.here.caused("run_ended")
    [order] = entries_of(jobs.here, "revocation.ordered", "00u-admin", idp=idp)
    assert order["x"]["person"] == subject


def test_a_job_that_gives_its_token_up_does_not_come_back_where_a_run_is_one_job(jobs: Jobs) -> None:
    run = fresh_run()

    def of(run: str) -> str:
        return token(jobs.gitlab, jobs.here.issuer, gitlab_claims(job_id=run))

    def gives_up(access_token: str) -> None:
        answer = jobs.here.http.post(f"{jobs.here.issuer}/oauth/revoke", data={"token": access_token})
        assert answer.status_code == 200

    gives_up(jobs.token_for(of(run)))
    assert jobs.exchange(of(run)).json()["error"] == "invalid_request"
    jobs.here.caused("run_ended")
    assert jobs.exchange(of(fresh_run())).status_code == 200

    def of_workflow() -> str:
        return token(jobs.github, jobs.here.issuer, github_claims(run_id=run))

    gives_up(jobs.token_for(of_workflow()))
    assert jobs.exchange(of_workflow()).status_code == 200, "another job of the same workflow run"


# Registered jobs


def test_an_assertion_that_is_not_the_jobs_own_is_refused(jobs: Jobs) -> None:
    now = int(time.time())
    good = jobs.assertion()
    wrong = {
        "another key": jobs.assertion(private_key("ES256", "somebody else")),
        "no kid": compact({"alg": "ES256"}, claims_of(good), NIGHTLY, "ES256"),
        "another job": jobs.assertion(iss="yearly-report", sub="yearly-report"),
        "another sub": jobs.assertion(sub="admin"),
        "audience": jobs.assertion(aud="https://other.example"),
        "an hour": jobs.assertion(exp=now + 3600),
        "expired": jobs.assertion(exp=now - 60, iat=now - 120),
        "no jti": jobs.assertion(jti=None),
    }
    answers = {name: jobs.assert_as_job(assertion) for name, assertion in wrong.items()}
    assert {(answer.status_code, answer.json()["error"]) for answer in answers.values()} == {(401, "invalid_client")}
    assert jobs.assert_as_job(good, client_id="github").status_code == 401
    secret = {
        "grant_type": "client_credentials",
        "client_id": "nightly-report",
        "client_secret": "x",
        "resource": jobs.resource,
    }
    assert jobs.here.http.post(f"{jobs.here.issuer}/oauth/token", data=secret).status_code == 401
    assert jobs.assert_as_job(good, resource=jobs.here.resource("orders")).json()["error"] == "invalid_target"
    assert jobs.assert_as_job(good, scope="mcp:orders").json()["error"] == "invalid_scope"
    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(lambda _: jobs.assert_as_job(good).status_code, range(4)))
    assert statuses == [200] + [401] * 3
    jobs.here.caused(
        "client_unknown",
        "job_token_audience",
        "job_token_expired",
        "job_claims",
        "job_token_invalid",
        "job_token_replayed",
    )


def test_a_registered_job_asks_again_and_does_not_renew(jobs: Jobs) -> None:
    access_token = jobs.assert_as_job(jobs.assertion()).json()["access_token"]
    assert jobs.renew(access_token).json()["error"] == "invalid_request"
    assert jobs.assert_as_job(jobs.assertion()).status_code == 200


@pytest.fixture
def job_back_in(jobs: Jobs) -> Iterator[None]:
    """Others of this module come as the same job: its hour is over at the end."""
    yield
    jobs.here.sql("UPDATE seen SET expires_at = 0 WHERE kind = ?", "run_ended")


@pytest.mark.usefixtures("job_back_in")
@pytest.mark.parametrize("how", ["sid", "name", "name, between two runs"])
def test_a_registered_job_that_an_admin_ends_is_kept_out_for_an_hour(jobs: Jobs, admin: Shell, how: str) -> None:
    held = jobs.assert_as_job(jobs.assertion(run_id="cron-7")).json()["access_token"]
    assert jobs.here.call(held) == 200
    if how == "name, between two runs":
        assert jobs.here.http.post(f"{jobs.here.issuer}/oauth/revoke", data={"token": held}).status_code == 200
        assert jobs.assert_as_job(jobs.assertion()).status_code == 200, "to give a token up is not to be kept out"
        jobs.here.sql("UPDATE grants SET expires_at = ? WHERE client_id = ?", time.time() - 1, "nightly-report")
    named = ["--sid", claims_of(held)["sid"]] if how == "sid" else ["--person", "nightly-report", "--idp", "gatebook"]
    told = admin.type("revoke", *named).stdout
    assert ("0 grants ended" in told) == (how == "name, between two runs")
    assert jobs.here.call(held) == 401
    for assertion in (jobs.assertion(), jobs.assertion(run_id="cron-7"), jobs.assertion(run_id="cron-8")):
        answer = jobs.assert_as_job(assertion)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text
    jobs.here.caused("run_ended")
    jobs.here.sql("UPDATE seen SET expires_at = expires_at - 3601 WHERE kind = ?", "run_ended")
    assert jobs.assert_as_job(jobs.assertion()).status_code == 200


# The pages' own lines, typed


def snippet(page: str, begins: str, ends: str) -> str:
    text = (HOWTO / page).read_text(encoding="utf-8")
    assert text.count(begins) == 1, f"{page} has no one place that begins with {begins!r}"
    return textwrap.dedent(text.partition(begins)[2].partition(ends)[0])


def typed(jobs: Jobs, lines: str, directory: Path, **environment: str) -> str:
    """What `lines` print in a shell with the variables that the page sets; a failing line ends it."""
    (directory / "report.sh").write_text('#!/bin/sh\nprintf %s "$MCP_TOKEN"\n')
    (directory / "report.sh").chmod(0o755)
    env = {**os.environ, "DESK": jobs.here.issuer, "RESOURCE": jobs.resource, "NO_PROXY": "*", **environment}
    done = subprocess.run(
        ["sh", "-ec", lines], cwd=directory, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


NEEDS_CURL_AND_JQ = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq: apt-get install curl jq"
)


@NEEDS_CURL_AND_JQ
def test_the_lines_for_github_actions_do_what_their_page_says(jobs: Jobs, tmp_path: Path) -> None:
    lines = snippet("github-actions.md", "        run: |\n", "      - run:")
    url = f"{jobs.github.url}/request?api-version=2.0"
    environment = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x", "GITHUB_ENV": "env"}
    said = typed(jobs, lines, tmp_path, **environment)
    access_token = (tmp_path / "env").read_text().strip().removeprefix("MCP_TOKEN=")
    assert said == f"::add-mask::{access_token}\n"
    assert jobs.here.call(access_token) == 200
    last = snippet("github-actions.md", "- if: always()\n        run: ", "\n```")
    typed(jobs, last, tmp_path, MCP_TOKEN=access_token)
    assert jobs.here.call(access_token) == 401


@NEEDS_CURL_AND_JQ
def test_the_lines_for_gitlab_ci_do_what_their_page_says(jobs: Jobs, tmp_path: Path) -> None:
    lines = snippet("gitlab-ci.md", "    - |\n", "    - MCP_TOKEN=") + '\nMCP_TOKEN="$MCP_TOKEN" ./report.sh'
    access_token = typed(jobs, lines, tmp_path, DESK_TOKEN=jobs.of_gitlab())
    assert jobs.here.call(access_token) == 200


@NEEDS_CURL_AND_JQ
def test_the_lines_for_kubernetes_do_what_their_page_says(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(jobs.of_cluster())
    lines = snippet("kubernetes.md", "  - |\n", "```").replace("/var/run/desk/token", "token")
    assert jobs.here.call(typed(jobs, lines, tmp_path)) == 200


def test_the_program_for_cron_does_what_its_page_says(jobs: Jobs, tmp_path: Path) -> None:
    program = snippet("jenkins-and-cron.md", "```python\n", "```")
    program = program.replace("https://login.mcp.example.com", jobs.here.issuer)
    program = program.replace("https://mcp.example.com/payments/mcp", jobs.resource)
    (tmp_path / "job.py").write_text(program)
    private = NIGHTLY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "nightly-report.key").write_bytes(private)
    done = subprocess.run(
        [sys.executable, "job.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert jobs.here.call(json.loads(done.stdout)["access_token"]) == 200


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: apt-get install openssl")
def test_the_lines_that_make_a_jobs_key_make_one_that_the_desk_takes(jobs: Jobs, tmp_path: Path) -> None:
    typed(jobs, snippet("jenkins-and-cron.md", "```sh\n", "```"), tmp_path)
    made = key_set_of((tmp_path / "nightly-report.pem").read_bytes(), "nightly-report")
    assert acceptable_key_set(made)
    with pytest.raises(KeySetRefused):
        key_set_of((tmp_path / "nightly-report.key").read_bytes(), "nightly-report")


# The rest


def test_the_metadata_names_the_grants(jobs: Jobs) -> None:
    found = jobs.here.http.get(f"{jobs.here.issuer}/.well-known/oauth-authorization-server").json()
    assert {TOKEN_EXCHANGE, "client_credentials"} < set(found["grant_types_supported"])
    assert found["token_endpoint_auth_methods_supported"] == ["none", "private_key_jwt"]
    assert "ES256" in found["token_endpoint_auth_signing_alg_values_supported"]
    assert not any(name.startswith("HS") for name in found["token_endpoint_auth_signing_alg_values_supported"])


def test_no_token_lies_in_the_desks_store(jobs: Jobs) -> None:
    subject_token, assertion = jobs.of_github(), jobs.assertion()
    held = [
        jobs.token_for(subject_token),
        jobs.assert_as_job(assertion).json()["access_token"],
        subject_token,
        assertion,
    ]
    stored = b"".join(path.read_bytes() for path in sorted((jobs.here.gate.data_dir / "desk").iterdir()))
    for each in held:
        assert each.encode() not in stored and each.split(".")[2].encode() not in stored


def test_a_key_that_the_issuer_has_just_begun_to_use_is_fetched(jobs: Jobs) -> None:
    """Within the 30 s in which an issuer is asked at most once: a token with a key that is not known yet is not used up by it."""
    jobs.github.rotate()
    made = jobs.of_github()
    deadline = time.monotonic() + 45
    while (answer := jobs.exchange(made)).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(1)
    before = len(jobs.published.asked)
    wrong = token(jobs.github, jobs.here.issuer, github_claims(), {"kid": "made up"})
    assert {jobs.exchange(wrong).status_code for _ in range(2)} == {400}
    assert len(jobs.published.asked) - before <= 2, "at most one fetch in 30 s, whatever is asked for"


def test_a_workload_that_is_taken_out_of_the_configuration_is_over_at_once(jobs: Jobs) -> None:
    """Last: it changes the place."""
    access_token, kept = jobs.token_for(jobs.of_gitlab()), jobs.token_for(jobs.of_github())
    assert jobs.here.call(access_token) == 200
    config: Path = jobs.here.gate.config
    text = config.read_text()
    begin, end = text.index('[[workload]]\nname = "gitlab"'), text.index('[[workload]]\nname = "cluster"')
    without = (text[:begin] + text[end:]).replace('  { issuer = "gitlab", claims = { project_id = "42" } },\n', "")
    config.write_text(without)
    jobs.here.gate.process.send_signal(signal.SIGHUP)
    for _ in range(100):
        if jobs.here.call(access_token) == 401:
            break
        time.sleep(0.1)
    assert [jobs.here.call(access_token) for _ in range(6)] == [401] * 6
    assert jobs.here.call(kept) == 200
    assert jobs.renew(access_token).json()["error"] == "invalid_request"
    assert jobs.exchange(jobs.of_gitlab()).json()["error"] == "invalid_request"
