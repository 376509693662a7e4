"""The newest signed state outside the data directory: what an older copy of the whole directory meets there."""

import shutil
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.log_files import LogFiles
from gatebook.adapters.watermark_file import WatermarkFile
from gatebook.config.rolled_back import rolled_back
from gatebook.ledger import reading
from gatebook.ledger.verification import verify
from gatebook.serve.sealing_ports import SealingRefused
from tests.world_ledger import Place, a_draft, a_place, seal_once, write_and_seal

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = a_place(tmp_path / "data")
    (made.directory / "log.vkey").write_text(made.vkey)
    (tmp_path / "elsewhere").mkdir()
    watermark = str(tmp_path / "elsewhere" / "mark")
    marked = msgspec.structs.replace(made, deployment=msgspec.structs.replace(made.deployment, watermark=watermark))
    write_and_seal(marked, [a_draft(1)])
    return marked


def mark(place: Place) -> Path:
    assert place.deployment.watermark is not None
    return Path(place.deployment.watermark)


def checkpoint(place: Place) -> bytes:
    return (place.log / "checkpoint").read_bytes()


def told(place: Place) -> list[str]:
    return [problem.what for problem in rolled_back(place.deployment, None)]


def test_it_is_always_the_newest_checkpoint(place: Place) -> None:
    assert mark(place).read_bytes() == checkpoint(place)
    write_and_seal(place, [a_draft(2)])
    assert mark(place).read_bytes() == checkpoint(place)
    assert told(place) == []


def test_an_older_copy_of_the_whole_directory_signs_nothing(place: Place, tmp_path: Path) -> None:
    shutil.copytree(place.directory, tmp_path / "copy")
    write_and_seal(place, [a_draft(2)])
    shutil.rmtree(place.directory)
    (tmp_path / "copy").rename(place.directory)
    before = checkpoint(place)
    with pytest.raises(SealingRefused, match="ROLLED BACK"):
        seal_once(place)
    assert checkpoint(place) == before
    assert any("ROLLED BACK" in what for what in told(place))


def test_so_does_a_log_whose_newest_checkpoints_were_removed(place: Place) -> None:
    older = reading.head(LogFiles(place.log)).size
    kept = checkpoint(place)
    write_and_seal(place, [a_draft(2)])
    for each in (place.log / "checkpoints").iterdir():
        if int(each.name) > older:
            each.unlink()
    (place.log / "checkpoint").write_bytes(kept)
    (place.directory / "sealer" / "state").unlink()
    for each in (place.log / "tile").rglob("*.p/*"):
        if int(each.name) > older:
            each.unlink()
    with pytest.raises(SealingRefused, match="ROLLED BACK"):
        seal_once(place)


def test_a_death_between_the_mark_and_the_publication_is_no_roll_back(place: Place) -> None:
    older = checkpoint(place)
    size = reading.head(LogFiles(place.log)).size
    write_and_seal(place, [a_draft(2)])
    newest = reading.head(LogFiles(place.log)).size
    for each in (place.log / "checkpoints").iterdir():
        if size < int(each.name):
            each.unlink()
    (place.log / "checkpoint").write_bytes(older)
    seal_once(place)
    assert reading.head(LogFiles(place.log)).size > newest
    assert verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey).problems == []


def test_another_history_at_the_marks_size_signs_nothing(place: Place, tmp_path: Path) -> None:
    shutil.copytree(place.directory, tmp_path / "copy")
    write_and_seal(place, [a_draft(2)])
    forked = mark(place).read_bytes()
    shutil.rmtree(place.directory)
    (tmp_path / "copy").rename(place.directory)
    mark(place).unlink()
    write_and_seal(place, [a_draft(3)])
    mark(place).write_bytes(forked)
    with pytest.raises(SealingRefused, match="another root, as the watermark says"):
        seal_once(place)


def test_where_it_cannot_be_read_or_written_nothing_is_signed(place: Place) -> None:
    before = checkpoint(place)
    shutil.rmtree(mark(place).parent)
    with pytest.raises(SealingRefused, match="the watermark cannot be read"):
        seal_once(place)
    assert checkpoint(place) == before
    assert any("there is no folder" in what for what in told(place))


def test_the_mark_of_another_log_is_not_taken_for_ours(place: Place, tmp_path: Path) -> None:
    other = a_place(tmp_path / "other")
    write_and_seal(other, [a_draft(1)])
    mark(place).write_bytes((other.log / "checkpoint").read_bytes())
    with pytest.raises(SealingRefused, match="the watermark is not signed by this deployment's log key"):
        seal_once(place)


def test_the_first_mark_of_an_old_log_is_made_by_its_next_start(place: Place) -> None:
    mark(place).unlink()
    seal_once(place)
    assert mark(place).read_bytes() == checkpoint(place)


def test_a_folder_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    watermark = WatermarkFile(tmp_path / "absent" / "mark")
    with pytest.raises(FileNotFoundError):
        watermark.read()
    with pytest.raises(FileNotFoundError):
        watermark.replace(b"note")
    assert not (tmp_path / "absent").exists()
