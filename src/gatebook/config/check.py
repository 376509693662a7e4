"""Everything that can be wrong with a deployment before it serves, found at once. Looks only: no file is written, nothing is sent.

Each `_part` looks at one thing and gives its problems; `problems` is their sum, after those of the configuration itself.
"""

import os
import pwd
import ssl
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gatebook.config.load import Examined
from gatebook.config.names import certificate_covers, certificates
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reach import reach
from gatebook.config.resolve import LOG_VKEY, PAYLOAD_PRIVATE_KEY
from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import MAX_BYTES, acceptable_key_set
from gatebook.ledger.note import NoteError, Signer, load_signer
from gatebook.ledger.payload import PayloadError, load_public_key
from gatebook.model.deployment import Deployment, Issuer, Server
from gatebook.model.errors import UpstreamError
from gatebook.ports import Clock, Credentials

FREE_BYTES_WANTED: Final = 5 << 30
FREE_BYTES_NEEDED: Final = 256 << 20
CERTIFICATE_DAYS_WANTED: Final = 14
CONNECT_S: Final = 5.0


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What `problems` needs of the world. `reach(url, ca_file, client_certificate, client_key, timeout_s)` connects, sends nothing, and says
    what went wrong (None: nothing). `offline`: connect nowhere. `user_id`: whose rights are looked at."""

    clock: Clock
    credentials: Credentials
    offline: bool = False
    reach: Callable[[str, str | None, str | None, str | None, float], str | None] = reach
    user_id: int = msgspec.field(default_factory=os.geteuid)


def problems(examined: Examined, probe: Probe) -> list[Problem]:
    """Every problem of the configuration and of the deployment that it describes, errors and warnings, in the order of the parts.

    Takes at most a few seconds: everything that connects does so at the same time."""
    found = [*examined.problems, *_clock(examined.deployment, probe)]
    if examined.deployment is None:
        return found
    for part in (_user, _disk, _log_key, _payload_key, _certificate, _key_files, _secrets, _reachable, _anchor):
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


def _user(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
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
    elif data_dir.stat().st_mode & 0o077:
        yield _grave(deployment, "data_dir", f"{data_dir} is open to other users", f"chmod 0700 {data_dir}")
    if not os.access(standing, os.W_OK | os.X_OK):
        yield error("data_dir", f"{standing} cannot be written by this user", "give it to this deployment's user")
    space = os.statvfs(standing)
    free = space.f_bavail * space.f_frsize
    if free < FREE_BYTES_NEEDED:
        yield error(
            "data_dir",
            f"only {free >> 20} MiB are free; calls are refused when it is full",
            "free space, or use another disk",
        )
    elif free < FREE_BYTES_WANTED:
        yield warning("data_dir", f"only {free >> 20} MiB are free", "free space: at least 5 GiB")


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
    if deployment.tls_certificate is None or deployment.tls_key is None:
        return
    if not (Path(deployment.tls_certificate).is_file() and Path(deployment.tls_key).is_file()):
        return
    yield from _private(deployment, "tls.key", Path(deployment.tls_key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The password function keeps OpenSSL from asking the terminal.
        context.load_cert_chain(deployment.tls_certificate, deployment.tls_key, password=lambda: b"")
        leaf = certificates(Path(deployment.tls_certificate).read_bytes())[0]
    except (ssl.SSLError, OSError, ValueError, IndexError) as failure:
        what = f"certificate and key cannot be used together: {_why(failure)}"
        yield error("tls", what, "give a PEM certificate (leaf first) and its own PEM key, without a password")
        return
    now = datetime.fromtimestamp(probe.clock.now().unix_s, UTC)
    days = (leaf.not_valid_after_utc - now).days
    if leaf.not_valid_before_utc > now:
        yield error(
            "tls.certificate", f"is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC", "use one valid now"
        )
    if days < 0:
        yield error("tls.certificate", f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}", "renew it")
    elif days < CERTIFICATE_DAYS_WANTED:
        yield warning("tls.certificate", f"expires in {days} days", "renew it; the gate reads the new one by itself")
    host = urlsplit(deployment.public_url).hostname
    if host and not certificate_covers(leaf, host):
        yield error("tls.certificate", f"does not name {host}, the host of public_url", "get one with that name")


def _key_files(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    for issuer in deployment.issuers:
        if issuer.jwks_file is not None and (why := _key_file_fault(Path(issuer.jwks_file))):
            mend = 'write the issuer\'s public keys as {"keys": [ … ]}'
            yield error(f"issuer {issuer.name}: jwks_file", f"{issuer.jwks_file} {why}", mend)


def _key_file_fault(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            acceptable_key_set(file.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return None  # said already, with the configuration's own problems
    except OSError as failure:
        return f"cannot be read: {_why(failure)}"
    except KeySetRefused as refused:
        return f"is not usable: {refused}"
    return None


def _secrets(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    for server in deployment.servers:
        if server.credential is None:
            continue
        where, reference = f"server {server.name}: credential.secret", server.credential.secret
        try:
            value = probe.credentials.resolve(reference).reveal()
        except UpstreamError as failure:
            yield error(where, failure.words, "put the secret there, readable by this deployment's user")
            continue
        if any(octet < 0x20 or octet > 0x7E for octet in value):
            yield error(
                where, "the secret holds characters that no header can carry", "store it as one line of printable ASCII"
            )
        if reference.scheme == "file" and Path(reference.locator).stat().st_mode & stat.S_IROTH:
            yield _grave(
                deployment, where, f"{reference.locator} can be read by everybody", f"chmod 0600 {reference.locator}"
            )


def _reachable(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    """Servers and issuers that cannot be connected to, or whose certificate is not trusted.

    LIMIT: a server that refuses our client certificate under TLS 1.3 says so only after the handshake; that is not seen here."""
    if probe.offline:
        yield warning("network", "no server and no issuer was tried (--offline)", "run `gatebook check` without it")
        return
    targets: list[Server | Issuer] = [
        *deployment.servers,
        *(issuer for issuer in deployment.issuers if issuer.jwks_file is None),
    ]
    if not targets:
        return
    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = list(pool.map(lambda target: _try(target, probe), targets))
    for target, why in zip(targets, answers, strict=True):
        if why is not None:
            kind = "server" if isinstance(target, Server) else "issuer"
            yield error(
                f"{kind} {target.name}: url",
                why,
                "see that it runs, that this host may reach it, and that ca_file vouches for it",
            )


def _try(target: Server | Issuer, probe: Probe) -> str | None:
    if isinstance(target, Server):
        return probe.reach(target.url, target.ca_file, target.client_certificate, target.client_key, CONNECT_S)
    return probe.reach(target.url, target.ca_file, None, None, CONNECT_S)


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
