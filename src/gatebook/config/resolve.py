"""A file without faults of form → a Deployment with every default filled in, and the problems that only several keys together show."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gatebook.config import (
    commands,
    database,
    desk_roles,
    idps,
    jobs,
    listening,
    metrics,
    schema,
    servers,
    users,
    values,
)
from gatebook.config.desk import desk_issuer, desk_of, desk_problems
from gatebook.config.key_files import LOG_KEY, PAYLOAD_PUBLIC_KEY
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.config.secret_references import secret_reference
from gatebook.model.deployment import DESK_ISSUER, Allow, Client, Deployment, Disk, Issuer, Limits, Match, Role

DEV_ORIGIN = "localhost/dev"

_OF_OUR_TOKENS = frozenset({"mfa"})
"""The one claim of the desk's tokens, beside groups and subject, on which a role may rest: their `name` is whatever the provider shows, often an
address that nobody has verified."""
_NOBODY_IN_PARTICULAR = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti", "typ"})
"""Claims that every token of an issuer has, or that change with each: a role that rests on them alone is everybody's or nobody's."""


def resolve(read: Read, file: schema.File, directory: Path) -> tuple[Deployment, list[Problem]]:
    """The deployment that `file` describes, paths absolute (from `directory`), and every problem between its keys.

    Always gives a Deployment, so that what can be looked at is looked at; it may be used only if no problem is an error."""
    found: list[Problem] = []
    for part in (
        _profile,
        listening.problems,
        _names,
        _issuers,
        desk_problems,
        idps.problems,
        jobs.problems,
        servers.problems,
        _audiences,
        _roles,
        desk_roles.problems,
        database.problems,
        metrics.problems,
        metrics.trace_problems,
        users.problems,
        _unused,
    ):
        found.extend(part(read, file))
    found.extend(commands.problems(read, file, listening.data_dir_of(file, directory)))
    return _deployment(file, directory), found


def _deployment(file: schema.File, directory: Path) -> Deployment:
    def at(path: str) -> str:
        return str(directory / path)

    data_dir = listening.data_dir_of(file, directory)
    public_url = listening.public_url_of(file)
    desk = desk_of(file, file.desk, data_dir, directory) if file.desk else None
    issuers = tuple(_issuer(issuer, directory) for issuer in file.issuer)
    return Deployment(
        profile=file.profile,
        public_url=public_url,
        listen=listening.listen_of(file),
        workers=file.workers,
        data_dir=str(data_dir),
        origin=file.log.origin or (DEV_ORIGIN if file.profile == "dev" else ""),
        log_key=at(file.log.key) if file.log.key else str(data_dir / LOG_KEY),
        payload_public_key=at(file.payloads.public_key)
        if file.payloads.public_key
        else str(data_dir / PAYLOAD_PUBLIC_KEY),
        tls_certificate=at(file.tls.certificate) if file.tls else None,
        tls_key=at(file.tls.key) if file.tls else None,
        allowed_origins=tuple(file.allowed_origins),
        trusted_proxies=tuple(file.trusted_proxies),
        watermark=at(file.log.watermark) if file.log.watermark else None,
        segment_bytes=file.log.segment_bytes,
        heartbeat_s=float(file.log.heartbeat_s),
        limits=Limits(**file.limits.model_dump()),
        disk=Disk(**file.disk.model_dump()),
        runner=commands.runner_of(file),
        issuers=issuers if desk is None else (*issuers, desk_issuer(desk)),
        servers=tuple(servers.server_of(server, file, public_url, directory) for server in file.server),
        roles=tuple(_role(role) for role in file.role),
        desk=desk,
        idps=tuple(idps.idp_of(idp, directory) for idp in file.idp),
        clients=tuple(
            Client(client_id=client.client_id, name=client.name, redirect_uris=tuple(client.redirect_uris))
            for client in file.client
        ),
        workloads=tuple(jobs.workload_of(file, workload, directory) for workload in file.workload),
        jobs=tuple(jobs.job_of(job, directory) for job in file.job),
        desk_roles=desk_roles.desk_roles_of(file),
        metrics=metrics.metrics_of(file.metrics, directory, secret_reference),
        traces=metrics.traces_of(file.traces, directory, secret_reference),
        users=users.users_of(file),
    )


def _issuer(issuer: schema.Issuer, directory: Path) -> Issuer:
    return Issuer(
        name=issuer.name,
        url=issuer.url,
        kind=issuer.kind,
        token_type=issuer.token_type,
        algorithms=tuple(issuer.algorithms),
        groups_claim=issuer.groups_claim,
        jwks_file=str(directory / issuer.jwks_file) if issuer.jwks_file else None,
        ca_file=str(directory / issuer.ca_file) if issuer.ca_file else None,
        leeway_s=issuer.leeway_s,
    )


def _role(role: schema.Role) -> Role:
    return Role(
        name=role.name,
        match=tuple(
            Match(issuer=m.issuer, group=m.group, subject=m.subject, claims=dict(m.claims)) for m in role.match
        ),
        allow=tuple(
            Allow(
                server=allow.server,
                tools=tuple(allow.tools),
                resources=tuple(allow.resources),
                prompts=tuple(allow.prompts),
                methods=tuple(allow.methods),
            )
            for allow in role.allow
        ),
    )


def _profile(read: Read, file: schema.File) -> Iterator[Problem]:
    """What `pci` demands of the whole, and what `dev` says loudly."""
    if file.profile == "dev":
        what = (
            "this is the dev profile: http, loopback issuers and literal secrets are allowed, and every entry says so"
        )
        yield warning(read.where("profile"), what, 'for cardholder data write profile = "pci"')
        return
    required = {"public_url": file.public_url, "listen": file.listen, "data_dir": file.data_dir}
    for name, value in required.items():
        if value is None and name not in read.faulty:
            yield error(name, "is missing, and the pci profile has no default for it", f"write {name} = …")
    if file.log.origin is None and "log" not in read.faulty:
        yield error(
            read.where("log", "origin"),
            "is missing, and the pci profile has no default for it",
            "write the log's name, for ever",
        )
    if file.public_url is not None and not file.public_url.startswith("https://"):
        yield error(read.where("public_url"), "is not https", "the pci profile serves https only")


def _names(read: Read, file: schema.File) -> Iterator[Problem]:
    """One name, one thing."""
    tables: dict[str, Iterable[str]] = {
        "issuer": [issuer.name for issuer in file.issuer],
        "server": [server.name for server in file.server],
        "role": [role.name for role in file.role],
        "idp": [idp.name for idp in file.idp],
        "client": [client.client_id for client in file.client],
        "workload": [workload.name for workload in file.workload],
        "job": [job.name for job in file.job],
    }
    for section, names in tables.items():
        seen: set[str] = set()
        for number, name in enumerate(names):
            if name in seen:
                key = "client_id" if section == "client" else "name"
                yield error(
                    read.where(section, number, key), f"is the name of another {section} too", "give each its own"
                )
            seen.add(name)
    yield from _names_of_people(read, file)
    urls: set[str] = set()
    for number, issuer in enumerate(file.issuer):
        if issuer.url in urls:
            what = "is the url of another issuer too, so that a token could mean either"
            yield error(read.where("issuer", number, "url"), what, "keep one of them")
        urls.add(issuer.url)


def _names_of_people(read: Read, file: schema.File) -> Iterator[Problem]:
    """Roles name issuers and idps by the same key, and the desk has a name of its own among them."""
    issuers = {issuer.name for issuer in file.issuer}
    named = {"issuer": [issuer.name for issuer in file.issuer], "idp": [idp.name for idp in file.idp]}
    for section, names in named.items():
        for number, name in enumerate(names):
            if name == DESK_ISSUER:
                yield error(read.where(section, number, "name"), "is the desk's own name", "choose another")
    for number, idp in enumerate(file.idp):
        if idp.name in issuers:
            what = "is the name of an issuer too, so that a role could mean either"
            yield error(read.where("idp", number, "name"), what, "give each its own")


def _issuers(read: Read, file: schema.File) -> Iterator[Problem]:
    for number, issuer in enumerate(file.issuer):
        host = urlsplit(issuer.url).hostname or ""
        if issuer.jwks_file is not None and issuer.ca_file is not None:
            yield error(
                read.where("issuer", number, "ca_file"), "has no effect beside jwks_file", "remove one of the two"
            )
        if file.profile == "dev":
            continue
        if not issuer.url.startswith("https://"):
            yield error(
                read.where("issuer", number, "url"), "is not https", "the pci profile accepts https issuers only"
            )
        elif issuer.jwks_file is None and values.is_loopback(host):
            mend = "the pci profile fetches keys from other hosts only; use jwks_file for a closed network"
            yield error(read.where("issuer", number, "url"), "is on this machine", mend)


def _audiences(read: Read, file: schema.File) -> Iterator[Problem]:
    """A token for one server must be useless at every other."""
    for number, server in enumerate(file.server):
        for name in server.audience:
            if name not in read.names["issuer"]:
                yield _unknown(read.where("server", number, "audience", name), "issuer", name, file)
    for issuer in file.issuer:
        taken: dict[str, str] = {}
        for number, server in enumerate(file.server):
            audience = server.audience.get(issuer.name, f"{listening.public_url_of(file)}/{server.name}/mcp")
            first = taken.setdefault(audience, server.name)
            if first != server.name:
                what = f"is also the audience of server {first} for issuer {issuer.name}: a token for one would open the other"
                yield error(
                    read.where("server", number, "audience", issuer.name),
                    what,
                    "give each server an audience of its own",
                )


def _roles(read: Read, file: schema.File) -> Iterator[Problem]:
    for number, role in enumerate(file.role):
        for index, match in enumerate(role.match):
            where = read.where("role", number, "match", index)
            known = read.names["issuer"] | read.names["idp"] | jobs.issuer_names(read)
            if match.issuer not in known:
                yield _unknown(read.where("role", number, "match", index, "issuer"), "issuer", match.issuer, file)
            if match.group is None and match.subject is None and not match.claims:
                what = f"matches everybody whom {match.issuer} knows" if match.issuer in known else "matches everybody"
                yield error(where, what, "give a group, a subject or claims")
            elif match.group is None and match.subject is None and set(match.claims) <= _NOBODY_IN_PARTICULAR:
                yield error(
                    where,
                    "rests on claims that say nothing of who calls",
                    "give a group, a subject, or claims that tell callers apart",
                )
            elif match.issuer in read.names["idp"] and (foreign := set(match.claims) - _OF_OUR_TOKENS):
                yield error(
                    where,
                    f"rests on the claim {min(foreign)}, which for people who log in at the desk is not there, or is what they call themselves",
                    "give a group or a subject",
                )
        for index, allow in enumerate(role.allow):
            if allow.server not in read.names["server"]:
                yield _unknown(read.where("role", number, "allow", index, "server"), "server", allow.server, file)
            for name in (*allow.tools, *allow.prompts):
                if set("?[]{}") & set(name):
                    what = "a glob holds ?, [, ], { or }, which stand for themselves"
                    yield warning(
                        read.where("role", number, "allow", index), what, "use * and ** only, if a pattern was meant"
                    )


def _unused(read: Read, file: schema.File) -> Iterator[Problem]:
    """What does nothing: legal, and seldom meant."""
    for section in ("issuer", "server", "role"):
        if section == "issuer" and (file.desk is not None or "desk" in read.faulty):
            continue  # then people come through the desk
        if not getattr(file, section) and not read.names[section] and section not in read.faulty:
            yield warning(section, "there is none, so no call will be permitted", f"write [[{section}]]")
    for number, role in enumerate(file.role):
        for name in ("match", "allow"):
            if not getattr(role, name):
                yield warning(
                    read.where("role", number, name),
                    "is empty, so the role does nothing",
                    "fill it, or remove the role",
                )
    granted = {allow.server for role in file.role for allow in role.allow}
    matched = {match.issuer for role in file.role for match in role.match}
    whole = not any(section in read.faulty for section in ("role",)) and len(file.role) >= len(read.names["role"])
    for number, server in enumerate(file.server):
        if whole and file.role and server.name not in granted:
            yield warning(
                read.where("server", number), "no role grants anything on it", "add it to a role's allow, or remove it"
            )
    for number, issuer in enumerate(file.issuer):
        if whole and file.role and issuer.name not in matched:
            yield warning(read.where("issuer", number), "no role matches its callers", "add a role, or remove it")
    for number, idp in enumerate(file.idp):
        if whole and file.role and idp.name not in matched:
            yield warning(read.where("idp", number), "no role matches its people", "add a role, or remove it")


def _unknown(where: str, kind: Literal["issuer", "server"], name: str, file: schema.File) -> Problem:
    """A reference to nothing. Names what there is, and not what was written."""
    people = [*(issuer.name for issuer in file.issuer), *(idp.name for idp in file.idp)]
    people += [workload.name for workload in file.workload]
    known = sorted(people if kind == "issuer" else (server.name for server in file.server))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    mend = (
        f"did you mean {close[0]}?" if close else f"there is {', '.join(known)}" if known else f"write [[{kind}]] first"
    )
    return error(where, f"names no {kind} of this file", mend)
