"""A lock is one process's, says so to whoever looks, and ends with it; a file that is replaced is whole, and keeps its place."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gatebook.durable import replace_file
from gatebook.locks import alone, held


def test_who_holds_a_lock_holds_it_alone_and_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not held(path)
    with alone(path):
        assert held(path)
        with pytest.raises(BlockingIOError), alone(path):
            pass
        assert held(path), "who was refused took nothing away"
    assert not held(path)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"from gatebook.locks import alone; from pathlib import Path\nwith alone(Path({str(path)!r})): print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        assert held(path)
        process.kill()
        process.wait()
    assert not held(path)


def test_a_link_in_a_locks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="lock"), alone(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_is_replaced_whole_with_its_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"old", b"new" * 100_000):
        replace_file(path, content, mode=0o640)
        assert path.read_bytes() == content and stat.S_IMODE(path.stat().st_mode) == 0o640
        assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_replaced_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "kept").write_bytes(b"")
    with pytest.raises(OSError):  # noqa: PT011
        replace_file(tmp_path / "file", b"new", mode=0o600)
    assert [each.name for each in tmp_path.rglob("*")] == ["file", "kept"]
