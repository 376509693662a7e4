"""What every peer is told, and what every peer tells."""

from pathlib import Path
from typing import Protocol

import msgspec

from bench.bodies import CARD_TOOL, TOOL
from bench.tokens import Issuer

MANY: tuple[str, ...] = tuple(f"tool_{n:02}" for n in range(20))


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate for 127.0.0.1, and the authority that vouches for it."""

    ca: Path
    certificate: Path
    key: Path


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is to serve: `audience` is the tokens' `aud`, `groups` who may call `tools`, one role for each group."""

    directory: Path
    port: int
    upstreams: tuple[int, ...]
    issuer: Issuer
    names: tuple[str, ...] = ("mcp",)
    groups: tuple[str, ...] = ("everybody",)
    tools: tuple[str, ...] = (TOOL, CARD_TOOL, *MANY)
    tls: Tls | None = None
    workers: int = 1
    connections: int | None = None
    """Client connections at once, where more than the default are needed."""

    @property
    def public_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def path(self, name: str) -> str:
        """Where clients post to server `name`."""
        return f"/{name}/mcp"

    def audience(self, name: str) -> str:
        return self.public_url + self.path(name)


class Peer(Protocol):
    """A started server under load."""

    name: str
    config: Path
    """What it was told."""

    def pids(self) -> tuple[int, ...]:
        """The processes that serve calls."""
        ...

    def settle(self) -> float | None:
        """Nothing of what was asked is still being worked on. Seconds it took, where it does such work."""
        ...

    def stop(self) -> None: ...
