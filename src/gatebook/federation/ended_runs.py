"""Which runs of jobs end with their grants, and for how long: a run of which only a grant was ended would be back a second later, with its issuer's
next token or its key's next assertion.

An admin ends the whole run. A job that gives its token up ends its run only where a run is one job (GitLab), and at that server only: the jobs of
one GitHub run each give their own up, and so do the programs in a pod.
"""

from gatebook.federation.records import LoggedIn, hashed
from gatebook.model.deployment import DESK_ISSUER

RUN_ENDED = "run_ended"
"""The kind under which the store keeps them."""
RUN_S = 35 * 86_400.0
"""GitHub's longest run; ids of runs, jobs and pods are given once, so nothing else is kept out by it."""
NAME_S = 3600.0
"""Where nothing but the job's name tells one run from the next, the name is kept out for so long."""


def ended_by(seen: LoggedIn, why: str, server: str, only_there: bool) -> tuple[str, float] | None:
    """What a grant of `seen` at `server` that ends by `why` ends with it: (key, for how long). `only_there`: the order named the server.
    None: nothing, and always for a person."""
    if seen.job is None:
        return None
    if why == "by_admin":
        key = _key(seen, server if only_there else "")
        return key, RUN_S if _has_runs(seen) else NAME_S
    if why == "by_client" and _has_runs(seen) and seen.job.run.startswith("job_id:"):
        return _key(seen, server), RUN_S
    return None


def keys_of(seen: LoggedIn, server: str) -> tuple[str, ...]:
    """Each of these, where it was kept, says that this run may do nothing more at `server`. Of a person there are none."""
    return () if seen.job is None else (_key(seen, ""), _key(seen, server))


def key_of_name(issuer: str, name: str, server: str = "") -> str:
    """The key of a job without runs; `server`: where that is all it is kept out of."""
    return hashed(f"name\0{issuer}\0{name}\0{server}")


def _key(seen: LoggedIn, server: str) -> str:
    # The issuer counts its runs, so its subject adds nothing: a GitHub run's jobs may have several.
    person, run = seen.person, "" if seen.job is None else seen.job.run
    if not _has_runs(seen):
        return key_of_name(person.issuer, person.subject, server)
    return hashed(f"run\0{person.issuer}\0{run}\0{server}")


def _has_runs(seen: LoggedIn) -> bool:
    """Whether its issuer says which run this is: a registered job says so itself, and a `jti` is another with every token."""
    return seen.idp != DESK_ISSUER and seen.job is not None and not seen.job.run.startswith("jti:")
