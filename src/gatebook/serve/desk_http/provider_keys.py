"""The key sets of the identity providers, between whoever keeps them fresh and the authorization server that believes them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from gatebook.model.deployment import KeySet

WAIT_S = 3.0
MOST_WAITING = 128
"""A quarter of the connections that the desk serves at once: who names keys that nobody has must not hold them all, however slow an issuer is."""


async def _nobody_to_ask(name: str) -> None:
    return


class ProviderKeys:
    """The key sets of the identity providers and of jobs, as whoever keeps keys last published them."""

    def __init__(self) -> None:
        self._sets: dict[str, KeySet] = {}
        self._waiting = 0
        self.ask_again: Callable[[str], Awaitable[None]] = _nobody_to_ask
        """Returns when these keys were fetched again, and at once where they are not fetched now."""

    def publish(self, key_sets: dict[str, KeySet]) -> None:
        self._sets = key_sets

    def of(self, name: str) -> KeySet | None:
        return self._sets.get(name)

    async def key_unknown(self, name: str) -> None:
        """Asked again, at most as often as the keeper allows; returns when that is done, or after WAIT_S. At once where it is too early to ask again,
        or where MOST_WAITING wait already, for whatever keys."""
        if self._waiting >= MOST_WAITING:
            return
        self._waiting += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    await self.ask_again(name)
        finally:
            self._waiting -= 1
