"""The authorization server's life in the desk: it listens, keeps its deployment, and tells the gate which logins count no more."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from gatebook.federation.errors import StoreUnavailable
from gatebook.federation.minting import LIFETIME_S
from gatebook.federation.ports import Documents, LastCalls, Providers, Store
from gatebook.federation.saml.ports import Assertions
from gatebook.federation.saml.provider_metadata import Known
from gatebook.gate.attempts import Attempts
from gatebook.ledger.files import Files
from gatebook.model.counting import Entries
from gatebook.model.deployment import Deployment, Desk, Trust
from gatebook.model.errors import ConfigurationError, LedgerUnavailable
from gatebook.ports import Clock, Credentials, Ledger
from gatebook.serve import keys
from gatebook.serve.asgi_server import Server
from gatebook.serve.desk_http.app import application
from gatebook.serve.desk_http.listening import bound, prepared
from gatebook.serve.desk_http.pace import Pace
from gatebook.serve.desk_http.renewing import LOOK_S, Renewing
from gatebook.serve.desk_http.rereading import Rereading
from gatebook.serve.desk_http.saml_trust import tell_trusted
from gatebook.serve.desk_http.world import DeskWorld, Keys, KeySets
from gatebook.serve.diagnostics import say

IN_FORCE_S = 5.0
"""How long a revocation waits for the workers' word before it is answered all the same: it is durable, and a worker that hangs is ended."""
REMEMBERED_S = LIFETIME_S + 60.0
"""How long a revoked sid stays in the trust: every token of it has expired by then, leeway included."""
PERIOD_S = 30.0
PUBLISH_AFTER_LOOKS = 60
PRESENT_S = 4 * PERIOD_S
"""How long after its last period a desk counts as working on its database: one that was killed must not keep another out for long."""
PACE = (120, 60.0)
"""Acts of one source at once, and as many in each minute."""
PACE_OF_ALL = (1200, 60.0)
"""The same of all sources together."""
READINGS = 2
"""Walks over the log at once, for people who read it through the desk."""


class WatchedLedger(Ledger, Protocol):
    entries: Entries

    @property
    def failed(self) -> str | None: ...

    async def close(self) -> None: ...


class ClosingStore(Store, Protocol):
    def close(self) -> None: ...


class AuthorityPorts(msgspec.Struct, frozen=True, kw_only=True):
    """The outside world of the authorization server, as `wiring` made it for one deployment."""

    store: ClosingStore
    ledger: WatchedLedger
    documents: Documents
    credentials: Credentials
    calls: LastCalls
    key_sets: KeySets
    clock: Clock
    random: Callable[[int], bytes]
    files: Callable[[Path], Files]


class Authority:
    """`open_ports(deployment)` is called once, when there is first a desk to serve. `publish` gets each new trust."""

    def __init__(
        self,
        open_ports: Callable[[Deployment], AuthorityPorts],
        providers_of: Callable[[Deployment], Providers],
        publish: Callable[[Trust], None],
        assertions_of: Callable[[Deployment], Assertions],
    ) -> None:
        self._open_ports = open_ports
        self._providers_of = providers_of
        self._assertions_of = assertions_of
        self._publish = publish
        self._ports: AuthorityPorts | None = None
        self._world: DeskWorld | None = None
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._attempts = Attempts()
        self._rereading = Rereading()
        self._readings = asyncio.Semaphore(READINGS)
        self._publishing = asyncio.Lock()
        self._number = 0
        self._in_force = 0
        self._waiting: list[tuple[int, asyncio.Event]] = []
        self._published: frozenset[str] | None = None
        self._trusted: dict[str, Known] = {}
        self._present: str | None = None
        self.failed: Callable[[str], None] = lambda why: None

    async def serve(self, deployment: Deployment, trust_number: int) -> None:
        """This deployment's authorization server answers from now on; none where it has none. `trust_number`: of the trust in force, which the
        next one must exceed, whatever this host's clock says. Raises ConfigurationError, LedgerUnavailable, StoreUnavailable."""
        self._number = max(self._number, trust_number)
        if deployment.desk is None:
            await self._publish_trust()
            return
        if self._ports is None:
            self._ports = await asyncio.to_thread(self._open_ports, deployment)
        ports = self._ports
        await self._demand_one_desk(deployment, deployment.desk, ports)
        self._world = DeskWorld(
            deployment=deployment,
            desk=deployment.desk,
            keys=_keys(
                deployment, deployment.desk, ports.clock.now().unix_s, None if self._world is None else self._world.keys
            ),
            store=ports.store,
            providers=self._providers_of(deployment),
            documents=ports.documents,
            assertions=self._assertions_of(deployment),
            ledger=ports.ledger,
            credentials=ports.credentials,
            key_sets=ports.key_sets,
            clock=ports.clock,
            random=ports.random,
            revoked=self._revoked,
            pace=Pace(*PACE),
            refusals=Pace(*PACE),
            all_refusals=Pace(*PACE_OF_ALL),
            attempts=self._attempts,
            rereading=self._rereading,
            calls=ports.calls,
            files=ports.files,
            readings=self._readings,
        )
        self._trusted = await tell_trusted(self._world, self._trusted)
        if self._server is None:
            self._listen(deployment.desk)
            self._tasks.append(asyncio.create_task(self._every_period()))
            self._tasks.append(asyncio.create_task(self._renew(Renewing(deployment.desk))))
        await self._publish_trust()  # last: it is how the supervisor knows that we are up

    async def _demand_one_desk(self, deployment: Deployment, desk: Desk, ports: AuthorityPorts) -> None:
        """No other desk works on this database, but replicas of this one: it would take each refresh token for a forgery, and end logins whose
        provider it cannot ask. Raises ConfigurationError, StoreUnavailable."""
        if desk.database is None:
            return  # a folder of its own
        ours, now_s = keys.desk_hash(deployment, desk), ports.clock.now().unix_s
        if not await asyncio.to_thread(ports.store.present, ours, now_s + PRESENT_S, now_s):
            raise ConfigurationError(
                (
                    "desk.database: a desk with another desk.public_url or other keys works on this database, or did two minutes ago; give this one"
                    " a database of its own, or make it a replica: the same public_url, and the other's refresh.key and upstream.key in data_dir/keys",
                )
            )
        self._present = ours

    @property
    def written(self) -> Entries | None:
        """What went into the book; None as long as there was no desk."""
        return None if self._ports is None else self._ports.ledger.entries

    def in_force(self, number: int) -> None:
        """Every worker refuses what the trust of this number calls revoked."""
        self._in_force = max(self._in_force, number)
        for wanted, event in self._waiting:
            if wanted <= self._in_force:
                event.set()

    async def stop(self) -> None:
        """Nobody is served any more, and everything is in the book."""
        if self._server is not None:
            self._server.should_exit = True
        for task in self._tasks[1:]:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks[:1], timeout=10)
        if self._ports is not None:
            if self._present is not None:
                with contextlib.suppress(StoreUnavailable):
                    await asyncio.to_thread(self._ports.store.leave, self._present)
            with contextlib.suppress(LedgerUnavailable):
                await self._record_attempts(self._ports, all_windows=True)
            await self._ports.ledger.close()
            self._ports.store.close()

    async def _revoked(self) -> None:
        number = await self._publish_trust()
        if self._in_force >= number:
            return
        waiting = (number, asyncio.Event())
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(IN_FORCE_S):
                await waiting[1].wait()
        except TimeoutError:
            say("desk.trust_late", number=number)
        finally:
            self._waiting.remove(waiting)

    async def _publish_trust(self) -> int:
        """What the store holds as revoked goes to the workers; returns the trust's number. One at a time: what was read before must not
        follow what was read after it."""
        async with self._publishing:
            revoked: frozenset[str] = frozenset()
            if self._world is not None:
                revoked = await asyncio.to_thread(self._world.store.revoked_since, self._world.now_s() - REMEMBERED_S)
            if revoked != self._published:
                self._published = revoked
                self._number += 1
                self._publish(Trust(number=self._number, revoked=revoked))
            return self._number

    def _listen(self, desk: Desk) -> None:
        """The sockets are bound when this returns. Raises ConfigurationError."""
        sockets = [bound(address) for address in desk.listen]
        self._server = prepared(application(self._current), desk)
        self._tasks.append(asyncio.create_task(self._server.serve(sockets=sockets)))

    def _current(self) -> DeskWorld:
        assert self._world is not None
        return self._world

    async def _renew(self, renewing: Renewing) -> None:
        """What people replace while the desk serves is noticed; keys that are over go from the set in time."""
        looked = 0
        while True:
            await asyncio.sleep(LOOK_S)
            if self._world is None or self._server is None:
                continue
            await renewing.look(self._world, self._server)
            looked += 1
            if looked % PUBLISH_AFTER_LOOKS == 0:
                await renewing.publish(self._world)

    async def _every_period(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            world, ports = self._world, self._ports
            if world is None or ports is None:
                continue
            if ports.ledger.failed is not None:
                self.failed(ports.ledger.failed)
                return
            try:
                await self._demand_one_desk(world.deployment, world.desk, ports)
                await asyncio.to_thread(world.store.sweep, world.now_s())
                await self._publish_trust()
                await self._record_attempts(ports)
            except (StoreUnavailable, LedgerUnavailable) as failure:
                say("desk.unavailable", why=str(failure))
            except ConfigurationError as failure:
                self.failed(str(failure))
                return

    async def _record_attempts(self, ports: AuthorityPorts, *, all_windows: bool = False) -> None:
        for draft in self._attempts.ended(ports.clock.now().unix_us, all_windows=all_windows):
            await ports.ledger.record(draft)


def _keys(deployment: Deployment, desk: Desk, now_s: float, present: Keys | None) -> Keys:
    """`present`: those in use; a key that signs goes on until `renewing` says otherwise."""
    minter, public = keys.publish_desk_keys(desk, now_s)
    return Keys(
        minter=minter if present is None else present.minter,
        verifying=public.decode(),
        refresh=keys.refresh_key(deployment),
        upstream=keys.upstream_key(deployment),
        fingerprint=keys.fingerprint_key(deployment),
    )
