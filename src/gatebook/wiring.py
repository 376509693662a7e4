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
from typing import TYPE_CHECKING

import msgspec
import uvloop

from gatebook.model.counting import Report
from gatebook.model.deployment import Deployment, Issuer, KeySet, Trust
from gatebook.model.errors import GatebookError
from gatebook.ports import Clock
from gatebook.serve import control
from gatebook.serve.diagnostics import say, say_bug
from gatebook.serve.dropping import OWN_USER, hide
from gatebook.serve.stopping import stopped_by_sigterm

if TYPE_CHECKING:
    from gatebook.adapters.sessions_shared import SharedSessions
    from gatebook.serve.desk_http.authority import Authority
    from gatebook.serve.desk_http.provider_keys import ProviderKeys

SMALL_SEGMENT_BYTES = 256 << 10


def gate(start: bytes, control_fd: int) -> None:
    """One worker of the gate."""
    from gatebook.adapters.clock_system import SystemClock
    from gatebook.adapters.entropy_system import SystemEntropy
    from gatebook.adapters.ledger_segment import SegmentLedger
    from gatebook.adapters.secrets import FileOrEnvironment
    from gatebook.adapters.upstream_http import HttpUpstreams
    from gatebook.masking.trigger import look_first_with
    from gatebook.serve.worker import Ports, Worker
    from gatebook.speed import looker, reader
    from gatebook.wire import native

    def look_first() -> None:
        if (native_look := looker()) is not None:
            look_first_with(native_look)

    async def run() -> None:
        told = msgspec.json.decode(start, type=control.WorkerStart)
        deployment = told.deployment
        native.use(reader())
        # Nobody waits for it: until it is there, RE2 looks alone.
        threading.Thread(target=look_first, name="prefilter", daemon=True).start()
        clock, entropy = SystemClock(), SystemEntropy()
        with _telling(control_fd):
            ledger = SegmentLedger.open(deployment.data_dir, f"gate-{told.slot}", deployment, clock, entropy=entropy)
        upstreams = HttpUpstreams(deployment.limits)
        ports = Ports(
            clock=clock,
            ledger=ledger,
            upstreams=upstreams,
            credentials=FileOrEnvironment(),
            sessions=_sessions(deployment),
            random=entropy,
        )
        try:
            await Worker(told, await control.room_end(control_fd), ports).run()
        finally:
            await upstreams.close()
            await ledger.close()

    _run(run())


def desk(_start: bytes, control_fd: int) -> None:
    """The desk: configuration, key sets, and the authorization server, whose parts are loaded when a deployment first has one."""
    from gatebook.adapters.clock_system import SystemClock
    from gatebook.adapters.keys_file import KeyFiles
    from gatebook.adapters.keys_oidc import KeyKeeper, KeySource, OidcKeys
    from gatebook.adapters.keys_registered import RegisteredKeys
    from gatebook.federation.workloads import REGISTERED, job_issuers
    from gatebook.serve.desk import Desk, Publish
    from gatebook.serve.desk_http.provider_keys import ProviderKeys

    async def run() -> None:
        clock, provider_keys = SystemClock(), ProviderKeys()

        def keeper(deployment: Deployment, publish: Publish, known: dict[str, KeySet]) -> KeyKeeper:
            """One keeper for issuers and for the providers where people log in; the gate hears of its own issuers alone."""

            def source(issuer: Issuer) -> KeySource:
                if issuer.name.startswith(REGISTERED):
                    return RegisteredKeys(KeyFiles())
                return OidcKeys(deployment.profile) if issuer.jwks_file is None else KeyFiles()

            providers = tuple(
                Issuer(name=idp.name, url=idp.url, kind="person", algorithms=idp.algorithms, ca_file=idp.ca_file)
                for idp in (deployment.idps if deployment.desk is not None else ())
                if idp.saml is None
            ) + job_issuers(deployment)
            names = {idp.name for idp in providers}
            last: list[dict[str, KeySet]] = []

            def share(key_sets: dict[str, KeySet]) -> None:
                provider_keys.publish({name: found for name, found in key_sets.items() if name in names})
                gates = {name: found for name, found in key_sets.items() if name not in names}
                if last != [gates]:
                    last[:] = [gates]
                    publish(gates)

            made = KeyKeeper((*deployment.issuers, *providers), source, share, now_s=time.time, known=known)
            provider_keys.ask_again = made.asked_again
            return made

        channel = await control.room_end(control_fd)
        await Desk(channel, keeper, lambda publish: _authority(clock, provider_keys, publish)).run()

    _run(run())


def _sessions(deployment: Deployment) -> "SharedSessions":
    from gatebook.adapters.sessions_shared import SharedSessions

    def tell(given_up: int) -> None:
        say("sessions.crowded", given_up=given_up)

    return SharedSessions(Path(deployment.data_dir) / "run" / "sessions.map", deployment.limits, tell=tell)


def _authority(clock: Clock, provider_keys: "ProviderKeys", publish: Callable[[Trust], None]) -> "Authority":
    from gatebook.adapters.assertions_saml import SamlAssertions
    from gatebook.adapters.desk_store.opening import store_of
    from gatebook.adapters.documents_https import HttpsDocuments
    from gatebook.adapters.entropy_system import SystemEntropy
    from gatebook.adapters.ledger_segment import SegmentLedger
    from gatebook.adapters.log_files import LogFiles
    from gatebook.adapters.providers_oidc import OidcProviders
    from gatebook.adapters.secrets import FileOrEnvironment
    from gatebook.serve.desk_http.authority import Authority, AuthorityPorts

    def providers_of(deployment: Deployment) -> OidcProviders:
        return OidcProviders(deployment.profile, provider_keys.of, provider_keys.key_unknown)

    def open_ports(deployment: Deployment) -> AuthorityPorts:
        entropy, credentials = SystemEntropy(), FileOrEnvironment()
        store = store_of(deployment, credentials)
        ledger = SegmentLedger.open(
            deployment.data_dir, "desk", deployment, clock, segment_bytes=SMALL_SEGMENT_BYTES, sessions=False
        )
        return AuthorityPorts(
            store=store,
            ledger=ledger,
            documents=HttpsDocuments(),
            credentials=credentials,
            calls=_sessions(deployment),
            key_sets=provider_keys,
            clock=clock,
            random=entropy,
            files=LogFiles,
        )

    return Authority(open_ports, providers_of, publish, SamlAssertions)


def runner(start: bytes, control_fd: int) -> None:
    """The runner: servers that are commands."""
    from gatebook.adapters.secrets import FileOrEnvironment
    from gatebook.serve.runner.finding_host import find_host
    from gatebook.serve.runner.runner import Runner

    async def run() -> None:
        told = msgspec.json.decode(start, type=control.Run)
        channel = await control.room_end(control_fd)
        with _telling(control_fd):
            await Runner(told, channel, FileOrEnvironment(), find_host).run()

    _run(run())


def sealer(start: bytes, control_fd: int) -> None:
    """The sealer: it stops on SIGTERM, or when the supervisor is gone."""
    from gatebook.serve.premises import wait_for_last_run

    stop = stopped_by_sigterm()
    deployment = msgspec.json.decode(start, type=Deployment)
    threading.Thread(target=_stop_when_alone, args=(control_fd, stop), daemon=True).start()
    _collect_seldom()
    with _telling(control_fd):
        wait_for_last_run(Path(deployment.data_dir), stop)
        metered = deployment.metrics is not None
        seal(
            deployment,
            stop,
            sealed=lambda: control.tell(control_fd, control.ready()),
            report=lambda report: (
                control.tell_if_heard(control_fd, control.Counted(report=report)) if metered else None
            ),
        )


def seal(
    deployment: Deployment,
    stop: threading.Event,
    clock: Clock | None = None,
    *,
    sealed: Callable[[], None] = lambda: None,
    report: Callable[[Report], None] = lambda _: None,
) -> None:
    """Seal this deployment's log until `stop` is set; see `serve.sealer.run`."""
    from gatebook.adapters.clock_system import SystemClock
    from gatebook.adapters.ledger_segment import SegmentHand
    from gatebook.adapters.log_files import LogFiles
    from gatebook.adapters.segment_tails import SegmentTails
    from gatebook.adapters.watermark_file import WatermarkFile
    from gatebook.ledger.gist import reading_with
    from gatebook.serve.giving_way import GiveWay
    from gatebook.serve.sealer import SealerPorts, run
    from gatebook.speed import gists

    give_way = GiveWay()
    data_dir = Path(deployment.data_dir)
    clock = clock or SystemClock()
    shared = deployment.users is not None
    ports = SealerPorts(
        log=LogFiles(
            data_dir / "log", shared=shared, public=("checkpoint",), give_way=give_way, written=give_way.written
        ),
        payloads=LogFiles(data_dir / "payloads", shared=shared, give_way=give_way, written=give_way.written),
        state=LogFiles(data_dir / "sealer"),
        tails=SegmentTails(data_dir / "segments", give_way),
        give_way=give_way,
        open_hand=lambda: SegmentHand(deployment, "sealer", clock),
        clock=clock,
        watermark=WatermarkFile(Path(deployment.watermark)) if deployment.watermark else None,
        read=reading_with(gists()),
        report=report,
    )
    run(deployment, stop, ports, sealed=sealed)


def meter(start: bytes, control_fd: int) -> None:
    """The meter: numbers for Prometheus, spans for OpenTelemetry."""
    from gatebook.adapters.secrets import FileOrEnvironment
    from gatebook.serve.metering.meter import Meter

    async def run() -> None:
        with _telling(control_fd):
            told = msgspec.json.decode(start, type=control.MeterStart)
            credentials = FileOrEnvironment()
            spans = None
            if told.traces is not None:
                from gatebook.serve.metering.exporting import Exporter

                spans = Exporter(told.traces, credentials)
            await Meter(told, await control.room_end(control_fd), credentials, spans).run()

    _run(run())


def _collect_seldom() -> None:
    """The sealer decodes tens of thousands of entries a second, none of them in a cycle: looking for cycles took a tenth of its time."""
    gc.freeze()
    gc.set_threshold(100_000)


@contextlib.contextmanager
def _telling(control_fd: int) -> Iterator[None]:
    """What goes wrong for a reason is told to the supervisor in words; what should not exist is left to end the room as a bug."""
    try:
        yield
    except (GatebookError, OSError) as failure:  # OSError: a disk that is full or broken is no bug
        control.tell(control_fd, control.Failed(why=str(failure)))
        sys.exit(1)


def _stop_when_alone(control_fd: int, stop: threading.Event) -> None:
    # A supervisor that is killed before it read our Ready resets the talk instead of ending it: as alone as after an end, and not to be missed.
    with contextlib.suppress(ConnectionError):
        while os.read(control_fd, 4096):
            pass
    stop.set()


def serve(config: Path, say_banner: Callable[[Deployment, tuple[str, ...]], None]) -> None:
    """`gatebook serve`, until it is told to stop. Raises ConfigurationError."""
    # Before any thread exists: a thread that does not block it would let SIGHUP end the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from gatebook.adapters.clock_system import SystemClock
    from gatebook.adapters.ledger_segment import SegmentLedger
    from gatebook.serve.handover import handed
    from gatebook.serve.supervisor import Supervisor

    left = handed()

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

        await Supervisor(config, clock, open_ledger, say_banner, left=left).run()

    _run(run())


def _run(main: Coroutine[None, None, None]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold what is never written
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS gives fewer than it says that it may
        # A shell's usual 1,024 are fewer than the connections that a worker may have.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


ROOMS: dict[str, Callable[[bytes, int], None]] = {
    "gate": gate,
    "desk": desk,
    "runner": runner,
    "sealer": sealer,
    "meter": meter,
}

if __name__ == "__main__":
    name, descriptor = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    if OWN_USER in sys.argv[3:]:
        hide()
    # The supervisor asks what we hold; whoever signals the whole group (`systemctl kill`) must not end a room by that.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        ROOMS[name](sys.stdin.buffer.read(), descriptor)
    except Exception as failure:
        say_bug(f"room {name}", failure)
        sys.exit(1)
