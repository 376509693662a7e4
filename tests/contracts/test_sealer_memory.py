"""What the sealer remembers of a log spares it the reading of hours of entries, and says nothing that the entries do not say."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.log_files import LogFiles
from gatebook.adapters.segment_tails import SegmentTails
from gatebook.ledger import note, reading, remembering
from gatebook.ledger.entry import Entry
from gatebook.ledger.note import load_signer
from gatebook.ledger.verification import verify
from gatebook.serve import sealing as sealing_module
from gatebook.serve.sealing import Sealing
from tests.world_ledger import (
    Place,
    RunningSealer,
    StillClock,
    a_draft,
    a_place,
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
    write_and_seal(place, [a_draft(number, session=f"{number % 7 + 3:032x}") for number in range(30)], clock=clock)
    return place


@pytest.fixture
def place(original: Place, tmp_path: Path) -> Place:
    """A copy of it, to be harmed."""
    shutil.copytree(original.directory, tmp_path / "data")
    deployment = msgspec.structs.replace(original.deployment, data_dir=str(tmp_path / "data"))
    return msgspec.structs.replace(original, deployment=deployment, directory=tmp_path / "data")


class Following(Sealing):
    """Notes which entries it took up."""

    followed: list[int]

    def _follow(self, index: int, entry: Entry) -> None:
        self.followed.append(index)
        super()._follow(index, entry)


def signer_of(place: Place) -> note.Signer:
    return load_signer(Path(place.deployment.log_key).read_text())


def started(place: Place) -> Following:
    sealing = Following(
        place.deployment,
        signer_of(place),
        log=LogFiles(place.log),
        payloads=LogFiles(place.payloads),
        state=LogFiles(place.directory / "sealer"),
        tails=SegmentTails(place.directory / "segments"),
    )
    sealing.followed = []
    sealing.start()
    return sealing


def knowledge(sealing: Sealing) -> tuple[object, object]:
    return sealing._sessions.open, sealing._sessions.closed


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
    assert list(remembered._sessions.closed) == list(rebuilt._sessions.closed)


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
    assert (report.problems, report.pending) == ([], 0)


def test_payload_files_shorter_than_remembered_are_read_again(place: Place) -> None:
    """A hole of zeros would make the file unreadable for ever."""
    name = max(read_memory(place).shelved, key=lambda each: read_memory(place).shelved[each].end)
    file = next(place.payloads.rglob(f"{name}.pay"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    write_and_seal(place, [a_draft(999, session=name)])
    with file.open("rb") as stored:
        assert [each.place.sequence for each in reading.stored_frames(stored)][-1] == 2
