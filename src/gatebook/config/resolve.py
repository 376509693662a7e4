"""A file without faults of form → a Deployment with every default filled in, and the problems that only several keys together show."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gatebook.config import schema, values
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.model.deployment import (
    Allow,
    Credential,
    Deployment,
    Issuer,
    Limits,
    Match,
    Role,
    SecretReference,
    Server,
    ToolRule,
)

LOG_KEY = "keys/log.skey"
"""Under `data_dir`, where `log.key` is not given."""
LOG_VKEY = "log.vkey"
"""Under `data_dir`: the log's public key, for whoever verifies."""
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
    for part in (_profile, _listening, _names, _issuers, _servers, _audiences, _roles, _unused):
        found.extend(part(read, file))
    return _deployment(file, directory), found


def public_url_of(file: schema.File) -> str:
    """`public_url`, or in dev the first listener as a URL; empty where neither says."""
    if file.public_url is not None:
        return file.public_url
    first = _listen_of(file)[0] if _listen_of(file) else "unix:"
    if file.profile == "pci" or first.startswith("unix:"):
        return ""
    return f"{'https' if file.tls else 'http'}://{first.replace('0.0.0.0', '127.0.0.1').replace('[::]', '[::1]')}"


def _listen_of(file: schema.File) -> tuple[str, ...]:
    return tuple(file.listen or ([DEV_LISTEN] if file.profile == "dev" else []))


def _deployment(file: schema.File, directory: Path) -> Deployment:
    def at(path: str) -> str:
        return str(directory / path)

    data_dir = directory / (file.data_dir or DEV_DATA_DIR)
    public_url = public_url_of(file)
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
        segment_bytes=file.log.segment_bytes,
        heartbeat_s=float(file.log.heartbeat_s),
        limits=Limits(**file.limits.model_dump()),
        issuers=tuple(_issuer(issuer, directory) for issuer in file.issuer),
        servers=tuple(_server(server, file, public_url, directory) for server in file.server),
        roles=tuple(_role(role) for role in file.role),
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


def _server(server: schema.Server, file: schema.File, public_url: str, directory: Path) -> Server:
    resource = f"{public_url}/{server.name}/mcp"
    return Server(
        name=server.name,
        url=server.url,
        resource=resource,
        audiences={issuer.name: server.audience.get(issuer.name, resource) for issuer in file.issuer},
        ca_file=str(directory / server.ca_file) if server.ca_file else None,
        client_certificate=str(directory / server.client_certificate) if server.client_certificate else None,
        client_key=str(directory / server.client_key) if server.client_key else None,
        credential=_credential(server.credential, directory) if server.credential else None,
        record=server.record,
        card_numbers=server.card_numbers,
        tool_rules=tuple(
            ToolRule(tools=tuple(rule.match), record=rule.record, card_numbers=rule.card_numbers)
            for rule in server.tool
        ),
    )


def _credential(credential: schema.Credential, directory: Path) -> Credential:
    return Credential(
        header=credential.header, template=credential.value, secret=secret_reference(credential.secret, directory)
    )


def secret_reference(text: str, directory: Path) -> SecretReference:
    """The reference in `text` (`file:PATH`, `env:NAME`, `literal:VALUE`), which `values.secret` has accepted; a file's path absolute."""
    scheme, _, locator = text.partition(":")
    match scheme:
        case "file":
            return SecretReference(scheme="file", locator=str(directory / locator))
        case "env":
            return SecretReference(scheme="env", locator=locator)
        case _:
            return SecretReference(scheme="literal", locator=locator)


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
    }
    for section, names in tables.items():
        seen: set[str] = set()
        for number, name in enumerate(names):
            if name in seen:
                yield error(
                    read.where(section, number, "name"), f"is the name of another {section} too", "give each its own"
                )
            seen.add(name)
    urls: set[str] = set()
    for number, issuer in enumerate(file.issuer):
        if issuer.url in urls:
            what = "is the url of another issuer too, so that a token could mean either"
            yield error(read.where("issuer", number, "url"), what, "keep one of them")
        urls.add(issuer.url)


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
        scheme = server.url.partition(":")[0]
        without_tls = ("unix",) if pci else ("unix", "http")
        if pci and scheme == "http":
            mend = "use https (with ca_file for an own authority; client_certificate and client_key for mTLS) or unix:"
            yield error(read.where("server", number, "url"), "is not encrypted", mend)
        if pci and scheme != "unix" and values.holds_secret_parameter(server.url):
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
            if rule.record is None and rule.card_numbers is None:
                where = read.where("server", number, "tool", index)
                yield error(where, "makes no exception", "give record or card_numbers, or remove it")


def _credentials(read: Read, server: schema.Server, number: int, *, pci: bool) -> Iterator[Problem]:
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
            if match.issuer not in read.names["issuer"]:
                yield _unknown(read.where("role", number, "match", index, "issuer"), "issuer", match.issuer, file)
            if match.group is None and match.subject is None and not match.claims:
                what = (
                    f"matches everybody whom {match.issuer} knows"
                    if match.issuer in read.names["issuer"]
                    else "matches everybody"
                )
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


def _unknown(where: str, kind: Literal["issuer", "server"], name: str, file: schema.File) -> Problem:
    """A reference to nothing. Names what there is, and not what was written."""
    known = sorted(table.name for table in (file.issuer if kind == "issuer" else file.server))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    mend = (
        f"did you mean {close[0]}?" if close else f"there is {', '.join(known)}" if known else f"write [[{kind}]] first"
    )
    return error(where, f"names no {kind} of this file", mend)
