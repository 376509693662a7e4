"""The only module that imports adapters: from a configuration to a running room. `python -m gatebook.wiring ROOM CONTROL_FD` is a room's entry.

Each room imports its own adapters and no other's: a worker holds no HTTP client library and no parser of configuration files.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import msgspec
import uvloop

from gatebook.model.deployment import Deployment, Issuer, KeySet
from gatebook.model.errors import GatebookError
from gatebook.ports import Clock
from gatebook.serve import control
from gatebook.serve.diagnostics import say_bug

SMALL_SEGMENT_BYTES = 256 << 10


def gate(start: bytes, control_fd: int) -> None:
    """One worker of the gate."""
    from gatebook.adapters.clock_system import SystemClock
    from gatebook.adapters.entropy_system import SystemEntropy
    from gatebook.adapters.ledger_segment import SegmentLedger
    from gatebook.adapters.secrets import FileOrEnvironment
    from gatebook.adapters.sessions_shared import SharedSessions
    from gatebook.adapters.upstream_http import HttpUpstreams
    from gatebook.serve.worker import Ports, Worker, WorkerStart

    async def run() -> None:
        told = msgspec.json.decode(start, type=WorkerStart)
        deployment = told.deployment
        clock, entropy = SystemClock(), SystemEntropy()
        with _telling(control_fd):
            ledger = SegmentLedger.open(deployment.data_dir, f"gate-{told.slot}", deployment, clock, entropy=entropy)
        upstreams = HttpUpstreams(deployment.limits)
        ports = Ports(
            clock=clock,
            ledger=ledger,
            upstreams=upstreams,
            credentials=FileOrEnvironment(),
            sessions=SharedSessions(Path(deployment.data_dir) / "run" / "sessions.map", deployment.limits),
            random=entropy,
        )
        try:
            await Worker(told, await control.room_end(control_fd), ports).run()
        finally:
            await upstreams.close()
            await ledger.close()

    _run(run())


def desk(_start: bytes, control_fd: int) -> None:
    """The desk: configuration and key sets."""
    from gatebook.adapters.keys_file import KeyFiles
    from gatebook.adapters.keys_oidc import KeyKeeper, KeySource, OidcKeys
    from gatebook.serve.desk import Desk, Publish

    def keeper(deployment: Deployment, publish: Publish, known: dict[str, KeySet]) -> KeyKeeper:
        def source(issuer: Issuer) -> KeySource:
            return OidcKeys(deployment.profile) if issuer.jwks_file is None else KeyFiles()

        return KeyKeeper(deployment.issuers, source, publish, now_s=time.time, known=known)

    async def run() -> None:
        await Desk(await control.room_end(control_fd), keeper).run()

    _run(run())


def sealer(start: bytes, control_fd: int) -> None:
    """The sealer: it stops on SIGTERM, or when the supervisor is gone."""
    deployment = msgspec.json.decode(start, type=Deployment)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_stop_when_alone, args=(control_fd, stop), daemon=True).start()
    _collect_seldom()
    with _telling(control_fd):
        seal(deployment, stop, sealed=lambda: control.tell(control_fd, control.Ready()))


def seal(
    deployment: Deployment,
    stop: threading.Event,
    clock: Clock | None = None,
    *,
    sealed: Callable[[], None] = lambda: None,
) -> None:
    """Seal this deployment's log until `stop` is set; see `serve.sealer.run`."""
    from gatebook.adapters.clock_system import SystemClock
    from gatebook.adapters.ledger_segment import SegmentHand
    from gatebook.adapters.log_files import LogFiles
    from gatebook.adapters.segment_tails import SegmentTails
    from gatebook.serve.sealer import SealerPorts, run

    data_dir = Path(deployment.data_dir)
    clock = clock or SystemClock()
    ports = SealerPorts(
        log=LogFiles(data_dir / "log"),
        payloads=LogFiles(data_dir / "payloads"),
        state=LogFiles(data_dir / "sealer"),
        tails=SegmentTails(data_dir / "segments"),
        open_hand=lambda: SegmentHand(deployment, "sealer", clock),
        clock=clock,
    )
    run(deployment, stop, ports, sealed=sealed)


def _collect_seldom() -> None:
    """The sealer decodes tens of thousands of entries a second, none of them in a cycle: looking for cycles took a tenth of its time."""
    gc.freeze()
    gc.set_threshold(100_000)


@contextlib.contextmanager
def _telling(control_fd: int) -> Iterator[None]:
    """What goes wrong for a reason is told to the supervisor in words; what should not exist is left to end the room as a bug."""
    try:
        yield
    except GatebookError as failure:
        control.tell(control_fd, control.Failed(why=str(failure)))
        sys.exit(1)


def _stop_when_alone(control_fd: int, stop: threading.Event) -> None:
    while os.read(control_fd, 4096):
        pass
    stop.set()


def serve(config: Path, say_banner: Callable[[Deployment, tuple[str, ...]], None]) -> None:
    """`gatebook serve`, until it is told to stop. Raises ConfigurationError."""
    # Before any thread exists: a thread that does not block it would let SIGHUP end the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from gatebook.adapters.clock_system import SystemClock
    from gatebook.adapters.ledger_segment import SegmentLedger
    from gatebook.serve.supervisor import Supervisor

    async def run() -> None:
        clock = SystemClock()

        def open_ledger(deployment: Deployment) -> SegmentLedger:
            return SegmentLedger.open(
                deployment.data_dir,
                "supervisor",
                deployment,
                clock,
                segment_bytes=SMALL_SEGMENT_BYTES,
                sessions=False,
            )

        await Supervisor(config, clock, open_ledger, say_banner).run()

    _run(run())


def _run(main: Coroutine[None, None, None]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold what is never written
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


ROOMS: dict[str, Callable[[bytes, int], None]] = {"gate": gate, "desk": desk, "sealer": sealer}

if __name__ == "__main__":
    name, descriptor = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    # The supervisor asks what we hold; whoever signals the whole group (`systemctl kill`) must not end a room by that.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        ROOMS[name](sys.stdin.buffer.read(), descriptor)
    except Exception as failure:
        say_bug(f"room {name}", failure)
        sys.exit(1)
