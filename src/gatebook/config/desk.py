"""`[desk]`: what it comes to, and what its keys must be together."""

from collections.abc import Iterator
from pathlib import Path

from gatebook.config import database, lifecycle, schema, values
from gatebook.config.key_files import DESK_KEY, DESK_PUBLIC_KEYS
from gatebook.config.listening import listen_of, public_url_of
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.config.secret_references import secret_reference
from gatebook.model.deployment import DESK_ISSUER, Desk, Issuer


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


def desk_of(file: schema.File, desk: schema.Desk, data_dir: Path, directory: Path) -> Desk:
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


def desk_problems(read: Read, file: schema.File) -> Iterator[Problem]:
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
    if set(desk.listen) & set(listen_of(file)):
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
