"""What lies in a data directory is judged by both versions, and by name."""

from pathlib import Path

import pytest

from gatebook import __version__, formats
from gatebook.adapters.desk_store import migrations
from gatebook.model.errors import ConfigurationError

REASON = f"release 9.9.9; this is release {__version__}, which"


def lies(data_dir: Path, **versions: int) -> None:
    said = ", ".join(f'"{name}": {version}' for name, version in versions.items())
    (data_dir / formats.NAME).write_text(f'{{"formats": {{{said}}}, "release": "9.9.9"}}')


def test_a_directory_that_says_nothing_is_of_the_first_versions(tmp_path: Path) -> None:
    formats.require_readable(tmp_path)
    assert formats.lying(tmp_path) is None


def test_a_directory_says_what_was_written_there_and_is_written_once(tmp_path: Path) -> None:
    formats.mark(tmp_path / "data")
    said = formats.lying(tmp_path / "data")
    assert said is not None and said.release == __version__
    assert said.formats == {name: each.version for name, each in formats.KNOWN.items()}
    before = (tmp_path / "data" / formats.NAME).stat()
    formats.mark(tmp_path / "data")
    assert (tmp_path / "data" / formats.NAME).stat().st_mtime_ns == before.st_mtime_ns
    formats.require_readable(tmp_path / "data")


def test_a_newer_or_unknown_format_is_refused_and_named_with_both_versions(tmp_path: Path) -> None:
    lies(tmp_path, segments=formats.KNOWN["segments"].version + 1, entries=1, witnesses=3)
    with pytest.raises(ConfigurationError) as refused:
        formats.require_readable(tmp_path)
    [segments, witnesses] = refused.value.problems
    assert segments.startswith(
        f"{tmp_path / formats.NAME}: segments are of format 2, written by {REASON} reads up to 1"
    )
    assert f"witnesses are of format 3, written by {REASON} knows no such format" in witnesses


def test_an_older_format_is_read_and_then_said_to_be_ours(tmp_path: Path) -> None:
    lies(tmp_path, segments=0)
    formats.require_readable(tmp_path)
    formats.mark(tmp_path)
    said = formats.lying(tmp_path)
    assert said is not None and said.formats["segments"] == formats.KNOWN["segments"].version


@pytest.mark.parametrize("content", ["", "{}", '{"formats": {"segments": "new"}, "release": "1"}'])
def test_what_cannot_be_understood_is_no_permission(tmp_path: Path, content: str) -> None:
    (tmp_path / formats.NAME).write_text(content)
    with pytest.raises(ConfigurationError, match=r"formats\.json"):
        formats.require_readable(tmp_path)


def test_the_desk_s_database_is_of_the_version_of_its_last_step() -> None:
    steps = [path.name for path in Path(migrations.__path__[0], "versions").glob("[0-9]*.py")]
    assert int(max(steps)[:4]) == formats.KNOWN["desk"].version == len(steps)


def test_whoever_may_not_read_it_is_not_told_to_move_it_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigurationError) as refused:
        formats.require_readable(tmp_path)
    assert "may not be read by this user: run this as the user" in str(refused.value)
    assert "move it away" not in str(refused.value)
