"""The claims of a job's access token: as a person's (`minting`), but that it names the run, and in `act` who answers for it. RFC 9068, RFC 8693 §4.1."""

from gatebook.federation.minting import LIFETIME_S, common_claims
from gatebook.federation.records import Grant, Job, LoggedIn
from gatebook.model.deployment import DESK_ISSUER

RUN_S = 3600.0
"""How long one run may go on by renewing its token, from its first."""


def client_of(seen: LoggedIn) -> str:
    """The client of a job's tokens: a registered job is its own, others come by their workload, whose name it is."""
    return seen.person.subject if seen.idp == DESK_ISSUER else seen.idp


def job_claims_of(
    grant: Grant, seen: LoggedIn, job: Job, *, issuer: str, turn: int, now_s: float, jti: str
) -> dict[str, object]:
    """`turn`: which of the run's tokens in a row. It ends when the grant does, if that is sooner than five minutes."""
    act: dict[str, object] = {"sub": job.acting_for}
    if not job.owned:
        act["iss"] = seen.person.issuer
    return common_claims(grant, seen.person, issuer=issuer, now_s=now_s, jti=jti) | {
        "exp": min(int(now_s) + LIFETIME_S, int(grant.expires_at)),
        "turn": turn,
        "principal_type": "job",
        "act": act,
        "job": {"run": job.run, "claims": job.claims},
    }
