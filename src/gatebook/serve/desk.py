"""The desk: reads configuration and fetches the issuers' keys, so that the workers hold no parser of files and make no call but upstream."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gatebook.config.load import load
from gatebook.model.deployment import Deployment, KeySet
from gatebook.model.errors import ConfigurationError
from gatebook.serve.control import (
    Channel,
    Compile,
    Compiled,
    Drain,
    FromRoom,
    Keys,
    KeysAnswered,
    KeysWanted,
    NotCompiled,
    Serve,
    ToRoom,
)
from gatebook.serve.diagnostics import say

Publish = Callable[[dict[str, KeySet]], None]


class Keeper(Protocol):
    """Keeps the key sets of a deployment's issuers fresh and publishes them when they change."""

    async def run(self) -> None: ...

    async def answered(self) -> None:
        """Return once every issuer has answered or failed."""

    def unknown_kid(self, issuer_name: str) -> None: ...

    def problems(self) -> dict[str, str]: ...


class MakeKeeper(Protocol):
    def __call__(self, deployment: Deployment, publish: Publish, known: dict[str, KeySet]) -> Keeper: ...


class Desk:
    """One desk's life: compile when asked, keep keys, say when they change."""

    def __init__(self, channel: Channel[ToRoom, FromRoom], make_keeper: MakeKeeper) -> None:
        self._channel = channel
        self._make_keeper = make_keeper
        self._keeper: Keeper | None = None
        self._keeping: tuple[asyncio.Task[None], ...] = ()
        self._known: dict[str, KeySet] = {}

    async def run(self) -> None:
        """Serve the supervisor until it says drain or is gone."""
        while not isinstance(message := await self._channel.receive(), Drain | None):
            match message:
                case Compile(path=path):
                    self._channel.send(await asyncio.to_thread(_compile, path))
                case Serve(deployment=deployment):
                    self._keep(deployment)
                case KeysWanted(issuer=issuer):
                    if self._keeper is not None:
                        self._keeper.unknown_kid(issuer)
                case _:
                    say("control.unexpected", message=type(message).__name__)
        self._let_go()

    def _keep(self, deployment: Deployment) -> None:
        self._let_go()
        keeper = self._keeper = self._make_keeper(deployment, self._publish, self._known)
        self._keeping = (asyncio.create_task(keeper.run()), asyncio.create_task(self._say_answered(keeper)))

    def _let_go(self) -> None:
        for task in self._keeping:
            task.cancel()

    def _publish(self, key_sets: dict[str, KeySet]) -> None:
        self._known = key_sets
        self._channel.send(Keys(key_sets=key_sets))

    async def _say_answered(self, keeper: Keeper) -> None:
        await keeper.answered()
        for issuer, problem in keeper.problems().items():
            say("issuer.keys_missing", issuer=issuer, problem=problem)
        self._channel.send(KeysAnswered())


def _compile(path: str) -> Compiled | NotCompiled:
    try:
        loaded = load(Path(path))
    except ConfigurationError as refused:
        return NotCompiled(problems=refused.problems)
    return Compiled(deployment=loaded.deployment, sha256=loaded.sha256, raw=loaded.raw)
