"""[[workload]] and [[job]]: what they come to, and what would let the wrong job in."""

from pathlib import Path

import msgspec
import pytest

from gatebook.config import examine_bytes
from gatebook.model.workload import RegisteredJob

BASE = """
profile = "dev"
listen = ["127.0.0.1:8080"]
[desk]
listen = ["127.0.0.1:8444"]
public_url = "http://127.0.0.1:8444"
[[workload]]
name = "github"
preset = "github"
match = [{ repository_id = "1001", repository_owner_id = "17", ref = "refs/heads/main", ref_protected = "true" }]
[[workload]]
name = "cluster"
preset = "kubernetes"
url = "https://kubernetes.default.svc"
jwks_file = "keys.json"
owner = "Platform team"
match = [{ namespace = "a", serviceaccount = "b", serviceaccount_uid = "c" }]
[[job]]
name = "nightly"
owner = "Dana"
public_key = "nightly.pem"
[[server]]
name = "payments"
url = "http://127.0.0.1:9000/mcp"
[[role]]
name = "jobs"
match = [
  { issuer = "github", claims = { repository_id = "1001" } },
  { issuer = "cluster", claims = { namespace = "a" } },
  { issuer = "gatebook", subject = "nightly" },
]
allow = [{ server = "payments", tools = ["get_*"] }]
"""


def problems(text: str, directory: Path) -> list[str]:
    for name in ("keys.json", "nightly.pem"):
        (directory / name).write_bytes(b"")
    found = examine_bytes(text.encode(), directory / "gatebook.toml").problems
    return [str(problem) for problem in found if "dev profile" not in str(problem)]


def test_what_is_left_out_is_the_presets(tmp_path: Path) -> None:
    assert problems(BASE, tmp_path) == []
    deployment = examine_bytes(BASE.encode(), tmp_path / "gatebook.toml").deployment
    assert deployment is not None
    github, cluster = deployment.workloads
    assert (github.url, github.audience) == ("https://token.actions.githubusercontent.com", "http://127.0.0.1:8444")
    assert github.events == ("push", "release", "schedule", "workflow_dispatch")
    assert (cluster.events, cluster.jwks_file, cluster.owner) == ((), str(tmp_path / "keys.json"), "Platform team")
    assert deployment.jobs == (RegisteredJob(name="nightly", owner="Dana", public_key=str(tmp_path / "nightly.pem")),)
    assert msgspec.json.decode(msgspec.json.encode(deployment), type=type(deployment)) == deployment


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('ref = "refs/heads/main", ref_protected = "true"', 'actor = "mona"', "leaves open what must be bound: environment or ref with ref_protected or job_workflow_ref"),
        (', ref_protected = "true"', "", "leaves open what must be bound"),
        ('repository_owner_id = "17", ', "", "leaves open what must be bound: repository_owner_id"),
        ('repository_id = "1001", ', 'repository = "octo/x", ', "leaves open what must be bound: repository_id"),
        ('ref_protected = "true"', "ref_protected = true", "workload[0].match[0].ref_protected (line 10): is of the wrong type"),
        ('repository_id = "1001"', "repository_id = 1001", "is of the wrong type"),
        ("match = [{ repository", "match = []\nevents = []\nowner = [{ repository", "is empty"),
        ('owner = "Platform team"', "", "workload[1].owner (line 11): is missing: tokens of this kind name no human"),
        ('owner = "Platform team"', 'owner = "x"\nevents = ["push"]', "has no effect with this preset"),
        ('url = "https://kubernetes.default.svc"', "", "workload[1].url (line 11): is missing"),
        ('url = "https://kubernetes.default.svc"', 'url = "http://127.0.0.1:8444"', "is the desk's own"),
        (', serviceaccount_uid = "c"', "", "leaves open what must be bound: serviceaccount_uid"),
        ('preset = "kubernetes"', 'preset = "generic"', "workload[1].match[0]"),
        ('name = "cluster"', 'name = "gatebook"', "is the desk's own name"),
        ('name = "cluster"', 'name = "github"', "is the name of another workload too"),
        ('name = "nightly"', 'name = "github"', "is the name of a workload or client too"),
        ('owner = "Dana"', "", "job[0].owner"),
        ('issuer = "github"', 'issuer = "gihtub"', "did you mean github?"),
        ('subject = "nightly"', 'subject = "nighty"', "names no job of this file"),
        ('subject = "nightly"', 'subject = "nighty"', "no role matches it"),
        ('profile = "dev"', 'profile = "pci"', "desk.public_url"),
    ],
)  # fmt: skip
def test_what_would_let_the_wrong_job_in_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in BASE
    text = BASE.replace(old, new, 1)
    if 'preset = "generic"' in new:
        text = text.replace('{ namespace = "a", serviceaccount = "b", serviceaccount_uid = "c" }', '{ iss = "x" }')
    found = problems(text, tmp_path)
    assert any(said in problem for problem in found), found


def test_two_workloads_of_one_issuer_are_refused(tmp_path: Path) -> None:
    twice = BASE.replace('name = "cluster"', 'name = "again"').replace(
        "https://kubernetes.default.svc", "https://token.actions.githubusercontent.com"
    )
    assert any("is the url of another workload too" in problem for problem in problems(twice, tmp_path))


def test_sub_is_matched_by_a_warning_only(tmp_path: Path) -> None:
    text = BASE.replace('repository_id = "1001", ', 'sub = "repo:x", repository_id = "1001", ', 1)
    assert any("rests on `sub`" in problem for problem in problems(text, tmp_path))


def test_without_a_desk_nobody_can_exchange_anything(tmp_path: Path) -> None:
    text = BASE.replace('[desk]\nlisten = ["127.0.0.1:8444"]\npublic_url = "http://127.0.0.1:8444"\n', "")
    found = problems(text, tmp_path)
    assert any("workload" in problem and "without [desk]" in problem for problem in found)


def test_a_plain_http_issuer_is_for_this_machine(tmp_path: Path) -> None:
    text = BASE.replace('preset = "github"\n', 'preset = "github"\nurl = "http://ci.example"\n')
    assert any("only an issuer on this machine may be http" in problem for problem in problems(text, tmp_path))
    assert problems(text.replace("http://ci.example", "http://localhost:9/ci"), tmp_path) == []
