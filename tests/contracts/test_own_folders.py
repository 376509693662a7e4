"""Where rooms have users of their own, each writes in its folder, in its own name; the log and the checkpoint can be read by whom they are for."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.ledger_segment import SegmentHand
from gatebook.adapters.log_files import LogFiles
from gatebook.adapters.segment_tails import SegmentTails
from gatebook.ledger.framing import SegmentError
from gatebook.model.deployment import Deployment
from gatebook.model.users import Account, Users
from tests.world_ledger import Place, StillClock, a_place, a_service_draft

USERS = Users(**{
    name: Account(name=name, uid=61000 + number, gid=61000 + number)
    for number, name in enumerate(("supervisor", "gate", "sealer", "desk"))
})  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return a_place(tmp_path)


def with_users(place: Place) -> Deployment:
    return msgspec.structs.replace(place.deployment, users=USERS)


def write(deployment: Deployment, writer: str) -> None:
    hand = SegmentHand(deployment, writer, StillClock())
    hand.write(a_service_draft())
    hand.close()


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_each_writer_has_its_rooms_folder_and_the_sealers_group_may_take_what_is_there(place: Place) -> None:
    segments = place.directory / "segments"
    write(with_users(place), "gate-1")
    write(with_users(place), "desk")
    write(place.deployment, "gate-0")
    assert modes(segments / "gate") == modes(segments / "desk") == {0o660}
    assert {path.parent for path in segments.rglob("*.seg")} == {segments, segments / "gate", segments / "desk"}
    assert sorted(tail.writer for tail in SegmentTails(segments).look()) == ["desk", "gate-0", "gate-1"]


def test_a_folder_that_comes_later_is_found(place: Place) -> None:
    tails = SegmentTails(place.directory / "segments")
    write(place.deployment, "gate-0")
    assert [tail.writer for tail in tails.look()] == ["gate-0"]
    write(with_users(place), "desk")
    assert sorted(tail.writer for tail in tails.look()) == ["desk", "gate-0"]


def test_no_room_can_write_in_anothers_name(place: Place) -> None:
    segments = place.directory / "segments"
    write(with_users(place), "desk")
    (segments / "desk").rename(segments / "gate")
    with pytest.raises(SegmentError, match="in another writer's name"):
        SegmentTails(segments).look()


@pytest.mark.parametrize("what", ["pipe", "link"])
@pytest.mark.parametrize("ending", [".seg", ".mark"])
def test_what_a_room_put_in_the_place_of_its_segment_is_refused_and_not_waited_for(
    place: Place, what: str, ending: str
) -> None:
    """A worker that was taken over made a pipe of that name, and nothing was signed any more, nor said."""
    segments = place.directory / "segments"
    write(with_users(place), "gate-1")
    [path] = [path for path in (segments / "gate").iterdir() if path.suffix == ending]
    path.rename(path.with_name("aside"))
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("aside")
    with pytest.raises(SegmentError if what == "pipe" else OSError):
        [tail.take() for tail in SegmentTails(segments).look()]


def test_only_the_checkpoint_is_everybodys(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "log", shared=True, public=("checkpoint",))
    files.write_once([("tile/entries/000", b"x")])
    files.append([("tile/more", 0, b"x")])
    files.replace("checkpoint", b"x")
    files.replace("other", b"x")
    found = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert found == {
        "log": 0o750, "log/tile": 0o750, "log/tile/entries": 0o750, "log/tile/entries/000": 0o640, "log/tile/more": 0o640,
        "log/checkpoint": 0o644, "log/other": 0o640,
    }  # fmt: skip
