"""The disk budget: when it is said, when calls are refused, and when they go on."""

from pathlib import Path

import pytest

from gatebook.model.deployment import Disk
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft
from gatebook.serve import disk
from gatebook.serve.disk import DiskWatch
from gatebook.space import Room, Space, judged, room_in

BUDGET = Disk(warn_free_bytes=1000, refuse_free_bytes=100)


@pytest.mark.parametrize(
    ("free_bytes", "free_files", "before", "space"),
    [
        (1000, None, "enough", "enough"),
        (999, None, "enough", "low"),
        (1000, None, "low", "low"),
        (1100, None, "low", "enough"),
        (100, None, "low", "low"),
        (99, None, "enough", "short"),
        (109, None, "short", "short"),
        (110, None, "short", "low"),
        (1099, None, "short", "low"),
        (1100, None, "short", "enough"),
        (5000, 20_000, "enough", "enough"),
        (5000, 19_999, "enough", "low"),
        (5000, 1_999, "enough", "short"),
        (5000, 2_199, "short", "short"),
        (5000, 2_200, "short", "low"),
    ],
)
def test_what_was_worse_must_have_become_clearly_better(
    free_bytes: int, free_files: int | None, before: Space, space: Space
) -> None:
    assert judged(Room(free_bytes, free_files), BUDGET, before) == space


def test_the_scarcest_file_system_counts(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    found = room_in(tmp_path)
    assert found.free_bytes > 0 and (found.free_files is None or found.free_files > 0)


async def test_only_a_change_is_told_and_the_gate_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[object] = []

    async def record(draft: Draft) -> None:
        told.append(draft.reason)
        if draft.reason == "short":
            raise LedgerUnavailable("full")

    watch = DiskWatch(tmp_path, BUDGET, told.append, record)
    for free in (5000, 900, 900, 50, 50, 500, 5000):
        monkeypatch.setattr(disk, "room_in", lambda _, free=free: Room(free, None))
        await watch.look()
    assert told == ["low", True, "short", False, "low", "enough"]
    said = capsys.readouterr().err
    assert [said.count(f'"disk.{word}"') for word in ("low", "short", "enough", "unrecorded")] == [2, 1, 1, 1]


async def test_a_disk_that_cannot_be_looked_at_changes_nothing(tmp_path: Path) -> None:
    async def record(_: Draft) -> None:
        raise AssertionError("nothing changed")

    watch = DiskWatch(tmp_path / "absent", BUDGET, lambda _: None, record)
    await watch.look()
    assert watch.space == "enough"
