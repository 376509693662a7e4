"""A bit that rots in a segment, in what its writer had made durable: it is told within a second, nobody else waits for it, and no byte is deleted."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from gatebook.adapters.ledger_segment import SegmentHand, SegmentLedger
from gatebook.adapters.log_files import LogFiles
from gatebook.adapters.segment_tails import SegmentTails
from gatebook.ledger import reading
from gatebook.ledger.entry import Entry
from gatebook.ledger.framing import FRAME_BYTES, HEADER_BYTES, Frame, FrameKind, read_frames
from gatebook.ledger.note import load_signer
from gatebook.ledger.verification import verify
from gatebook.model.counting import Report
from gatebook.model.record import Payload
from gatebook.serve.sealing import Sealing
from gatebook.wiring import seal
from tests.world_ledger import (
    Place,
    StillClock,
    a_draft,
    a_place,
    a_service_draft,
    let_go,
    seal_once,
    wait_until,
)

LARGE = (Payload(part="request", body=bytes(9_000)),)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return a_place(tmp_path / "data", segment_bytes=96 << 10)


def sealing_of(place: Place) -> Sealing:
    sealing = Sealing(
        place.deployment,
        load_signer(Path(place.deployment.log_key).read_text()),
        log=LogFiles(place.log),
        payloads=LogFiles(place.payloads),
        state=LogFiles(place.directory / "sealer"),
        tails=SegmentTails(place.directory / "segments"),
    )
    sealing.start()
    return sealing


def segments(place: Place, names: str = "gate-0-*.seg") -> list[Path]:
    return sorted((place.directory / "segments").glob(names))


def entries(place: Place) -> list[Entry]:
    return [each.entry for each in reading.entries(LogFiles(place.log))] if (place.log / "checkpoint").exists() else []


def calls(place: Place, writer: str) -> list[str | None]:
    return [entry.call for entry in entries(place) if entry.ev == "call.intent" and entry.w.n == writer]


def intact(place: Place) -> bool:
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    return (report.problems, report.unknown, report.pending) == ([], [], 0)


def frames(segment: Path) -> list[Frame]:
    return list(read_frames(segment.read_bytes(), HEADER_BYTES))


def flip(segment: Path, at: int) -> None:
    """As a disk does it: one bit, of the file that its writer has open."""
    descriptor = os.open(segment, os.O_RDWR)
    try:
        os.pwrite(descriptor, bytes([os.pread(descriptor, 1, at)[0] ^ 1]), at)
    finally:
        os.close(descriptor)


def begin_of(frame: Frame) -> int:
    return frame.end - len(frame.body) - FRAME_BYTES


def third_call(segment: Path) -> Frame:
    """The leaf of its intent; before it come two sessions' first entries and their calls."""
    return [frame for frame in frames(segment) if frame.kind is FrameKind.LEAF][5]


async def write(ledger: SegmentLedger, *numbers: int) -> None:
    for number in numbers:
        await ledger.record_intent(a_draft(number, payloads=LARGE))


class Listening:
    """A sealer in a thread, and what it says of files that are not as they were written."""

    def __init__(self, place: Place) -> None:
        self.broken: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=lambda: seal(place.deployment, self._stop, StillClock(), report=self._hear)
        )

    def _hear(self, report: Report) -> None:
        self.broken += (each.value for each in report.samples if each.name == "gatebook_log_broken_files")

    def __enter__(self) -> "Listening":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.slow
def test_a_bit_that_rots_under_a_living_writer_is_told_and_the_others_are_sealed(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    async def live() -> tuple[str, int]:
        damaged = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        sound = SegmentLedger.open(place.directory, "gate-1", place.deployment, StillClock())
        await write(damaged, *range(5))
        [segment] = segments(place, "gate-0-*-000001.seg")
        leaf = third_call(segment)
        flip(segment, leaf.end - 30)
        with Listening(place) as sealer:
            await asyncio.to_thread(wait_until, lambda: sealer.broken[-1:] == [1])
            await write(sound, *range(10, 15))
            await write(damaged, 5)
            await asyncio.to_thread(wait_until, lambda: len(calls(place, "gate-1")) == 5)
            assert calls(place, "gate-0") == ["call-00000000", "call-00000001"]
        kept = segment.read_bytes()
        await damaged.close()
        await sound.close()
        assert segment.read_bytes().startswith(kept.rstrip(b"\0"))
        return segment.name, begin_of(leaf)

    name, offset = asyncio.run(live())
    said = capfd.readouterr().err
    assert (
        f'"event": "segment.damaged", "file": "segments/{name}", "offset": {offset}, "mend": "gatebook restart' in said
    )
    beat = next(entry for entry in entries(place) if entry.ev == "log.heartbeat")
    assert (beat.out.ok, beat.out.reason, beat.x["broken"], beat.x["first_broken"]) == (
        False, "broken", 1, f"segments/{name}",
    )  # fmt: skip


def test_where_a_segment_is_damaged_nobody_is_in_a_hurry_for_it(tmp_path: Path) -> None:
    """Its writer waits for room, and cannot get any: a sealer that let nobody go first would only take time from the others."""
    place = a_place(tmp_path / "data", segment_bytes=256 << 10)

    async def live() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        await write(ledger, *range(20))
        sealing = sealing_of(place)
        assert sealing.backlog > 0.5
        [segment] = segments(place, "gate-0-*-000001.seg")
        flip(segment, third_call(segment).end - 30)
        sealing.take(look_for_ended=False)
        assert (sealing.backlog, list(sealing.damage)) == (0.0, [f"segments/{segment.name}"])
        await ledger.close()

    asyncio.run(live())


@pytest.mark.parametrize("where", ["leaf", "length", "payload", "turn", "gone"])
def test_what_lies_behind_the_damage_is_kept_when_its_writer_has_ended(place: Place, where: str) -> None:
    async def live() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        await write(ledger, *range(14))
        await ledger.close()

    asyncio.run(live())
    first, *later = segments(place)
    assert frames(first)[-1].kind is FrameKind.TURN and later
    leaf = third_call(first)
    payload = next(frame for frame in frames(first) if frame.kind is FrameKind.PAYLOAD and frame.end > leaf.end)
    turn = frames(first)[-1]
    if where == "gone":  # the disk has zeros there, up to the end
        os.truncate(first, begin_of(leaf))
        os.truncate(first, 96 << 10)
        for segment in later:
            os.truncate(segment, HEADER_BYTES)
            os.truncate(segment, 96 << 10)
    else:
        at = {"leaf": leaf.end - 30, "length": begin_of(leaf), "payload": payload.end - 30, "turn": turn.end - 1}[where]
        flip(first, at)
    before = {segment.name: segment.read_bytes() for segment in segments(place)}
    seal_once(place)
    recovered = next(entry for entry in entries(place) if entry.ev == "log.recover")
    assert (recovered.out.ok, recovered.out.reason) == (False, "damaged")
    assert (recovered.x["writer"], recovered.x["segment"]) == ("gate-0", 1)
    assert recovered.x["torn_bytes"] == 0 if where == "gone" else recovered.x["torn_bytes"] > 40_000
    kept = {path.name: path.read_bytes() for path in segments(place, "*.seg.damaged")}
    if where == "gone":
        before = {first.name: before[first.name]}
    assert kept == {f"{name}.damaged": content for name, content in before.items()}
    assert segments(place, "*.seg") == []
    assert intact(place)
    taken = [f"call-{number:08}" for number in range(14)]
    assert calls(place, "gate-0") == taken[: len(calls(place, "gate-0"))]
    # The next sealer takes nothing from them, and recovers nobody twice.
    seal_once(place)
    assert sum(entry.ev == "log.recover" for entry in entries(place)) == 1
    assert {path.name: path.read_bytes() for path in segments(place, "*.seg.damaged")} == kept


@pytest.mark.slow
def test_what_was_set_aside_is_told_until_somebody_moves_it_away(place: Place) -> None:
    async def live() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        await write(ledger, *range(4))
        await ledger.close()

    asyncio.run(live())
    [segment, *_] = segments(place)
    flip(segment, third_call(segment).end - 30)
    seal_once(place)
    [kept] = segments(place, "*.seg.damaged")
    with Listening(place) as sealer:
        wait_until(lambda: sealer.broken[-1:] == [1])
        for path in segments(place, "*.damaged"):
            path.rename(place.directory.parent / path.name)
        wait_until(lambda: sealer.broken[-1:] == [0])
    beat = next(entry for entry in entries(place) if entry.ev == "log.heartbeat")
    assert beat.x["first_broken"] == f"segments/{kept.name}"


@pytest.mark.slow
def test_sealing_goes_on_where_the_bytes_are_as_they_were_again(place: Place) -> None:
    """A page that was read wrong, or a file that somebody put right."""

    async def live() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        await write(ledger, *range(5))
        [segment] = segments(place, "gate-0-*-000001.seg")
        at = third_call(segment).end - 30
        flip(segment, at)
        with Listening(place) as sealer:
            await asyncio.to_thread(wait_until, lambda: sealer.broken[-1:] == [1])
            flip(segment, at)
            await asyncio.to_thread(wait_until, lambda: sealer.broken[-1:] == [0])
            await write(ledger, 5)
            await asyncio.to_thread(wait_until, lambda: len(calls(place, "gate-0")) == 6)
        await ledger.close()

    asyncio.run(live())
    seal_once(place)
    assert "log.recover" not in [entry.ev for entry in entries(place)]
    assert segments(place, "*") == []
    assert intact(place)


@pytest.mark.parametrize("left", ["half a frame", "a hole, and a whole frame behind it"])
def test_what_a_crash_tore_is_no_damage(place: Place, left: str) -> None:
    hand = SegmentHand(place.deployment, "gate-0", StillClock())
    for _ in range(3):
        hand.write(a_service_draft())
    [segment] = segments(place, "gate-0-*-000001.seg")
    *_, last = frames(segment)
    stored = segment.read_bytes()[begin_of(last) : last.end]
    descriptor = os.open(segment, os.O_RDWR)
    if left == "half a frame":
        os.pwrite(descriptor, stored[:-40], last.end)
    else:
        os.pwrite(descriptor, stored, last.end + 512)
    os.close(descriptor)
    hand.close(clean=False)
    let_go(place.directory)
    seal_once(place)
    recovered = next(entry for entry in entries(place) if entry.ev == "log.recover")
    assert (recovered.out.ok, recovered.out.reason) == (False, "recovered")
    assert segments(place, "*") == []
    assert intact(place)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("steps", range(5))
def test_a_sealer_that_dies_while_it_sets_aside_loses_nothing(
    place: Place, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def live() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        await write(ledger, *range(20))
        await ledger.close()

    asyncio.run(live())
    first, *_ = segments(place)
    flip(first, third_call(first).end - 30)
    used = {segment.name: segment.read_bytes() for segment in segments(place) if frames(segment)}
    assert len(used) == 3
    left = steps
    rename = Path.rename

    def dying(path: Path, target: str | Path) -> Path:
        nonlocal left
        if str(target).endswith(".damaged"):
            if left == 0:
                raise Killed
            left -= 1
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", dying)
        if steps < 4:
            with pytest.raises(Killed):
                seal_once(place)
        else:
            seal_once(place)
    let_go(place.directory)
    seal_once(place)
    assert {path.name: path.read_bytes() for path in segments(place, "*.seg.damaged")} == {
        f"{name}.damaged": content for name, content in used.items()
    }
    assert segments(place, "*.seg") == []
    assert [
        entry.out.reason for entry in entries(place) if entry.ev == "log.recover" and entry.x["writer"] == "gate-0"
    ] == ["damaged"]
    assert intact(place)
