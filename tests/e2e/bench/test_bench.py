"""The bench itself, for a second: a row comes out right, and a wrong answer or a wrong count makes it void."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench import bodies, places
from bench.loading import Expected, Load, Wrong, run
from bench.processes import LOAD_CORE, Child, Died
from bench.stage import Stage, stage

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]

CONNECTIONS = Load(connections=4, seconds=0.2, warm_s=0)


@pytest.fixture(autouse=True)
def tools() -> None:
    if not places.LOAD_PYTHON.exists():
        pytest.skip("the bench's programs are not installed: make .cache/bench-venv/.stamp")


@pytest.fixture
def place() -> Iterator[Stage]:
    with stage("a-test", bodies.answers("clean", 1)) as made:
        yield made


def test_one_row_of_the_gate_alone_has_its_figures_and_leaves_nothing(tmp_path: Path):
    file = tmp_path / "report.json"
    arguments = ["--rows", "clean-1k-c32", "--peers", "", "--seconds", "1", "--rounds", "1", "--json", str(file)]
    done = subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=places.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text())
    (row,) = report["rows"]
    (round_,) = row["sides"]["gatebook"]["rounds"]
    assert row["void"] is None and round_["calls_per_s"] > 0 and round_["rss_mib"] > 10 and round_["cpu_us"] > 0
    assert 0 < round_["p50_us"] <= round_["p99_us"]
    assert 'profile = "dev"' in row["told"]["gatebook"]
    assert "| clean-1k-c32 | gatebook |" in done.stdout and not list(places.RUNS.glob("clean-1k-c32-*"))


def test_an_answer_that_is_not_the_expected_bytes_is_wrong(place: Stage):
    direct = place.enter_direct(64)
    run(direct.port, direct.asked, direct.expected, CONNECTIONS)
    other = msgspec.structs.replace(direct.expected, card=direct.expected.plain)
    with pytest.raises(Wrong, match="not the bytes that were expected"):
        run(direct.port, direct.asked, other, CONNECTIONS)
    with pytest.raises(Wrong, match="lacks what it must hold"):
        run(direct.port, direct.asked, Expected(plain=b"nowhere", card=b"nowhere", whole=False), CONNECTIONS)


def test_a_call_that_the_upstream_did_not_count_is_found(place: Stage):
    direct = place.enter_direct(64)
    measured, _ = place.load(direct, CONNECTIONS)
    assert measured.sent == measured.answers == place.sent > 100
    place.sent += 1
    with pytest.raises(Wrong, match="the upstream counted"):
        place.check_count()


def test_a_server_whose_start_goes_wrong_is_not_left_behind(tmp_path: Path):
    with stage("a-test", bodies.answers("clean", 1)):
        stuck = Child("stuck", [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path, LOAD_CORE)
        with pytest.raises(Died):
            stuck.until(lambda: False, within_s=0.1)
    assert stuck.process.poll() is not None


def test_calls_at_random_instants_come_at_the_rate_that_was_asked_for(place: Stage):
    direct = place.enter_direct(64)
    measured, _ = place.load(direct, Load(connections=4, seconds=1, warm_s=0, rate=1000))
    assert 800 < measured.sent < 1200  # a Poisson process of 1,000 has a deviation of 32
    measured, _ = place.load(direct, Load(connections=4, seconds=30, warm_s=0, most_requests=50))
    assert measured.sent == 50 and measured.seconds < 20
