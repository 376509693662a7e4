"""The start of a deployment whose rooms have users of their own: who they are, before any room runs, and whether each can do its work."""

import os
import pwd
import tomllib
from pathlib import Path

from gatebook.config import load
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError
from gatebook.model.users import Users
from gatebook.serve import keys
from gatebook.serve.handing import Handing, handing_by
from gatebook.serve.layout import lay_out
from gatebook.serve.needs import require_reachable, require_readable


def asked_users(config: Path) -> tuple[Users | None, Handing]:
    """The users that the file names for the rooms, and what they are handed; None where there is no `[users]`, or no file that says so. What is wrong with
    the rest of the file is the desk's to find. Raises ConfigurationError where the rooms cannot be given these users."""
    try:
        document = tomllib.loads(config.read_bytes().decode("utf-8"))
    except (OSError, ValueError):
        return None, Handing({})
    if "users" not in document:
        return None, Handing({})
    users = load(config).deployment.users
    if users is None:
        raise ConfigurationError(("users: the file changed while it was read; start again",))
    if os.geteuid() != users.supervisor.uid:
        what = f"users.supervisor: this is {_name(os.geteuid())}, and the file says {users.supervisor.name}"
        raise ConfigurationError((f"{what}; start it as {users.supervisor.name}, or correct the file",))
    require_readable(users, config)
    return users, handing_by(document)


def handing_of(config: Path) -> Handing:
    """What the rooms are handed by the file as it is; nothing where it cannot be read."""
    try:
        return handing_by(tomllib.loads(config.read_bytes().decode("utf-8")))
    except (OSError, ValueError):
        return Handing({})


def make_ready(deployment: Deployment, users: Users | None, config: Path) -> tuple[str, ...]:
    """Everything that the rooms need is there and theirs; returns what was made, in words. Raises ConfigurationError.

    A supervisor that is no root makes nothing, since it could give it to nobody: `gatebook layout` did."""
    if deployment.users != users:
        raise ConfigurationError(("users: the file changed while it was read; start again",))
    if users is None:
        return keys.make_missing(deployment)
    made = lay_out(deployment, users) if os.geteuid() == 0 else ()
    require_reachable(deployment, users, config)
    return made


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
