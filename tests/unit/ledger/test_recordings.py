"""What `replay` hears of a recording that somebody wrote into: every payload that is there as it was signed, and that other things lie beside it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import payload, payload_frames, reading
from gatebook.ledger.framing import FrameKind, frame
from gatebook.ledger.payload_frames import Stored
from gatebook.ledger.verification import verify
from tests.unit.ledger.failing_disk import FailingDisk
from tests.world_ledger import Place, a_place, a_sealed_log

pytestmark = pytest.mark.slow

SESSION = f"{3:032x}"
"""One with a data key, payloads of one piece and one of many."""


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = a_place(tmp_path_factory.mktemp("sealed") / "data")
    a_sealed_log(place)
    return place


@pytest.fixture
def copy(sealed: Place, tmp_path: Path) -> Place:
    shutil.copytree(sealed.directory, tmp_path / "data")
    return msgspec.structs.replace(sealed, directory=tmp_path / "data")


def recording(place: Place) -> tuple[Path, list[Stored]]:
    file = place.payloads / payload_frames.payload_name(SESSION)
    with file.open("rb") as stored:
        return file, list(payload_frames.stored_frames(stored))


def heard(place: Place) -> list[reading.Opened]:
    opener = reading.opener(LogFiles(place.payloads), place.payload_key)
    found = reading.find(LogFiles(place.log), session=SESSION)
    return [opener(each.entry, pay) for each in found for pay in each.entry.pay]


def told(place: Place) -> list[str]:
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    return [problem.what for problem in report.problems]


def is_first(stored: Stored) -> bool:
    return stored.is_piece and stored.place.pieces == 1


def is_large(stored: Stored) -> bool:
    return stored.is_piece and stored.place.pieces > 1


def is_key(stored: Stored) -> bool:
    return not stored.is_piece


def planted_for(stored: list[Stored], content: Callable[[bytes], bytes]) -> bytes:
    """Frames with the places of these, and another content."""
    return b"".join(frame(each.kind, payload.stored_body(each.place, content(each.content))) for each in stored)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("victim", [is_first, is_large])
@pytest.mark.parametrize("content", [lambda true: bytes(len(true)), lambda true: true, lambda true: b"short"])
def test_the_payload_that_was_signed_is_heard_whatever_lies_in_its_place(
    copy: Place, victim: Callable[[Stored], bool], behind: bool, content: Callable[[bytes], bytes]
) -> None:
    bodies = [each.body for each in heard(copy)]
    assert None not in bodies
    file, frames = recording(copy)
    wanted = [each for each in frames if victim(each)]
    if victim is is_first:
        del wanted[1:]
    at = wanted[-1].end if behind else wanted[0].start
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + planted_for(wanted, content) + whole[at:])
    found = heard(copy)
    assert [each.body for each in found] == bodies
    [remark] = [each.remark for each in found if each.remark]
    assert "was put in its place" in remark
    assert len(told(copy)) == 1, "and the judge of the files says so too"


@pytest.mark.parametrize("behind", [False, True])
def test_a_data_key_that_was_put_there_makes_nobody_deaf(copy: Place, behind: bool) -> None:
    before = heard(copy)
    file, frames = recording(copy)
    [key] = [each for each in frames if is_key(each)]
    at = frames[-1].end if behind else key.start
    elsewhere = msgspec.structs.replace(key.place, epoch="another")
    planted = [
        frame(FrameKind.DATA_KEY, payload.stored_body(key.place, bytes(len(key.content)))),
        frame(FrameKind.DATA_KEY, payload.stored_body(elsewhere, key.content)),
    ]
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + b"".join(planted) + whole[at:])
    assert heard(copy) == before
    assert any("data key" in what for what in told(copy))


def test_where_only_what_was_planted_is_left_its_place_is_named(copy: Place) -> None:
    file, frames = recording(copy)
    victim = next(each for each in frames if is_first(each))
    whole = file.read_bytes()
    file.write_bytes(whole[: victim.start] + planted_for([victim], lambda true: bytes(len(true))) + whole[victim.end :])
    [lost] = [each for each in heard(copy) if each.body is None]
    assert lost.remark == f"what lies at offset {victim.start} in its place is not what the entry names"
    assert told(copy) == [f"the request of entry {entry_of(copy, victim)} has changed bytes before offset {victim.end}"]


def test_a_payload_and_a_data_key_that_are_gone_are_told_apart(copy: Place) -> None:
    file, frames = recording(copy)
    victim, key = next(each for each in frames if is_first(each)), next(each for each in frames if is_key(each))
    whole = file.read_bytes()
    file.write_bytes(whole[: victim.start] + whole[victim.end :])
    assert [each.remark for each in heard(copy) if each.body is None] == ["it is not there"]
    file.write_bytes(whole[: key.start] + whole[key.end :])
    assert all("its data key" in each.remark for each in heard(copy))
    file.unlink()
    assert {each.remark for each in heard(copy)} == {"the file of the session is gone"}


def test_what_is_not_in_what_cannot_be_read_is_heard(copy: Place) -> None:
    bodies = [each.body for each in heard(copy)]
    disk = FailingDisk(copy.payloads, payload_frames.payload_name(SESSION), {2})
    opener = reading.opener(disk, copy.payload_key)
    found = [
        opener(each.entry, pay) for each in reading.find(LogFiles(copy.log), session=SESSION) for pay in each.entry.pay
    ]
    assert [each.body for each in found[:-1]] == bodies[:-1]
    words = "4096 bytes at offset 8192 cannot be read: Input/output error"
    assert found[-1] == reading.Opened(None, f"it is not there; of the session's file {words}")


def entry_of(place: Place, stored: Stored) -> int:
    at = (stored.place.writer, stored.place.epoch, stored.place.sequence)
    [found] = [
        each.index
        for each in reading.entries(LogFiles(place.log))
        if (each.entry.w.n, each.entry.w.e, each.entry.w.s) == at
    ]
    return found
