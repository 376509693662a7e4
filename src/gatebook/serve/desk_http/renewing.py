"""Files that the desk reads again while it serves: its certificate, and the key that signs access tokens.

A new signing key verifies before it signs: the workers read the set of public keys within seconds, and a token that comes before them would be
refused. So the desk publishes the new key at once and signs with it SETTLE_S later. Where the old one was taken out of the set (it was stolen), the
new one signs at once.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from gatebook.federation.minting import verifies
from gatebook.model.deployment import Desk
from gatebook.model.errors import ConfigurationError
from gatebook.serve import keys
from gatebook.serve.asgi_server import Server
from gatebook.serve.desk_http.listening import reload_certificate
from gatebook.serve.desk_http.world import DeskWorld
from gatebook.serve.diagnostics import say

LOOK_S = 1.0
SETTLE_S = 15.0
"""Three times as long as it takes at most until a changed key file is noticed (`adapters.keys_oidc.POLL_S`)."""


class Renewing:
    """One for the life of a desk's server. `look` is called once in LOOK_S."""

    def __init__(self, desk: Desk, *, now: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._now = now
        self._certificate = self._of_certificate()
        self._keys = self._of_keys()
        self._signs_at: float | None = None
        """When the key in the file begins to sign, by `now`; None where it does."""

    async def look(self, world: DeskWorld, server: Server) -> None:
        """What has changed is in use, or it is said why not."""
        if (found := self._of_certificate()) != self._certificate:
            self._certificate = found
            self._reload(server)
        due = self._signs_at is not None and self._now() >= self._signs_at
        if due or self._of_keys() != self._keys:
            await self.publish(world)

    async def publish(self, world: DeskWorld) -> None:
        """The public keys are those of now: also those that are over are gone."""
        try:
            minter, public = await asyncio.to_thread(keys.publish_desk_keys, self._desk, world.now_s())
        except ConfigurationError as refused:
            self._keys = self._of_keys()
            say("desk.key_refused", why=str(refused))
            return
        self._keys = self._of_keys()
        signs = world.keys.minter
        if minter.kid != signs.kid:
            if self._signs_at is None and verifies(public, signs.kid):
                self._signs_at = self._now() + SETTLE_S
                say("desk.key_published", kid=minter.kid, signs_in_s=SETTLE_S)
            if self._signs_at is None or self._now() >= self._signs_at or not verifies(public, signs.kid):
                signs, self._signs_at = minter, None
                say("desk.key_signs", kid=minter.kid)
        else:
            self._signs_at = None
        world.keys = msgspec.structs.replace(world.keys, minter=signs, verifying=public.decode())

    def _reload(self, server: Server) -> None:
        try:
            reload_certificate(server, self._desk)
        except ConfigurationError as refused:
            say("certificate.refused", why=f"desk.tls: {refused}")
        else:
            say("certificate.loaded", room="desk")

    def _of_certificate(self) -> object:
        return _marks(path for path in (self._desk.tls_certificate, self._desk.tls_key) if path is not None)

    def _of_keys(self) -> object:
        return _marks((self._desk.signing_key, self._desk.public_keys))


def _marks(paths: Iterable[str]) -> object:
    """What changes when one of the files does, also by a rename over it; None while one is missing."""
    try:
        found = [Path(path).stat() for path in paths]
    except OSError:
        return None
    return [(file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size) for file in found]
