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
    idps_schema,
    jobs,
    lifecycle,
    metrics,
    schema,
    servers_schema,
    users,
    values,
)
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.config.saml import kind_problems, saml_side
from gatebook.config.secret_references import secret_reference
from gatebook.federation.presets import PRESETS
from gatebook.model.deployment import (
    DESK_ISSUER,
    Allow,
    Client,
    Credential,
    Deployment,
    Desk,
    Disk,
    Evidences,
    IdentityProvider,
    Issuer,
    Limits,
    Match,
    Role,
    Server,
    SharedMarks,
    ToolRule,
)

LOG_KEY = "keys/log.skey"
"""Under `data_dir`, where `log.key` is not given."""
LOG_VKEY = "log.vkey"
"""Under `data_dir`: the log's public key, for whoever verifies."""
DESK_KEY = "keys/desk-signing.jwk"
DESK_PUBLIC_KEYS = "desk.jwks"
"""Under `data_dir`: what the gate verifies the desk's tokens with."""
PAYLOAD_PUBLIC_KEY = "payloads.pub"
PAYLOAD_PRIVATE_KEY = "payloads.key"
"""What our commands call the private half; it belongs on another machine, and `check` looks for it."""

DEV_LISTEN = "127.0.0.1:8080"
DEV_ORIGIN = "localhost/dev"
DEV_DATA_DIR = "data"

_NOBODY_IN_PARTICULAR = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti", "typ"})
"""Claims that every token of an issuer has, or that change with each: a role that rests on them alone is everybody's or nobody's."""


def resolve(read: Read, file: schema.File, directory: Path) -> tuple[Deployment, list[Problem]]:
    """The deployment that `file` describes, paths absolute (from `directory`), and every problem between its keys.

    Always gives a Deployment, so that what can be looked at is looked at; it may be used only if no problem is an error."""
    found: list[Problem] = []
    for part in (
        _profile,
        _listening,
        _names,
        _issuers,
        _desk,
        _idps,
        jobs.problems,
        _servers,
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
    found.extend(commands.problems(read, file, data_dir_of(file, directory)))
    return _deployment(file, directory), found


def public_url_of(file: schema.File) -> str:
    """`public_url`, or in dev the first listener as a URL; empty where neither says."""
    if file.public_url is not None:
        return file.public_url
    first = _listen_of(file)[0] if _listen_of(file) else "unix:"
    if file.profile == "pci" or first.startswith("unix:"):
        return ""
    return f"{'https' if file.tls else 'http'}://{first.replace('0.0.0.0', '127.0.0.1').replace('[::]', '[::1]')}"


def data_dir_of(file: schema.File, directory: Path) -> Path:
    return directory / (file.data_dir or DEV_DATA_DIR)


def _listen_of(file: schema.File) -> tuple[str, ...]:
    return tuple(file.listen or ([DEV_LISTEN] if file.profile == "dev" else []))


def _deployment(file: schema.File, directory: Path) -> Deployment:
    def at(path: str) -> str:
        return str(directory / path)

    data_dir = data_dir_of(file, directory)
    public_url = public_url_of(file)
    desk = _desk_of(file, file.desk, data_dir, directory) if file.desk else None
    issuers = tuple(_issuer(issuer, directory) for issuer in file.issuer)
    return Deployment(
        profile=file.profile,
        public_url=public_url,
        listen=_listen_of(file),
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
        servers=tuple(_server(server, file, public_url, directory) for server in file.server),
        roles=tuple(_role(role) for role in file.role),
        desk=desk,
        idps=tuple(_idp(idp, directory) for idp in file.idp),
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


def desk_issuer(desk: Desk) -> Issuer:
    """Our own authorization server as the gate sees it: one more issuer, whose keys lie in a file."""
    return Issuer(
        name=DESK_ISSUER,
        url=desk.public_url,
        kind="desk",
        token_type="at+jwt",
        algorithms=("ES256",),
        jwks_file=desk.public_keys,
        leeway_s=5,
    )


def _desk_of(file: schema.File, desk: schema.Desk, data_dir: Path, directory: Path) -> Desk:
    loopback = all(values.is_loopback(values.host_of(entry)) for entry in desk.listen)
    return Desk(
        listen=tuple(desk.listen),
        public_url=desk.public_url,
        tls_certificate=str(directory / desk.tls.certificate) if desk.tls else None,
        tls_key=str(directory / desk.tls.key) if desk.tls else None,
        signing_key=str(directory / desk.signing_key) if desk.signing_key else str(data_dir / DESK_KEY),
        public_keys=str(data_dir / DESK_PUBLIC_KEYS),
        client_metadata=desk.client_metadata,
        registration=(file.profile == "dev" and loopback) if desk.registration is None else desk.registration,
        login_s=float(desk.login_s),
        idle_s=float(desk.idle_s),
        provider_grace_s=float(desk.provider_grace_s),
        shared=desk.shared_accounts or ("refuse" if file.profile == "pci" else "mark"),
        payload_key=str(directory / desk.payload_key) if desk.payload_key else None,
        database=database.url_of(desk.database, directory) if desk.database else None,
        database_password=secret_reference(desk.database_password, directory) if desk.database_password else None,
    )


def _idp(idp: idps_schema.Idp, directory: Path) -> IdentityProvider:
    return IdentityProvider(
        name=idp.name,
        url=idp.url,
        saml=saml_side(idp, directory),
        preset=idp.preset,
        client_id=idp.client_id or "",
        client_secret=secret_reference(idp.client_secret, directory) if idp.client_secret else None,
        groups_claim=idp.groups_claim,
        scopes=tuple(idp.scopes or PRESETS[idp.preset].scopes),
        scopes_written=idp.scopes is not None,
        algorithms=tuple(idp.algorithms),
        mfa=Evidences(amr=tuple(idp.mfa.amr), acr=tuple(idp.mfa.acr), declared=idp.mfa.declared),
        domain=idp.domain,
        shared=SharedMarks(
            names=tuple(idp.shared.names), groups=tuple(idp.shared.groups), claims=dict(idp.shared.claims)
        ),
        ca_file=str(directory / idp.ca_file) if idp.ca_file else None,
        leeway_s=idp.leeway_s,
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


def _server(server: servers_schema.Server, file: schema.File, public_url: str, directory: Path) -> Server:
    resource = f"{public_url}/{server.name}/mcp"
    return Server(
        name=server.name,
        url=server.url or commands.url_of(server, data_dir_of(file, directory)),
        resource=resource,
        audiences={
            **{issuer.name: server.audience.get(issuer.name, resource) for issuer in file.issuer},
            **({DESK_ISSUER: resource} if file.desk else {}),
        },
        ca_file=str(directory / server.ca_file) if server.ca_file else None,
        client_certificate=str(directory / server.client_certificate) if server.client_certificate else None,
        client_key=str(directory / server.client_key) if server.client_key else None,
        credential=_credential(server.credential, directory) if server.credential else None,
        record=server.record,
        card_numbers=server.card_numbers,
        tool_rules=tuple(
            ToolRule(
                tools=tuple(rule.match),
                record=rule.record,
                card_numbers=rule.card_numbers,
                mfa=rule.mfa,
                mfa_max_age_s=rule.mfa_max_age_s,
            )
            for rule in server.tool
        ),
        command=commands.command_of(server, file, directory),
        pins_file=str(directory / server.pins) if server.pins else None,
    )


def _credential(credential: servers_schema.Credential, directory: Path) -> Credential:
    return Credential(
        header=credential.header, template=credential.value, secret=secret_reference(credential.secret, directory)
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


def _listening(read: Read, file: schema.File) -> Iterator[Problem]:
    listening = _listen_of(file)
    if len(set(listening)) < len(listening):
        yield error(read.where("listen"), "names one address twice", "remove the repetition")
    tcp = [entry for entry in listening if not entry.startswith("unix:")]
    if tcp and file.tls is None and "tls" not in read.faulty:
        if file.profile == "pci":
            mend = 'write tls = { certificate = "…", key = "…" }, or listen on unix: behind a proxy that ends TLS'
            yield error(read.where("listen"), "listens on the network without TLS", mend)
        elif any(not values.is_loopback(values.host_of(entry)) for entry in tcp):
            mend = "listen on 127.0.0.1, or configure tls"
            yield warning(read.where("listen"), "tokens and answers cross the network in clear", mend)
    if listening and not tcp and file.public_url is None and file.profile == "dev" and "public_url" not in read.faulty:
        yield error("public_url", "is missing, and a unix: listener does not tell it", "write the URL that clients use")
    if tcp and file.tls and file.public_url is not None and file.public_url.startswith("http://"):
        yield warning(read.where("public_url"), "says http, but the gate listens with TLS", "write https://")
    if file.limits.buffered_bytes < max(file.limits.request_bytes, file.limits.response_bytes):
        what = "is smaller than one message may be, so that the largest can never pass"
        yield error(read.where("limits", "buffered_bytes"), what, "raise it, or lower request_bytes and response_bytes")
    if file.disk.warn_free_bytes <= file.disk.refuse_free_bytes:
        what = "is not above refuse_free_bytes, so nobody would be warned before calls are refused"
        yield error(read.where("disk", "warn_free_bytes"), what, "raise it, or lower refuse_free_bytes")
    if file.limits.session_absolute_s < file.limits.session_idle_s:
        yield error(
            read.where("limits", "session_absolute_s"),
            "is shorter than session_idle_s",
            "raise it, or lower session_idle_s",
        )


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


def _desk(read: Read, file: schema.File) -> Iterator[Problem]:
    """The authorization server by itself."""
    desk = file.desk
    if desk is None:
        for section in ("idp", "client", "workload", "job"):
            if getattr(file, section) and "desk" not in read.faulty:
                yield warning(section, "has no effect without [desk]", "write [desk], or remove it")
        return
    if any(entry.startswith("unix:") for entry in desk.listen):
        yield error(read.where("desk", "listen"), "is a unix socket", "write HOST:PORT")
        return
    loopback = all(values.is_loopback(values.host_of(entry)) for entry in desk.listen)
    if desk.public_url == public_url_of(file):
        yield error(read.where("desk", "public_url"), "is the gate's own", "the desk has a listener of its own")
    if set(desk.listen) & set(_listen_of(file)):
        yield error(read.where("desk", "listen"), "is an address of the gate", "the desk has a listener of its own")
    if file.profile == "pci":
        if not desk.public_url.startswith("https://"):
            yield error(read.where("desk", "public_url"), "is not https", "the pci profile serves https only")
        if desk.tls is None:
            yield error(read.where("desk", "listen"), "listens without TLS", "write desk.tls")
        yield from lifecycle.demanded_by_pci(read, desk)
    elif desk.tls is None and not loopback:
        yield error(
            read.where("desk", "listen"), "listens on the network without TLS", "listen on 127.0.0.1, or write desk.tls"
        )
    if desk.registration and not (file.profile == "dev" and loopback):
        what = "lets any program register itself"
        yield error(read.where("desk", "registration"), what, "it is for dev on loopback; write [[client]] tables")
    if any(issuer.url == desk.public_url for issuer in file.issuer):
        yield error(read.where("desk", "public_url"), "is the url of an issuer too", "remove that issuer")
    if not any(read.names[section] for section in ("idp", "workload", "job")):
        yield warning("idp", "there is none, so nobody can log in", "write [[idp]]")


def _idps(read: Read, file: schema.File) -> Iterator[Problem]:
    pci = file.profile == "pci"
    urls: set[str] = set()
    for number, idp in enumerate(file.idp):
        where = read.where("idp", number, "url")
        if idp.url in urls:
            yield error(where, "is the url of another idp too", "keep one of them")
        urls.add(idp.url)
        yield from kind_problems(read, idp, number, pci=pci)
        if idp.kind == "oidc" and not idp.url.startswith("https://"):
            if pci:
                yield error(where, "is not https", "the pci profile accepts https providers only")
            elif not values.is_loopback(urlsplit(idp.url).hostname or ""):
                yield error(where, "is not https", "only a provider on this machine may be http")
        if idp.client_secret is not None and idp.client_secret.startswith(values.LITERAL):
            make = error if pci else warning
            mend = "put it into a file of its own and write file:PATH, or env:NAME; then replace the secret: it stood in a file"
            yield make(
                read.where("idp", number, "client_secret"), "the secret itself stands in the configuration", mend
            )
        yield from lifecycle.of_idp(read, idp, number)
        if idp.kind == "oidc" and idp.preset == "google" and idp.domain is None:
            what = "is missing: without it every Google account in the world could log in"
            yield error(read.where("idp", number, "domain"), what, 'write domain = "example.com"')
        if idp.preset == "entra" and any(part in idp.url for part in ("/common", "/organizations", "/consumers")):
            yield error(where, "lets every tenant in", "write the issuer of your tenant, with its id")


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


def _servers(read: Read, file: schema.File) -> Iterator[Problem]:
    pci = file.profile == "pci"
    for number, server in enumerate(file.server):
        url = server.url or commands.UNSAID
        scheme = url.partition(":")[0]
        without_tls = ("unix",) if pci else ("unix", "http")
        if pci and scheme == "http":
            mend = "use https (with ca_file for an own authority; client_certificate and client_key for mTLS) or unix:"
            yield error(read.where("server", number, "url"), "is not encrypted", mend)
        if pci and scheme != "unix" and values.holds_secret_parameter(url):
            yield error(
                read.where("server", number, "url"),
                "holds what looks like a credential in its query",
                "inject it by `credential`",
            )
        if (server.client_certificate is None) != (server.client_key is None):
            lone = "client_key" if server.client_certificate is None else "client_certificate"
            yield error(
                read.where("server", number, lone), "stands alone", "mTLS needs client_certificate and client_key"
            )
        for name in ("ca_file", "client_certificate"):
            if getattr(server, name) is not None and scheme in without_tls:
                yield error(
                    read.where("server", number, name),
                    "has no effect without https",
                    "remove it, or write an https url",
                )
        yield from _credentials(read, server, number, pci=pci)
        for index, rule in enumerate(server.tool):
            where = read.where("server", number, "tool", index)
            yield from lifecycle.of_tool(file, rule, where)
            if rule.record is None and rule.card_numbers is None and rule.mfa is None:
                yield error(where, "makes no exception", "give record, card_numbers or mfa, or remove it")


def _credentials(read: Read, server: servers_schema.Server, number: int, *, pci: bool) -> Iterator[Problem]:
    if server.credential is None:
        return
    make = error if pci else warning
    if server.credential.secret.startswith(values.LITERAL):
        where = read.where("server", number, "credential", "secret")
        mend = "put it into a file of its own and write file:PATH, or env:NAME; then replace the secret: it stood in a file"
        yield make(where, "the secret itself stands in the configuration", mend)
    if values.looks_literal(server.credential.value):
        where = read.where("server", number, "credential", "value")
        yield make(where, "holds what looks like a secret beside {secret}", "let {secret} stand for the whole of it")


def _audiences(read: Read, file: schema.File) -> Iterator[Problem]:
    """A token for one server must be useless at every other."""
    for number, server in enumerate(file.server):
        for name in server.audience:
            if name not in read.names["issuer"]:
                yield _unknown(read.where("server", number, "audience", name), "issuer", name, file)
    for issuer in file.issuer:
        taken: dict[str, str] = {}
        for number, server in enumerate(file.server):
            audience = server.audience.get(issuer.name, f"{public_url_of(file)}/{server.name}/mcp")
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
