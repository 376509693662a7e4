"""What `check` needs of the world."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from gatebook.config.problem import Problem
from gatebook.config.reach import reach
from gatebook.model.deployment import Deployment, Desk
from gatebook.model.users import Users
from gatebook.ports import Clock, Credentials


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
