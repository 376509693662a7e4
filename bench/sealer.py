"""How fast the sealer is, alone on a core, and how far behind it is under a given load: `python -m bench.sealer [--json]`.

alone    writers fill their segments with calls (an intent and a result, a masked body of 1 KB each) and end; then the sealer's real loop
         seals them, pinned to one core. Wall time and its own CPU time, so that a shared machine shows.
stages   the same entries again through each part by itself: CPU time per entry. The parts do not add up exactly to the whole.
restart  the sealer starts on the log that it left, as after a kill -9: what it reads before it signs again.
lag      a writer makes calls durable at a fixed rate while the sealer runs in a process of its own; for each entry the time from
         "durable" to "a published checkpoint covers it".
idle     the sealer with nothing to do: CPU per second.

Everything is written under a temporary directory, which is removed.
"""

import argparse
import asyncio
import dataclasses
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from gatebook.adapters.clock_system import SystemClock
from gatebook.adapters.ledger_segment import SegmentLedger
from gatebook.adapters.log_files import LogFiles
from gatebook.adapters.segment_tails import SegmentTails
from gatebook.ledger import note, payload, reading
from gatebook.ledger.checkpoint import Checkpoint, claimed, sign_checkpoint
from gatebook.ledger.gist import reading_with
from gatebook.ledger.growing import GrowingLog
from gatebook.ledger.note import load_signer
from gatebook.ledger.sessions import Sessions
from gatebook.ledger.shelving import Shelf
from gatebook.model.deployment import Deployment
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Asked, Draft, Origin, Payload, PolicyRef, Resource, Who
from gatebook.serve.sealing import Sealing
from gatebook.speed import gists
from gatebook.wiring import seal

Figures = dict[str, float]
_LANES = 256
_ROOM_BYTES = 2 << 30


@dataclasses.dataclass(frozen=True)
class Load:
    calls: int
    writers: int
    sessions: int
    body_bytes: int


def main() -> None:
    arguments = _arguments()
    os.sched_setaffinity(0, {arguments.core})
    load = Load(arguments.calls, arguments.writers, arguments.sessions, arguments.body)
    report: dict[str, object] = {"load": dataclasses.asdict(load), "machine": _machine()}
    with tempfile.TemporaryDirectory(prefix="gatebook-bench-", dir=arguments.directory) as name:
        if shutil.disk_usage(name).free < _ROOM_BYTES:
            sys.exit(f"less than {_ROOM_BYTES >> 30} GiB free for {name}")
        for part in arguments.parts:
            report[part] = PARTS[part](Path(name) / part, load, arguments)
            shutil.rmtree(Path(name) / part)
    _print(report, as_json=arguments.json)


def alone(directory: Path, load: Load, _: argparse.Namespace) -> Figures:
    """The sealer on a core of its own, from the first byte of the segments to the last signature."""
    deployment = deployed(directory)
    fill(deployment, load)
    return _sealed(deployment, load)


def restart(directory: Path, load: Load, _: argparse.Namespace) -> Figures:
    """What `Sealing.start` takes while the sessions of the whole log can still be open."""
    deployment = deployed(directory)
    fill(deployment, load)
    _sealed(deployment, load)
    # One writer that lived since the first entry: its segment says that sessions may go back that far.
    sealing = _sealing(deployment, directory)
    measured = Measure()
    sealing.start()
    figures = measured.figures(sealing.size)
    return {**figures, "s_for_a_million_entries": figures["wall_s"] * 1_000_000 / sealing.size}


def stages(directory: Path, load: Load, _: argparse.Namespace) -> dict[str, Figures]:
    """CPU time of each part by itself, a few thousand entries at a time as the sealer takes them."""
    deployment = deployed(directory)
    fill(deployment, load)
    _collect_seldom()
    spent = Stages()
    sessions, growing, read = Sessions(), GrowingLog(), reading_with(gists())
    shelf, log = Shelf(LogFiles(directory / "payloads")), LogFiles(directory / "log")
    index = 0
    for tail in SegmentTails(directory / "segments").look():
        tail.ended()
        by = (tail.writer, tail.epoch)
        while groups := spent.of("segments: frames and checksums", tail.take):
            spent.entries += len(groups)
            entries = spent.of("entries: canonical form, gist", lambda: [read(each.leaf, by) for each in groups])  # noqa: B023

            def follow() -> None:
                for offset, entry in enumerate(entries):  # noqa: B023
                    sessions.take(index + offset, entry)  # noqa: B023

            def put() -> None:
                for group, entry in zip(groups, entries, strict=True):  # noqa: B023
                    shelf.put(group.frames, entry.writer, entry.session, entry.sequence)

            def grow() -> None:
                for group in groups:
                    growing.append(group.leaf)

            spent.of("sessions: totals, open calls", follow)
            spent.of("payloads: places", put)
            spent.of("payloads: files of each session", shelf.flush)
            spent.of("tree: hashes", grow)
            spent.of("tree: bundles and tiles", lambda: log.write_once(growing.flush().files))
            index += len(groups)
    found = spent.figures()
    signer = load_signer(Path(deployment.log_key).read_text())
    signing = Stages()
    for signing.entries in range(1, 41):
        signing.of("one checkpoint: state, signature, archive, name", lambda: _sign(signing.entries, signer, log))
    return {**found, **signing.figures()}


def _sign(size: int, signer: note.Signer, log: LogFiles) -> None:
    signed = sign_checkpoint(Checkpoint(origin=signer.name, size=size, root=bytes(32)), signer)
    log.replace("state", signed)
    log.write_once([(f"checkpoints/{size}", signed)])
    log.replace("checkpoint", signed)


def lag(directory: Path, load: Load, arguments: argparse.Namespace) -> Figures:
    """The sealer on this core, a writer on the other one."""
    deployment = deployed(directory)
    sealer = _sealer_process(deployment, arguments.core)
    try:
        return _lag(deployment, load, arguments.rate, arguments.seconds, sealer.pid)
    finally:
        sealer.terminate()
        sealer.wait(60)


def idle(directory: Path, _: Load, arguments: argparse.Namespace) -> Figures:
    """A sealer beside one living writer that says nothing."""
    deployment = deployed(directory)

    async def quiet() -> Figures:
        ledger = SegmentLedger.open(deployment.data_dir, "gate-0", deployment, SystemClock())
        await ledger.record(_drafts(1, Load(1, 1, 1, 10), "gate-0", 0)[0])
        sealer = _sealer_process(deployment, arguments.core)
        try:
            _wait_for_checkpoint(directory)
            await asyncio.sleep(2)
            before = _cpu_of(sealer.pid)
            await asyncio.sleep(arguments.seconds)
            return {"cpu_percent": 100 * (_cpu_of(sealer.pid) - before) / arguments.seconds}
        finally:
            sealer.terminate()
            sealer.wait(60)
            await ledger.close()

    return asyncio.run(quiet())


PARTS: dict[str, Callable[[Path, Load, argparse.Namespace], object]] = {
    "alone": alone,
    "stages": stages,
    "restart": restart,
    "lag": lag,
    "idle": idle,
}


class Measure:
    """Wall and CPU time of this process from here on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figures(self, entries: int) -> Figures:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {
            "entries": entries,
            "wall_s": wall,
            "cpu_s": cpu,
            "entries_per_s": entries / wall,
            "entries_per_cpu_s": entries / cpu,
            "cpu_us_per_entry": cpu * 1e6 / entries,
        }


T = TypeVar("T")


class Stages:
    """CPU and wall time of named parts, summed up; `entries` they were for."""

    def __init__(self) -> None:
        self.entries = 0
        self._spent: dict[str, tuple[float, float]] = {}

    def of(self, name: str, work: Callable[[], T]) -> T:
        cpu, wall = self._spent.get(name, (0.0, 0.0))
        cpu, wall = cpu - time.process_time(), wall - time.perf_counter()
        done = work()
        self._spent[name] = (cpu + time.process_time(), wall + time.perf_counter())
        return done

    def figures(self) -> dict[str, Figures]:
        return {
            name: {"cpu_us": cpu * 1e6 / self.entries, "wall_us": wall * 1e6 / self.entries}
            for name, (cpu, wall) in self._spent.items()
        }


def _collect_seldom() -> None:
    """As the sealer's room does (`gatebook.wiring`)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)


def deployed(directory: Path) -> Deployment:
    """A new deployment's keys and settings in `directory`."""
    keys = directory / "keys"
    keys.mkdir(parents=True)
    signer, _ = note.generate_key("example.com/bench")
    _, public = payload.generate_key_pair()
    (keys / "log.key").write_text(signer)
    (keys / "payload.pub").write_bytes(public)
    deployment = Deployment(
        profile="pci",
        public_url="https://gate.example",
        listen=("127.0.0.1:8443",),
        workers=1,
        data_dir=str(directory),
        origin="example.com/bench",
        log_key=str(keys / "log.key"),
        payload_public_key=str(keys / "payload.pub"),
    )
    (directory / "deployment.json").write_bytes(msgspec.json.encode(deployment))
    return deployment


def fill(deployment: Deployment, load: Load) -> None:
    """The segments of writers that have ended, with `load.calls` calls in all."""

    async def write(writer: str, calls: int) -> None:
        needed = calls * 2 * (load.body_bytes + 1500)
        size = max(deployment.segment_bytes, needed // 3)
        ledger = SegmentLedger.open(deployment.data_dir, writer, deployment, SystemClock(), segment_bytes=size)
        numbers = iter(range(calls))

        async def lane() -> None:
            for number in numbers:
                for draft in _drafts(number, load, writer, number):
                    await _recorded(ledger, draft)

        await asyncio.gather(*(lane() for _ in range(_LANES)))
        await ledger.close()

    for number in range(load.writers):
        asyncio.run(write(f"gate-{number}", load.calls // load.writers))


async def _recorded(ledger: SegmentLedger, draft: Draft) -> None:
    while True:
        try:
            await ledger.record(draft)
            return
        except LedgerUnavailable:
            if ledger.failed:
                raise
            await asyncio.sleep(0.05)


def _drafts(number: int, load: Load, writer: str, session: int) -> tuple[Draft, Draft]:
    """An intent and its result, as the gate writes them."""
    chance = random.Random(number)
    digits = chance.randbytes(16).hex()
    call = f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
    name = f"{hash((writer, session % load.sessions)) & (1 << 128) - 1:032x}"
    who = Who(
        kind="person",
        iss="https://idp.example/realms/payments",
        sub=f"8c1f22d0-{session % load.sessions:04x}-4c1e-9d5f-2b7f0e4d6a11",
        agent="assistant",
        login=f"sid:{session % load.sessions:08x}",
        amr=("pwd", "otp"),
    )
    intent = Draft(
        event="call.intent",
        ok=True,
        reason="permitted",
        who=who,
        origin=Origin(ip="192.0.2.7", client="assistant/1.0"),
        resource=Resource(kind="server", server="payments", method="tools/call", name="refund"),
        call=call,
        session=name,
        policy=PolicyRef(config="ab" * 32, snapshot=1, rule="role:support/allow[0]", decision="permit"),
        credential="payments",
        asked=Asked(
            id=str(number), shape={"amount": "integer", "order": "string"}, fp="cd" * 32, kid="0123456789abcdef"
        ),
        payloads=(Payload(part="request", body=b"q" * load.body_bytes),),
    )
    result = msgspec.structs.replace(
        intent,
        event="call.result",
        reason="completed",
        policy=None,
        credential=None,
        asked=None,
        payloads=(Payload(part="response", body=b"a" * load.body_bytes),),
    )
    return intent, result


def _sealed(deployment: Deployment, load: Load) -> Figures:
    """Seal until a published checkpoint covers everything that the writers left; what the sealer adds after that is not timed."""
    stop = threading.Event()
    directory = Path(deployment.data_dir)
    each = load.calls // load.writers
    expected = load.writers * (2 * each + min(load.sessions, each))
    found: Figures = {}

    def watch() -> None:
        while (size := _published(directory)) < expected:
            time.sleep(0.005)
        found.update(measured.figures(size))
        stop.set()

    _collect_seldom()
    measured = Measure()
    watcher = threading.Thread(target=watch)
    watcher.start()
    seal(deployment, stop)
    watcher.join()
    return found


def _sealing(deployment: Deployment, directory: Path) -> Sealing:
    return Sealing(
        deployment,
        load_signer(Path(deployment.log_key).read_text()),
        log=LogFiles(directory / "log"),
        payloads=LogFiles(directory / "payloads"),
        state=LogFiles(directory / "sealer"),
        tails=SegmentTails(directory / "segments"),
    )


def _sealer_process(deployment: Deployment, core: int) -> "subprocess.Popen[bytes]":
    program = (
        "import gc, os, signal, sys, threading, msgspec; from pathlib import Path\n"
        "from gatebook.model.deployment import Deployment; from gatebook.wiring import seal\n"
        "gc.freeze(); gc.set_threshold(100_000)\n"
        "os.sched_setaffinity(0, {int(sys.argv[2])}); stop = threading.Event()\n"
        "signal.signal(signal.SIGTERM, lambda *_: stop.set())\n"
        "seal(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Deployment), stop)\n"
    )
    where = str(Path(deployment.data_dir) / "deployment.json")
    return subprocess.Popen([sys.executable, "-c", program, where, str(core)], stdin=subprocess.DEVNULL)


def _lag(deployment: Deployment, load: Load, rate: float, seconds: float, sealer: int) -> Figures:
    directory = Path(deployment.data_dir)
    others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
    os.sched_setaffinity(0, others or os.sched_getaffinity(0))
    durable: dict[tuple[str, str], float] = {}
    published: list[tuple[int, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            size = _published(directory)
            if size and (not published or published[-1][0] != size):
                published.append((size, time.perf_counter()))

    async def one(ledger: SegmentLedger, number: int) -> None:
        for draft in _drafts(number, load, "gate-0", number):
            await ledger.record(draft)
            assert draft.call is not None
            durable[draft.call, draft.event] = time.perf_counter()

    async def write() -> tuple[float, float]:
        ledger = SegmentLedger.open(directory, "gate-0", deployment, SystemClock())
        tasks: set[asyncio.Task[None]] = set()
        _wait_for_checkpoint(directory)
        begun, before, number = time.perf_counter(), _cpu_of(sealer), 0
        while (now := time.perf_counter() - begun) < seconds:
            while number < now * rate:
                task = asyncio.create_task(one(ledger, number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)
        spent = _cpu_of(sealer) - before
        await ledger.close()
        await _until(lambda: not any((directory / "segments").glob("gate-*")), "the segments are not sealed")
        await asyncio.sleep(0.1)
        return number / seconds, spent / seconds

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        done, busy = asyncio.run(write())
    finally:
        over.set()
        watcher.join()
    waits = sorted(_waits(directory, durable, published))
    assert len(waits) == len(durable), "an entry was never published"
    per_s = [len(published) / (published[-1][1] - published[0][1])] if len(published) > 1 else [0.0]
    return {
        "calls_per_s": done,
        "entries": len(waits),
        "p50_s": waits[len(waits) // 2],
        "p99_s": waits[len(waits) * 99 // 100],
        "max_s": waits[-1],
        "checkpoints_per_s": per_s[0],
        "sealer_cpu_percent": 100 * busy,
        "archived": len(list((directory / "log" / "checkpoints").iterdir())),
    }


def _waits(
    directory: Path, durable: dict[tuple[str, str], float], published: list[tuple[int, float]]
) -> Iterator[float]:
    place = 0
    for indexed in reading.entries(LogFiles(directory / "log")):
        at = durable.get((indexed.entry.call or "", indexed.entry.ev))
        if at is None:
            continue
        while place < len(published) and published[place][0] <= indexed.index:
            place += 1
        if place < len(published):
            yield published[place][1] - at


def _published(directory: Path) -> int:
    try:
        return claimed((directory / "log" / "checkpoint").read_bytes()).size
    except FileNotFoundError:
        return 0


async def _until(holds: Callable[[], bool], otherwise: str) -> None:
    for _ in range(1200):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(otherwise)


def _wait_for_checkpoint(directory: Path) -> None:
    for _ in range(1000):
        if _published(directory):
            return
        time.sleep(0.02)
    raise TimeoutError("the sealer signed nothing")


def _cpu_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine() -> dict[str, object]:
    return {"python": sys.version.split()[0], "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}


def _print(report: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=1))
        return
    for part, figures in report.items():
        print(f"\n{part}")
        assert isinstance(figures, dict)
        for name, value in figures.items():
            if isinstance(value, dict):
                print(f"  {name:<66} {value['cpu_us']:8.2f} µs CPU {value['wall_us']:8.2f} µs wall")
            else:
                print(f"  {name:<26} {value:,.3f}" if isinstance(value, float) else f"  {name:<26} {value}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[], choices=[*PARTS, []], help=", ".join(PARTS))
    parser.add_argument("--calls", type=int, default=50_000, help="two entries each")
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--sessions", type=int, default=64, help="of each writer")
    parser.add_argument("--body", type=int, default=1024, help="bytes of each payload")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--rate", type=float, default=2000.0, help="calls/s, for lag")
    parser.add_argument("--seconds", type=float, default=15.0, help="for lag and idle")
    parser.add_argument("--directory", default=None, help="where the temporary directory is made")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts or list(PARTS)
    return arguments


if __name__ == "__main__":
    main()
