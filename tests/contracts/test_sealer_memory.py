"""What the sealer remembers of a log spares it the reading of hours of entries, and says nothing that the entries do not say."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.ledger_segment import SegmentLedger
from gatebook.adapters.log_files import LogFiles
from gatebook.adapters.segment_tails import SegmentTails
from gatebook.ledger import note, payload_frames, reading, remembering
from gatebook.ledger.entry import Entry
from gatebook.ledger.gist import Gist
from gatebook.ledger.note import load_signer
from gatebook.ledger.verification import verify
from gatebook.model.deployment import Limits
from gatebook.model.record import Draft, Payload
from gatebook.serve import sealing as sealing_module
from gatebook.serve import sealing_rebuilding
from gatebook.serve.sealing import Sealing
from gatebook.serve.sealing_standing import Standing
from tests.world_ledger import (
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


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A log whose sealer remembered it some entries ago; of 15 sessions five are closed."""
    place = a_place(tmp_path_factory.mktemp("original") / "data")
    clock = StillClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing_module, "_REMEMBER_ENTRIES", 40)
        patch.setattr(sealing_module, "_REMEMBER_PER_SESSION", 0)
        calls = [a_draft(number) for number in range(60)]
        results = [a_draft(number, event="call.result", reason="completed", payloads=()) for number in range(60)]
        write_and_seal(place, [*calls, *results], clock=clock)
        clock.unix_us += 2_000_000_000
        with RunningSealer(place, clock):
            wait_until(lambda: closed_sessions(place) == 5)
        more = [a_draft(number, session=f"{number % 10 + 5:032x}") for number in range(70)]
        write_and_seal(place, more, clock=clock)
    then = memory_of(place).read_bytes()
    write_and_seal(place, [a_draft(number, session=f"{number % 7 + 3:032x}") for number in range(30)], clock=clock)
    memory_of(place).write_bytes(then)  # as if this sealer had been killed at its end
    return place


@pytest.fixture
def place(original: Place, tmp_path: Path) -> Place:
    """A copy of it, to be harmed."""
    shutil.copytree(original.directory, tmp_path / "data")
    deployment = msgspec.structs.replace(original.deployment, data_dir=str(tmp_path / "data"))
    return msgspec.structs.replace(original, deployment=deployment, directory=tmp_path / "data")


class Followed(Standing):
    """Notes which entries it took up."""

    followed: list[int]

    def follow(self, index: int, gist: Gist) -> None:
        self.followed.append(index)
        super().follow(index, gist)


class Following(Sealing):
    """Shows where everything stands."""

    def __init__(self, place: Place) -> None:
        payloads, tails = LogFiles(place.payloads), SegmentTails(place.directory / "segments")
        log, state = LogFiles(place.log), LogFiles(place.directory / "sealer")
        super().__init__(place.deployment, signer_of(place), log=log, payloads=payloads, state=state, tails=tails)
        self._standing = self.standing = Followed(payloads, tails)
        self.standing.followed = []

    @property
    def followed(self) -> list[int]:
        return self.standing.followed


def signer_of(place: Place) -> note.Signer:
    return load_signer(Path(place.deployment.log_key).read_text())


def started(place: Place) -> Following:
    sealing = Following(place)
    sealing.start()
    return sealing


def knowledge(sealing: Following) -> tuple[object, object]:
    return dict(sealing.standing.sessions.open), dict(sealing.standing.sessions.closed)


def memory_of(place: Place) -> Path:
    return place.directory / "sealer" / "memory"


def read_memory(place: Place) -> remembering.Memory:
    memory = remembering.unpack(memory_of(place).read_bytes(), signer_of(place))
    assert memory is not None
    return memory


def test_what_was_remembered_is_what_the_entries_say(place: Place) -> None:
    remembered = started(place)
    assert 0 < read_memory(place).size < remembered.size - 30
    assert remembered.followed == list(range(read_memory(place).size, remembered.size))
    memory_of(place).unlink()
    rebuilt = started(place)
    assert rebuilt.followed == list(range(rebuilt.size))
    assert knowledge(remembered) == knowledge(rebuilt)
    assert list(remembered.standing.sessions.closed) == list(rebuilt.standing.sessions.closed)


def changed(place: Place, **changes: object) -> None:
    memory = msgspec.structs.replace(read_memory(place), **changes)
    memory_of(place).write_bytes(remembering.pack(memory, signer_of(place)))


def a_changed_byte(place: Place) -> None:
    raw = bytearray(memory_of(place).read_bytes())
    raw[len(raw) // 2] ^= 1
    memory_of(place).write_bytes(raw)


def another_key(place: Place) -> None:
    skey, _ = note.generate_key("example.com/log")
    memory_of(place).write_bytes(remembering.pack(lying(place), load_signer(skey)))


def lying(place: Place) -> remembering.Memory:
    return msgspec.structs.replace(read_memory(place), open=[], closed=[])


def of_another_log(place: Place) -> None:
    changed(place, open=[], root=bytes(32))


def of_a_longer_log(place: Place) -> None:
    changed(place, open=[], size=1 << 30)


def of_a_newer_version(place: Place) -> None:
    changed(place, open=[], v=2)


def cut(place: Place) -> None:
    memory_of(place).write_bytes(memory_of(place).read_bytes()[:50])


@pytest.mark.parametrize(
    "harm", [a_changed_byte, another_key, of_another_log, of_a_longer_log, of_a_newer_version, cut]
)
def test_a_memory_that_does_not_hold_is_not_there(place: Place, harm: Callable[[Place], None]) -> None:
    true = knowledge(started(place))
    harm(place)
    assert knowledge(started(place)) == true


def test_a_memory_that_holds_is_believed(place: Place) -> None:
    """Else the test above could not fail."""
    true = knowledge(started(place))
    changed(place, open=[])
    assert knowledge(started(place)) != true


def test_sessions_that_go_on_after_a_restart_are_closed_with_their_whole_totals(place: Place) -> None:
    clock = StillClock()
    clock.unix_us += 2_000_000_000
    write_and_seal(
        place,
        [
            a_draft(number, session=f"{number % 10 + 5:032x}", event="call.result", reason="completed", payloads=())
            for number in range(70)
        ],
        clock=clock,
    )
    clock.unix_us += 2_000_000_000
    with RunningSealer(place, clock):
        wait_until(lambda: closed_sessions(place) >= 5 + 12)
    seal_once(place, clock)
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    assert (report.problems, report.unknown, report.pending) == ([], [], 0)


def test_payload_files_shorter_than_remembered_are_read_again(place: Place) -> None:
    """A hole of zeros would make the file unreadable for ever."""
    name = max(read_memory(place).shelved, key=lambda each: read_memory(place).shelved[each].end)
    file = next(place.payloads.rglob(f"{name}.pay"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    write_and_seal(place, [a_draft(999, session=name)])
    with file.open("rb") as stored:
        assert [each.place.sequence for each in payload_frames.stored_frames(stored)][-1] == 2


# --- sessions that are longer than anybody expected


HOUR_US = 3_600_000_000
LONG = "cd" * 16


async def a_long_life(place: Place, clock: StillClock, hours: int = 14) -> None:
    """A stream of one session, a large message each quarter of an hour and nothing else, whose writer lives throughout; sealers come and go."""
    ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, clock)
    stream = {"session": LONG, "call": "stream-1", "payloads": ()}
    await ledger.record(a_draft(0, event="stream.open", reason="opened", **stream))
    for hour in range(hours):
        await asyncio.to_thread(seal_once, place, clock)
        for quarter in range(4):
            clock.unix_us += HOUR_US // 4
            large = (Payload(part="message", body=b"x" * 60_000),)
            late = {"session": LONG, "call": None, "payloads": large, "detail": {"id": f"{hour}-{quarter}"}}
            await ledger.record(a_draft(0, event="call.result", reason="completed", **late))
    await ledger.record(a_draft(0, event="stream.close", reason="completed", **stream))
    await ledger.close()


def closings_of(place: Place) -> list[Entry]:
    return [each.entry for each in reading.entries(LogFiles(place.log)) if each.entry.ev == "session.close"]


def closed_in_time(place: Place, clock: StillClock) -> None:
    clock.unix_us += HOUR_US
    with RunningSealer(place, clock):
        wait_until(lambda: len(closings_of(place)) == 1)


def intact(place: Place) -> bool:
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    return (report.problems, report.unknown, report.pending) == ([], [], 0)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every log is too large to be read from its beginning."""
    monkeypatch.setattr(sealing_rebuilding, "_READ_ANYWAY", 0)


@pytest.mark.usefixtures("large")
def test_a_sealer_that_ends_well_leaves_a_memory_of_all_it_signed(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data")
    write_and_seal(place, [a_draft(number) for number in range(10)])
    assert read_memory(place).size == reading.head(LogFiles(place.log)).size
    assert started(place).followed == []


@pytest.mark.usefixtures("large")
def test_a_stream_longer_than_a_session_is_closed_with_its_whole_totals(tmp_path: Path) -> None:
    place, clock = a_place(tmp_path / "data"), StillClock()
    asyncio.run(a_long_life(place, clock))
    closed_in_time(place, clock)
    assert sum(value for name, value in closings_of(place)[0].x.items() if name.startswith("entries ")) == 59
    assert intact(place)


@pytest.mark.usefixtures("large")
def test_a_memory_older_than_the_longest_session_is_used(tmp_path: Path) -> None:
    place, clock = a_place(tmp_path / "data"), StillClock()
    write_and_seal(place, [a_draft(1, session=LONG)], clock=clock)
    then = memory_of(place).read_bytes()
    clock.unix_us += 13 * HOUR_US
    write_and_seal(place, [a_draft(1, session=LONG, event="call.result", reason="completed")], clock=clock)
    memory_of(place).write_bytes(then)
    closed_in_time(place, clock)
    assert intact(place)


@pytest.mark.usefixtures("large")
def test_a_limit_that_is_lowered_changes_nothing_in_sessions_that_began_before(tmp_path: Path) -> None:
    place, clock = a_place(tmp_path / "data"), StillClock()
    for number in range(9):
        write_and_seal(place, [a_draft(number, session=LONG), an_answer(number)], clock=clock)
        clock.unix_us += HOUR_US // 3
    limits = Limits(session_absolute_s=3600.0, session_idle_s=600.0)
    lower = msgspec.structs.replace(place, deployment=msgspec.structs.replace(place.deployment, limits=limits))
    write_and_seal(lower, [a_draft(100, session=LONG), an_answer(100)], clock=clock)
    closed_in_time(lower, clock)
    assert intact(lower)


@pytest.mark.usefixtures("large")
def test_a_clock_two_days_ahead_for_one_start_makes_no_totals_wrong(tmp_path: Path) -> None:
    place, clock = a_place(tmp_path / "data"), StillClock()
    write_and_seal(place, [a_draft(1, session=LONG), an_answer(1)], clock=clock)
    clock.unix_us += 48 * HOUR_US
    write_and_seal(place, [a_service_draft()], writer="supervisor", clock=clock)
    clock.unix_us -= 48 * HOUR_US
    with RunningSealer(place, clock):
        asyncio.run(written(place, clock, [a_draft(2, session=LONG), an_answer(2)]))
        wait_until(lambda: "call-00000002" in {each.entry.call for each in reading.entries(LogFiles(place.log))})
        clock.unix_us += HOUR_US
        wait_until(lambda: len(closings_of(place)) == 1)
    assert intact(place)


async def written(place: Place, clock: StillClock, drafts: list[Draft]) -> None:
    ledger = SegmentLedger.open(place.directory, "gate-0", place.deployment, clock)
    for draft in drafts:
        await ledger.record(draft)
    await ledger.close()


def an_answer(number: int) -> Draft:
    return a_draft(number, session=LONG, event="call.result", reason="completed", payloads=())


def test_without_a_memory_a_log_of_moderate_size_is_read_from_its_first_entry(tmp_path: Path) -> None:
    place, clock = a_place(tmp_path / "data"), StillClock()
    asyncio.run(a_long_life(place, clock))
    seal_once(place, clock)
    memory_of(place).unlink()
    assert started(place).followed[0] == 0
    closed_in_time(place, clock)
    assert intact(place)


@pytest.mark.usefixtures("large")
def test_without_a_memory_more_is_read_where_a_session_began_before(tmp_path: Path) -> None:
    place, clock = a_place(tmp_path / "data"), StillClock()
    asyncio.run(a_long_life(place, clock))
    seal_once(place, clock)
    memory_of(place).unlink()
    sealing = started(place)
    assert sealing.followed[0] > 0, "by the limits"
    assert sealing.followed.count(sealing.size - 1) > 1, "and once more, for the session's sake"
    assert not sealing.standing.sessions.late
    memory_of(place).unlink(missing_ok=True)
    closed_in_time(place, clock)
    assert intact(place)


@pytest.mark.usefixtures("large")
def test_a_session_whose_beginning_nobody_saw_is_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum of a part, once signed, would say for ever that entries are missing."""
    monkeypatch.setattr(sealing_rebuilding, "_LOOK_BACK", 1)
    place, clock = a_place(tmp_path / "data"), StillClock()
    asyncio.run(a_long_life(place, clock))
    seal_once(place, clock)
    memory_of(place).unlink()
    assert not started(place).standing.sessions.open[LONG].whole
    whole = "ef" * 16
    write_and_seal(
        place, [a_draft(7, session=whole), msgspec.structs.replace(an_answer(7), session=whole)], clock=clock
    )
    closed_in_time(place, clock)
    assert [entry.sess for entry in closings_of(place)] == [whole]
    assert intact(place)
    assert not read_memory(place).from_first
    assert [session.name for session in read_memory(place).open] == []
    assert started(place).standing.sessions.late, "also by what it remembered"
