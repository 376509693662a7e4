"""Power is lost at any moment, on a disk that keeps only what was synced: `verify` passes afterwards, nothing that was acknowledged is missing,
and no checkpoint that somebody may have seen is taken back.

The real ledger and the real sealer run; `model_disk` notes what they do to their files and makes the disks that may be found. Each round takes
one of these disks, recovers and verifies it. Some go on from there, so that recoveries are cut off too."""

import asyncio
import os
import random
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters import log_files
from gatebook.adapters.ledger_segment import SegmentChain, SegmentLedger, writer
from gatebook.adapters.log_files import LogFiles
from gatebook.durable import sync_folder
from gatebook.ledger import reading
from gatebook.ledger.checkpoint import claimed
from gatebook.ledger.verification import verify
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Payload
from tests.faults.model_disk import Loss, Recorder, Told, disk_after
from tests.world_ledger import Place, StillClock, a_draft, a_place, let_go, seal_once

SEGMENT_BYTES = 96 << 10
LOSSES_PER_RUN = 5
RUNS_PER_CHAIN = 8
ACKNOWLEDGED, PUBLISHED = "acknowledged ", "published "


def at(place: Place, directory: Path) -> Place:
    """The same deployment with its data in another directory."""
    deployment = msgspec.structs.replace(place.deployment, data_dir=str(directory))
    return msgspec.structs.replace(place, deployment=deployment, directory=directory)


async def work(place: Place, recorder: Recorder, chance: random.Random, name: str) -> int:
    """Two writers write, sealers seal what there is, some of them killed; how many were."""
    kills = 0
    ledgers = [SegmentLedger.open(place.directory, f"gate-{slot}", place.deployment, StillClock()) for slot in range(2)]
    sizes = [chance.choice((0, 20, 700, 3_000, 30_000)) for _ in range(40)]

    async def lane(number: int) -> None:
        for count in range(chance.randint(2, 8)):
            call = f"{name}-{number}-{count}"
            payload = Payload(part="request", body=b"x" * sizes[(number * 7 + count) % len(sizes)])
            try:
                await ledgers[number % 2].record_intent(a_draft(number % 3, call=call, payloads=(payload,)))
            except LedgerUnavailable:
                return
            recorder.told(ACKNOWLEDGED + call)

    lanes = asyncio.gather(*(lane(number) for number in range(4)))
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.5:
            steps = chance.randint(0, 60)
            kills += await asyncio.to_thread(recorder.killed_after, steps, lambda: seal_once(place))
        else:
            await asyncio.to_thread(seal_once, place)
        if (place.log / "checkpoint").exists():
            recorder.told(PUBLISHED + (place.log / "checkpoint").read_bytes().decode())
    await lanes
    for ledger in ledgers:
        await ledger.close()
    if chance.random() < 0.5:
        await asyncio.to_thread(seal_once, place)
    return kills


def wrongs(place: Place, told: set[str]) -> Iterator[str]:
    """What is wrong with the log that is found after recovery."""
    try:
        seal_once(place)
    except Exception as failure:
        yield "no recovery: " + "".join(traceback.format_exception(failure))
        return
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    yield from (f"{problem.where}: {problem.what}" for problem in report.problems)
    if report.pending or report.unknown:
        yield f"{report.pending} pending, {len(report.unknown)} unknown"
    calls = Counter(each.entry.call for each in reading.entries(LogFiles(place.log)) if each.entry.ev == "call.intent")
    acknowledged = {each.removeprefix(ACKNOWLEDGED) for each in told if each.startswith(ACKNOWLEDGED)}
    if missing := acknowledged - set(calls):
        yield f"{len(missing)} acknowledged entries are missing: {sorted(missing)[:3]}"
    if twice := [call for call, count in calls.items() if count > 1]:
        yield f"recorded twice: {twice[:3]}"
    for note in (each.removeprefix(PUBLISHED).encode() for each in told if each.startswith(PUBLISHED)):
        kept = place.log / "checkpoints" / str(claimed(note).size)
        if not kept.exists() or kept.read_bytes() != note:
            yield f"the published checkpoint of size {claimed(note).size} was taken back"
    if left := [each.name for each in (place.directory / "segments").iterdir()]:
        yield f"left in segments: {left[:3]}"


class Tally:
    def __init__(self) -> None:
        self.rounds = 0
        self.acknowledged = 0
        self.kills = 0
        self.loss = Loss()

    def count(self, loss: Loss, told: set[str]) -> None:
        self.rounds += 1
        self.acknowledged += sum(each.startswith(ACKNOWLEDGED) for each in told)
        self.loss = Loss(
            *(a + b for a, b in zip(msgspec.structs.astuple(self.loss), msgspec.structs.astuple(loss), strict=True))
        )


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model says what a sync means; the machine's own disk need not do it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    monkeypatch.setattr(writer, "SMALL_SEGMENT_BYTES", SEGMENT_BYTES)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """In memory, where the machine has such a place: nothing is to survive there but by the model."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="gatebook-") as made:
        yield Path(made)


def lose_power(directory: Path, rounds: int, seed: int) -> Tally:
    chance = random.Random(seed)
    keys = a_place(directory / "keys", segment_bytes=SEGMENT_BYTES)
    tally = Tally()
    runs = 0
    here, told = directory / "run", set[str]()
    here.mkdir()
    while tally.rounds < rounds:
        runs += 1
        recorder = Recorder(here)
        with pytest.MonkeyPatch.context() as patch:
            recorder.install(patch)
            tally.kills += asyncio.run(work(at(keys, here), recorder, chance, f"{seed}-{runs}"))
        steps, known = 0, told
        for _ in range(min(LOSSES_PER_RUN, rounds - tally.rounds)):
            steps = chance.randint(0, len(recorder.steps))
            found = directory / f"found-{tally.rounds}"
            loss = disk_after(recorder, steps, chance, found)
            known = told | {step.what for step in recorder.steps[:steps] if isinstance(step, Told)}
            wrong = list(wrongs(at(keys, found), known))
            assert wrong == [], f"seed {seed}, round {tally.rounds}, {steps} of {len(recorder.steps)} steps: {wrong}"
            shutil.rmtree(found)
            tally.count(loss, known)
        let_go(here)
        shutil.rmtree(here)
        if runs % RUNS_PER_CHAIN:  # the next run goes on from the last disk found
            told = known
            disk_after(recorder, steps, chance, here)
        else:
            told = set()
            here.mkdir()
    return tally


ROUNDS = 120
SEEDS = range(1, 9)


def report(tally: Tally) -> None:
    loss = tally.loss
    print(
        f"{tally.rounds} power losses: {loss.writes} writes and {loss.names} names lost, {loss.torn} writes torn; "
        f"{tally.kills} sealers killed before; {tally.acknowledged} acknowledged entries looked for, none missing"
    )


@pytest.mark.slow
def test_after_a_power_loss_nothing_that_was_acknowledged_is_missing(directory: Path) -> None:
    tally = lose_power(directory, 40, seed=0)
    report(tally)
    assert tally.acknowledged > 0 and min(msgspec.structs.astuple(tally.loss)) > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_after_many_power_losses_nothing_that_was_acknowledged_is_missing(directory: Path, seed: int) -> None:
    report(lose_power(directory, ROUNDS, seed))


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100, 110))
def test_after_a_night_of_power_losses_nothing_that_was_acknowledged_is_missing(directory: Path, seed: int) -> None:
    report(lose_power(directory, 1_000, seed))


# The model itself: a ledger and a sealer that do not sync are found out


def test_a_ledger_that_does_not_sync_is_found(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SegmentChain, "sync", lambda chain: None)
    with pytest.raises(AssertionError, match="seed 0, round"):
        lose_power(directory, 40, seed=0)


@pytest.mark.parametrize("forgotten", ["make_folder", "sync_folder"])
def test_a_sealer_that_does_not_sync_names_is_found(
    directory: Path, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    # Nothing but the sync is left out: a folder that is made where one was only to be synced would be another fault.
    left = {"make_folder": lambda path, *_: path.mkdir(exist_ok=True), "sync_folder": lambda *_: None}
    monkeypatch.setattr(log_files, forgotten, left[forgotten])
    with pytest.raises(AssertionError, match="seed 0, round"):
        lose_power(directory, 200, seed=0)


def test_a_write_lives_on_from_its_sync_and_a_name_from_its_folders(directory: Path) -> None:
    (directory / "root").mkdir()
    recorder = Recorder(directory / "root")
    with pytest.MonkeyPatch.context() as patch:
        recorder.install(patch)
        for name, synced, named in (("kept", True, True), ("empty", False, True), ("nameless", True, False)):
            descriptor = os.open(directory / "root" / name, os.O_WRONLY | os.O_CREAT)
            os.write(descriptor, b"content")
            if synced:
                os.fsync(descriptor)
            os.close(descriptor)
            if named:
                sync_folder(directory / "root")
    found: Counter[tuple[str, bytes]] = Counter()
    for number in range(100):
        disk_after(recorder, len(recorder.steps), random.Random(number), directory / f"{number}")
        found.update((path.name, path.read_bytes()) for path in (directory / f"{number}").iterdir())
    assert found["kept", b"content"] == 100
    assert 0 < found["nameless", b"content"] < 100 and [name for name, _ in found if name == "nameless"] == ["nameless"]
    assert found["empty", b"content"] > 0 and found["empty", b""] > 0
    assert [content for name, content in found if name == "empty" and 0 < len(content) < 7], "torn"
