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
    Ready,
    Serve,
    ToRoom,
)
from gatebook.serve.diagnostics import say, say_bug

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

    async def run(self) -> None:
        """Serve the supervisor until it says drain or is gone, or until no keys can be kept any more."""
        self._channel.send(Ready())
        while not isinstance(message := await self._channel.receive(), Drain | None):
            match message:
                case Compile(number=number, path=path):
                    self._channel.send(await asyncio.to_thread(_compile, number, path))
                case Serve(deployment=deployment, known=known):
                    self._keep(deployment, known)
                case KeysWanted(issuer=issuer):
                    if self._keeper is not None:
                        self._keeper.unknown_kid(issuer)
                case _:
                    say("control.unexpected", message=type(message).__name__)
        self._let_go()

    def _keep(self, deployment: Deployment, known: Keys) -> None:
        self._let_go()
        issuers = deployment.issuers

        def publish(key_sets: dict[str, KeySet]) -> None:
            self._channel.send(Keys(issuers=issuers, key_sets=key_sets))

        keeper = self._keeper = self._make_keeper(deployment, publish, known.of(issuers))
        self._keeping = (asyncio.create_task(self._run(keeper)), asyncio.create_task(self._say_answered(keeper)))

    def _let_go(self) -> None:
        for task in self._keeping:
            task.cancel()

    async def _run(self, keeper: Keeper) -> None:
        try:
            await keeper.run()
        except Exception as bug:  # keys that nobody keeps grow old unseen: better to end, and be started again
            say_bug("keeping keys", bug)
            self._channel.close()

    async def _say_answered(self, keeper: Keeper) -> None:
        await keeper.answered()
        for issuer, problem in keeper.problems().items():
            say("issuer.keys_missing", issuer=issuer, problem=problem)
        self._channel.send(KeysAnswered())


def _compile(number: int, path: str) -> Compiled | NotCompiled:
    try:
        loaded = load(Path(path))
    except ConfigurationError as refused:
        return NotCompiled(number=number, problems=refused.problems)
    return Compiled(number=number, deployment=loaded.deployment, sha256=loaded.sha256, raw=loaded.raw)
