"""What each room must be able to reach under its own user: its places under `data_dir`, and the files that the configuration names for it."""

import importlib.util
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gatebook.config.load import named_files
from gatebook.model.deployment import Deployment, SecretReference
from gatebook.model.errors import ConfigurationError
from gatebook.model.users import Users
from gatebook.serve.layout import places
from gatebook.serve.reaching import Closed, Need, Wanted, may_change_users, unreached


def unreached_by_rooms(deployment: Deployment, users: Users, config: Path) -> list[Closed]:
    """Everything that some room needs and its user cannot have. Changes nothing; raises OSError where users cannot be changed."""
    rooms = users.rooms()
    # All at the same time: each is a process that mostly starts.
    with ThreadPoolExecutor(len(rooms)) as pool:
        found = pool.map(lambda room: unreached(room, rooms[room], [*needs(deployment, users, room, config)]), rooms)
        return [closed for of_room in found for closed in of_room]


def require_reachable(deployment: Deployment, users: Users, config: Path) -> None:
    """Raises ConfigurationError, naming each path that a room could not reach."""
    if closed := unreached_by_rooms(deployment, users, config):
        raise ConfigurationError(tuple(str(each) for each in closed))


def require_readable(users: Users, config: Path) -> None:
    """The desk, which reads the configuration for everybody, can run and read it. Raises ConfigurationError."""
    if not may_change_users():
        what = "users: this process may not change its user, so it cannot give the rooms theirs"
        mend = "start it as root or with CAP_SETUID, CAP_SETGID and CAP_KILL, as the unit of `gatebook units` does, or remove [users]"
        raise ConfigurationError((f"{what}; {mend}",))
    wanted = Wanted(path=str(config), need="read", what="the configuration")
    if closed := unreached("desk", users.desk, [wanted]):
        raise ConfigurationError(tuple(str(each) for each in closed))


def needs(deployment: Deployment, users: Users, room: str, config: Path) -> list[Wanted]:
    return [*_in_data_dir(deployment, users, room), *_named(deployment, room, config)]


def _in_data_dir(deployment: Deployment, users: Users, room: str) -> Iterator[Wanted]:
    account = users.of(room)
    for place in places(deployment, users):
        if not place.needed:
            continue
        if place.owner == account or (place.group == account and place.mode & 0o020):
            need: Need = "folder" if place.folder else "write" if place.made else "read"
        elif place.group == account:
            need = "search" if place.folder else "read"
        else:
            continue
        yield Wanted(path=str(Path(deployment.data_dir) / place.path), need=need, what="data_dir")


def _named(deployment: Deployment, room: str, config: Path) -> Iterator[Wanted]:
    match room:
        case "gate":
            yield Wanted(path=deployment.payload_public_key, need="read", what="payloads.public_key")
            yield from _read(deployment, ("tls.", "server "))
            for server in deployment.servers:
                if server.credential is not None:
                    yield from _secret(f"server {server.name}: credential.secret", server.credential.secret)
        case "desk":
            yield Wanted(path=str(config), need="read", what="the configuration")
            yield from _read(deployment, ("desk.", "idp ", "workload ", "job ", "issuer "))
            # It looks whether all files are there that the configuration names, also those of others.
            yield from (Wanted(path=path, need="see", what=where) for where, path in named_files(deployment))
            for idp in deployment.idps:
                if idp.client_secret is not None:
                    yield from _secret(f"idp {idp.name}: client_secret", idp.client_secret)
            yield from _of_the_desk(deployment)
        case "sealer" if deployment.watermark is not None:
            yield Wanted(path=str(Path(deployment.watermark).parent), need="folder", what="log.watermark")
        case "runner":
            for server in deployment.servers:
                if server.command is not None:
                    for reference in (*server.command.secrets.values(), *server.command.secret_files.values()):
                        yield from _secret(f"server {server.name}: run", reference)
                    folder = (server.command.directory,) if server.command.directory is not None else ()
                    yield from (Wanted(path=path, need="see", what=f"server {server.name}: run") for path in folder)
        case "meter" if deployment.metrics is not None:
            for path in (deployment.metrics.tls_certificate, deployment.metrics.tls_key):
                if path is not None:
                    yield Wanted(path=path, need="read", what="metrics.tls")
            if deployment.metrics.token is not None:
                yield from _secret("metrics.token", deployment.metrics.token)
        case _:
            pass


def _of_the_desk(deployment: Deployment) -> Iterator[Wanted]:
    if (desk := deployment.desk) is None:
        return
    if desk.payload_key is not None:
        yield Wanted(path=desk.payload_key, need="read", what="desk.payload_key")
    if desk.database_password is not None:
        yield from _secret("desk.database_password", desk.database_password)
    if desk.database is not None:
        yield from _driver()


def _read(deployment: Deployment, beginnings: tuple[str, ...]) -> Iterator[Wanted]:
    for where, path in named_files(deployment):
        if where.startswith(beginnings):
            yield Wanted(path=path, need="read", what=where)


def _secret(where: str, reference: SecretReference) -> Iterator[Wanted]:
    if reference.scheme == "file":
        yield Wanted(path=reference.locator, need="read", what=where)


def _driver() -> Iterator[Wanted]:
    """PostgreSQL's. It was added by hand, perhaps by a root whose umask lets nobody else read it: to others it then looks like an empty
    package, so the import succeeds and the desk fails on what is missing in it."""
    for name in ("psycopg", "psycopg_binary"):
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield Wanted(path=folder, need="search", what="desk.database: its driver")
