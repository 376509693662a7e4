"""Credentials of the service manager for rooms that have users of their own: only the supervisor may enter their directory, so it opens what each
room's part of the configuration names, and hands it the descriptors."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gatebook.model.users import Account

CREDENTIAL: Final = "credential:"
HANDED: Final = "GATEBOOK_CREDENTIALS"
"""As adapters/secrets/credential.py reads it."""


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    descriptors: tuple[int, ...] = ()
    environment: dict[str, str] = {}


class Handing:
    """`wanted`: kind of room → names of credentials (`wanted_by`). What is named only after a reload is not there until a restart."""

    def __init__(self, wanted: Mapping[str, frozenset[str]], directory: str | None = None) -> None:
        self._wanted = wanted
        self._directory = directory if directory is not None else os.environ.get("CREDENTIALS_DIRECTORY")

    @contextlib.contextmanager
    def to(self, room: str, account: Account | None) -> Iterator[Handed]:
        """The descriptors, open while it lasts; nothing for a room that is our own user and reads for itself."""
        if account is None:
            yield Handed()
            return
        opened: dict[str, int] = {}
        try:
            for name in sorted(self._wanted.get(room.partition("-")[0], ())) if self._directory is not None else ():
                with contextlib.suppress(OSError):  # the room says that it is not there, and to whom that matters
                    opened[name] = os.open(Path(self._directory or "") / name, os.O_RDONLY | os.O_CLOEXEC)
            yield Handed(
                descriptors=tuple(opened.values()), environment={HANDED: msgspec.json.encode(opened).decode("ascii")}
            )
        finally:
            for descriptor in opened.values():
                os.close(descriptor)


def wanted_by(document: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Which credentials each room needs, from the configuration as it was parsed: what a server's command is given is the
    runner's, its credential the gate's, the token of the numbers the meter's, all else the desk's."""
    found: dict[str, set[str]] = {"gate": set(), "desk": set(), "runner": set(), "meter": set()}
    for server in _tables(document.get("server")):
        found["runner"] |= set(_named(server.get("run")))
        found["gate"] |= set(_named({key: value for key, value in server.items() if key != "run"}))
    for room, key in (("desk", "desk"), ("desk", "idp"), ("meter", "metrics"), ("meter", "traces")):
        found[room] |= set(_named(document.get(key)))
    return {room: frozenset(names) for room, names in found.items()}


def _tables(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _named(value: object) -> Iterator[str]:
    if isinstance(value, str) and value.startswith(CREDENTIAL):
        yield value.removeprefix(CREDENTIAL)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _named(each)
