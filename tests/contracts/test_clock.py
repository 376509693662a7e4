"""ports.Clock on the host's clock: whom it asks, and that it never claims more than it was told."""

import time
from pathlib import Path

import pytest

from gatebook.adapters import clock_system
from gatebook.adapters.clock_system import SystemClock, from_kernel, observe, read_tracking
from gatebook.ledger.entry import Clocked
from gatebook.ports import Clock

TRACKING = (
    "C0248F97,192.36.143.151,2,1795000000.123456,-0.000123456,0.000051,0.000311,-7.5,0.0,0.06,0.01,0.001,64.4,Normal"
)


@pytest.fixture
def chronyc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that comes first on the PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "chronyc"


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_now_is_now() -> None:
    clock: Clock = SystemClock()
    before = time.time_ns() // 1000
    instant = clock.now()
    assert before <= instant.unix_us <= time.time_ns() // 1000
    assert instant.clocked.src in ("chrony", "kernel", "none")


@pytest.mark.parametrize(
    ("leap", "synchronised"),
    [("Normal", True), ("Insert second", True), ("Delete second", True), ("Not synchronised", False), ("", False)],
)
def test_chrony_says_whether_and_how_far(leap: str, synchronised: bool) -> None:
    assert read_tracking(TRACKING.replace("Normal", leap)) == Clocked(src="chrony", off=-123, ok=synchronised)


@pytest.mark.parametrize("line", ["", "506 Cannot talk to daemon", TRACKING.replace("-0.000123456", "x")])
def test_another_answer_is_none(line: str) -> None:
    assert read_tracking(line) is None


def test_chrony_is_asked_where_it_is(chronyc: Path) -> None:
    script(chronyc, f'[ "$*" = "-c tracking" ] && echo {TRACKING.replace(" ", "_")}')
    assert observe() == Clocked(src="chrony", off=-123, ok=True)


@pytest.mark.parametrize("body", ["exit 1", "echo '506 Cannot talk to daemon'; exit 1", "echo nonsense"])
def test_the_kernel_is_asked_where_chrony_does_not_answer(chronyc: Path, body: str) -> None:
    script(chronyc, body)
    assert observe() == from_kernel()
    assert observe().src in ("kernel", "none")


def test_an_answer_that_is_too_old_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_system, "observe", lambda: Clocked(src="chrony", off=5, ok=True))
    clock = SystemClock()
    assert clock.now().clocked.ok
    monkeypatch.setattr(clock, "_observed_at", time.monotonic() - clock_system.STALE_S - 1)
    assert not clock.now().clocked.ok
    clock.close()
