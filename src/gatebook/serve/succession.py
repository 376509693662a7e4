"""One deployment, two programs after each other under one process id: how this one leaves everything to the next, and how it took over itself.

The rooms of the program before are `predecessors`; what is handed, `handover`.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec

from gatebook import __version__, formats
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError
from gatebook.model.record import Who
from gatebook.serve import sockets
from gatebook.serve.activation import Activation, require_same_place
from gatebook.serve.control import Drain
from gatebook.serve.diagnostics import say
from gatebook.serve.handover import Handover, SignalsNoted, become, own_line
from gatebook.serve.house import START_S, House
from gatebook.serve.metering.gathering import METER
from gatebook.serve.orders import Asker, Order, kept_orders
from gatebook.serve.own_users import asked_users, handing_of, make_ready
from gatebook.serve.predecessors import Predecessors
from gatebook.serve.premises import kept
from gatebook.serve.replacing import line_of, require_able
from gatebook.serve.rooms import Room, ended

HEARD_S = 0.05


class Succession:
    """`attend(deployment)`: from now on whoever ends is started again, and orders are taken. `stop`: we are told to end."""

    def __init__(self, house: House, attend: Callable[[Deployment], None], stop: asyncio.Event) -> None:
        self._house = house
        self._attend = attend
        self._stop = stop

    async def inherit(self, left: Handover, held: contextlib.ExitStack) -> tuple[Predecessors, Activation]:
        """Lock, sockets, rooms and what is in force are ours. Where we cannot write, nothing was touched and goes back."""
        deployment = self._house.deployment = left.snapshot.deployment
        self._house.users, self._house.handing = deployment.users, handing_of(self._house.config)
        data_dir = Path(deployment.data_dir)
        try:
            self._house.ledger = self._house.open_ledger(deployment)
        except ConfigurationError as failure:
            if left.failed is None:
                become(left.back, msgspec.structs.replace(left, failed=str(failure)))
            raise
        self._house.lock = left.lock
        held.enter_context(kept(left.lock))
        self._house.sockets = sockets.inherited(left.sockets, deployment.listen, held)
        self._house.orders = socket.socket(fileno=left.orders)
        held.enter_context(kept_orders(self._house.orders, data_dir))
        self._house.desk.keys = left.keys
        self._house.desk.first_keys.set()
        self._house.activation = Activation(
            self._house.config, self._house.desk, self._house.ledger, self._house.workers, self._house.running.follow
        )
        self._house.activation.resume(left.snapshot, left.release)
        self._house.gather(deployment, self._house.ledger)
        before = Predecessors(self._house.rooms, deployment.limits, self._house.beside)
        await before.adopt(left.rooms, self._house.hear)
        self._house.trusting.resume(left.trust)
        return before, self._house.activation

    async def take_over(
        self, left: Handover, before: Predecessors, activation: Activation, held: contextlib.ExitStack
    ) -> None:
        """In the place of a supervisor whose rooms serve on: nobody was refused, and who was connected is answered. Until step 5 everything can
        go back to it. Raises ConfigurationError where neither is possible."""
        asker = Asker(left.asker) if left.asker is not None else None
        # 1. What it had is ours (`inherit`).
        if left.failed is not None:
            await self._go_on(left.snapshot.deployment, before, held)
            say("serve.kept", release=__version__, why=left.failed)
            if asker is not None:
                asker.tell(f"release {__version__} serves on: {left.failed}", done=False)
            return
        before.step_aside()
        try:
            # 2. The configuration is good, and for the same place.
            await asyncio.to_thread(asked_users, self._house.config)
            await self._house.room("desk")
            compiled = await self._house.desk.compile()
            require_same_place(left.snapshot.deployment, compiled.deployment)
            deployment = self._house.deployment = compiled.deployment
            formats.mark(Path(deployment.data_dir))
            await asyncio.to_thread(make_ready, deployment, self._house.users, self._house.config)
            # 3. A worker of ours starts, 4. and a sealer takes the log as the last one left it. Commands end with their runner.
            await self._house.start_worker(0)
            self._house.grace.sealer_ended()
            await before.end("sealer")
            await self._house.start_sealer()
            await before.end("runner")
            await self._house.running.start(deployment)
            # 5. The configuration is in the book, by whom and of which release, then in force.
            await activation.first(compiled, left.author)
        except (ConfigurationError, OSError) as failure:
            await self._give_back(left, before, asker, failure)
        await self._house.watch_disk(deployment, tell=True)
        # 6. One after the other.
        failed = await self._succeed(before, deployment, held)
        self._attend(deployment)
        said = f"release {__version__} serves in the place of {left.release}" if not failed else "; ".join(failed)
        say("serve.taken_over", release=__version__, old_release=left.release, why="; ".join(failed) or None)
        if asker is not None:
            asker.tell(said, done=not failed)

    async def _give_back(
        self, left: Handover, before: Predecessors, asker: Asker | None, failure: Exception
    ) -> NoReturn:
        """Those before us go on as they were, with their own supervisor; of ours nothing is left."""
        say("serve.gives_back", release=__version__, to=left.release, why=str(failure))
        for room in [room for name, room in self._house.rooms.items() if "." not in name]:
            room.send(Drain(within_s=0.0))
            if room.name == "sealer" and room.alive:
                room.process.terminate()
            await ended((room,), START_S)
        before.come_back()
        if self._house.ledger is not None:
            await self._house.ledger.close()
        self._pass_on(left.back, left.author, asker, await _noting_signals(), failed=str(failure))

    async def _succeed(
        self, before: Predecessors, deployment: Deployment, held: contextlib.ExitStack
    ) -> tuple[str, ...]:
        """Each of ours serves in the place of one of theirs; why not, where it does not."""
        failed: list[str] = []
        for slot in range(deployment.workers):
            start = self._first_worker if slot == 0 else partial(self._house.start_worker_again, slot)
            try:
                await before.succeeded(f"gate-{slot}", start)
            except (ConfigurationError, OSError) as failure:
                failed.append(f"the worker before serves on: {failure}")
        # The new desk has its address only once the old one has let it go.
        await before.end("desk")
        self._house.desk.keep_keys(deployment)
        if why := await self._meter_again(before, deployment, held):
            failed.append(why)
        return tuple(failed)

    async def _meter_again(
        self, before: Predecessors, deployment: Deployment, held: contextlib.ExitStack
    ) -> str | None:
        """The meter that was there has let its address go, and ours has it; why not, where it has not."""
        await before.end(METER)
        if deployment.metrics is not None or deployment.traces is not None:
            try:
                await self._house.start_meter(deployment, held)
            except (ConfigurationError, OSError) as failure:
                say("room.unstarted", room=METER, why=str(failure))
                return f"no numbers are shown: {failure}"
        return None

    async def _first_worker(self) -> Room:
        return self._house.rooms["gate-0"]

    async def _go_on(self, deployment: Deployment, before: Predecessors, held: contextlib.ExitStack) -> None:
        """As it was, with those that ended meanwhile started again."""
        self._house.desk.go_on(deployment)
        await self._house.running.go_on(deployment)
        for name, start in self._house.starts(deployment).items():
            if name not in self._house.rooms:
                if name == "sealer":
                    self._house.grace.sealer_ended()
                try:
                    await start()
                except (ConfigurationError, OSError) as failure:  # it is tried further
                    say("room.unstarted", room=name, why=str(failure))
        before.step_aside(METER)
        await self._meter_again(before, deployment, held)
        await self._house.watch_disk(deployment, tell=True)
        self._attend(deployment)

    async def obey(self, order: Order, author: Who, asker: Asker) -> None:
        """The deployment goes on in another program; or this one goes on, and says why."""
        try:
            line = own_line() if order.python is None else line_of(order.python, self._house.config.absolute())
            release = await require_able(line[0], self._house.config.absolute())
            asker.tell(f"release {release} can take over from {__version__}")
            await self._hand_over(line, author, asker)
        except ConfigurationError as refused:
            for problem in refused.problems:
                say("serve.not_replaced", why=problem)
            asker.tell("\n".join((f"nothing changed, release {__version__} serves on:", *refused.problems)), done=False)

    async def _hand_over(self, line: tuple[str, ...], author: Who, asker: Asker) -> None:
        """Everything is left to `line`, which runs in our place. Raises ConfigurationError: it was not tried."""
        assert self._house.activation is not None and self._house.ledger is not None
        async with self._house.activation.changing:
            try:
                await asyncio.gather(*(room.flushed() for room in self._house.rooms.values() if room.can_be_handed))
            except TimeoutError as stuck:
                raise ConfigurationError(("a room takes no message: see the diagnostics, and try again",)) from stuck
            say("serve.hands_over", release=__version__, to=line[0])
            await self._house.ledger.close()
            noted = await _noting_signals()
            if self._stop.is_set():
                noted.heard_again()
                raise ConfigurationError(("the gate is being stopped",))
            self._pass_on(line, author, asker, noted)

    def _pass_on(
        self, line: tuple[str, ...], author: Who, asker: Asker | None, noted: SignalsNoted, failed: str | None = None
    ) -> NoReturn:
        """From here on nothing waits, so that nothing comes between. Raises OSError where not even our own program can be run."""
        assert (
            self._house.activation is not None
            and self._house.activation.in_force is not None
            and self._house.orders is not None
        )
        handover = Handover(
            author=author,
            snapshot=self._house.activation.in_force,
            trust=self._house.trusting.trust,
            keys=self._house.desk.keys,
            lock=self._house.lock,
            sockets=tuple(tuple(sock.fileno() for sock in each) for each in self._house.sockets),
            orders=self._house.orders.fileno(),
            signals=noted.descriptor,
            asker=None if asker is None else asker.descriptor,
            rooms=tuple(room.handed() for room in self._house.rooms.values() if room.can_be_handed),
            back=own_line(),
            failed=failed,
        )
        try:
            become(line, handover)
        except OSError as failure:
            why = failed or f"{line[0]}: {failure.strerror}"
            become(own_line(), msgspec.structs.replace(handover, failed=why))


async def _noting_signals() -> SignalsNoted:
    """Signals are noted for whoever runs next, and those that came before are heard: by then the loop has turned."""
    noted = SignalsNoted()
    await asyncio.sleep(HEARD_S)
    return noted
