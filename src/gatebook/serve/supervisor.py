"""`gatebook serve`: starts the rooms, watches them, hands them configuration, drains them. It never touches a message.

`Supervisor.run` is the whole life, `_start` the order of the start. How each room is started and heard is `house`; how another program takes our
place, and we took one's, `succession`.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

from gatebook import formats
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError
from gatebook.model.record import Who
from gatebook.ports import Clock
from gatebook.serve import sockets
from gatebook.serve.activation import Activation, operator
from gatebook.serve.control import Tell
from gatebook.serve.diagnostics import say
from gatebook.serve.handover import Handover, receive_signals
from gatebook.serve.holding import holdings
from gatebook.serve.house import ClosingLedger, House
from gatebook.serve.notifying import Notifier
from gatebook.serve.orders import open_orders, take_orders
from gatebook.serve.own_users import asked_users, make_ready
from gatebook.serve.premises import locked, require_restored
from gatebook.serve.succession import Succession

FIRST_KEYS_S = 10.0
SEALER_GRACE_S = 60.0


class Supervisor:
    """The life of one deployment. `open_ledger(deployment)` gives the supervisor's own hand in the book. `left`: what the program before us
    under this process id left; None where there was none.

    SIGHUP must be blocked in every thread of the process before this is made: only `sigwaitinfo` tells who sent it."""

    def __init__(
        self,
        config: Path,
        clock: Clock,
        open_ledger: Callable[[Deployment], ClosingLedger],
        say_banner: Callable[[Deployment, tuple[str, ...]], None],
        *,
        left: Handover | None = None,
        sealer_grace_s: float = SEALER_GRACE_S,
    ) -> None:
        self._left = left
        self._clock = clock
        self._say_banner = say_banner
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._notifier = Notifier()
        # Absolute: a room of another user may begin elsewhere.
        self._house = House(config.absolute(), open_ledger, sealer_grace_s)
        self._succession = Succession(self._house, self._attend, self._stop)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then end everything in order. Raises ConfigurationError, and then nothing is left running."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGUSR1, self._tell)
        receive_signals(self._left)
        self._house.beside(self._notifier.keep_alive())
        with contextlib.ExitStack() as held:
            try:
                if self._left is None:
                    beginning = self._start(held)
                else:
                    # This is not given up half-way: rooms that serve on and are not ours yet would not be ended with us.
                    beginning = self._succession.take_over(
                        self._left, *await self._succession.inherit(self._left, held), held
                    )
                if await self._unless_stopped(beginning):
                    await self._stop.wait()
            finally:
                self._notifier.stopping()
                await self._house.end()

    async def _start(self, held: contextlib.ExitStack) -> None:
        """Serving when it returns. Each step only after the one before; raises ConfigurationError. `held`: what is let go at the very end."""
        house = self._house
        # 1. The configuration is good. Whose the rooms are is known before the first of them runs.
        house.users, house.handing = await asyncio.to_thread(asked_users, house.config)
        await house.room("desk")
        compiled = await house.desk.compile()
        deployment = house.deployment = compiled.deployment
        # 2. Nobody else works in this data directory, and the time can be trusted.
        data_dir = Path(deployment.data_dir)
        house.lock = held.enter_context(locked(data_dir))
        formats.require_readable(data_dir)
        require_restored(data_dir)
        _require_clock(deployment, self._clock)
        made = await asyncio.to_thread(make_ready, deployment, house.users, house.config)
        # 3. The addresses are ours.
        house.sockets = sockets.bind(deployment.listen, deployment.workers, held)
        house.orders = held.enter_context(open_orders(data_dir))
        formats.mark(data_dir)
        # 4. The log is the one that was signed, and grows. A long one takes its time to be read.
        await house.start_sealer()
        # 5. Our own hand in the book.
        house.ledger = house.open_ledger(deployment)
        house.activation = Activation(house.config, house.desk, house.ledger, house.workers, house.running.follow)
        house.gather(deployment, house.ledger)
        # 6. Workers and the runner, while the issuers are asked for their keys.
        house.desk.keep_keys(deployment)
        await asyncio.gather(
            house.running.start(deployment),
            *(house.start_worker(slot) for slot in range(deployment.workers)),
        )
        await house.watch_disk(deployment)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_KEYS_S):
                await house.desk.first_keys.wait()
        await house.desk_opened(FIRST_KEYS_S)
        house.require_desk(deployment)
        if deployment.metrics is not None or deployment.traces is not None:
            await house.start_meter(deployment, held)
        # 7. The configuration is in the book, then in force: the workers listen.
        await house.activation.first(compiled)
        await house.workers_listen()
        # 8. From now on whoever ends is started again, and SIGHUP reloads.
        self._attend(deployment)
        self._say_banner(deployment, made)

    def _attend(self, deployment: Deployment) -> None:
        """Whoever ends is started again, SIGHUP reloads, and orders are taken."""
        house = self._house
        assert house.orders is not None
        for name, start in house.starts(deployment).items():
            house.keep(name, start)
        house.running.keep()
        house.beside(take_orders(house.orders, self._succession.obey))
        self._notifier.ready(f"serving {deployment.public_url}")
        threading.Thread(target=self._wait_for_hangups, name="sighup", daemon=True).start()

    async def _unless_stopped(self, work: Coroutine[None, None, None]) -> bool:
        """True when `work` is done; False where it was given up because we are told to stop."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            working.result()
            return True
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False

    def _wait_for_hangups(self) -> None:
        while True:
            info = signal.sigwaitinfo({signal.SIGHUP})
            author = operator(info.si_uid, invoked=False)
            with contextlib.suppress(RuntimeError):  # the loop is closed: we are ending
                self._loop.call_soon_threadsafe(self._reload_soon, author)

    def _reload_soon(self, author: Who) -> None:
        if self._house.activation is not None and not self._stop.is_set():
            self._house.beside(self._reload(self._house.activation, author))

    async def _reload(self, activation: Activation, author: Who) -> None:
        self._notifier.reloading()
        await activation.reload(author)
        assert self._house.deployment is not None
        self._notifier.ready(f"serving {self._house.deployment.public_url}")

    def _tell(self) -> None:
        """What each room holds goes to standard error: what an operator looks at who suspects a leak."""
        say("room.holds", room="supervisor", **holdings())
        for room in (*self._house.workers(), *self._house.running.room()):
            room.send(Tell())


def _require_clock(deployment: Deployment, clock: Clock) -> None:
    """PCI DSS 10.6: a record whose time nobody keeps in step is no evidence."""
    if deployment.profile == "pci" and not clock.now().clocked.ok:
        raise ConfigurationError(
            ("the clock is not synchronised; start chrony or another time service (`chronyc tracking` says why)",)
        )
