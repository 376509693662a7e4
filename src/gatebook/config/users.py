"""`[users]`: from names of the system's users to their numbers, and what may not be among them."""

import grp
import pwd
from collections.abc import Iterator

from gatebook.config import schema
from gatebook.config.problem import Problem, error
from gatebook.config.reading import Read
from gatebook.model.users import Account, Users

_ROOMS = ("gate", "sealer", "desk", "runner", "meter")


def users_of(file: schema.File) -> Users | None:
    """The accounts that the file names; None where it names none, or one that this machine does not know (`problems` says so)."""
    if file.users is None:
        return None
    supervisor, gate, sealer, desk = (
        _account(text) for text in (file.users.supervisor, file.users.gate, file.users.sealer, file.users.desk)
    )
    runner, meter = (None if text is None else _account(text) for text in (file.users.runner, file.users.meter))
    if supervisor is None or gate is None or sealer is None or desk is None:
        return None
    return Users(supervisor=supervisor, gate=gate, sealer=sealer, desk=desk, runner=runner, meter=meter)


def problems(read: Read, file: schema.File) -> Iterator[Problem]:
    if file.users is None:
        return
    if file.users.runner is None and any(server.command for server in file.server):
        yield error(
            read.where("users", "runner"), "is missing, and a server is a command", 'write runner = "gatebook-runner"'
        )
    if file.users.meter is None and file.metrics is not None:
        yield error(
            read.where("users", "meter"), "is missing, and there is [metrics]", 'write meter = "gatebook-meter"'
        )
    seen: dict[int, str] = {}
    named = {name: getattr(file.users, name) for name in ("supervisor", *_ROOMS)}
    for name, text in named.items():
        if text is None:
            continue
        where, account = read.where("users", name), _account(text)
        if account is None:
            mend = "make it (`systemd-sysusers` with the file of `gatebook units`), or write a number"
            yield error(where, f"this machine knows no user or group of that name ({text})", mend)
            continue
        if account.uid == 0 and name in _ROOMS:
            yield error(where, "is root, who can read everything", "give the room a user of its own")
        elif account.uid in seen:
            what = f"is the user of {seen[account.uid]} too, so that nothing keeps the two apart"
            yield error(where, what, "give each a user of its own")
        seen.setdefault(account.uid, name)


def _account(text: str) -> Account | None:
    """The account in `text` (`USER` or `USER:GROUP`, names or numbers). A number needs no entry in the system's list; its group is then
    the same number, where none is given."""
    user, _, group = text.partition(":")
    try:
        known = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        uid, gid = known.pw_uid, known.pw_gid
    except KeyError:
        if not user.isdigit():
            return None
        uid = gid = int(user)
    if group:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            return None
    return Account(name=user, uid=uid, gid=gid)
