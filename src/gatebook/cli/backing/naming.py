"""The name of the new log in the configuration: one value is changed in the file's text, everything else stays as it was written."""

import re
from pathlib import Path
from typing import Final

from gatebook.cli.backing.manifest import BackupUnusable
from gatebook.config.load import examine_bytes
from gatebook.config.places import lines

_RESTORED: Final = re.compile(r"/r[0-9]{8}t[0-9]{6}z$")
_LONGEST: Final = 200
_SUFFIX: Final = len("/r20261128t231502z")
_VALUE: Final = re.compile(r"""(?P<before>^[^#]*?\borigin\s*=\s*)(?P<value>"[^"]*"|'[^']*')""")


def next_origin(origin: str, at: str) -> str:
    """The name of a log that goes on after `origin` was restored at `at` (2026-11-28T23:15:02Z): of two restores, each has its own."""
    suffix = f"/r{re.sub('[^0-9TZ]', '', at).lower()}"
    return f"{_stem(origin)}{suffix}"


def of_one_deployment(one: str, other: str) -> bool:
    """Whether these are names of one deployment's log, before and after it was restored."""
    return _stem(one) == _stem(other)


def _stem(origin: str) -> str:
    return _RESTORED.sub("", origin)[: _LONGEST - _SUFFIX]


def renamed(raw: bytes, config: Path, origin: str) -> bytes:
    """The configuration's text with `log.origin = origin`. Raises BackupUnusable where that cannot be done without guessing."""
    text = raw.decode("utf-8")
    rows = text.splitlines(keepends=True)
    found = lines(text)
    line = found.get(("log", "origin"))
    if line is not None:
        rows[line - 1] = _VALUE.sub(lambda match: f'{match["before"]}"{origin}"', rows[line - 1], count=1)
    elif (table := found.get(("log",))) is not None and rows[table - 1].strip().startswith("["):
        rows[table - 1] += f'origin = "{origin}"\n'
    elif table is None:
        rows.append(f'\n[log]\norigin = "{origin}"\n')
    changed = "".join(rows).encode()
    deployment = examine_bytes(changed, config).deployment
    if deployment is None or deployment.origin != origin:
        raise BackupUnusable(
            f'{config}: write origin = "{origin}" into its table [log], and type the same command again'
        )
    return changed
