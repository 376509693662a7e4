"""A job token's claims, whose signature has been verified → which job this is, or why it may not come. Claims alone decide, never a parsed `sub`:
GitHub changed its form for repositories made or renamed since June 2026, owners may write it as they like, and so may GitLab's projects.

Only strings count. GitHub and GitLab send `ref_protected` as "true", and a boolean in its place comes from somebody else.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gatebook.federation.errors import Cause, LoginRefused
from gatebook.federation.records import Job
from gatebook.identity.claims import RECORDED_CLAIMS
from gatebook.identity.errors import TokenRefused
from gatebook.model.deployment import Deployment, Issuer
from gatebook.model.errors import Reason
from gatebook.model.workload import Workload, WorkloadPreset

MAX_CLAIM_CHARACTERS = 1024
MAX_LIFETIME_S = 86_400
"""A job token that is good for longer is a mistake: whoever finds it in a log has all that time."""
REGISTERED = "job:"
"""Before a registered job's name, among the names of those whose keys are kept."""

KUBERNETES_CLAIMS = ("namespace", "serviceaccount", "serviceaccount_uid", "pod", "pod_uid")
"""What `kubernetes.io` of a service account's token holds, by the names that `match` and roles use."""
_ALSO_RECORDED = frozenset({*KUBERNETES_CLAIMS, "pipeline_source", "environment_protected"})
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What a preset knows of its issuer. `bound`: claims that each `match` must name, one of each group of alternatives; `event`: the claim that
    says what started a job; `events`: what may have, where the operator says nothing."""

    url: str | None = None
    required: tuple[str, ...] = ()
    bound: tuple[tuple[tuple[str, ...], ...], ...] = ()
    event: str | None = None
    events: tuple[str, ...] = ()
    human: str | None = None
    bot: tuple[str, re.Pattern[str]] | None = None


WAYS: Mapping[WorkloadPreset, Way] = {
    "github": Way(
        url="https://token.actions.githubusercontent.com",
        required=("jti", "repository_id", "repository_owner_id", "run_id", "run_attempt", "event_name", "actor_id"),
        bound=(
            (("repository_id",),),
            (("repository_owner_id",),),
            (("environment",), ("ref", "ref_protected"), ("job_workflow_ref",)),
        ),
        event="event_name",
        # Not pull_request and its like, issue_comment or workflow_run: outsiders can start these, with code of theirs.
        events=("push", "release", "schedule", "workflow_dispatch"),
        human="actor_id",
        bot=("actor", re.compile(r".*\[bot\]")),
    ),
    "gitlab": Way(
        url="https://gitlab.com",
        required=("jti", "project_id", "pipeline_id", "job_id", "pipeline_source", "user_id", "user_login"),
        bound=((("project_id",),), (("ref_protected",), ("environment", "environment_protected"))),
        event="pipeline_source",
        events=("push", "schedule", "web"),
        human="user_id",
        bot=("user_login", re.compile(r"(project|group)_[0-9]+_bot.*")),
    ),
    "kubernetes": Way(
        required=("namespace", "serviceaccount", "serviceaccount_uid"),
        bound=((("namespace",),), (("serviceaccount",),), (("serviceaccount_uid",),)),
    ),
    "generic": Way(),
}


def unbound(match: Mapping[str, str], preset: WorkloadPreset) -> str | None:
    """What a `match` should name and does not, in words; None where it binds what the preset says must be bound."""
    for alternatives in WAYS[preset].bound:
        if not any(all(name in match for name in names) for names in alternatives):
            return " or ".join(" with ".join(names) for names in alternatives)
    return None


def job_issuers(deployment: Deployment) -> tuple[Issuer, ...]:
    """Whose keys the desk keeps for jobs: the workloads', by their names, and the registered jobs' own, by REGISTERED and their names."""
    if deployment.desk is None:
        return ()
    workloads = [workload_issuer(workload) for workload in deployment.workloads]
    registered = [
        Issuer(
            name=REGISTERED + job.name, url=job.name, kind="job", algorithms=job.algorithms, jwks_file=job.public_key
        )
        for job in deployment.jobs
    ]
    return (*workloads, *registered)


def workload_issuer(workload: Workload) -> Issuer:
    return Issuer(
        name=workload.name,
        url=workload.url,
        kind="job",
        algorithms=workload.algorithms,
        jwks_file=workload.jwks_file,
        ca_file=workload.ca_file,
        leeway_s=workload.leeway_s,
    )


def seen_claims(claims: Mapping[str, Any], preset: WorkloadPreset) -> dict[str, str]:
    """The claims that are strings, by the names that `match` uses. Raises LoginRefused(JOB_CLAIMS) where Kubernetes' are not what they must be."""
    flat = {
        name: value for name, value in claims.items() if isinstance(value, str) and len(value) <= MAX_CLAIM_CHARACTERS
    }
    return _of_kubernetes(claims, flat) if preset == "kubernetes" else flat


def job_of(claims: Mapping[str, Any], workload: Workload, wanted: Iterable[str] = ()) -> Job:
    """Which job of `workload` the claims are of, if it may come. `wanted`: names of claims that roles match on.

    Raises LoginRefused: JOB_CLAIMS (one is missing or no string), JOB_EVENT, JOB_UNMATCHED, JOB_NOBODY (nobody answers for it)."""
    way = WAYS[workload.preset]
    flat = seen_claims(claims, workload.preset)
    missing = [name for name in way.required if not flat.get(name)]
    if missing:
        words = "The job token lacks what names its job."
        raise LoginRefused(Cause.JOB_CLAIMS, words, hint=f"missing, or no string: {', '.join(missing)}")
    demand_admitted(flat, workload)
    acting_for, owned = _answerable(flat, workload)
    named = {name for match in workload.match for name in match}
    kept = RECORDED_CLAIMS | _ALSO_RECORDED | named | frozenset(wanted)
    return Job(
        run=_run(flat, workload.preset),
        acting_for=acting_for,
        owned=owned,
        claims={name: flat[name] for name in sorted(kept & flat.keys())},
    )


def demand_admitted(held: Mapping[str, str], workload: Workload) -> None:
    """Raise LoginRefused (JOB_EVENT, JOB_UNMATCHED) unless what started the job is allowed, and one `match` holds in full. Default: deny."""
    event = WAYS[workload.preset].event
    if event is not None and held.get(event) not in workload.events:
        words = "What started this job is not among what may."
        raise LoginRefused(Cause.JOB_EVENT, words, hint=f"{event} is not listed in workload {workload.name}: events")
    differing = [[name for name, value in match.items() if held.get(name) != value] for match in workload.match]
    if not any(match and not names for match, names in zip(workload.match, differing, strict=True)):
        closest = min(differing, key=len, default=[])
        words = "This job is not one of those that may come here."
        raise LoginRefused(
            Cause.JOB_UNMATCHED,
            words,
            hint=f"workload {workload.name}: differing from the closest match: {', '.join(closest)}",
        )


def attempt_of(job: Job, workload: Workload) -> tuple[str, int] | None:
    """(run, attempt) where the issuer counts the attempts of a run: GitHub. A later one means that the earlier is over."""
    if workload.preset != "github":
        return None
    run, attempt = job.claims.get("run_id", ""), job.claims.get("run_attempt", "")
    if not _NUMBER.fullmatch(run) or not _NUMBER.fullmatch(attempt):
        raise LoginRefused(Cause.JOB_CLAIMS, "The job token does not number its run.", hint="run_id, run_attempt")
    return f"{job.claims.get('repository_id')}/{run}", int(attempt)


def once_key(token: str, claims: Mapping[str, Any], workload: Workload) -> tuple[str, float]:
    """What names this very token, hashed, and until when it must be remembered. Without `jti` (old clusters) what was signed names it: not the
    signature, of which ECDSA allows a second form.

    Raises LoginRefused(JOB_CLAIMS) where the token is good for longer than MAX_LIFETIME_S, or does not say since when."""
    issued_at, expires_at = claims.get("iat"), claims["exp"]
    if not isinstance(issued_at, int | float) or expires_at - issued_at > MAX_LIFETIME_S:
        hint = "exp - iat is more than a day, or there is no iat"
        raise LoginRefused(Cause.JOB_CLAIMS, "The job token is good for too long.", hint=hint)
    jti = claims.get("jti")
    if jti is not None and not (isinstance(jti, str) and 0 < len(jti) <= MAX_CLAIM_CHARACTERS):
        raise LoginRefused(Cause.JOB_CLAIMS, "The job token's jti is not what it must be.", hint="jti")
    named = f"jti\0{jti}" if jti is not None else f"signed\0{token.rpartition('.')[0]}"
    key = hashlib.sha256(f"{workload.url}\0{named}".encode("utf-8", "surrogatepass")).hexdigest()
    return key, float(expires_at) + workload.leeway_s


def token_refused(refused: TokenRefused) -> LoginRefused:
    """Why a job token or an assertion proves nothing, as the entry says it."""
    causes = {
        Reason.KEYS_UNAVAILABLE: Cause.JOB_KEYS_UNAVAILABLE,
        Reason.TOKEN_AUDIENCE: Cause.JOB_TOKEN_AUDIENCE,
        Reason.TOKEN_EXPIRED: Cause.JOB_TOKEN_EXPIRED,
        Reason.TOKEN_CLAIMS: Cause.JOB_CLAIMS,
    }
    return LoginRefused(causes.get(refused.reason, Cause.JOB_TOKEN_INVALID), refused.words, hint=str(refused.reason))


def _of_kubernetes(claims: Mapping[str, Any], flat: Mapping[str, str]) -> dict[str, str]:
    """`kubernetes.io` taken apart; `sub` must say the same, whole, and is not parsed."""
    bound = claims.get("kubernetes.io")
    account = bound.get("serviceaccount") if isinstance(bound, dict) else None
    pod = bound.get("pod", {}) if isinstance(bound, dict) else None
    if not isinstance(bound, dict) or not isinstance(account, dict) or not isinstance(pod, dict):
        hint = "kubernetes.io: a token of a Secret, or of no cluster"
        raise LoginRefused(Cause.JOB_CLAIMS, "The token is no bound token of a service account.", hint=hint)
    found = {
        "namespace": bound.get("namespace"),
        "serviceaccount": account.get("name"),
        "serviceaccount_uid": account.get("uid"),
        "pod": pod.get("name"),
        "pod_uid": pod.get("uid"),
    }
    if claims.get("sub") != f"system:serviceaccount:{found['namespace']}:{found['serviceaccount']}":
        raise LoginRefused(Cause.JOB_CLAIMS, "The token names two service accounts.", hint="sub, kubernetes.io")
    strings = {
        name: value for name, value in found.items() if isinstance(value, str) and len(value) <= MAX_CLAIM_CHARACTERS
    }
    return strings | ({"jti": flat["jti"]} if "jti" in flat else {})


def _answerable(flat: Mapping[str, str], workload: Workload) -> tuple[str, bool]:
    """Who answers for the job, and whether that is its owner: the human whom its issuer names, unless that is a program."""
    way = WAYS[workload.preset]
    is_bot = way.bot is not None and way.bot[1].fullmatch(flat.get(way.bot[0], "")) is not None
    human = flat.get(way.human) if way.human is not None and not is_bot else None
    if human is not None:
        return human, False
    if workload.owner is None:
        words = "Nobody answers for this job."
        raise LoginRefused(
            Cause.JOB_NOBODY, words, hint=f"a program started it; write an owner into workload {workload.name}"
        )
    return workload.owner, True


def _run(flat: Mapping[str, str], preset: WorkloadPreset) -> str:
    match preset:
        case "github":
            return f"run_id:{flat['run_id']}/{flat['run_attempt']}"
        case "gitlab":
            return f"job_id:{flat['job_id']}"
        case "kubernetes" if "pod_uid" in flat:
            return f"pod:{flat['pod_uid']}"
        case _:
            return f"jti:{flat['jti']}" if flat.get("jti") else "jti:none"
