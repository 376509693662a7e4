"""Which configuration and which keys are in force. All workers prepare → the entry is durable → all activate; whatever fails changes nothing."""

import asyncio
import itertools
import os
import pwd
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from gatebook import __version__
from gatebook.model.deployment import Deployment, Snapshot, Trust
from gatebook.model.errors import ConfigurationError, LedgerUnavailable
from gatebook.model.record import Draft, Origin, Resource, Who
from gatebook.ports import Ledger
from gatebook.serve.configs_kept import keep_by_hash, require_own_hash
from gatebook.serve.control import (
    Activate,
    Adopt,
    Compile,
    Compiled,
    InForce,
    Keys,
    KeysAnswered,
    KeysWanted,
    NotCompiled,
    Prepare,
    Prepared,
    Serve,
    Unprepared,
)
from gatebook.serve.diagnostics import say
from gatebook.serve.rooms import Room

T = TypeVar("T")
PATIENCE_S = 30.0


class DeskSide:
    """The desk as the supervisor sees it: it compiles when asked, and keeps the keys of one deployment. It may be another desk each time.
    `present`: the one that is asked; `everyone`: with it those that only finish what they are at."""

    def __init__(self, config: Path, present: Callable[[], Room], everyone: Callable[[], Iterable[Room]]) -> None:
        self._config = config
        self._present = present
        self._everyone = everyone
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Compiled | NotCompiled]] = {}
        self._deployment: Deployment | None = None
        self.keys = Keys()
        self.first_keys = asyncio.Event()
        """Set when every issuer has answered or failed once."""
        self.trust_number = 0
        self.first_trust = asyncio.Event()
        """Set when the desk has said which logins count no more: then it also listens, where it is an authorization server."""

    async def compile(self) -> Compiled:
        """The configuration as the file is now. Raises ConfigurationError: it is not good, or the desk did not say."""
        number = next(self._numbers)
        answer: asyncio.Future[Compiled | NotCompiled] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._ask(number)
        try:
            compiled = await self._present().patiently(_of(answer), "read the configuration", PATIENCE_S)
        except TimeoutError as late:
            raise ConfigurationError(("the configuration was not read in time; try again",)) from late
        finally:
            del self._asked[number]
        if isinstance(compiled, NotCompiled):
            raise ConfigurationError(compiled.problems)
        # The hash goes into snapshots and into the book, and names a file: it is not the desk's to choose.
        require_own_hash(compiled.raw, compiled.sha256)
        return compiled

    def _ask(self, number: int) -> None:
        self._present().send(Compile(number=number, path=str(self._config)))

    def keep_keys(self, deployment: Deployment) -> None:
        """This deployment's issuers from now on."""
        self._deployment = deployment
        self._present().send(Serve(deployment=deployment, known=self.keys, trust_number=self.trust_number))

    def go_on(self, deployment: Deployment) -> None:
        """This deployment's issuers are kept already, by the desk that another supervisor left."""
        self._deployment = deployment

    def in_force(self, number: int) -> None:
        for desk in self._everyone():
            desk.send(InForce(number=number))

    def want_keys(self, wanted: KeysWanted) -> None:
        for desk in self._everyone():
            desk.pass_on(wanted)

    def heard(self, message: Compiled | NotCompiled | KeysAnswered) -> None:
        if isinstance(message, KeysAnswered):
            self.first_keys.set()
        elif (asked := self._asked.get(message.number)) is not None and not asked.done():
            asked.set_result(message)

    def ended(self) -> None:
        """What was asked of it will not be answered."""
        for number, asked in self._asked.items():
            if not asked.done():
                asked.set_result(NotCompiled(number=number, problems=("the desk ended meanwhile; try again",)))

    def is_back(self) -> None:
        """Another desk goes on with the keys known so far, and with what was asked while there was none."""
        if self._deployment is not None:
            self.keep_keys(self._deployment)
        for number in self._asked:
            self._ask(number)


class Trusting:
    """Which logins count no more, on the way from the desk to every worker: beside the snapshots, and past all their caches."""

    def __init__(self, desk: DeskSide, workers: Callable[[], Iterable[Room]]) -> None:
        self._desk = desk
        self._workers = workers
        self.trust: Trust | None = None
        self._adopted: dict[str, int] = {}

    def new(self, trust: Trust) -> None:
        """Every worker is told. An older trust than the one in force (of a desk that ended meanwhile) is dropped."""
        if self.trust is None or trust.number > self.trust.number:
            self.trust = trust
            self._desk.trust_number = trust.number
            for worker in self._workers():
                worker.send(Adopt(trust=trust))
        self._desk.first_trust.set()
        self._say_in_force()

    def resume(self, trust: Trust | None) -> None:
        """As another supervisor left it: its workers say once more what they have adopted."""
        if trust is not None:
            self.new(trust)

    def bring_up(self, worker: Room) -> None:
        """A worker that joins knows what the others know, before it judges anything."""
        self._adopted.pop(worker.name, None)
        if self.trust is not None:
            worker.send(Adopt(trust=self.trust))

    def adopted(self, worker: Room, number: int) -> None:
        self._adopted[worker.name] = number
        self._say_in_force()

    def ended(self, worker: Room) -> None:
        """It judges nothing any more, so nobody waits for it."""
        self._adopted.pop(worker.name, None)
        self._say_in_force()

    def _say_in_force(self) -> None:
        alive = [worker.name for worker in self._workers() if worker.alive]
        if self.trust is not None and all(self._adopted.get(name, 0) >= self.trust.number for name in alive):
            self._desk.in_force(self.trust.number)


class Activation:
    """The snapshot in force, and the way to the next one. `workers`: those that run now. One change at a time."""

    def __init__(
        self,
        config: Path,
        desk: DeskSide,
        ledger: Ledger,
        workers: Callable[[], Iterable[Room]],
        follow: Callable[[Deployment], Awaitable[None]],
    ) -> None:
        """`follow`: the runner serves the commands of this deployment; raises ConfigurationError."""
        self._config = config
        self._desk = desk
        self._ledger = ledger
        self._workers = workers
        self._follow = follow
        self._number = 0
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._snapshot: Snapshot | None = None
        self._old_release = ""
        self.changing = asyncio.Lock()
        """Held during a change, and while a worker joins: it must not miss one."""

    def resume(self, snapshot: Snapshot, release: str) -> None:
        """`snapshot` is in force already, at the workers of another supervisor, of that `release`."""
        self._snapshot, self._number, self._old_release = snapshot, snapshot.number, release

    @property
    def in_force(self) -> Snapshot | None:
        return self._snapshot

    async def first(self, compiled: Compiled, author: Who | None = None) -> None:
        """`compiled` is in force, or ConfigurationError is raised. `author`: None where we were started, and not ordered."""
        async with self.changing:
            await self._activate(compiled, author or operator(os.getuid(), invoked=True))

    async def reload(self, author: Who) -> None:
        """The file as it is now is in force; or nothing has changed, and diagnostics and book say why."""
        async with self.changing:
            assert self._snapshot is not None
            try:
                compiled = await self._desk.compile()
                _require_same_shape(self._snapshot.deployment, compiled.deployment)
                await self._activate(compiled, author)
            except ConfigurationError as refused:
                for problem in refused.problems:
                    say("config.refused", problem=problem)
                await self._record_refusal(author)
                return
            self._desk.keep_keys(compiled.deployment)

    async def new_keys(self) -> None:
        """The desk's keys as they are now are in force, under the same configuration."""
        async with self.changing:
            if self._snapshot is None:
                return  # the first snapshot takes them
            snapshot = self._next(self._snapshot.deployment, self._snapshot.config_sha256)
            if why := await self._unprepared(snapshot):
                say("keys.refused", why=why)
            else:
                self._adopt(snapshot)

    def bring_up(self, worker: Room) -> None:
        """A worker that joins judges by the snapshot in force. To be called under `changing`."""
        if self._snapshot is not None:
            worker.send(Prepare(snapshot=self._snapshot))
            worker.send(Activate(number=self._snapshot.number))

    def heard(self, worker: Room, message: Prepared | Unprepared | None) -> None:
        """What a worker says of a snapshot; None: it has ended, and its successor will get the snapshot then in force."""
        answer = self._answers.get(worker.name)
        if answer is None or answer.done() or (message is not None and message.number != self._number):
            return
        answer.set_result("prepared" if isinstance(message, Prepared) else "ended" if message is None else message.why)

    async def _activate(self, compiled: Compiled, author: Who) -> None:
        """The order is the promise; raises ConfigurationError before anything changed. Steps:"""
        # 1. Every worker has made the snapshot ready, and still judges by the old one.
        snapshot = self._next(compiled.deployment, compiled.sha256)
        if why := await self._unprepared(snapshot):
            raise ConfigurationError((f"the workers could not prepare the configuration: {why}",))
        # 2. The file is kept and the entry durable: what will judge is known before it judges.
        keep_by_hash(compiled.deployment, compiled.raw, compiled.sha256)
        await self._record_load(snapshot, author)
        # 3. All are told. A runner that cannot follow shows at the calls of its servers, and is started again.
        self._adopt(snapshot)
        self._old_release = ""
        await self._follow(compiled.deployment)
        say("config.loaded", sha256=compiled.sha256, snapshot=snapshot.number)

    def _next(self, deployment: Deployment, sha256: str) -> Snapshot:
        self._number += 1
        usable = self._desk.keys.of(deployment.issuers)
        return Snapshot(number=self._number, config_sha256=sha256, deployment=deployment, key_sets=usable)

    async def _unprepared(self, snapshot: Snapshot) -> str | None:
        """Why not every worker that runs has prepared `snapshot`; None where they have."""
        loop = asyncio.get_running_loop()
        workers = [worker for worker in self._workers() if worker.alive]
        self._answers = {worker.name: loop.create_future() for worker in workers}
        for worker in workers:
            worker.send(Prepare(snapshot=snapshot))
        # All at the same time: each is waited for as long as it gets on.
        await asyncio.gather(
            *(
                worker.patiently(_of(self._answers[worker.name]), "prepare the configuration", PATIENCE_S)
                for worker in workers
            ),
            return_exceptions=True,
        )
        said = {name: answer.result() if answer.done() else "no answer" for name, answer in self._answers.items()}
        reasons = [f"{name}: {why}" for name, why in said.items() if why not in ("prepared", "ended")]
        if not reasons and "prepared" not in said.values():
            reasons = ["no worker is running"]
        return "; ".join(reasons) or None

    def _adopt(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        for worker in self._workers():
            worker.send(Activate(number=snapshot.number))

    # The book

    async def _record_load(self, snapshot: Snapshot, author: Who) -> None:
        detail: dict[str, str | int | bool] = {"snapshot": snapshot.number, "config_sha256": snapshot.config_sha256}
        detail["release"] = __version__
        if self._snapshot is not None:
            detail["old_config_sha256"] = self._snapshot.config_sha256
        if self._old_release:
            detail["old_release"] = self._old_release
        draft = Draft(
            event="config.load",
            ok=True,
            reason="loaded",
            who=author,
            origin=Origin(ip="local"),
            resource=Resource(kind="config", name=self._config.name),
            detail=detail,
        )
        try:
            await self._ledger.record(draft)
        except LedgerUnavailable as failure:
            raise ConfigurationError(
                (f"its entry could not be recorded, so it is not in force: {failure}",)
            ) from failure

    async def _record_refusal(self, author: Who) -> None:
        """LIMIT: of a refused file the book holds neither bytes nor hash: what was wrong in it may be a secret in clear."""
        assert self._snapshot is not None
        draft = Draft(
            event="config.refused",
            ok=False,
            reason="refused",
            who=author,
            origin=Origin(ip="local"),
            resource=Resource(kind="config", name=self._config.name),
            detail={"config_sha256": self._snapshot.config_sha256, "snapshot": self._snapshot.number},
        )
        try:
            await self._ledger.record(draft)
        except LedgerUnavailable as failure:
            say("config.unrecorded", why=str(failure))


async def _of(answer: "asyncio.Future[T]") -> T:
    return await asyncio.shield(answer)


def require_same_place(old: Deployment, new: Deployment) -> None:
    """What cannot change while others serve on the same sockets and write the same log. Raises ConfigurationError."""
    _require_same(old, new, _SAME_PLACE, "stop and start to change it")


_SAME_PLACE: Final = {
    "listen": "listen", "workers": "workers", "data_dir": "data_dir", "origin": "log.origin", "log_key": "log.key", "users": "users",
}  # fmt: skip
"""A deployment's field → where the file says it, for whoever must find it there."""
_FIXED: Final = _SAME_PLACE | {
    "profile": "profile", "desk": "desk", "payload_public_key": "payloads.public_key", "tls_certificate": "tls.certificate", "tls_key": "tls.key",
    "watermark": "log.watermark", "segment_bytes": "log.segment_bytes", "heartbeat_s": "log.heartbeat_s", "limits": "limits", "disk": "disk",
    "trusted_proxies": "trusted_proxies", "metrics": "metrics", "traces": "traces",
}  # fmt: skip


def _require_same_shape(old: Deployment, new: Deployment) -> None:
    """What a running deployment cannot change under itself."""
    _require_same(old, new, _FIXED, "restart to change it")


def _require_same(old: Deployment, new: Deployment, names: Mapping[str, str], mend: str) -> None:
    changed = tuple(where for name, where in names.items() if getattr(old, name) != getattr(new, name))
    if changed:
        raise ConfigurationError(tuple(f"{where}: cannot change while running; {mend}" for where in changed))


def operator(uid: int, *, invoked: bool) -> Who:
    """Who acts on the host, as the operating system says: declared, not proven. Behind sudo the person who typed it, where we were typed."""
    name = os.environ.get("SUDO_USER") if invoked else None
    if name is None:
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)
    return Who(kind="operator", iss="os", sub=f"os:{name}", declared=True)
