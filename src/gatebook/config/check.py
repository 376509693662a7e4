"""Everything that can be wrong with a deployment before it serves, found at once. Looks only: no file is written, nothing is sent.

Each part looks at one thing and gives its problems; those with a file of their own are in `checking`. `problems` is their sum, after those
of the configuration itself.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from gatebook import formats
from gatebook.config.checking import keys
from gatebook.config.checking.certificates import shown_certificates
from gatebook.config.checking.probe import Probe
from gatebook.config.checking.words import grave
from gatebook.config.load import Examined
from gatebook.config.problem import Problem, error, warning
from gatebook.config.rolled_back import rolled_back
from gatebook.config.saml import saml_files_problems
from gatebook.model.deployment import Deployment, IdentityProvider, Issuer, Server
from gatebook.model.errors import ConfigurationError, UpstreamError
from gatebook.model.users import Users
from gatebook.model.workload import Workload
from gatebook.space import FILES_NEEDED, FILES_WANTED, lacking, room_in

CONNECT_S: Final = 5.0


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
        keys.log_key,
        keys.payload_key,
        keys.desk_key,
        shown_certificates,
        keys.key_files,
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


def _clock(deployment: Deployment | None, probe: Probe) -> Iterator[Problem]:
    now = probe.clock.now()
    if not now.clocked.ok:
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
    # The same place may stop a room from several things.
    for words in dict.fromkeys(probe.rooms(examined.deployment, users, Path(examined.path))):
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
        yield grave(
            deployment, "data_dir", f"{data_dir} is not there", "make it, for this deployment's user only (mode 0700)"
        )
    elif not data_dir.is_dir():
        yield error("data_dir", f"{data_dir} is no directory", "name a directory")
        return
    elif data_dir.stat().st_mode & (0o077 if deployment.users is None else 0o066):
        yield grave(
            deployment,
            "data_dir",
            f"{data_dir} is open to other users",
            f"chmod {'0700' if deployment.users is None else '0711'} {data_dir}",
        )
    if not os.access(standing, os.W_OK | os.X_OK):
        yield error("data_dir", f"{standing} cannot be written by this user", "give it to this deployment's user")
    room, needed, wanted = room_in(standing), deployment.disk.refuse_free_bytes, deployment.disk.warn_free_bytes
    if what := lacking(room, needed, FILES_NEEDED):
        bound = f"{needed >> 20} MiB (disk.refuse_free_bytes) or {FILES_NEEDED} files"
        yield error("data_dir", f"{what}: below {bound} no new call is taken on", "free space, or use another disk")
    elif what := lacking(room, wanted, FILES_WANTED):
        yield warning(
            "data_dir", what, f"free space: at least {wanted >> 20} MiB (disk.warn_free_bytes) and {FILES_WANTED} files"
        )


def _formats(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    try:
        newer = formats.newer(Path(deployment.data_dir))
    except ConfigurationError as unreadable:
        newer = unreadable.problems
    for problem in newer:
        what, _, mend = problem.rpartition(": ")
        yield error("data_dir", what, mend)


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
            yield grave(
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
        if "certificate verify failed" in why:
            mend = "let an authority that this system trusts vouch for its name, or name the file of another one: ?sslrootcert=PATH"
        yield error("desk.database", why, mend)


def _one_user(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    if deployment.users is None:
        what = "all rooms run under one user, so that a flaw in one reaches the others' files, the log key too"
        yield warning("users", what, "give each a user of its own (docs/howto/install.md)")


def _anchor(deployment: Deployment, probe: Probe) -> Iterator[Problem]:
    what = "UNANCHORED: no checkpoint is kept outside this host, so whoever holds host and key could rewrite the whole log unseen"
    yield warning("log", what, "keep checkpoints elsewhere and give them to `gatebook verify --checkpoint`")


_OF_OTHERS: Final = frozenset({keys.log_key, keys.desk_key, shown_certificates, _secrets, rolled_back})
"""What reads keys and secrets: with users of their own, only root can do that for all rooms."""
