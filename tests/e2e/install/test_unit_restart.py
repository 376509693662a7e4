"""The supervisor is killed under load, and what the shipped unit says is done, as the service manager does it: what is left is killed, RestartSec
passes, each ExecStartPre is run, then ExecStart. How long until a call was answered again is printed; docs/runner.md has it."""

import os
import re
import shlex
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.gate import free_port
from tests.e2e.install.owned import Installed, prepared
from tests.e2e.life.deployed import LEGACY, alive, call, until
from tests.e2e.life.upstream import Upstream
from tests.issuing import Issuer

pytestmark = [pytest.mark.usefixtures("root"), pytest.mark.timeout(900)]

CALLERS = 4


class Unit(NamedTuple):
    """What of the unit a restart is made of, as the service manager would run it here."""

    restart_s: float
    before: list[list[str]]
    start: list[str]


def unit_for(program: Path, folder: Path) -> Unit:
    """As `gatebook units` writes it, but for the place of the configuration."""
    subprocess.run([program, "units", "--directory", folder / "etc"], check=True, capture_output=True)
    text = (folder / "etc/systemd/system/gatebook.service").read_text()
    text = text.replace("/etc/gatebook/gatebook.toml", str(folder / "gatebook.toml"))
    [restart_ms] = re.findall(r"^RestartSec=(\d+)ms$", text, re.MULTILINE)
    [start] = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    before = re.findall(r"^ExecStartPre=\+?(.+)$", text, re.MULTILINE)
    assert before and "KillMode=mixed" in text, "what is left of a service is killed before it starts again"
    return Unit(int(restart_ms) / 1000, [shlex.split(line) for line in before], shlex.split(start))


class Caller(threading.Thread):
    """Calls as fast as it can. `answered`: when the call began and ended, and the leaf of its receipt."""

    def __init__(self, gate: Installed) -> None:
        super().__init__()
        self._gate, self._token = gate, gate.token("counting")
        self.over = threading.Event()
        self.answered: list[tuple[float, float, str]] = []
        self.start()

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            number, began_s = number + 1, time.monotonic()
            with suppress(OSError, AssertionError, ValueError):
                answer = self._gate.ask(call("work", f"{self.name}-{number}"), self._token, headers=LEGACY)
                if answer.status == 200 and answer.receipt is not None:
                    self.answered.append((began_s, time.monotonic(), answer.receipt))
                    continue
            self.over.wait(0.02)


@contextmanager
def calling(gate: Installed) -> Iterator[list[Caller]]:
    callers = [Caller(gate) for _ in range(CALLERS)]
    try:
        yield callers
    finally:
        for caller in callers:
            caller.over.set()
            caller.join()


def first_after(callers: list[Caller], moment_s: float) -> float:
    def answered() -> list[float]:
        return [ended for caller in callers for began, ended, _ in [*caller.answered] if began > moment_s]

    return min(until(answered, "a call is answered again", 120))


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.nightly)])
def test_after_the_supervisor_was_killed_the_unit_brings_the_service_back(
    installed: Path, folder: Path, upstream: Upstream, rounds: int
) -> None:
    port = free_port()
    issuer = prepared(folder, port, upstream)
    unit = unit_for(installed / "gatebook", folder)
    parts: list[tuple[float, float, float]] = []
    gate = started(unit, folder, port, issuer)
    try:
        until(lambda: gate.get("/readyz") == 200, "ready", 120)
        with calling(gate) as callers:
            for _ in range(rounds):
                first_after(callers, time.monotonic())
                family, killed_s = gate.everyone(), time.monotonic()
                gate.kill_everything()
                until(lambda family=family: not alive(family), "nothing is left")
                time.sleep(unit.restart_s)  # the unit's own pause
                paused_s = time.monotonic()
                gate.process = started(unit, folder, port, issuer).process
                laid_out_s = time.monotonic()
                back_s = first_after(callers, killed_s)
                parts.append((paused_s - killed_s, laid_out_s - paused_s, back_s - laid_out_s))
            acknowledged = {leaf for caller in callers for _, _, leaf in caller.answered}
        gate.process.send_signal(signal.SIGTERM)
        assert gate.process.wait(60) == 0
    finally:
        if gate.process.poll() is None:
            gate.kill_everything()
    assert acknowledged and acknowledged <= {written.leaf for written in gate.log()}
    gate.verify()
    for what, took in zip(("RestartSec", "ExecStartPre", "ExecStart to a call"), zip(*parts, strict=True), strict=True):
        print(f"| {what} | {statistics.median(took):.2f} s | {max(took):.2f} s |")
    sums = [sum(each) for each in parts]
    print(f"| all | {statistics.median(sums):.2f} s | {max(sums):.2f} s |")


def started(unit: Unit, folder: Path, port: int, issuer: Issuer) -> Installed:
    """ExecStartPre has ended and ExecStart has begun."""
    with (folder / "gate.log").open("ab") as log:
        for command in unit.before:
            subprocess.run(command, cwd="/", check=True, stdout=log, stderr=log)
        process = subprocess.Popen(unit.start, cwd="/", stdout=log, stderr=log, env={**os.environ}, umask=0o027)
    gate = Installed(folder, port, issuer, process)
    gate.program = Path(unit.start[0])
    return gate
