"""A book in memory, and what ledger tests share: drafts, a still clock, a deployment in a directory, a sealed log."""

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from gatebook.ledger import note, payload
from gatebook.ledger.entry import Clocked, Entry, decode
from gatebook.ledger.framing import FrameKind, apart, read_frame
from gatebook.ledger.scribe import Scribe
from gatebook.model.deployment import Deployment, Limits
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Asked, Draft, Origin, Payload, PolicyRef, Resource, Who
from gatebook.ports import Instant, Receipt, Recorded

START_US = 1_795_000_000_000_000


class StillClock:
    """Stands until it is moved."""

    def __init__(self, unix_us: int = START_US, *, synchronised: bool = True) -> None:
        self.unix_us = unix_us
        self.synchronised = synchronised

    def now(self) -> Instant:
        return Instant(unix_us=self.unix_us, clocked=Clocked(src="kernel", off=0, ok=self.synchronised))


class CountingEntropy:
    """Random bytes that are the same in every run, and never twice the same in one."""

    def __init__(self) -> None:
        self._drawn = 0

    def __call__(self, count: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(8, "big").rjust(count, b"\x5a")[-count:]


class MemoryLedger:
    """ports.Ledger that keeps `drafts`, `leaves` and decoded `entries` in order, made by the real scribe. `fail_from(n)`: the n-th record from now on
    is refused, and every later one."""

    def __init__(self, origin: str = "example.com/log", clock: StillClock | None = None) -> None:
        _, public = payload.generate_key_pair()
        self.origin = origin
        self.clock = clock or StillClock()
        self.drafts: list[Draft] = []
        self.leaves: list[bytes] = []
        self.failed: str | None = None
        self._left: int | None = None
        self._scribe = Scribe(
            writer="gate-0",
            epoch="01a2000000000badc0de",
            entropy=CountingEntropy(),
            payload_key=payload.load_public_key(public.decode()),
            development=False,
            piece_bytes=1 << 20,
            forget_after_us=1_800_000_000,
        )

    @property
    def entries(self) -> list[Entry]:
        return [decode(leaf) for leaf in self.leaves]

    def fail_from(self, count: int) -> None:
        self._left = count - 1

    async def record_intent(self, draft: Draft) -> Receipt:
        return Receipt(origin=self.origin, leaf=self._record(draft))

    async def record(self, draft: Draft) -> Recorded:
        return Recorded(origin=self.origin, leaf=self._record(draft))

    async def close(self) -> None:
        self._left = 0

    def _record(self, draft: Draft) -> bytes:
        if self._left == 0:
            self.failed = "refused by the test"
            raise LedgerUnavailable(self.failed)
        if self._left is not None:
            self._left -= 1
        frames, leaf = self._scribe.compose(draft, self.clock.unix_us, Clocked(src="kernel", off=0, ok=True))
        self.drafts.append(draft)
        for stored in apart(frames):
            found = read_frame(stored, 0)
            assert found is not None
            if found.kind is FrameKind.LEAF:
                self.leaves.append(found.body)
        return leaf


PERSON = Who(
    kind="person",
    iss="https://idp.example/realms/a",
    sub="8c1f22",
    agent="assistant",
    login="sid:1",
    amr=("pwd", "otp"),
)
SERVICE = Who(kind="service", iss="gatebook", sub="supervisor")


def a_draft(number: int = 0, **changes: object) -> Draft:
    """The intent of call `number`, of one of five sessions."""
    draft = Draft(
        event="call.intent",
        ok=True,
        reason="permitted",
        who=PERSON,
        origin=Origin(ip="192.0.2.7", client="assistant/1.0"),
        resource=Resource(kind="server", server="payments", method="tools/call", name="refund"),
        call=f"call-{number:08d}",
        session=f"{number % 5:032x}",
        policy=PolicyRef(config="ab" * 32, snapshot=1, rule="role:support#0", decision="permit"),
        asked=Asked(id="7", shape={"amount": "integer", "order": "string"}, fp="cd" * 32, kid="0123456789abcdef"),
        payloads=(Payload(part="request", body=b'{"amount":12,"order":"A-%d"}' % number),),
    )
    return msgspec.structs.replace(draft, **changes)


def a_service_draft(**changes: object) -> Draft:
    """A supervisor's entry, of no session."""
    draft = Draft(
        event="config.load",
        ok=True,
        reason="completed",
        who=SERVICE,
        origin=Origin(ip="local"),
        resource=Resource(kind="config"),
    )
    return msgspec.structs.replace(draft, **changes)


class Place(msgspec.Struct, frozen=True):
    """A deployment in a directory, with its keys."""

    deployment: Deployment
    directory: Path
    vkey: str
    payload_key: payload.PrivateKey

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def payloads(self) -> Path:
        return self.directory / "payloads"


def a_place(
    directory: Path, *, segment_bytes: int = 256 << 10, limits: Limits | None = None, heartbeat_s: float = 3600.0
) -> Place:
    """A new deployment's keys in `directory`; nothing is written there otherwise."""
    signer, vkey = note.generate_key("example.com/log")
    private, public = payload.generate_key_pair()
    keys = directory / "keys"
    keys.mkdir(parents=True)
    (keys / "log.key").write_text(signer)
    (keys / "payload.pub").write_bytes(public)
    deployment = Deployment(
        profile="pci",
        public_url="https://gate.example",
        listen=("127.0.0.1:8443",),
        workers=1,
        data_dir=str(directory),
        origin="example.com/log",
        log_key=str(keys / "log.key"),
        payload_public_key=str(keys / "payload.pub"),
        segment_bytes=segment_bytes,
        heartbeat_s=heartbeat_s,
        limits=limits or Limits(),
    )
    return Place(deployment, directory, vkey, payload.load_private_key(private.decode()))


class RunningSealer:
    """The sealer's room in a thread, as a context manager; what ended it is raised on leaving."""

    def __init__(self, place: Place, clock: StillClock | None = None) -> None:
        from gatebook.wiring import seal

        self.stop = threading.Event()
        self._failure: BaseException | None = None

        def keep() -> None:
            try:
                seal(place.deployment, self.stop, clock or StillClock())
            except BaseException as error:
                self._failure = error

        self._thread = threading.Thread(target=keep)

    def __enter__(self) -> "RunningSealer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure


def seal_once(place: Place, clock: StillClock | None = None) -> None:
    """Everything that ended writers left is in the signed log."""
    from gatebook.wiring import seal

    stop = threading.Event()
    stop.set()
    seal(place.deployment, stop, clock or StillClock())


def let_go(directory: Path) -> None:
    """Nothing below `directory` is open any more: of rooms that died, or ended, in this process, while a kernel closes what a process of their own
    had open, and so lets go of their locks. Only where none of them lives."""
    gc.collect()  # what closes itself does so first: later, the number might be another file's
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if descriptor.readlink().is_relative_to(directory):
                os.close(int(descriptor.name))


def wait_until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Return as soon as `holds`; AssertionError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def write_and_seal(
    place: Place, drafts: list[Draft], *, writer: str = "gate-0", clock: StillClock | None = None
) -> None:
    """One epoch of `writer` with these drafts, ended and sealed: one more checkpoint."""
    import asyncio

    from gatebook.adapters.ledger_segment import SegmentLedger

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, writer, place.deployment, clock or StillClock())
        for draft in drafts:
            await ledger.record(draft)
        await ledger.close()

    asyncio.run(write())
    seal_once(place, clock)


def a_sealed_log(place: Place) -> None:
    """A log with everything in it: a kept configuration, sessions, payloads in one frame and in many, closings, several checkpoints."""
    import hashlib

    config = b'[deployment]\nprofile = "pci"\n'
    digest = hashlib.sha256(config).hexdigest()
    (place.log / "configs").mkdir(parents=True)
    (place.log / "configs" / f"{digest}.toml").write_bytes(config)
    clock = StillClock()
    write_and_seal(place, [a_service_draft(detail={"config_sha256": digest})], writer="supervisor", clock=clock)
    large = Payload(part="response", body=bytes(range(256)) * 300)
    calls = [a_draft(number) for number in range(12)]
    results = [
        a_draft(number, event="call.result", reason="completed", payloads=(large,) if number == 3 else ())
        for number in range(11)
    ]
    write_and_seal(place, [*calls, *results], clock=clock)
    clock.unix_us += 2_000_000_000
    with RunningSealer(place, clock):
        wait_until(lambda: closed_sessions(place) == 5)
    write_and_seal(place, [a_draft(number, session=f"{number % 3 + 16:032x}") for number in range(280)], clock=clock)


def closed_sessions(place: Place) -> int:
    """How many `session.close` the published log holds."""
    from gatebook.adapters.log_files import LogFiles
    from gatebook.ledger import reading

    if not (place.log / "checkpoint").exists():
        return 0
    return sum(1 for each in reading.entries(LogFiles(place.log)) if each.entry.ev == "session.close")
