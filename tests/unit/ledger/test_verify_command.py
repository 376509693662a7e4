"""`gatebook verify`: its exit codes and what it says."""

import json
import os
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gatebook.cli.verify import verify
from gatebook.ledger import payload
from gatebook.ledger.framing import FrameKind, frame
from gatebook.ledger.payload import Place as FramePlace
from gatebook.ledger.payload import stored_body
from tests.world_ledger import Place, a_draft, a_place, write_and_seal

app = typer.Typer()
app.command()(verify)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = a_place(tmp_path_factory.mktemp("log") / "data")
    write_and_seal(made, [a_draft(number) for number in range(5)])
    (made.directory / "log.vkey").write_text(made.vkey + "\n")
    return made


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_an_intact_log_exits_zero_by_key_or_by_file(place: Place) -> None:
    for key in (place.vkey, place.directory / "log.vkey"):
        code, said = run(place.directory, "--key", key)
        assert code == 0, said
        assert "INTACT" in said
    assert run(place.log, "--key", place.vkey)[0] == 0


def test_it_says_what_a_signature_alone_cannot_show(place: Place) -> None:
    assert "--checkpoint" in run(place.directory, "--key", place.vkey)[1]
    old = place.log / "checkpoint"
    assert "note: without" not in run(place.directory, "--key", place.vkey, "--checkpoint", old)[1]


def test_a_broken_log_exits_one_and_names_the_place(place: Place, tmp_path: Path) -> None:
    shutil.copytree(place.directory, tmp_path / "data")
    bundle = next((tmp_path / "data/log/tile/entries").rglob("000.p/*"))
    changed = bytearray(bundle.read_bytes())
    changed[700] ^= 1
    bundle.write_bytes(changed)
    code, said = run(tmp_path / "data", "--key", place.vkey)
    assert code == 1
    assert "BROKEN" in said
    assert "entry " in said


def test_frames_of_a_writer_whom_nobody_knows_break_a_data_directory_and_are_named_in_a_copy(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatebook.cli.verify.SETTLE_S", 0)
    shutil.copytree(place.directory, tmp_path / "data")
    recording = next((tmp_path / "data/payloads").rglob("*.pay"))
    at = FramePlace(recording.stem, "gate-7", "0" * 20, 1, 0, 0, 1)
    with recording.open("ab") as stored:
        stored.write(frame(FrameKind.PAYLOAD, stored_body(at, b"sealed")))
    code, said = run(tmp_path / "data", "--key", place.vkey)
    assert (code, "1 frames of gate-7" in said, "not signed yet" in said) == (1, True, False)
    segment = tmp_path / f"data/segments/gate-7-{'0' * 20}-000001.seg"
    for name in (segment, segment.with_name(f"{segment.name}.damaged")):
        name.touch()
        code, said = run(tmp_path / "data", "--key", place.vkey)
        assert (code, "1 pieces are not signed yet" in said) == (0, True), (
            "its entry may still come, or is in what was kept"
        )
        name.unlink()
    shutil.rmtree(tmp_path / "data/segments")
    code, said = run(tmp_path / "data", "--key", place.vkey)
    assert (code, "nor does any entry name that writer" in said, "not signed yet" in said) == (0, True, False)
    code, said = run(tmp_path / "data", "--key", place.vkey, "--json")
    assert [each["where"] for each in json.loads(said)["unknown"]] == [
        f"payloads/{recording.parent.name}/{recording.name}"
    ]


CLEARED = b"\x1b[2J\x1b[HINTACT\x1b[8m"


@pytest.mark.slow  # it waits twice for a log that may be settling
@pytest.mark.parametrize("name", [CLEARED, b"a\nINTACT", b"\xff\xfe"])
def test_a_files_name_cannot_write_the_verdict(place: Place, tmp_path: Path, name: bytes) -> None:
    shutil.copytree(place.directory, tmp_path / "data")
    (tmp_path / "data/log" / os.fsdecode(name)).write_text("x")
    code, said = run(tmp_path / "data", "--key", place.vkey)
    assert code == 1
    assert "INTACT" not in said.splitlines() and "\x1b" not in said
    assert "is not accounted for" in said.splitlines()[0]
    report = json.loads(run(tmp_path / "data", "--key", place.vkey, "--json")[1])
    assert (report["verdict"], len(report["problems"])) == ("broken", 1)


@pytest.mark.parametrize("name", ["checkpoint", "more"])
def test_a_pipe_in_place_of_a_file_is_a_problem_and_no_wait(place: Place, tmp_path: Path, name: str) -> None:
    shutil.copytree(place.directory, tmp_path / "data")
    pipe = tmp_path / "data/log" / name
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    code, said = run(tmp_path / "data", "--key", place.vkey)
    assert (code, said.splitlines()[0].partition(":")[0]) == (1, name)


def test_a_key_file_that_is_not_there_is_said_to_be_missing(place: Place, tmp_path: Path) -> None:
    code, said = run(place.directory, "--key", tmp_path / "log.vkey")
    assert code == 2 and f"no file {tmp_path / 'log.vkey'}" in said


def test_what_cannot_be_judged_exits_two(place: Place, tmp_path: Path) -> None:
    assert run(tmp_path, "--key", place.vkey)[0] == 2
    assert run(place.directory, "--key", "no key")[0] == 2
    assert run(place.directory, "--key", place.vkey, "--checkpoint", tmp_path / "absent")[0] == 2


def test_the_report_is_json_for_programs(place: Place, tmp_path: Path) -> None:
    code, said = run(place.directory, "--key", place.vkey, "--json")
    report = json.loads(said)
    assert (code, report["verdict"], report["problems"], report["origin"]) == (0, "intact", [], "example.com/log")
    assert json.loads(run(tmp_path, "--key", place.vkey, "--json")[1])["verdict"] == "cannot judge"


def test_recordings_that_nobody_looked_at_are_not_counted_as_verified(place: Place, tmp_path: Path) -> None:
    shutil.copytree(place.directory, tmp_path / "data")
    shutil.rmtree(tmp_path / "data/payloads")
    code, said = run(tmp_path / "data/log", "--key", place.vkey)
    assert code == 2 and "INTACT" not in said.splitlines()
    assert "0 payloads, 5 not looked at" in said
    assert "5 recordings that it names were not looked at: give the data directory" in said
    code, told = run(tmp_path / "data/log", "--key", place.vkey, "--json")
    report = json.loads(told)
    assert (code, report["verdict"], report["payloads"], report["unseen"]) == (2, "cannot judge", 0, 5)
    assert "5 recordings" in report["why"]
    numbers = tmp_path / "numbers"
    run(tmp_path / "data/log", "--key", place.vkey, "--metrics", numbers)
    assert "gatebook_verification_intact 0\n" in numbers.read_text()
    code, said = run(tmp_path / "data", "--key", place.vkey)
    assert code == 1 and "is not in payloads/" in said, "a data directory has them"


def test_where_a_log_is_not_it_says_where_one_is(place: Place, tmp_path: Path) -> None:
    code, said = run(tmp_path / "nowhere", "--key", place.vkey)
    assert code == 2 and f"there is no directory {tmp_path / 'nowhere'}" in said
    code, said = run(tmp_path, "--key", place.vkey)
    assert code == 2 and f"there is no checkpoint in {tmp_path}" in said
    shutil.copytree(place.directory, tmp_path / "data")
    code, said = run(tmp_path, "--key", place.vkey)
    assert code == 2 and f"name {tmp_path / 'data'}" in said


def test_a_copy_without_its_recordings_is_asked_about(place: Place, tmp_path: Path) -> None:
    shutil.copytree(place.log, tmp_path / "data/log")
    code, said = run(tmp_path / "data", "--key", place.vkey)
    assert code == 1 and f"there is no directory {tmp_path / 'data/payloads'}" in said


def test_a_file_that_is_no_key_is_named_and_what_is_wanted_too(place: Place, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    for content, words in (
        (b"", f"{wrong} holds no verifier key: give log.vkey"),
        (b"\xff\xfe\x00", f"{wrong} holds no verifier key"),
        (place.vkey[:50].encode(), f"{wrong} holds no verifier key"),
        ((place.directory / "keys/log.key").read_bytes(), f"{wrong} holds the log's signing key"),
    ):
        wrong.write_bytes(content)
        code, said = run(place.directory, "--key", wrong)
        assert code == 2 and words in said
        code, said = run(place.directory, "--key", place.vkey, "--payload-key", wrong)
        assert code == 2 and f"{wrong} is no private payload key" in said
    code, said = run(place.directory, "--key", tmp_path)
    assert code == 2 and f"{tmp_path} is a directory" in said
    code, said = run(place.directory, "--key", place.vkey, "--checkpoint", tmp_path / "absent")
    assert code == 2 and f"CANNOT JUDGE: {tmp_path / 'absent'}: No such file or directory" in said


def test_another_payload_key_makes_no_log_broken(place: Place, tmp_path: Path) -> None:
    """Every byte is as it was signed: only nobody knows what is inside."""
    private, _ = payload.generate_key_pair()
    (tmp_path / "other.key").write_bytes(private)
    code, said = run(place.directory, "--key", place.vkey, "--payload-key", tmp_path / "other.key")
    assert code == 2 and "5 payloads, 5 not opened" in said and "INTACT" not in said.splitlines()
    assert "the payload key does not open 5 of them: give the one that they were made for" in said
    report = json.loads(run(place.directory, "--key", place.vkey, "--payload-key", tmp_path / "other.key", "--json")[1])
    assert (report["verdict"], report["locked"], report["problems"]) == ("cannot judge", 5, [])


def test_a_file_is_no_log(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    code, said = run(tmp_path / "file", "--key", place.vkey)
    assert code == 2 and f"{tmp_path / 'file'} is a file" in said
