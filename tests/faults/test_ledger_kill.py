"""Writers and sealers are killed (-9) at any moment: what was acknowledged is in the log, and the log is whole."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import reading
from gatebook.ledger.verification import verify
from tests.world_ledger import Place, a_place, seal_once, wait_until

ROOT = Path(__file__).parents[2]


def start(place: Place, *command: str, out: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=out,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
    )


def start_writer(place: Place, writer: str) -> subprocess.Popen[bytes]:
    (place.directory / "deployment.json").write_bytes(msgspec.json.encode(place.deployment))
    return start(place, "tests.faults.ledger_writer", str(place.directory), writer, out=subprocess.PIPE)


def start_sealer(place: Place) -> subprocess.Popen[bytes]:
    (place.directory / "deployment.json").write_bytes(msgspec.json.encode(place.deployment))
    return start(place, "tests.faults.ledger_sealer", str(place.directory))


def acknowledged(process: subprocess.Popen[bytes]) -> set[str]:
    """Kill it, and say what it had said; a line that its death cut was not said."""
    process.kill()
    said, _ = process.communicate()
    return {line.decode() for line in said.split(b"\n")[:-1]}


def check(place: Place, acknowledged_calls: set[str]) -> int:
    seal_once(place)
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    assert report.problems == []
    assert (report.unknown, report.pending) == ([], 0)
    recorded = {each.entry.call for each in reading.entries(LogFiles(place.log)) if each.entry.ev == "call.intent"}
    assert acknowledged_calls <= recorded, f"{len(acknowledged_calls - recorded)} acknowledged entries are lost"
    assert list((place.directory / "segments").iterdir()) == []
    return report.size


def kill_in_rounds(directory: Path, rounds: int, seed: int) -> None:
    place = a_place(directory / "data", segment_bytes=1 << 20)
    chance = random.Random(seed)
    said: set[str] = set()
    sealer = start_sealer(place)
    for number in range(rounds):
        writers = [start_writer(place, f"gate-{slot}") for slot in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.peek(1)  # type: ignore[attr-defined]
        time.sleep(chance.uniform(0, 0.5))
        if number % 2:
            sealer.kill()
            sealer.wait()
        for writer in writers:
            said |= acknowledged(writer)
        if sealer.poll() is not None:
            sealer = start_sealer(place)
    sealer.kill()
    sealer.wait()
    for path in (place.directory / "segments").iterdir():
        os.utime(
            path, (0, 0)
        )  # a mark whose segments went in the moment of a kill is taken away when a minute has passed
    assert check(place, said) > len(said) > 0


@pytest.mark.slow
def test_killed_writers_and_sealers_lose_nothing(tmp_path: Path) -> None:
    kill_in_rounds(tmp_path, 4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_killed_writers_and_sealers_lose_nothing_in_many_rounds(tmp_path: Path, seed: int) -> None:
    kill_in_rounds(tmp_path, 20, seed)


@pytest.mark.slow
def test_a_bit_that_rots_before_the_writer_is_killed_costs_no_byte_of_what_it_acknowledged(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data", segment_bytes=1 << 20)
    other = start_writer(place, "gate-1")
    writer = start_writer(place, "gate-0")
    segments = place.directory / "segments"
    wait_until(lambda: b'"w":' in b"".join(path.read_bytes() for path in segments.glob("gate-0-*-000002.seg")))
    first = min(segments.glob("gate-0-*.seg"))
    at = first.read_bytes().index(b'"w":', 500_000)
    with first.open("rb+", buffering=0) as file:
        file.seek(at)
        file.write(b"#")
    sealer = start_sealer(place)
    wait_until(lambda: (place.log / "checkpoint").exists())
    said = acknowledged(writer)
    others = acknowledged(other)
    wait_until(lambda: len(list(segments.glob("gate-0-*.seg"))) == 0)
    sealer.terminate()
    assert sealer.wait(20) == 0
    seal_once(place)
    recorded = {each.entry.call for each in reading.entries(LogFiles(place.log)) if each.entry.ev == "call.intent"}
    assert others <= recorded
    kept = b"".join(path.read_bytes() for path in segments.glob("gate-0-*.seg.damaged"))
    lost = {call for call in said - recorded if f'"call":"{call}"'.encode() not in kept}
    assert said - recorded, "there was something behind the damage"
    assert lost == set()
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey, payload_key=place.payload_key)
    assert (report.problems, report.unknown, report.pending) == ([], [], 0)


def test_the_sealer_stops_on_request_and_signs_what_was_left(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data")
    sealer = start_sealer(place)
    writer = start_writer(place, "gate-0")
    assert writer.stdout is not None
    for _ in range(20):
        writer.stdout.readline()
    acknowledged(writer)
    wait_until((place.log / "checkpoint").exists)
    sealer.terminate()
    assert sealer.wait(20) == 0
    report = verify(LogFiles(place.log), LogFiles(place.payloads), place.vkey)
    assert (report.problems, report.unknown, report.pending) == ([], [], 0)
    last = list(reading.entries(LogFiles(place.log)))[-1].entry
    assert last.ev == "log.stop"


def test_a_second_sealer_is_refused(tmp_path: Path) -> None:
    place = a_place(tmp_path / "data")
    first = start_sealer(place)
    while not (place.log / "checkpoint").exists():
        time.sleep(0.02)
    second = start_sealer(place)
    assert second.wait(20) == 1
    first.terminate()
    assert first.wait(20) == 0
