"""What the sealer adds to the log by itself, and when."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.ledger_segment import SegmentLedger, chain
from gatebook.adapters.ledger_segment.chain import SegmentChain
from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import reading, sessions
from gatebook.ledger.entry import Entry
from gatebook.ledger.verification import verify
from gatebook.model.counting import Report
from gatebook.model.errors import LedgerUnavailable
from gatebook.serve import giving_way
from gatebook.serve.sealing_ports import SealingRefused
from gatebook.wiring import seal
from tests.world_ledger import (
    START_US,
    Place,
    RunningSealer,
    StillClock,
    a_draft,
    a_place,
    a_service_draft,
    closed_sessions,
    seal_once,
    wait_until,
    write_and_seal,
)

pytestmark = pytest.mark.slow

IDLE_US = 900_000_000 + 30_000_000


def entries(place: Place) -> list[Entry]:
    return [each.entry for each in reading.entries(LogFiles(place.log))]


def events(place: Place, *families: str) -> list[str]:
    return [entry.ev for entry in entries(place) if entry.ev.partition(".")[0] in families]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return a_place(tmp_path / "data")


def test_a_log_begins_with_its_own_name_and_key(place: Place) -> None:
    write_and_seal(place, [a_service_draft()], writer="supervisor")
    first = entries(place)[0]
    assert (first.ev, first.x) == ("log.init", {"origin": "example.com/log", "vkey": place.vkey})


def test_entries_written_before_the_first_sealer_come_after_the_beginning(place: Place) -> None:
    write_and_seal(place, [a_draft(1)])
    assert [entry.ev for entry in entries(place)][:2] == ["log.init", "log.start"]
    assert entries(place)[-1].ev == "log.stop"


def test_each_start_and_stop_is_an_entry_and_the_beginning_is_only_one(place: Place) -> None:
    for _ in range(3):
        seal_once(place)
    assert events(place, "log") == [
        "log.init",
        "log.start",
        "log.stop",
        "log.start",
        "log.stop",
        "log.start",
        "log.stop",
    ]


def test_a_writer_that_ended_well_needs_no_recovery_and_leaves_no_file(place: Place) -> None:
    write_and_seal(place, [a_draft(1)])
    assert "log.recover" not in events(place, "log")
    assert list((place.directory / "segments").iterdir()) == []


def test_heartbeats_come_while_nothing_happens(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data", heartbeat_s=1.0)
    with RunningSealer(place):
        wait_until(lambda: (place.log / "checkpoint").exists() and "log.heartbeat" in events(place, "log"))
    beat = next(entry for entry in entries(place) if entry.ev == "log.heartbeat")
    assert set(beat.x) == {"size", "signed", "behind_ms", "compared"} and beat.out.ok
    assert beat.x["compared"] == 2, "the beginning and the start, which were there a second ago"


def test_an_old_file_that_is_changed_is_in_the_next_heartbeat_at_once_and_sealing_goes_on(place: Place) -> None:
    write_and_seal(place, [a_draft(number) for number in range(600)])
    bundle = place.log / "tile/entries/000"
    kept = bundle.read_bytes()
    bundle.write_bytes(kept.replace(b"refund", b"refunb", 1))
    told: list[float] = []
    stop = threading.Event()

    def listen(report: Report) -> None:
        told.extend(sample.value for sample in report.samples if sample.name == "gatebook_log_broken_files")

    sealer = threading.Thread(target=lambda: seal(place.deployment, stop, StillClock(), report=listen))
    sealer.start()
    try:
        wait_until(lambda: "log.heartbeat" in events(place, "log"))
        wait_until(lambda: told[-1:] == [1])
    finally:
        stop.set()
        sealer.join()
    *_, beat, end = (entry for entry in entries(place) if entry.ev in ("log.heartbeat", "log.stop"))
    assert (beat.out.ok, beat.out.reason, beat.x["broken"], beat.x["first_broken"]) == (
        False, "broken", 1, "tile/entries/000",
    )  # fmt: skip
    assert end.ev == "log.stop"
    bundle.write_bytes(kept)
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


def test_an_idle_session_is_closed_with_its_totals(place: Place) -> None:
    clock = StillClock()
    write_and_seal(
        place,
        [
            a_draft(1, session="ab" * 16),
            a_draft(1, session="ab" * 16, event="call.result", reason="completed"),
            a_draft(2, session="ab" * 16, event="call.refused", ok=False, reason="denied"),
        ],
        clock=clock,
    )
    writer = next(entry.w for entry in entries(place) if entry.w.n == "gate-0")
    clock.unix_us += IDLE_US + 1
    with RunningSealer(place, clock):
        wait_until(lambda: closed_sessions(place) == 1)
    closing = next(entry for entry in entries(place) if entry.ev == "session.close")
    del closing.x["upto"]
    assert closing.x == {"calls": 1, "refused": 1, "findings": 0, f"entries gate-0 {writer.e}": 4}
    assert (closing.sess, closing.who.sub, closing.out.reason) == ("ab" * 16, "8c1f22", "idle")


@pytest.mark.parametrize("told", [3, 128])
def test_a_session_of_too_many_epochs_is_closed_with_their_sum(
    tmp_path: Path, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = a_place(tmp_path / "data", heartbeat_s=1.0)
    clock, refused = StillClock(), {"event": "call.refused", "ok": False, "reason": "denied", "session": "ab" * 16}
    for number in range(5):
        write_and_seal(place, [a_draft(number, **refused)], clock=clock)
    monkeypatch.setattr(sessions, "EPOCHS_TOLD", told)
    clock.unix_us += IDLE_US + 1
    with RunningSealer(place, clock):
        wait_until(lambda: closed_sessions(place) == 1)
        beats = events(place, "log").count("log.heartbeat")
        wait_until(lambda: events(place, "log").count("log.heartbeat") == beats + 2)
    closing = next(entry for entry in entries(place) if entry.ev == "session.close")
    assert closed_sessions(place) == 1
    assert (closing.x.get("entries"), closing.x.get("epochs")) == ((10, 5) if told == 3 else (None, None))
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey)
    assert report.problems == []
    monkeypatch.setattr(sessions, "EPOCHS_TOLD", 3)
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey)
    assert report.problems == [], "also what told each of them"


def test_a_session_is_not_closed_before_it_is_idle(place: Place) -> None:
    clock = StillClock()
    write_and_seal(place, [a_draft(1, event="call.result", reason="completed")], clock=clock)
    clock.unix_us += IDLE_US - 1
    before = entries(place)[-1].w.s
    with RunningSealer(place, clock):
        wait_until(lambda: entries(place)[-1].w.s != before)
    assert closed_sessions(place) == 0


def test_what_a_writer_that_ended_left_open_is_closed_as_unknown_once(place: Place) -> None:
    clock = StillClock()
    write_and_seal(place, [a_draft(1), a_draft(6), a_draft(6, event="call.result", reason="completed")], clock=clock)
    clock.unix_us += IDLE_US + 1
    with RunningSealer(place, clock):
        wait_until(lambda: closed_sessions(place) == 1)
    for _ in range(2):
        seal_once(place, clock)
    unknown = [entry for entry in entries(place) if entry.ev == "call.result" and entry.w.n == "sealer"]
    assert [(entry.call, entry.out.ok, entry.out.reason, entry.who.sub) for entry in unknown] == [
        ("call-00000001", False, "unknown", "8c1f22")
    ]
    assert closed_sessions(place) == 1
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


async def test_a_call_of_a_writer_that_lives_stays_open(place: Place) -> None:
    clock = StillClock()
    ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, clock)
    await ledger.record_intent(a_draft(1))
    await ledger.record_intent(a_draft(2))
    await ledger.record(a_draft(2, event="call.result", reason="completed"))
    clock.unix_us += IDLE_US + 1
    with RunningSealer(place, clock):
        await asyncio.to_thread(wait_until, lambda: closed_sessions(place) == 1)
        await ledger.record(a_draft(1, event="call.result", reason="completed"))
        await ledger.close()
    results = [entry for entry in entries(place) if entry.ev == "call.result"]
    assert {entry.out.reason for entry in results} == {"completed"}
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


async def test_durable_entries_of_a_living_writer_are_signed_within_seconds(place: Place) -> None:
    with RunningSealer(place):
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        await ledger.record_intent(a_draft(1))
        await asyncio.to_thread(
            wait_until, lambda: (place.log / "checkpoint").exists() and bool(events(place, "call")), 3.0
        )
        await ledger.close()


async def test_segments_are_freed_as_they_are_signed(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data", segment_bytes=128 << 10)
    with RunningSealer(place):
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        for number in range(900):  # about nine segments, where four may wait
            for _ in range(20):
                try:
                    await ledger.record_intent(a_draft(number))
                    break
                except LedgerUnavailable:
                    await asyncio.sleep(0.2)
        await ledger.close()
    assert events(place, "call") == ["call.intent"] * 900
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


def test_what_a_writer_was_making_when_it_died_is_cleared_away(place: Place) -> None:
    segments = place.directory / "segments"
    write_and_seal(place, [a_draft(1)])
    old = "gate-0-01a2000000000badc0de"
    for name in (f"{old}-000001.new", f"{old}.mark", "gate-1-01a2000000000badc0de-000001.new"):
        (segments / name).write_bytes(bytes(64))
    for name in (f"{old}-000001.new", f"{old}.mark"):
        os.utime(segments / name, (1, 1))
    seal_once(place)
    assert [file.name for file in segments.iterdir()] == ["gate-1-01a2000000000badc0de-000001.new"]


@pytest.mark.parametrize("making", [False, True], ids=["its mark is made", "its first segment is being made"])
def test_a_writer_that_is_starting_keeps_its_mark_whatever_the_clock_says(
    place: Place, making: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its mark nothing that it writes is sealed while it lives."""
    segments = place.directory / "segments"
    make, fsync = SegmentChain._make, os.fsync

    def clock_jumps_and_a_sealer_starts() -> None:
        monkeypatch.undo()
        files = [file for file in segments.iterdir() if file.name.startswith("gate-0")]
        assert {file.suffix for file in files} == ({".mark", ".new"} if making else {".mark"})
        for file in files:
            os.utime(file, (1, 1))
        seal_once(place)
        assert {file.name for file in files} <= {file.name for file in segments.iterdir()}

    def slow_make(slow: SegmentChain) -> object:
        clock_jumps_and_a_sealer_starts()
        return make(slow)

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def fsync(self, descriptor: int) -> None:
            clock_jumps_and_a_sealer_starts()
            fsync(descriptor)

    if making:
        monkeypatch.setattr(chain, "os", Slow())
    else:
        monkeypatch.setattr(SegmentChain, "_make", slow_make)
    write_and_seal(place, [a_draft(1)])
    assert "call.intent" in events(place, "call")


def test_a_key_of_another_log_signs_nothing(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data")
    other = msgspec.structs.replace(place.deployment, origin="example.com/another")
    with pytest.raises(SealingRefused, match="origin"):
        seal_once(msgspec.structs.replace(place, deployment=other))


def test_a_writer_cannot_speak_for_another(place: Place) -> None:
    async def write() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        ledger._scribe.writer, ledger._scribe._quick = "sealer", None
        await ledger.record(a_service_draft())
        await ledger.close()

    asyncio.run(write())
    with pytest.raises(SealingRefused, match="wrote an entry of sealer"):
        seal_once(place)


def test_a_sealer_killed_while_it_made_its_first_segment_leaves_nothing_for_ever(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data")
    segments = place.directory / "segments"
    segments.mkdir(parents=True)
    (segments / "sealer-01a2047158d23102fd2b-000001.new").write_bytes(b"\0" * 100)
    seal_once(place)
    assert list(segments.iterdir()) == []


class Watched(giving_way.GiveWay):
    """Says how often it paused, and what it was told of being behind."""

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.pauses = 0
        super().__init__(sleep=self._pause)

    def _pause(self, _: float) -> None:
        self.pauses += 1

    @property
    def behind(self) -> bool:
        return self.told[-1]

    @behind.setter
    def behind(self, whether: bool) -> None:
        self.told.append(whether)


@contextlib.contextmanager
def watched_sealer(place: Place, clock: StillClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    watched = Watched()
    monkeypatch.setattr(giving_way, "GiveWay", lambda: watched)
    stop, ready = threading.Event(), threading.Event()
    sealer = threading.Thread(target=lambda: seal(place.deployment, stop, clock, sealed=ready.set))
    sealer.start()
    try:
        assert ready.wait(30)
        yield watched
    finally:
        stop.set()
        sealer.join()


async def written(place: Place, count: int) -> None:
    ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
    await asyncio.gather(*[ledger.record_intent(a_draft(number)) for number in range(count)])
    await ledger.close()


def test_the_sealer_lets_others_go_first_while_it_keeps_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = a_place(tmp_path / "data", segment_bytes=4 << 20)
    with watched_sealer(place, StillClock(), monkeypatch) as watched:
        for _ in range(10):
            asyncio.run(written(place, 100))
        wait_until(lambda: len(entries(place)) > 1000)
        assert watched.pauses > 10, "a thousand entries are more than ten stretches of work"
    assert watched.told[0] and watched.told[-1], "neither at its start, when it does not know yet, nor at its end"
    assert not any(watched.told[1:-1])


def test_the_sealer_lets_nobody_go_first_where_a_writer_may_soon_have_no_segment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched_sealer(place, StillClock(), monkeypatch) as watched:
        known = len(watched.told)
        while not any(watched.told[known:]):
            asyncio.run(written(place, 100))
        wait_until(lambda: not watched.told[-1])


def test_the_sealer_does_not_look_without_end_at_what_it_cannot_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark that lies: whoever writes in a room's folder can write it, and a bit that rots in a segment is the same."""
    place = a_place(tmp_path / "data", segment_bytes=1 << 20)

    async def lies() -> None:
        ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, StillClock())
        await ledger.record_intent(a_draft(1))
        with watched_sealer(place, StillClock(), monkeypatch) as watched:
            ledger._chain._mark[0] = 1 << 62
            await asyncio.sleep(0.3)
            known = len(watched.told)
            await asyncio.sleep(1)
            rounds = watched.told[known:]
            assert 0 < len(rounds) < 100, "without a pause it would be tens of thousands"
            assert not any(rounds)
            ledger._chain.publish()
        await ledger.close()

    asyncio.run(lies())


def test_the_sealer_lets_nobody_go_first_while_entries_wait_long(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched_sealer(place, StillClock(START_US + 10_000_000), monkeypatch) as watched:
        known = len(watched.told)
        # One epoch after the other, until one is taken in another round than it is signed in.
        while not any(watched.told[known:]):
            asyncio.run(written(place, 10))
        wait_until(lambda: not watched.told[-1])
