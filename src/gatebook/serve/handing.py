"""Secrets that reach the supervisor, for rooms that have users of their own: each gets those that its part of the configuration names.

Credentials of the service manager lie in a directory that only the supervisor may enter, so it opens them and hands over descriptors. Variables
of the environment are passed on, but for those that are another room's secrets.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from gatebook.model.users import Account

CREDENTIAL: Final = "credential:"
VARIABLE: Final = "env:"
HANDED: Final = "GATEBOOK_CREDENTIALS"
"""As adapters/secrets/credential.py reads it."""


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """`environment`: what is added to ours; `withheld`: what of ours is another room's."""

    descriptors: tuple[int, ...] = ()
    environment: dict[str, str] = {}
    withheld: frozenset[str] = frozenset()


class Handing:
    """`wanted`: kind of room → names of credentials, `variables`: names of variables (`wanted_by`). What is named only after a reload is not there
    until a restart."""

    def __init__(
        self,
        wanted: Mapping[str, frozenset[str]],
        directory: str | None = None,
        variables: Mapping[str, frozenset[str]] = MappingProxyType({}),
    ) -> None:
        self._wanted = wanted
        self._variables = variables
        self._directory = directory if directory is not None else os.environ.get("CREDENTIALS_DIRECTORY")

    @contextlib.contextmanager
    def to(self, room: str, account: Account | None) -> Iterator[Handed]:
        """The descriptors, open while it lasts; nothing for a room that is our own user and reads for itself."""
        if account is None:
            yield Handed()
            return
        opened: dict[str, int] = {}
        kind = room.partition("-")[0]
        try:
            for name in sorted(self._wanted.get(kind, ())) if self._directory is not None else ():
                with contextlib.suppress(OSError):  # the room says that it is not there, and to whom that matters
                    opened[name] = os.open(Path(self._directory or "") / name, os.O_RDONLY | os.O_CLOEXEC)
            yield Handed(
                descriptors=tuple(opened.values()),
                environment={HANDED: msgspec.json.encode(opened).decode("ascii")},
                withheld=frozenset().union(*self._variables.values()) - self._variables.get(kind, frozenset()),
            )
        finally:
            for descriptor in opened.values():
                os.close(descriptor)


def handing_by(document: Mapping[str, Any]) -> Handing:
    """As the configuration says, as it was parsed."""
    return Handing(wanted_by(document), variables=wanted_by(document, VARIABLE))


def wanted_by(document: Mapping[str, Any], scheme: str = CREDENTIAL) -> dict[str, frozenset[str]]:
    """Which credentials each room needs (or, by `scheme`, variables), from the configuration as it was parsed: what a server's command is given is the
    runner's, its credential the gate's, the token of the numbers the meter's, all else the desk's."""
    found: dict[str, set[str]] = {"gate": set(), "desk": set(), "runner": set(), "meter": set()}
    for server in _tables(document.get("server")):
        found["runner"] |= set(_named(server.get("run"), scheme))
        found["gate"] |= set(_named({key: value for key, value in server.items() if key != "run"}, scheme))
    for room, key in (("desk", "desk"), ("desk", "idp"), ("meter", "metrics"), ("meter", "traces")):
        found[room] |= set(_named(document.get(key), scheme))
    return {room: frozenset(names) for room, names in found.items()}


def _tables(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _named(value: object, scheme: str) -> Iterator[str]:
    if isinstance(value, str) and value.startswith(scheme):
        yield value.removeprefix(scheme)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _named(each, scheme)
