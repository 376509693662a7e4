"""`gatebook doctor`: the most urgent first, each with the line to type; also where the gate is down, the log broken, and the user another."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatebook.adapters.ledger_segment import SegmentHand
from gatebook.adapters.log_files import LogFiles
from gatebook.cli.doctoring.evidence import evidence
from gatebook.cli.doctoring.findings import Finding
from gatebook.cli.doctoring.patient import Patient
from gatebook.cli.doctoring.speed import speed
from gatebook.config import examine
from gatebook.ledger import reading
from gatebook.locks import alone
from gatebook.speed import SpeedUp
from tests.unit.cli.by_commands import Deployed
from tests.world_ledger import (
    START_US,
    RunningSealer,
    StillClock,
    a_draft,
    a_service_draft,
    seal_once,
    wait_until,
    write_and_seal,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def deployed(tmp_path: Path) -> Deployed:
    made = Deployed(tmp_path / "gate")
    made.write(1, 2, 3)
    return made


def seen(deployed: Deployed, after_s: float = 0.0) -> list[Finding]:
    """What the log says, so long after the entries were written."""
    examined = examine(deployed.config)
    assert examined.deployment is not None
    now_s = START_US / 1_000_000 + after_s
    return list(evidence(Patient(examined=examined, deployment=examined.deployment, now_s=now_s)))


def whats(found: list[Finding], where: str = "") -> list[str]:
    return [finding.what for finding in found if where in finding.where]


def doctor(deployed: Deployed, *more: str, code: int = 1) -> list[dict[str, Any]]:
    done = deployed.type("doctor", "-c", str(deployed.config), "--offline", "--json", *more, code=code)
    return list(json.loads(done.output))


def test_a_gate_that_does_not_run_is_the_first_thing_said(deployed: Deployed) -> None:
    first, *rest = doctor(deployed)
    assert (first["urgency"], first["where"]) == ("now", "service")
    assert first["line"].startswith(("systemctl start", "gatebook serve"))
    order = [{"now": 0, "soon": 1, "later": 2}[finding["urgency"]] for finding in rest]
    assert order == sorted(order)
    assert all(finding["line"] for finding in rest)
    said = deployed.type("doctor", "-c", str(deployed.config), "--offline", code=1).output
    assert said.startswith("now   service: the gate does not run")


def test_without_a_configuration_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    Deployed(tmp_path / "gate").type("doctor", "-c", str(tmp_path / "absent.toml"), code=2)


def test_a_broken_tile_is_said_at_once_and_with_what_not_to_do(deployed: Deployed) -> None:
    tile = max((deployed.data_dir / "log/tile/0").rglob("*.p/*"), key=lambda path: int(path.name))
    raw = bytearray(tile.read_bytes())
    raw[5] ^= 1
    tile.write_bytes(raw)
    [told] = [finding for finding in doctor(deployed) if "VERIFICATION FAILED" in finding["what"]]
    assert told["urgency"] == "now" and "delete nothing" in told["what"]
    assert told["line"].startswith(f"gatebook verify {deployed.data_dir}")


def test_an_entry_that_was_changed_is_found_among_the_newest(deployed: Deployed) -> None:
    deployed.write(*range(10, 300))
    bundle = deployed.data_dir / "log/tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"refund", b"refunb", 1))
    assert any("do not agree with their tile" in what for what in whats(seen(deployed), "log"))


@pytest.mark.parametrize("looked_at", [20_000, 3])
def test_what_the_sealer_found_changed_is_said(
    deployed: Deployed, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where calls without end have come since: a busy log takes more between two heartbeats than is looked at whole."""
    monkeypatch.setattr("gatebook.cli.doctoring.evidence.LOOKED_AT", looked_at)
    deployed.write(*range(10, 300))
    log, bundle = LogFiles(deployed.data_dir / "log"), deployed.data_dir / "log/tile/entries/000"
    kept = bundle.read_bytes()
    bundle.write_bytes(kept.replace(b"refund", b"refunb", 1))
    with RunningSealer(deployed.place):
        wait_until(lambda: any(each.entry.ev == "log.heartbeat" for each in reading.entries(log)))
    bundle.write_bytes(kept)  # else the doctor finds it by itself, in so short a log
    deployed.write(*range(300, 600))
    [told] = [what for what in whats(seen(deployed), "log") if "VERIFICATION FAILED" in what]
    assert "the sealer found 1 of its files not to be what was signed, first tile/entries/000" in told


@pytest.mark.parametrize("lives", [True, False])
def test_a_segment_that_rots_is_said_with_what_helps(deployed: Deployed, lives: bool) -> None:
    hand = SegmentHand(deployed.place.deployment, "gate-0", StillClock())
    for _ in range(3):
        hand.write(a_service_draft())
    [segment] = (deployed.data_dir / "segments").glob("gate-0-*-000001.seg")
    raw = segment.read_bytes()
    with segment.open("rb+") as file:
        file.seek(raw.index(b'"w":') + 40)
        file.write(b"#")
    if not lives:
        hand.close()
    with RunningSealer(deployed.place):
        log = LogFiles(deployed.data_dir / "log")
        wait_until(lambda: any(each.entry.ev == "log.heartbeat" for each in reading.entries(log)))
        if not lives:
            wait_until(lambda: not segment.exists())
    if not lives:
        with RunningSealer(deployed.place):
            wait_until(lambda: sum(each.entry.ev == "log.heartbeat" for each in reading.entries(log)) == 2)
    [told] = [finding for finding in seen(deployed) if "files damaged" in finding.what]
    assert told.urgency == "now"
    assert f"first segments/{segment.name}" in told.what
    assert told.line.startswith("gatebook restart" if lives else f"cp -a {segment}.damaged")
    hand.close()


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_where_the_last_heartbeat_is_looked_for_a_broken_entry_is_said_too(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr("gatebook.cli.doctoring.evidence.LOOKED_AT", 3)
    monkeypatch.setattr("gatebook.cli.doctoring.evidence.TILES", 1)
    deployed.write(*range(10, 600))
    bundle = deployed.data_dir / "log/tile/entries/000"
    raw = bundle.read_bytes()
    bundle.unlink()
    if harm == "changed":
        bundle.write_bytes(b"\0\1{" + raw[3:])
    [told] = [what for what in whats(seen(deployed), "log") if "VERIFICATION FAILED" in what]
    assert "delete nothing" in told


@pytest.mark.parametrize("gone", [("log",), ("log", "payloads", "sealer", "log.vkey"), ()])
def test_a_log_that_is_gone_is_said_where_the_watermark_remembers_it(tmp_path: Path, gone: tuple[str, ...]) -> None:
    """`check` and the doctor name what puts it back; of one that is only older, what goes on from it."""
    deployed = Deployed(tmp_path / "gate")
    mark = tmp_path / "elsewhere" / "mark"
    mark.parent.mkdir()
    deployed.config.write_text(deployed.config.read_text().replace("[log]\n", f'[log]\nwatermark = "{mark}"\n', 1))
    deployed.write(1, 2, 3)
    if not gone:
        shutil.copytree(deployed.data_dir / "log", tmp_path / "older")
        deployed.write(4)
        shutil.rmtree(deployed.data_dir / "log")
        shutil.copytree(tmp_path / "older", deployed.data_dir / "log")
    for name in gone:
        each = deployed.data_dir / name
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    said = deployed.type("check", "-c", str(deployed.config), "--offline", code=1).output
    [told] = [finding for finding in doctor(deployed) if "ROLLED BACK" in finding["what"]]
    assert told["urgency"] == "now" and f"as {mark} says" in told["what"]
    if gone:
        assert "restore FROM" in said and "there is no log in" in told["what"]
        assert told["line"] == f"gatebook restore FROM --config {deployed.config}"
    else:
        assert "restore --in-place" in said
        assert told["line"] == f"gatebook restore --in-place --config {deployed.config}"


def test_before_anything_was_signed_no_log_is_missed(tmp_path: Path) -> None:
    deployed = Deployed(tmp_path / "gate")
    mark = tmp_path / "elsewhere" / "mark"
    mark.parent.mkdir()
    deployed.config.write_text(deployed.config.read_text().replace("[log]\n", f'[log]\nwatermark = "{mark}"\n', 1))
    assert not any("ROLLED BACK" in finding["what"] for finding in doctor(deployed))


def test_a_checkpoint_by_another_key_is_said(deployed: Deployed, tmp_path: Path) -> None:
    other = Deployed(tmp_path / "other")
    other.write(1)
    shutil.copy(other.data_dir / "log/checkpoint", deployed.data_dir / "log/checkpoint")
    assert any("not signed by log.vkey" in what for what in whats(seen(deployed), "log"))


def test_a_sealer_that_is_silent_is_said(deployed: Deployed) -> None:
    with RunningSealer(deployed.place):
        before = reading.head(LogFiles(deployed.data_dir / "log")).size
        wait_until(lambda: reading.head(LogFiles(deployed.data_dir / "log")).size > before)
        assert whats(seen(deployed, 70), "sealer") == []
        [told] = whats(seen(deployed, 80), "sealer")
        assert "is 80 s old" in told
    assert whats(seen(deployed, 80), "sealer") == []


def test_what_was_refused_lately_is_counted_by_reason_and_server(deployed: Deployed) -> None:
    refused = [a_draft(number, event="call.refused", ok=False, reason="upstream_unreachable") for number in range(3)]
    short = a_draft(7, event="call.refused", ok=False, reason="disk_short", detail={"attempts": 40}, payloads=())
    write_and_seal(deployed.place, [*refused, short, a_draft(8, event="call.refused", ok=False, reason="denied")])
    found = seen(deployed, 60)
    assert whats(found, "server payments") == [
        "40 in the last quarter of an hour: disk_short",
        "3 in the last quarter of an hour: upstream_unreachable",
    ]
    assert [finding.urgency for finding in found if finding.where == "server payments"] == ["now", "soon"]
    assert whats(seen(deployed, 1000), "server payments") == []


def test_refusals_of_a_disk_that_has_space_again_are_no_longer_urgent(deployed: Deployed) -> None:
    short = a_draft(1, event="call.refused", ok=False, reason="disk_short", payloads=())
    for number, (space, urgency) in enumerate(
        [("short", "now"), ("low", "later"), ("short", "now"), ("enough", "later")]
    ):
        told = a_service_draft(event="disk.space", ok=space == "enough", reason=space)
        write_and_seal(deployed.place, [told] if number else [short, told], writer="supervisor")
        [finding] = [each for each in seen(deployed) if "disk_short" in each.what]
        assert (finding.urgency, finding.what.endswith("; it is over")) == (urgency, urgency == "later")


def test_a_file_that_is_not_the_active_configuration_is_said(deployed: Deployed) -> None:
    active = {"config_sha256": examine(deployed.config).sha256}
    write_and_seal(deployed.place, [a_service_draft(detail=active)], writer="supervisor")
    assert whats(seen(deployed), str(deployed.config)) == []
    deployed.config.write_text(deployed.config.read_text() + "# changed\n")
    assert whats(seen(deployed), str(deployed.config)) == ["the file is not the configuration that is active"]
    refused = a_service_draft(event="config.refused", ok=False, reason="refused", detail=active)
    write_and_seal(deployed.place, [refused], writer="supervisor")
    assert whats(seen(deployed), str(deployed.config)) == [
        "the file is not the configuration that is active (it was refused when it was last reloaded)"
    ]


def test_backups_that_are_not_made_are_said(deployed: Deployed) -> None:
    [none] = [finding for finding in seen(deployed) if finding.where == "backup"]
    assert none.urgency == "later" and none.what.startswith("none since 20")
    deployed.backup()
    deployed.write(4)
    assert whats(seen(deployed), "backup") == []


def test_what_the_last_backup_found_changed_is_said(deployed: Deployed) -> None:
    deployed.backup()
    recording = next((deployed.data_dir / "payloads").rglob("*.pay"))
    raw = bytearray(recording.read_bytes())
    raw[-1] ^= 1
    recording.write_bytes(raw)
    deployed.backup(code=2)
    seal_once(deployed.place)
    name = recording.relative_to(deployed.data_dir)
    [said] = [finding for finding in seen(deployed) if "has changed in" in finding.what]
    assert said.urgency == "now" and f"1 of its files, {name} among them" in said.what


def test_a_restore_is_told_and_so_is_one_that_was_broken_off(deployed: Deployed) -> None:
    deployed.restore("--in-place")
    [told] = [finding for finding in doctor(deployed) if "RESTORED" in finding["what"] or "ROLLED" in finding["what"]]
    assert told["urgency"] == "later" and "former/1" in told["what"]
    (deployed.data_dir / ".restoring").mkdir()
    first = doctor(deployed)[0]
    assert (first["urgency"], "was broken off" in first["what"]) == ("now", True)


def test_a_speed_up_that_must_not_be_used_is_told_and_none_at_all_is_not() -> None:
    assert list(speed(SpeedUp(words="in Python: gatebook-speed is not installed"), reads=False, looks=False)) == []
    assert list(speed(SpeedUp(words="in C: gatebook-speed 9", composer=object), reads=True, looks=True)) == []
    [told] = speed(SpeedUp(words="in C: gatebook-speed 9", composer=object), reads=False, looks=True)
    assert told.urgency == "soon" and "requests are read in Python" in told.what
    [told] = speed(SpeedUp(words="in C: gatebook-speed 9", composer=object), reads=True, looks=False)
    assert told.urgency == "soon" and "looked at by RE2 alone" in told.what
    [told] = speed(
        SpeedUp(words="in Python: gatebook-speed 9 gives other bytes than Python, or none", refused=True),
        reads=False,
        looks=False,
    )
    assert (told.urgency, told.where) == (
        "soon",
        "speed-up",
    ) and "in Python: gatebook-speed 9 gives other bytes" in told.what


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that another user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look as another user")
def test_another_user_is_told_what_was_not_seen_and_whom_to_be(open_to_all: Path) -> None:
    deployed = Deployed(open_to_all / "gate")
    deployed.write(1)
    (open_to_all / "gate").chmod(0o755)
    # Everything is imported by now: another user may not read our interpreter.
    doctor(deployed)
    "localhost".encode("idna")
    os.seteuid(65534)
    try:
        found = doctor(deployed)
    finally:
        os.seteuid(0)
    [told] = [finding for finding in found if finding["where"] == "user"]
    assert told["line"] == f"sudo -u root gatebook doctor --config {deployed.config}"
    assert "were not looked at" in told["what"]
    assert not any(finding["where"] == "service" for finding in found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look as another user")
def test_whoever_may_see_a_part_only_is_told_so_and_that_part_of_the_log_is_not_called_broken(
    open_to_all: Path,
) -> None:
    """As the supervisor's user where the rooms have users of their own: the data directory is his, the log is the sealer's."""
    deployed = Deployed(open_to_all / "gate")
    deployed.write(1, 2, 3)
    doctor(deployed)
    "localhost".encode("idna")
    (open_to_all / "gate").chmod(0o755)
    log = deployed.data_dir / "log"
    for path in (deployed.data_dir, deployed.data_dir / "log.vkey"):
        os.chown(path, 65534, 65534)
    log.chmod(0o755)
    (log / "tile").chmod(0o700)
    with alone(deployed.data_dir / "lock"), alone(log / ".lock"):
        os.chown(deployed.data_dir / "lock", 65534, 65534)
        os.seteuid(65534)
        try:
            found = doctor(deployed)
        finally:
            os.seteuid(0)
    [told] = [finding for finding in found if finding["where"] == "user"]
    assert "cannot be seen, and what comes after it was not looked at" in told["what"]
    assert not {"sealer", "log"} & {finding["where"] for finding in found}
