"""What a job's token of our own authorization server says: the job as its CI system or cluster names it, its run, and who answers for it."""

from typing import Any, TypeGuard

import msgspec

from gatebook.identity.claims import agent_of, scopes_of, subject_in
from gatebook.identity.errors import TokenRefused
from gatebook.model.deployment import DESK_ISSUER, Deployment
from gatebook.model.errors import Reason
from gatebook.model.principal import Evidence, Principal

_SID_CHARACTERS = 32
_MAX_CHARACTERS = 1024


class Vouching(msgspec.Struct, frozen=True, kw_only=True):
    """Who vouches for jobs now: workloads, issuer URL → name; and the registered jobs of `desk_url`. What was taken out of the configuration
    vouches for nobody."""

    workloads: dict[str, str]
    desk_url: str | None
    registered: frozenset[str]

    @classmethod
    def of(cls, deployment: Deployment) -> "Vouching":
        return cls(
            workloads={workload.url: workload.name for workload in deployment.workloads},
            desk_url=None if deployment.desk is None else deployment.desk.public_url,
            registered=frozenset(job.name for job in deployment.jobs),
        )

    def name_of(self, issuer: object, subject: str) -> str | None:
        """What roles call the issuer of this job; None where nobody vouches for it."""
        if issuer == self.desk_url and issuer is not None:
            return DESK_ISSUER if subject in self.registered else None
        return self.workloads.get(issuer) if isinstance(issuer, str) else None


def own_job(claims: dict[str, Any], vouching: Vouching, expires_at: float) -> Principal:
    """The job. Raises TokenRefused: TOKEN_CLAIMS, TOKEN_ISSUER."""
    if claims.get("principal_type") != "job":
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token is not a job's.")
    named, about, act = claims.get("idp"), claims.get("job"), claims.get("act")
    if not isinstance(named, dict) or not isinstance(about, dict) or not isinstance(act, dict):
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token does not say which job it is of, and who answers for it.")
    subject = subject_in(named.get("sub"))
    issuer, name = named.get("iss"), vouching.name_of(named.get("iss"), subject)
    if name is None or not isinstance(issuer, str):
        raise TokenRefused(Reason.TOKEN_ISSUER, "The job's issuer is not accepted here.")
    run, acting_for, sid = about.get("run"), act.get("sub"), claims.get("sid")
    if not _is_text(run) or not _is_text(acting_for) or not isinstance(sid, str) or len(sid) != _SID_CHARACTERS:
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token does not name its run, or who answers for it.")
    held = about.get("claims")
    if not isinstance(held, dict) or not all(isinstance(value, str) for value in held.values()):
        raise TokenRefused(Reason.TOKEN_CLAIMS, "The token's claims of its job are not strings.")
    return Principal(
        kind="job",
        issuer=issuer,
        issuer_name=name,
        subject=subject,
        agent=agent_of({"client_id": claims.get("client_id")}),
        login=run,
        groups=frozenset(),
        claims=held,
        evidence=Evidence(),
        expires_at=expires_at,
        scopes=scopes_of(claims),
        sid=sid,
        acting_for=acting_for,
    )


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_CHARACTERS and value.isprintable()
