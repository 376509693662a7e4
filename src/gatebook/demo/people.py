"""Who can get a token from the demonstration's identity providers: three people and two CI jobs, all invented."""

from typing import NamedTuple


class Person(NamedTuple):
    """`sub` is what the book will hold. It is readable so that the demonstration is; a real provider's is opaque."""

    sub: str
    name: str
    groups: tuple[str, ...]
    amr: tuple[str, ...]


class Job(NamedTuple):
    """A CI repository and the human behind its runs, with ids as GitHub numbers them."""

    repository: str
    repository_id: str
    owner_id: str
    workflow: str
    actor: str
    actor_id: str
    ref_protected: bool


PEOPLE = {
    "alice": Person("alice", "Alice Anselm (support)", ("support",), ("pwd", "otp", "mfa")),
    "bob": Person("bob", "Bob Brandt (support)", ("support",), ("pwd",)),
    "mallory": Person("mallory", "Mallory Moss (marketing)", ("marketing",), ("pwd",)),
}

JOBS = {
    "fraud-model": Job("example-bank/fraud-model", "700100200", "700100", "nightly.yml", "carol", "58412", True),
    "playground": Job("example-bank/playground", "700100999", "700100", "try.yml", "dave", "58999", False),
}

CLIENT_ID = "gatebook"
"""What Gatebook is called at the provider where people log in."""

PERSON_TOKEN_S = 3600
"""An hour, so that a pasted header works for a while; a real deployment's tokens live for minutes."""
JOB_TOKEN_S = 300


def person_claims(person: Person, *, agent: str, now: int) -> dict[str, object]:
    """What the people's provider says in a token, besides issuer, audience, times and id."""
    return {
        "sub": person.sub,
        "name": person.name,
        "groups": list(person.groups),
        "amr": list(person.amr),
        "acr": "urn:example:loa:2" if "mfa" in person.amr else "urn:example:loa:1",
        "auth_time": now,
        "azp": agent,
        "scope": "openid mcp",
    }


def job_claims(job: Job, *, run_id: str) -> dict[str, object]:
    """What the CI provider says in a token, with the claim names and the strings-for-everything of GitHub Actions."""
    ref = "refs/heads/main" if job.ref_protected else "refs/heads/try"
    owner = job.repository.partition("/")[0]
    return {
        "sub": f"repo:{job.repository}:ref:{ref}",
        "repository": job.repository,
        "repository_id": job.repository_id,
        "repository_owner": owner,
        "repository_owner_id": job.owner_id,
        "repository_visibility": "private",
        "workflow": job.workflow,
        "workflow_ref": f"{job.repository}/.github/workflows/{job.workflow}@{ref}",
        "job_workflow_ref": f"{job.repository}/.github/workflows/{job.workflow}@{ref}",
        "event_name": "schedule" if job.ref_protected else "push",
        "ref": ref,
        "ref_type": "branch",
        "ref_protected": "true" if job.ref_protected else "false",
        "sha": "5c1f3a0e9d2b47c6a8f0e1d2c3b4a5968778695a",
        "run_id": run_id,
        "run_number": "812",
        "run_attempt": "1",
        "actor": job.actor,
        "actor_id": job.actor_id,
        "runner_environment": "github-hosted",
    }
