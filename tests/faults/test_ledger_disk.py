"""Disks that fail, and power that fails: sectors of unsynced writes are there, or not, in any mixture."""

import asyncio
import errno
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gatebook.adapters.ledger_segment import SegmentLedger, chain, writer
from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import reading
from gatebook.ledger.verification import verify
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft, Payload
from gatebook.ports import Receipt
from gatebook.serve.sealing_ports import SealingRefused
from tests.world_ledger import Place, StillClock, a_draft, a_place, let_go, seal_once, write_and_seal

pytestmark = pytest.mark.slow

SECTOR = 512
LARGE = (Payload(part="request", body=b"x" * 30_000),)


class Disk:
    """Stands in for `os` in the segment chain. Remembers what was overwritten since the last sync; fails at the `fails_at`-th write or sync."""

    def __init__(self, fails_at: int, kind: str) -> None:
        self._left, self._kind = fails_at, kind
        self._unsynced: dict[int, list[tuple[int, bytes, bytes]]] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        before = os.pread(descriptor, len(data), offset)
        done = os.pwrite(descriptor, data, offset)
        self._unsynced.setdefault(descriptor, []).append((offset, before, bytes(data)))
        self._step("write")
        return done

    def fdatasync(self, descriptor: int) -> None:
        self._step("sync")
        os.fdatasync(descriptor)
        self._unsynced.pop(descriptor, None)

    def lose_power(self, chance: random.Random) -> None:
        """Each sector of an unsynced write is on the disk or is what it was before."""
        for descriptor, writes in self._unsynced.items():
            for offset, before, data in writes:
                position = 0
                while position < len(data):
                    end = min(len(data), position + SECTOR - (offset + position) % SECTOR)
                    if chance.random() < 0.5:
                        os.pwrite(descriptor, before[position:end], offset + position)
                    position = end

    def _step(self, kind: str) -> None:
        if kind == self._kind:
            self._left -= 1
            if self._left <= 0:
                raise OSError(errno.EIO, "the test's disk failed")


async def write_until_it_fails(place: Place, disk: Disk) -> set[str]:
    """What was acknowledged until then; afterwards nothing is."""
    ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
    said: set[str] = set()

    async def lane(number: int) -> None:
        for count in range(200):
            call = f"{ledger.epoch}-{number}-{count}"
            body = b"x" * ((number * 977 + count * 331) % 3_000)
            await ledger.record_intent(a_draft(number, call=call, payloads=(Payload(part="request", body=body),)))
            said.add(call)

    outcomes = await asyncio.gather(*(lane(number) for number in range(4)), return_exceptions=True)
    assert all(isinstance(outcome, LedgerUnavailable) for outcome in outcomes)
    assert ledger.failed is not None
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            await ledger.record(a_draft(1))
    disk.lose_power(random.Random(len(said)))
    await ledger.close()
    return said


@pytest.mark.parametrize("kind", ["write", "sync"])
@pytest.mark.parametrize("fails_at", [1, 2, 3, 5, 8, 13, 21, 34, 55])
def test_after_a_failed_write_and_a_power_loss_all_that_was_acknowledged_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, fails_at: int
) -> None:
    place = a_place(tmp_path / "data")
    disk = Disk(fails_at, kind)
    monkeypatch.setattr(chain, "os", disk)
    said = asyncio.run(write_until_it_fails(place, disk))
    monkeypatch.undo()
    if fails_at % 2:
        next((place.directory / "segments").glob("gate-0-*.mark")).unlink()  # never synced: it may be lost
    seal_once(place)
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    assert (report.problems, report.unknown, report.pending) == ([], [], 0)
    entries = [each.entry for each in reading.entries(LogFiles(place.log))]
    assert said <= {entry.call for entry in entries}
    assert [entry.x["writer"] for entry in entries if entry.ev == "log.recover"] == ["gate-0"]


class Killed(BaseException):
    """The sealer died here."""


def dying_log_files(at: int, before: bool) -> Callable[[], None]:
    """Make every change that the sealer makes to its files count; the `at`-th one kills it, before or after it is done."""
    left = at

    def dies(method: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object) -> object:
            nonlocal left
            left -= 1
            mine = left == 0
            if mine and before:
                raise Killed
            done = method(*arguments)
            if mine:
                raise Killed
            return done

        return step

    names = ("_link", "_sync_all", "replace", "append", "remove", "remove_tree")
    originals = {name: getattr(LogFiles, name) for name in names}
    for name, method in originals.items():
        setattr(LogFiles, name, dies(method))

    def undo() -> None:
        for name, method in originals.items():
            setattr(LogFiles, name, method)

    return undo


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_sealer_that_dies_at_any_step_goes_on_where_it_was(tmp_path: Path, before: bool) -> None:
    place = a_place(tmp_path / "whole")
    write_and_seal(place, [a_draft(number) for number in range(250)])

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-1", place.deployment, StillClock())
        for number in range(20):
            await ledger.record(a_draft(number))
        await ledger.close()

    asyncio.run(write())
    steps = 0
    while True:
        steps += 1
        copy = tmp_path / f"copy{steps}"
        shutil.copytree(place.directory, copy)
        here = Place(
            deployment=type(place.deployment)(**{**as_fields(place), "data_dir": str(copy)}),
            directory=copy,
            vkey=place.vkey,
            payload_key=place.payload_key,
        )
        undo = dying_log_files(steps, before)
        try:
            seal_once(here)
            break
        except Killed:
            pass
        finally:
            undo()
        let_go(copy)
        seal_once(here)
        report = verify(LogFiles(here.log), LogFiles(here.payloads), here.vkey, payload_key=here.payload_key)
        assert (report.problems, report.unknown, report.pending) == ([], [], 0), f"after step {steps}"
        calls = [each.entry for each in reading.entries(LogFiles(here.log)) if each.entry.w.n == "gate-1"]
        assert [entry.w.s for entry in calls] == list(range(1, 26))
        shutil.rmtree(copy)
    assert steps > 15


def as_fields(place: Place) -> dict[str, object]:
    return {name: getattr(place.deployment, name) for name in place.deployment.__struct_fields__}


@pytest.fixture
def sealed(tmp_path: Path) -> Place:
    place = a_place(tmp_path / "data")
    write_and_seal(place, [a_draft(number) for number in range(10)])
    write_and_seal(place, [a_draft(number) for number in range(10)])
    return place


def newest(place: Place) -> Path:
    return max((place.log / "checkpoints").iterdir(), key=lambda file: int(file.name))


def cut_archive(place: Place) -> None:
    shutil.rmtree(place.log / "checkpoints")


def older_copy(place: Place) -> None:
    """The log as it was one checkpoint earlier, as a restored backup would be."""
    gone = newest(place)
    gone.unlink()
    shutil.copy(newest(place), place.log / "checkpoint")
    for partial in place.log.rglob(f"*.p/{int(gone.name) % 256}"):
        partial.unlink()


def edited_tile(place: Place) -> None:
    tile = place.log / "tile" / "0" / f"000.p/{int(newest(place).name)}"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])


def foreign_checkpoint(place: Place) -> None:
    other = a_place(place.directory.parent / "other")
    write_and_seal(other, [a_draft(number) for number in range(10)])
    newest(place).write_bytes(newest(other).read_bytes())


def another_root(place: Place) -> None:
    (place.directory / "sealer" / "state").write_text(f"{newest(place).name} {'00' * 32}\n")


@pytest.mark.parametrize("harm", [cut_archive, older_copy, edited_tile, foreign_checkpoint, another_root])
def test_a_log_that_is_not_the_signed_one_is_never_signed_again(sealed: Place, harm: Callable[[Place], None]) -> None:
    harm(sealed)
    before = {file: file.read_bytes() for file in sealed.log.rglob("*") if file.is_file()}
    with pytest.raises(SealingRefused):
        seal_once(sealed)
    assert {file: file.read_bytes() for file in sealed.log.rglob("*") if file.is_file()} == before


class FullDisk:
    """`os` of a disk on which no segment can be made durable while it is full."""

    full = True

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "no space")
        os.fsync(descriptor)


def test_a_full_disk_refuses_calls_and_mends_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = a_place(tmp_path / "data")
    disk = FullDisk()
    monkeypatch.setattr(writer, "_STANDSTILL_S", 0.3)

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        monkeypatch.setattr(chain, "os", disk)
        await asyncio.sleep(0.05)
        large = (Payload(part="request", body=b"x" * 30_000),)
        done = 0

        async def write_on() -> None:
            nonlocal done
            for done in range(100):
                await ledger.record(a_draft(done, payloads=large))

        with pytest.raises(LedgerUnavailable, match="no free segment"):
            await write_on()
        assert 0 < done < 30
        assert ledger.failed is None
        disk.full = False
        await asyncio.sleep(0.3)
        await ledger.record(a_draft(1))
        await ledger.close()

    asyncio.run(write())
    seal_once(place)
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


@pytest.mark.parametrize("segment_bytes", [256 << 10, 1 << 20])
def test_where_room_is_short_nothing_takes_that_of_an_outcome_and_an_outcome_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment_bytes: int
) -> None:
    place = a_place(tmp_path / "data", segment_bytes=segment_bytes)
    disk = FullDisk()
    monkeypatch.setattr(writer, "_STANDSTILL_S", 0.3)

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        monkeypatch.setattr(chain, "os", disk)
        await asyncio.sleep(0.05)
        done = 0

        async def intend() -> None:
            nonlocal done
            for done in range(100_000):
                await ledger.record_intent(a_draft(done))

        with pytest.raises(LedgerUnavailable, match="no free segment"):
            await intend()
        # The last eighth was left for outcomes: each asks for some 10 KiB until it is written, and takes less than 2 KiB of it.
        outcomes = 0
        while True:
            try:
                await asyncio.wait_for(ledger.record(an_outcome(outcomes)), 0.25)
            except TimeoutError:
                break
            outcomes += 1
            if outcomes in (1, 5):  # also after an outcome has had its room, and left most of it
                with pytest.raises(LedgerUnavailable, match="no free segment"):
                    await ledger.record_intent(a_draft(done))
                with pytest.raises(LedgerUnavailable, match="no free segment"):
                    await ledger.record(a_draft(done, event="call.refused", reason="overloaded", payloads=()))
                # Who waited for room in vain is not kept waiting for that of his refusal.
                refusal = a_draft(done, event="call.refused", reason="ledger_unavailable", payloads=())
                with pytest.raises(LedgerUnavailable, match="no room to say"):
                    await asyncio.wait_for(ledger.record(refusal), writer._STANDSTILL_S / 2)
        assert outcomes > segment_bytes / 8 / 2048 - 8
        large = an_outcome(3000, payloads=(Payload(part="response", body=b"x" * 60_000),))
        waiting = asyncio.ensure_future(ledger.record(large))
        await asyncio.sleep(0.8)
        assert not waiting.done()  # where an intent would have been refused
        disk.full = False
        await waiting
        await ledger.close()

    asyncio.run(write())
    seal_once(place)
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


def test_callers_faster_than_the_room_that_comes_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is refused while the sealer goes on, however many there are, and nobody is passed over."""
    monkeypatch.setattr(writer, "_STANDSTILL_S", 0.5)
    place = a_place(tmp_path / "data")
    segments = place.directory / "segments"
    stopped = threading.Event()

    def seal_slowly() -> None:
        while not stopped.wait(0.2):
            min(segments.glob("*.seg")).unlink()

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        sealer = threading.Thread(target=seal_slowly)
        sealer.start()
        large = (Payload(part="request", body=b"x" * 30_000),)
        done: list[int] = []

        async def intend(number: int) -> None:
            await ledger.record_intent(a_draft(number, payloads=large))
            done.append(number)

        begun = time.monotonic()
        try:
            await asyncio.gather(*(intend(number) for number in range(60)))
        finally:
            stopped.set()
            sealer.join()
        assert time.monotonic() - begun > writer._STANDSTILL_S, "all of them had room at once: nothing was tried"
        assert done == list(range(60)), "who came first goes first"
        await ledger.close()

    asyncio.run(write())


def fill(ledger: SegmentLedger) -> None:
    """Until there is no room for another such intent; nothing is waited for."""
    number = 0
    while ledger._enqueued(a_draft(number, payloads=LARGE), Receipt) is not None:
        number += 1


def test_who_comes_now_goes_behind_those_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little room it needs: there may always be another one that needs little."""
    place = a_place(tmp_path / "data")
    disk = FullDisk()

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        monkeypatch.setattr(chain, "os", disk)
        await asyncio.sleep(0.05)
        fill(ledger)
        done: list[str] = []

        async def record(name: str, draft: Draft) -> None:
            await ledger.record(draft)
            done.append(name)

        large = asyncio.ensure_future(record("large", a_draft(100, payloads=LARGE)))
        await asyncio.sleep(0.05)
        small = asyncio.ensure_future(record("small", a_draft(101, payloads=())))
        # What happened already is written as long as there is room for it, whoever waits.
        await record("outcome", an_outcome(1, payloads=()))
        assert done == ["outcome"]
        disk.full = False
        await asyncio.gather(large, small)
        assert done == ["outcome", "large", "small"]
        await ledger.close()

    asyncio.run(write())


def test_an_outcome_without_room_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says then that it could not be recorded gets what room there is, and waits no second time."""
    monkeypatch.setattr(writer, "_PATIENCE_S", 0.4)
    place = a_place(tmp_path / "data")
    disk = FullDisk()

    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        monkeypatch.setattr(chain, "os", disk)
        await asyncio.sleep(0.05)
        fill(ledger)
        written = 0

        async def record_on(draft: Draft) -> None:
            nonlocal written
            for _ in range(1000):
                await ledger.record(draft)
                written += 1

        with pytest.raises(LedgerUnavailable, match="no free segment"):
            await record_on(an_outcome(1, payloads=LARGE))
        begun, written = time.monotonic(), 0
        with pytest.raises(LedgerUnavailable):
            await record_on(an_outcome(1, ok=False, reason="ledger_unavailable", payloads=()))
        assert written > 0, "while there was room"
        assert time.monotonic() - begun < writer._PATIENCE_S
        disk.full = False
        await ledger.close()

    asyncio.run(write())


def an_outcome(number: int, **changes: object) -> Draft:
    return a_draft(number, **{"event": "call.result", "reason": "completed", "policy": None, "asked": None, **changes})


def test_a_segment_that_could_not_be_made_leaves_no_gap_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = a_place(tmp_path / "data", segment_bytes=96 << 10)
    left = 2

    class FewDescriptors:
        """The first spare segments meet a process that may open no more files."""

        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
            nonlocal left
            if str(path).endswith("000002.new") and left:
                left -= 1
                raise OSError(errno.EMFILE, "too many open files")
            return os.open(path, flags, mode)

    async def write() -> None:
        monkeypatch.setattr(chain, "os", FewDescriptors())
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        large = (Payload(part="request", body=b"x" * 9_000),)
        written = 0
        while written < 20:
            try:
                await ledger.record(a_draft(written, payloads=large))
                written += 1
            except LedgerUnavailable:
                await asyncio.sleep(0.05)  # until the next attempt to make one
        await ledger.close()

    asyncio.run(write())
    assert left == 0
    seal_once(place)
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey)
    assert (report.problems, report.unknown, report.pending) == ([], [], 0)
    assert sum(each.entry.ev == "call.intent" for each in reading.entries(LogFiles(place.log))) == 20
