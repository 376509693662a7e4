"""The key sets of the identity providers, between whoever keeps them fresh and the authorization server that believes them."""

import asyncio
import contextlib
from collections.abc import Callable

from gatebook.model.deployment import KeySet


class ProviderKeys:
    """The key sets of the identity providers and of jobs, as whoever keeps keys last published them."""

    def __init__(self) -> None:
        self._sets: dict[str, KeySet] = {}
        self._changed = asyncio.Event()
        self.ask_again: Callable[[str], None] = lambda name: None

    def publish(self, key_sets: dict[str, KeySet]) -> None:
        self._sets = key_sets
        self._changed.set()

    def of(self, name: str) -> KeySet | None:
        return self._sets.get(name)

    async def key_unknown(self, name: str) -> None:
        """Asked again, at most as often as the keeper allows; returns when something changed, or after 3 s."""
        self._changed.clear()
        self.ask_again(name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3.0):
                await self._changed.wait()
