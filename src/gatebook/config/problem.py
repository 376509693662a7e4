"""One problem of a deployment: what, where, how to mend it. Never a secret's value."""

from typing import Literal

import msgspec

Severity = Literal["error", "warning"]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """`where`: a key path with its line (`server[0].audiense (line 12)`), or the part of the deployment. `what` and `mend` repeat no value
    of the file but names and paths."""

    severity: Severity
    where: str
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.mend}"


def error(where: str, what: str, mend: str) -> Problem:
    return Problem(severity="error", where=where, what=what, mend=mend)


def warning(where: str, what: str, mend: str) -> Problem:
    return Problem(severity="warning", where=where, what=what, mend=mend)
