"""[[workload]] and [[job]]: what they come to, and what would let the wrong job in."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from gatebook.config import jobs_schema, schema, values
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.federation.workloads import WAYS, unbound
from gatebook.model.deployment import DESK_ISSUER
from gatebook.model.workload import RegisteredJob, Workload


def workload_of(file: schema.File, workload: jobs_schema.Workload, directory: Path) -> Workload:
    way = WAYS[workload.preset]
    return Workload(
        name=workload.name,
        url=workload.url or way.url or "",
        preset=workload.preset,
        audience=workload.audience or (file.desk.public_url if file.desk is not None else ""),
        match=tuple(dict(match) for match in workload.match),
        events=tuple(workload.events or way.events),
        owner=workload.owner,
        algorithms=tuple(workload.algorithms),
        jwks_file=str(directory / workload.jwks_file) if workload.jwks_file else None,
        ca_file=str(directory / workload.ca_file) if workload.ca_file else None,
        leeway_s=workload.leeway_s,
    )


def job_of(job: jobs_schema.Job, directory: Path) -> RegisteredJob:
    return RegisteredJob(
        name=job.name,
        owner=job.owner,
        public_key=str(directory / job.public_key),
        algorithms=tuple(job.algorithms),
    )


def issuer_names(read: Read) -> set[str]:
    """What roles may name as `issuer` for jobs: the workloads, and the desk itself where jobs are registered."""
    return read.names["workload"] | ({DESK_ISSUER} if read.names["job"] else set())


def problems(read: Read, file: schema.File) -> Iterator[Problem]:
    urls: set[str] = set()
    for number, workload in enumerate(file.workload):
        yield from _workload(read, file, number, workload)
        url = workload.url or WAYS[workload.preset].url
        if url is not None and url in urls:
            where = read.where("workload", number, "url")
            yield error(where, "is the url of another workload too", "keep one, with a match for each kind of job")
        urls.add(url or "")
    yield from _names(read, file)
    yield from _roles(read, file)


def _workload(read: Read, file: schema.File, number: int, workload: jobs_schema.Workload) -> Iterator[Problem]:
    def where(*key: str | int) -> str:
        return read.where("workload", number, *key)

    way = WAYS[workload.preset]
    url = workload.url or way.url
    if url is None:
        yield error(where("url"), "is missing", "write the issuer as it stands in the tokens' `iss`")
    elif not url.startswith("https://"):
        if file.profile == "pci":
            yield error(where("url"), "is not https", "the pci profile accepts https issuers only")
        elif workload.jwks_file is None and not values.is_loopback(urlsplit(url).hostname or ""):
            yield error(where("url"), "is not https", "only an issuer on this machine may be http")
    if file.desk is not None and url == file.desk.public_url:
        yield error(where("url"), "is the desk's own", "name the issuer of the jobs' tokens")
    if workload.jwks_file is not None and workload.ca_file is not None:
        yield error(where("ca_file"), "has no effect beside jwks_file", "remove one of the two")
    if workload.owner is None and way.human is None:
        yield error(where("owner"), "is missing: tokens of this kind name no human", "write who answers for these jobs")
    if workload.events is not None and way.event is None:
        yield error(where("events"), "has no effect with this preset", "remove it")
    for index, match in enumerate(workload.match):
        lacking = unbound(match, workload.preset)
        if not match or set(match) <= {"iss", "aud", "exp", "iat", "nbf", "jti", "typ"}:
            yield error(where("match", index), "matches every job of this issuer", "name claims that tell jobs apart")
        elif lacking is not None:
            what = f"leaves open what must be bound: {lacking}"
            yield error(
                where("match", index), what, "add it; see docs/howto/github-actions.md, gitlab-ci.md, kubernetes.md"
            )
        elif "sub" in match and workload.preset in ("github", "gitlab"):
            what = "rests on `sub`, whose form has changed before and whose owner may change it"
            yield warning(where("match", index, "sub"), what, "match the claims themselves")


def _names(read: Read, file: schema.File) -> Iterator[Problem]:
    """Roles name issuers, idps and workloads by the same key."""
    taken = {issuer.name for issuer in file.issuer} | {idp.name for idp in file.idp}
    for number, workload in enumerate(file.workload):
        if workload.name in taken:
            what = "is the name of an issuer or idp too, so that a role could mean either"
            yield error(read.where("workload", number, "name"), what, "give each its own")
        if workload.name == DESK_ISSUER:
            yield error(read.where("workload", number, "name"), "is the desk's own name", "choose another")
    workloads = {workload.name for workload in file.workload}
    clients = {client.client_id for client in file.client}
    for number, job in enumerate(file.job):
        if job.name in workloads | clients:
            what = "is the name of a workload or client too, so that entries could mean either"
            yield error(read.where("job", number, "name"), what, "give each its own")


def _roles(read: Read, file: schema.File) -> Iterator[Problem]:
    """Who may come and holds no role, and a role for a job that is not there."""
    matches = [match for role in file.role for match in role.match]
    if not file.role or "role" in read.faulty or len(file.role) < len(read.names["role"]):
        return
    for number, workload in enumerate(file.workload):
        if workload.name not in {match.issuer for match in matches}:
            yield warning(read.where("workload", number), "no role matches its jobs", "add a role, or remove it")
    subjects = {match.subject for match in matches if match.issuer == DESK_ISSUER}
    for number, job in enumerate(file.job):
        if job.name not in subjects and None not in subjects:
            what = "no role matches it"
            yield warning(
                read.where("job", number), what, f'match {{ issuer = "{DESK_ISSUER}", subject = "{job.name}" }}'
            )
    for number, role in enumerate(file.role):
        for index, match in enumerate(role.match):
            if (
                match.issuer == DESK_ISSUER
                and match.subject not in {job.name for job in file.job}
                and match.subject is not None
            ):
                where = read.where("role", number, "match", index, "subject")
                yield warning(where, "names no job of this file", "write [[job]], or correct the name")
