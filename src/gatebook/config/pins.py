"""The file that `pins` of a server names: the definitions of its tools that somebody looked at, and their digests.

JSON, written by `gatebook server add` and `gatebook server pins`. The definitions are there to show what changed; what counts is each digest, and a file whose
digests are not those of its definitions is refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from gatebook.config.problem import Problem, error
from gatebook.model.deployment import Deployment
from gatebook.model.errors import Malformed
from gatebook.wire import strict_json
from gatebook.wire.definitions import digest_of

MAX_BYTES: Final = 16 << 20
VERSION: Final = 1


class PinnedForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One form of a definition: servers give it otherwise in another revision of MCP."""

    sha256: str
    revisions: tuple[str, ...]
    definition: dict[str, Any]


class PinFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    server: str
    tools: dict[str, tuple[PinnedForm, ...]]


class NoPins(Exception):
    """The file cannot be used; the words say why, without its path."""


def read_pins(path: Path) -> PinFile:
    """Raises NoPins."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as failure:
        raise NoPins(f"cannot be read: {failure.strerror}") from failure
    if len(raw) > MAX_BYTES:
        raise NoPins("is larger than 16 MiB")
    try:
        found = msgspec.convert(strict_json.decode(raw), PinFile)
    except (Malformed, msgspec.ValidationError) as failure:
        raise NoPins("is no file of pins") from failure
    if found.version != VERSION:
        raise NoPins(f"is of format {found.version}, and this release reads {VERSION}")
    for name, forms in found.tools.items():
        if any(digest_of(form.definition) != form.sha256 or form.definition.get("name") != name for form in forms):
            raise NoPins(f"was changed by hand: a digest of {name!r} is not that of its definition")
    return found


def written(pins: PinFile) -> bytes:
    return msgspec.json.format(msgspec.json.encode(pins, order="deterministic"), indent=2) + b"\n"


def with_pins(deployment: Deployment) -> Deployment:
    """With the digests of every file of pins in it."""
    servers = tuple(
        server if server.pins_file is None else msgspec.structs.replace(server, pins=pinned(Path(server.pins_file)))
        for server in deployment.servers
    )
    return deployment if servers == deployment.servers else msgspec.structs.replace(deployment, servers=servers)


def pinned(path: Path) -> dict[str, tuple[str, ...]]:
    """Tool → the digests that are accepted; empty where the file cannot be used: then no tool may be, and `problems` says why."""
    try:
        return {name: tuple(form.sha256 for form in forms) for name, forms in read_pins(path).tools.items()}
    except NoPins:
        return {}


def problems(deployment: Deployment) -> Iterator[Problem]:
    for server in deployment.servers:
        if server.pins_file is not None and Path(server.pins_file).is_file():
            try:
                read_pins(Path(server.pins_file))
            except NoPins as why:
                mend = f"restore it; or take it and the key away, and make both anew with `gatebook server add {server.name}`"
                yield error(f"server {server.name}: pins", f"{server.pins_file} {why}", mend)
