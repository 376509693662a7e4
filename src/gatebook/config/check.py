"""Everything that can be wrong with a deployment before it serves, found at once. Looks only: no file is written, nothing is sent.

Each `_part` looks at one thing and gives its problems; `problems` is their sum, after those of the configuration itself.
"""

import os
import pwd
import ssl
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gatebook import formats
from gatebook.config.key_files import PAYLOAD_PRIVATE_KEY
from gatebook.config.load import Examined
from gatebook.config.names import certificate_covers, certificates
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reach import reach
from gatebook.config.resolve import LOG_VKEY
from gatebook.config.rolled_back import rolled_back
from gatebook.config.saml import saml_files_problems
from gatebook.federation.minting import Minter
from gatebook.federation.registered_keys import key_set_of
from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import MAX_BYTES, acceptable_key_set
from gatebook.ledger.note import NoteError, Signer, load_signer
from gatebook.ledger.payload import PayloadError, load_public_key
from gatebook.model.deployment import Deployment, Desk, IdentityProvider, Issuer, Server
from gatebook.model.errors import ConfigurationError, UpstreamError
from gatebook.model.users import Users
from gatebook.model.workload import Workload
from gatebook.ports import Clock, Credentials

CERTIFICATE_DAYS_WANTED: Final = 14
CONNECT_S: Final = 5.0


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What `problems` needs of the world. `reach(url, ca_file, client_certificate, client_key, timeout_s)` connects, sends nothing, and says
    what went wrong (None: nothing); `database` does so with the desk's. `commands`: what is wrong with servers that are commands. `offline`:
    connect nowhere. `user_id`: whose rights are looked at."""

    clock: Clock
    credentials: Credentials
    offline: bool = False
    reach: Callable[[str, str | None, str | None, str | None, float], str | None] = reach
    database: Callable[[Desk, Credentials], str | None] = lambda _desk, _credentials: None
    commands: Callable[[Deployment], Iterable[Problem]] = lambda _deployment: ()
    user_id: int = msgspec.field(default_factory=os.geteuid)
    rooms: Callable[[Deployment, Users, Path], list[str]] | None = None
    """What rooms with users of their own cannot reach, in words; None where nobody may ask (we are not root)."""


def problems(examined: Examined, probe: Probe) -> list[Problem]:
    """Every problem of the configuration and of the deployment that it describes, errors and warnings, in the order of the parts.

    Takes at most a few seconds: everything that connects does so at the same time."""
    found = [*examined.problems, *_clock(examined.deployment, probe)]
    if examined.deployment is None:
        return found
    if examined.deployment.users is not None:
        found.extend(_rooms(examined, examined.deployment.users, probe))
    for part in (
        _user,
        _disk,
        _formats,
        _log_key,
        _payload_key,
        _desk_key,
        _certificate,
        _key_files,
        saml_files_problems,
        _secrets,
        _commands,
        _reachable,
        _desk_database,
        _one_user,
        rolled_back,
        _anchor,
    ):
        if part in _OF_OTHERS and examined.deployment.users is not None and probe.user_id != 0:
            continue  # what we may not read is for the rooms, which were asked
        found.extend(part(examined.deployment, probe))
    return found


def _grave(deployment: Deployment, where: str, what: str, mend: str) -> Problem:
    """An error in pci, a warning in dev."""
    return (error if deployment.profile == "pci" else warning)(where, what, mend)


def _clock(deployment: Deployment | None, probe: Probe) -> Iterator[Problem]:
    now = probe.clock.now()
    if not now.synchronised:
        make = warning if deployment is not None and deployment.profile == "dev" else error
        yield make(
            "clock",
            "is not known to be synchronised, so no record's time can be relied on",
            "run chrony or systemd-timesyncd",
        )


def _rooms(examined: Examined, users: Users, probe: Probe) -> Iterator[Problem]:
    """What each room's user cannot reach. Only root can ask as another user."""
    if probe.rooms is None or examined.deployment is None:
        yield warning("users", "nobody asked what the rooms' users can reach: that takes root", "run this as root")
        return
    for words in probe.rooms(examined.deployment, users, Path(examined.path)):
        where, _, what = words.partition(": ")
        yield error(where, *what.rsplit("; ", 1))


def _user(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    if deployment.users is not None:
        return  # what root sees here says nothing of the rooms; they are asked themselves
    try:
        owner = Path(deployment.data_dir).stat().st_uid
    except OSError:
        return
    if owner != probe.user_id:
        what = f"this is run as {_user_name(probe.user_id)}, but {deployment.data_dir} belongs to {_user_name(owner)}"
        yield error("user", what, f"run it as {_user_name(owner)}; what is said here of access holds for another user")


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def _disk(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    data_dir = Path(deployment.data_dir)
    standing = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    if standing != data_dir:
        yield _grave(
            deployment, "data_dir", f"{data_dir} is not there", "make it, for this deployment's user only (mode 0700)"
        )
    elif not data_dir.is_dir():
        yield error("data_dir", f"{data_dir} is no directory", "name a directory")
        return
    elif data_dir.stat().st_mode & (0o077 if deployment.users is None else 0o066):
        yield _grave(
            deployment,
            "data_dir",
            f"{data_dir} is open to other users",
            f"chmod {'0700' if deployment.users is None else '0711'} {data_dir}",
        )
    if not os.access(standing, os.W_OK | os.X_OK):
        yield error("data_dir", f"{standing} cannot be written by this user", "give it to this deployment's user")
    space = os.statvfs(standing)
    free = space.f_bavail * space.f_frsize
    needed, wanted = deployment.disk.refuse_free_bytes, deployment.disk.warn_free_bytes
    if free < needed:
        what = (
            f"only {free >> 20} MiB are free: below disk.refuse_free_bytes ({needed >> 20} MiB) no new call is taken on"
        )
        yield error("data_dir", what, "free space, or use another disk")
    elif free < wanted:
        yield warning(
            "data_dir",
            f"only {free >> 20} MiB are free",
            f"free space: at least {wanted >> 20} MiB (disk.warn_free_bytes)",
        )


def _formats(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    try:
        newer = formats.newer(Path(deployment.data_dir))
    except ConfigurationError as unreadable:
        newer = unreadable.problems
    for problem in newer:
        what, _, mend = problem.rpartition(": ")
        yield error("data_dir", what, mend)


def _log_key(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    path = Path(deployment.log_key)
    if not path.exists():
        if deployment.profile == "dev":
            yield warning(
                "log.key",
                f"{path} is not there",
                "`gatebook serve` makes one in dev; `gatebook init` makes one anywhere",
            )
        return
    yield from _private(deployment, "log.key", path)
    signer = _signer(path)
    if isinstance(signer, str):
        yield error(
            "log.key", f"{path} {signer}", "restore it from its backup: a new key is a new log for all who verify"
        )
        return
    if deployment.origin and signer.name != deployment.origin:
        what = f"{path} is the key of another log than log.origin says"
        yield error("log.key", what, "use the key that was made for this origin; neither ever changes")
    yield from _verifier_key(deployment, signer)


def _signer(path: Path) -> Signer | str:
    try:
        return load_signer(path.read_text(encoding="ascii").strip())
    except NoteError as failure:
        return f"is no log key: {failure}"
    except (OSError, ValueError) as failure:
        return f"cannot be read: {_why(failure)}"


def _verifier_key(deployment: Deployment, signer: Signer) -> Iterator[Problem]:
    path = Path(deployment.data_dir) / LOG_VKEY
    try:
        published = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as failure:
        yield error("log.key", f"{path} cannot be read: {_why(failure)}", "give it to this deployment's user")
        return
    if published != signer.vkey:
        what = f"{path} is not the verifier key of {deployment.log_key}: who verifies with it would refuse every checkpoint"
        yield error("log.key", what, "find out which of the two was replaced")


def _payload_key(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    public = Path(deployment.payload_public_key)
    if not public.exists():
        if deployment.profile == "dev":
            mend = "`gatebook serve` makes one in dev; `gatebook init` makes one anywhere"
            yield warning("payloads.public_key", f"{public} is not there", mend)
        return
    try:
        load_public_key(public.read_text(encoding="ascii").strip())
    except PayloadError as failure:
        yield error(
            "payloads.public_key",
            f"{public} is no public payload key: {failure}",
            "put the public half there (PAYLOAD+PUBLIC+…)",
        )
    except (OSError, ValueError) as failure:
        yield error(
            "payloads.public_key", f"{public} cannot be read: {_why(failure)}", "give it to this deployment's user"
        )
    for private in _private_payload_keys(deployment):
        what = f"the private payload key lies on this machine ({private}): whoever gets in can read every recording"
        yield _grave(
            deployment, "payloads.public_key", what, "move it to where recordings are read, and delete it here"
        )


def _desk_key(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    if deployment.desk is None:
        return
    path = Path(deployment.desk.signing_key)
    yield from _private(deployment, "desk.signing_key", path)
    if not path.exists():
        if deployment.profile == "dev":
            mend = "`gatebook serve` makes one in dev; `gatebook init` makes one anywhere"
            yield warning("desk.signing_key", f"{path} is not there", mend)
        return
    try:
        Minter.of(path.read_bytes())
    except (OSError, ValueError) as failure:
        why = _why(failure) if isinstance(failure, OSError) else str(failure)
        yield error(
            "desk.signing_key", f"{path}: {why}", "restore it from its backup, or make one with `gatebook init`"
        )


def _private_payload_keys(deployment: Deployment) -> list[Path]:
    """Where a private payload key lies that belongs elsewhere: beside the public one, or in any place where our own commands put it."""
    public, data_dir = Path(deployment.payload_public_key), Path(deployment.data_dir)
    directories = (public.parent, data_dir, data_dir / "keys", data_dir.parent)
    names = {PAYLOAD_PRIVATE_KEY, public.with_suffix(".key").name}
    return sorted({directory / name for directory in directories for name in names if (directory / name).exists()})


def _private(deployment: Deployment, where: str, path: Path) -> Iterator[Problem]:
    """A private key's file must be its owner's alone."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & 0o077:
        yield _grave(
            deployment, where, f"{path} has mode {stat.S_IMODE(mode):04o}: others can reach it", f"chmod 0600 {path}"
        )


def _certificate(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    """The gate's, the desk's, and that of the metrics."""
    own = (deployment.tls_certificate, deployment.tls_key)
    yield from _certificate_of(
        deployment, "tls", *own, deployment.public_url, "the gate reads the new one by itself", probe
    )
    if (desk := deployment.desk) is not None:
        own = (desk.tls_certificate, desk.tls_key)
        yield from _certificate_of(
            deployment, "desk.tls", *own, desk.public_url, "the desk reads it at a restart", probe
        )
    if (metrics := deployment.metrics) is not None:
        own = (metrics.tls_certificate, metrics.tls_key)
        yield from _certificate_of(deployment, "metrics.tls", *own, "", "it is read at a restart", probe)


def _certificate_of(
    deployment: Deployment,
    table: str,
    certificate: str | None,
    key: str | None,
    public_url: str,
    when: str,
    probe: Probe,
) -> Iterator[Problem]:
    if certificate is None or key is None or not (Path(certificate).is_file() and Path(key).is_file()):
        return
    yield from _private(deployment, f"{table}.key", Path(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The password function keeps OpenSSL from asking the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
        leaf = certificates(Path(certificate).read_bytes())[0]
    except (ssl.SSLError, OSError, ValueError, IndexError) as failure:
        what = f"certificate and key cannot be used together: {_why(failure)}"
        yield error(table, what, "give a PEM certificate (leaf first) and its own PEM key, without a password")
        return
    where = f"{table}.certificate"
    now = datetime.fromtimestamp(probe.clock.now().unix_s, UTC)
    days = (leaf.not_valid_after_utc - now).days
    if leaf.not_valid_before_utc > now:
        yield error(where, f"is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC", "use one valid now")
    if days < 0:
        yield error(where, f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}", "renew it")
    elif days < CERTIFICATE_DAYS_WANTED:
        yield warning(where, f"expires in {days} days", f"renew it; {when}")
    host = urlsplit(public_url).hostname
    if host and not certificate_covers(leaf, host):
        yield error(where, f"does not name {host}, the host of public_url", "get one with that name")


def _key_files(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    for issuer in deployment.issuers:
        if issuer.jwks_file is not None and (why := _key_file_fault(Path(issuer.jwks_file))):
            mend = 'write the issuer\'s public keys as {"keys": [ … ]}'
            yield error(f"issuer {issuer.name}: jwks_file", f"{issuer.jwks_file} {why}", mend)
    for workload in deployment.workloads:
        if workload.jwks_file is not None and (why := _key_file_fault(Path(workload.jwks_file))):
            mend = 'write the issuer\'s public keys as {"keys": [ … ]}'
            yield error(f"workload {workload.name}: jwks_file", f"{workload.jwks_file} {why}", mend)
    for job in deployment.jobs:
        if why := _key_file_fault(Path(job.public_key), job.name):
            mend = "write the job's public key as PEM, as `openssl pkey -pubout` does, or as a JWK Set"
            yield error(f"job {job.name}: public_key", f"{job.public_key} {why}", mend)


def _key_file_fault(path: Path, job: str | None = None) -> str | None:
    """`job`: whose own key it is, which may be PEM."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        acceptable_key_set(raw if job is None else key_set_of(raw, job))
    except FileNotFoundError:
        return None  # said already, with the configuration's own problems
    except OSError as failure:
        return f"cannot be read: {_why(failure)}"
    except KeySetRefused as refused:
        return f"is not usable: {refused}"
    return None


def _secrets(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    in_headers = [
        (f"server {server.name}: credential.secret", server.credential.secret)
        for server in deployment.servers
        if server.credential is not None
    ]
    in_headers += [
        (f"idp {idp.name}: client_secret", idp.client_secret)
        for idp in deployment.idps
        if idp.client_secret is not None
    ]
    elsewhere = [
        (f"server {server.name}: run.{table}.{variable}", reference)
        for server in deployment.servers
        if server.command is not None
        for table in ("secrets", "secret_files")
        for variable, reference in getattr(server.command, table).items()
    ]
    if deployment.desk is not None and deployment.desk.database_password is not None:
        elsewhere.append(("desk.database_password", deployment.desk.database_password))
    if deployment.metrics is not None and deployment.metrics.token is not None:
        in_headers.append(("metrics.token", deployment.metrics.token))
    for where, reference in (*in_headers, *elsewhere):
        if reference.scheme == "credential" and "CREDENTIALS_DIRECTORY" not in os.environ:
            what = f"credential {reference.locator} was not looked at: only the service manager has it"
            yield warning(where, what, f"see that the unit has LoadCredential={reference.locator}:PATH")
            continue
        try:
            value = probe.credentials.resolve(reference).reveal()
        except UpstreamError as failure:
            yield error(where, failure.words, "put the secret there, readable by this deployment's user")
            continue
        if (where, reference) in in_headers and any(octet < 0x20 or octet > 0x7E for octet in value):
            yield error(
                where, "the secret holds characters that no header can carry", "store it as one line of printable ASCII"
            )
        if reference.scheme == "file" and Path(reference.locator).stat().st_mode & stat.S_IROTH:
            yield _grave(
                deployment, where, f"{reference.locator} can be read by everybody", f"chmod 0600 {reference.locator}"
            )


def _commands(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    yield from probe.commands(deployment)


def _reachable(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    """Servers and issuers that cannot be connected to, or whose certificate is not trusted.

    LIMIT: a server that refuses our client certificate under TLS 1.3 says so only after the handshake; that is not seen here."""
    if probe.offline:
        yield warning("network", "no server and no issuer was tried (--offline)", "run `gatebook check` without it")
        return
    targets: list[Server | Issuer | IdentityProvider | Workload] = [
        *(server for server in deployment.servers if server.command is None),
        *(idp for idp in deployment.idps if idp.saml is None),
        *(workload for workload in deployment.workloads if workload.jwks_file is None),
        *(issuer for issuer in deployment.issuers if issuer.jwks_file is None),
    ]
    if not targets:
        return
    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = list(pool.map(lambda target: _try(target, probe), targets))
    for target, why in zip(targets, answers, strict=True):
        if why is not None:
            kind = {Server: "server", Issuer: "issuer", IdentityProvider: "idp", Workload: "workload"}[type(target)]
            yield error(
                f"{kind} {target.name}: url",
                why,
                "see that it runs, that this host may reach it, and that ca_file vouches for it",
            )


def _try(target: Server | Issuer | IdentityProvider | Workload, probe: Probe) -> str | None:
    if isinstance(target, Server):
        return probe.reach(target.url, target.ca_file, target.client_certificate, target.client_key, CONNECT_S)
    return probe.reach(target.url, target.ca_file, None, None, CONNECT_S)


def _desk_database(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    """The desk's own PostgreSQL: whether it can be reached, and holds tables that this release can use."""
    if deployment.desk is None or deployment.desk.database is None or probe.offline:
        return
    if (why := probe.database(deployment.desk, probe.credentials)) is not None:
        mend = "see that it runs, and that this user owns the database (CREATE DATABASE … OWNER …)"
        yield error("desk.database", why, mend)


def _one_user(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    if deployment.users is None:
        what = "all rooms run under one user, so that a flaw in one reaches the others' files, the log key too"
        yield warning("users", what, "give each a user of its own (docs/howto/install.md)")


def _anchor(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    what = "UNANCHORED: no checkpoint is kept outside this host, so whoever holds host and key could rewrite the whole log unseen"
    yield warning("log", what, "keep checkpoints elsewhere and give them to `gatebook verify --checkpoint`")


def _why(failure: Exception) -> str:
    """What the system says, without what it quotes."""
    if isinstance(failure, ssl.SSLError):
        return failure.reason or "TLS error"
    if isinstance(failure, OSError):
        return failure.strerror or type(failure).__name__
    return "it is not what it should be"


_OF_OTHERS: Final = frozenset({_log_key, _desk_key, _certificate, _secrets, rolled_back})
"""What reads keys and secrets: with users of their own, only root can do that for all rooms."""
