"""The desk: reads configuration, fetches the issuers' keys, and is the authorization server where there is one (`desk_http`).

So the workers hold no parser of files, no database and no template, and make no call but upstream.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from gatebook.config.load import load
from gatebook.model.counting import Entries, Report, Sample
from gatebook.model.deployment import Deployment, KeySet, Trust
from gatebook.model.errors import ConfigurationError, GatebookError
from gatebook.serve.control import (
    Channel,
    Compile,
    Compiled,
    Counted,
    Drain,
    Failed,
    FromRoom,
    InForce,
    Keys,
    KeysAnswered,
    KeysWanted,
    NewTrust,
    NotCompiled,
    Serve,
    ToRoom,
    ready,
)
from gatebook.serve.diagnostics import say, say_bug
from gatebook.serve.metering import reporting

REPORT_S = 1.0
Publish = Callable[[dict[str, KeySet]], None]


class Keeper(Protocol):
    """Keeps the key sets of a deployment's issuers fresh and publishes them when they change."""

    async def run(self) -> None: ...

    async def answered(self) -> None:
        """Return once every issuer has answered or failed."""

    def unknown_kid(self, issuer_name: str) -> None: ...

    def problems(self) -> dict[str, str]: ...

    def fetched_at(self) -> dict[str, float | None]:
        """Issuer name → when its set was last fetched, in seconds since the epoch; None: never."""


class MakeKeeper(Protocol):
    def __call__(self, deployment: Deployment, publish: Publish, known: dict[str, KeySet]) -> Keeper: ...


class Serving(Protocol):
    """The authorization server; see `desk_http.authority.Authority`."""

    failed: Callable[[str], None]

    @property
    def written(self) -> Entries | None: ...

    async def serve(self, deployment: Deployment, trust_number: int) -> None: ...

    def in_force(self, number: int) -> None: ...

    async def stop(self) -> None: ...


class Desk:
    """One desk's life: compile when asked, keep keys, say when they change, let people log in."""

    def __init__(
        self,
        channel: Channel[ToRoom, FromRoom],
        make_keeper: MakeKeeper,
        make_authority: Callable[[Callable[[Trust], None]], Serving],
    ) -> None:
        """`make_authority` is called once, for the first deployment where people log in."""
        self._channel = channel
        self._make_keeper = make_keeper
        self._make_authority = make_authority
        self._authority: Serving | None = None
        self._nobody_revoked = False
        self._keeper: Keeper | None = None
        self._keeping: tuple[asyncio.Task[None], ...] = ()

    async def run(self) -> None:
        """Serve the supervisor until it says drain or is gone, or until no keys can be kept any more."""
        self._channel.send(ready())
        while not isinstance(message := await self._channel.receive(), Drain | None):
            match message:
                case Compile(number=number, path=path):
                    self._channel.send(await asyncio.to_thread(_compile, number, path))
                case Serve(deployment=deployment, known=known, trust_number=trust_number):
                    self._keep(deployment, known)
                    await self._serve(deployment, trust_number)
                case InForce(number=number):
                    if self._authority is not None:
                        self._authority.in_force(number)
                case KeysWanted(issuer=issuer):
                    if self._keeper is not None:
                        self._keeper.unknown_kid(issuer)
                case _:
                    say("control.unexpected", message=type(message).__name__)
        self._let_go()
        if self._authority is not None:
            await self._authority.stop()

    async def _serve(self, deployment: Deployment, trust_number: int) -> None:
        if self._authority is None and deployment.desk is None:
            if not self._nobody_revoked:
                self._nobody_revoked = True
                self._trust(Trust(number=trust_number + 1))
            return
        try:
            if self._authority is None:
                self._authority = self._make_authority(self._trust)
                self._authority.failed = self._fail
            await self._authority.serve(deployment, trust_number)
        except GatebookError as failure:
            self._fail(str(failure))

    def _trust(self, trust: Trust) -> None:
        self._channel.send(NewTrust(trust=trust))

    def _fail(self, why: str) -> None:
        """This desk cannot go on; another one is started."""
        self._channel.send(Failed(why=why))

    def _keep(self, deployment: Deployment, known: Keys) -> None:
        self._let_go()
        issuers = deployment.issuers

        def publish(key_sets: dict[str, KeySet]) -> None:
            self._channel.send(Keys(issuers=issuers, key_sets=key_sets))

        keeper = self._keeper = self._make_keeper(deployment, publish, known.of(issuers))
        self._keeping = (
            asyncio.create_task(self._run(keeper)),
            asyncio.create_task(self._say_answered(keeper)),
            *((asyncio.create_task(self._report(keeper)),) if deployment.metrics is not None else ()),
        )

    def _let_go(self) -> None:
        for task in self._keeping:
            task.cancel()

    async def _run(self, keeper: Keeper) -> None:
        try:
            await keeper.run()
        except Exception as bug:  # keys that nobody keeps grow old unseen: better to end, and be started again
            say_bug("keeping keys", bug)
            self._channel.close()

    async def _report(self, keeper: Keeper) -> None:
        while True:
            written = None if self._authority is None else self._authority.written
            samples = (*reporting.process(), *_key_sets(keeper), *(reporting.entries(written) if written else ()))
            spreads = (reporting.commits(written),) if written is not None else ()
            self._channel.send(Counted(report=Report(samples, spreads)))
            await asyncio.sleep(REPORT_S)

    async def _say_answered(self, keeper: Keeper) -> None:
        await keeper.answered()
        for issuer, problem in keeper.problems().items():
            say("issuer.keys_missing", issuer=issuer, problem=problem)
        self._channel.send(KeysAnswered())


def _key_sets(keeper: Keeper) -> Iterator[Sample]:
    problems = keeper.problems()
    for issuer, fetched_at in keeper.fetched_at().items():
        yield Sample("gatebook_key_set_problem", (issuer,), float(issuer in problems))
        if fetched_at is not None:
            yield Sample("gatebook_key_set_timestamp_seconds", (issuer,), fetched_at)


def _compile(number: int, path: str) -> Compiled | NotCompiled:
    try:
        loaded = load(Path(path))
    except ConfigurationError as refused:
        return NotCompiled(number=number, problems=refused.problems)
    return Compiled(number=number, deployment=loaded.deployment, sha256=loaded.sha256, raw=loaded.raw)
