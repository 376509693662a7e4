"""Whether the users of the rooms can do what their rooms must: asked of the kernel by a process that is that user, not computed from modes.

The part that runs as that user is the text of `PROBE`: code that it might not be able to read could not tell.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec

import gatebook
from gatebook.model.users import Account
from gatebook.serve import dropping

Need = Literal["read", "write", "see", "search", "folder"]
"""A file's content, or also to change it; that a file is there; names in a folder, or also to make and remove them."""
PROBE_S: Final = 30.0
ABSENT: Final = "is not there"
READ_ONLY: Final = "is on a file system that is read-only here, so that it cannot be written"
PROBE: Final = """
import json, os, sys
READ, WRITE, ENTER = os.R_OK, os.W_OK, os.X_OK
MODES = {"read": READ, "write": READ | WRITE, "see": os.F_OK, "search": READ | ENTER, "folder": READ | WRITE | ENTER}
def closed(path, mode):
    folders = []
    while (path_of := os.path.dirname(folders[-1] if folders else path)) not in folders:
        folders.append(path_of)
    for folder in reversed(folders):
        if not os.access(folder, os.X_OK):
            return folder, "cannot be entered"
    if not os.path.exists(path):
        return path, "is not there"
    if os.access(path, MODES[mode]):
        return None
    if MODES[mode] & WRITE and os.statvfs(path).f_flag & os.ST_RDONLY:
        return path, "is on a file system that is read-only here, so that it cannot be written"
    return path, "cannot be written" if MODES[mode] & WRITE else "cannot be read"
json.dump([closed(path, mode) for path, mode in json.load(sys.stdin)], sys.stdout)
"""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a room must be able to do with a path, which is absolute. `what`: the key or thing that it belongs to."""

    path: str
    need: Need
    what: str


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """`user` cannot have what its room needs. `path`: the place that stops it, which may lie above what was wanted."""

    room: str
    user: str
    path: str
    why: str
    what: str

    def __str__(self) -> str:
        if self.why == ABSENT:
            mend = (
                "put it there" if self.what != "data_dir" else "`gatebook layout` as root makes what can be made anew"
            )
            return (
                f"users.{self.room}: {self.path} {ABSENT}, and {self.room} ({self.user}) needs it ({self.what}); {mend}"
            )
        if self.why == READ_ONLY:
            unit = (
                f"`systemctl edit gatebook`, [Service], ReadWritePaths={self.path}, then `systemctl restart gatebook`"
            )
            mend = f"mount it for writing; where the unit keeps it read-only: {unit}"
        elif self.what == "data_dir":
            mend = "`gatebook layout` as root makes it right"
        else:
            mend = "give it to that user, or to its group"
        return f"users.{self.room}: {self.path} {self.why} by user {self.user}, and {self.room} needs it ({self.what}); {mend}"


def program(account: Account, *arguments: str) -> list[str]:
    """The command line that runs this interpreter with `arguments` as `account`."""
    stage = [sys.executable, "-I", "-S", dropping.__file__, str(account.uid), str(account.gid), "--"]
    # Not -I: what the environment says of locale and time zone holds for the rooms, too. -P: nothing of the working directory is imported.
    return [*stage, sys.executable, "-P", *arguments]


def unreached(room: str, account: Account, wanted: Iterable[Wanted]) -> list[Closed]:
    """What of `wanted`, and of interpreter and package, this room's user cannot have. Needs the right to change users; raises OSError
    where there is none."""
    everything = [*_code(), *wanted]
    questions = [(each.path, each.need) for each in everything]
    asked = subprocess.run(
        program(account, "-c", PROBE),
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=PROBE_S,
        check=False,
        cwd="/",
    )
    if asked.returncode != 0:
        return [_unrunnable(room, account, asked.stderr)]
    answers = json.loads(asked.stdout)
    return [
        Closed(room=room, user=account.name, path=answer[0], why=answer[1], what=each.what)
        for each, answer in zip(everything, answers, strict=True)
        if answer is not None
    ]


def may_change_users() -> bool:
    """Whether this process may become another user: root with CAP_SETUID and CAP_SETGID, or another with these two."""
    effective = next(
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff")
    )
    return bool(effective & 1 << 7 and effective & 1 << 6)


def _code() -> list[Wanted]:
    """What every room's user must be able to read to run us at all."""
    package = Wanted(path=str(Path(gatebook.__file__).parent), need="search", what="Gatebook's package")
    folders = [entry for entry in sys.path if Path(entry).is_dir() and Path(entry) not in (Path(), Path.cwd())]
    return [package, *(Wanted(path=entry, need="search", what="the packages that it needs") for entry in folders)]


def _unrunnable(room: str, account: Account, said: str) -> Closed:
    """The interpreter did not even start as this user: the first place on the way to it that is closed, as far as its modes tell."""
    for start in (sys.executable, str(Path(sys.executable).resolve()), os.__file__):
        if (path := _closed_by_mode(Path(start), account)) is not None:
            return Closed(
                room=room, user=account.name, path=str(path), why="cannot be entered or run", what="the interpreter"
            )
    why = f"cannot be run ({' '.join(said.split())[-200:]})"
    return Closed(room=room, user=account.name, path=sys.executable, why=why, what="the interpreter")


def _closed_by_mode(path: Path, account: Account) -> Path | None:
    for place in (*reversed(path.parents), path):
        status = place.stat()
        shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
        wanted = 0o1 if place != path or os.access(path, os.X_OK) else 0o4
        if not status.st_mode >> shift & wanted:
            return place
    return None
