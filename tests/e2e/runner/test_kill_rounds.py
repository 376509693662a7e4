"""SIGKILL for any room, and for any process of a server, at random moments under load: no call is executed twice, none that was answered is
missing in the log, and nothing outlives who held it. How soon the service was back is printed; docs/runner.md has it of a hundred rounds."""

import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.gate import ISSUER_URL, free_port
from tests.e2e.life.deployed import Deployed, alive, deployed, descendants, until
from tests.e2e.life.test_rounds import assert_each_call_is_told_once
from tests.e2e.life.upstream import Upstream
from tests.e2e.runner import real
from tests.e2e.runner.configured import python
from tests.e2e.runner.legacy import Session
from tests.e2e.runner.starting import needs_bubblewrap
from tests.issuing import Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.slow, needs_bubblewrap]

ONE_OF_EACH = {"gate": 1, "sealer": 1, "desk": 1, "runner": 1, "server": 1, "supervisor": 1, "everything": 1}
A_HUNDRED = {"gate": 20, "sealer": 15, "desk": 8, "runner": 22, "server": 20, "supervisor": 7, "everything": 8}
SEED = 20261128
CALLS_PER_SESSION = 25


class Answered(NamedTuple):
    """A call that was answered with its result: the leaf its receipt names, and when it was begun and answered."""

    key: str
    leaf: str
    began_s: float
    answered_s: float


class Caller(threading.Thread):
    """Begins sessions and calls in them as fast as it can, until it is stopped. `refused`: answers that were no result. `broken`: calls whose
    connection ended instead."""

    def __init__(self, gate: Deployed, server: str, name: str) -> None:
        super().__init__()
        self._gate, self._server, self._name = gate, server, name
        self._token = gate.token(server)
        self._over = threading.Event()
        self._numbers = itertools.count()
        self.acknowledged: list[Answered] = []
        self.refused: Counter[int] = Counter()
        self.broken = 0
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            with contextlib.closing(self._gate.connect(30)) as connection:
                try:
                    self._session(connection)
                except (OSError, http.client.HTTPException):
                    self.broken += 1
                    self._over.wait(0.02)

    def _session(self, connection: http.client.HTTPConnection) -> None:
        session = Session(self._gate, self._server, self._token, connection)
        if not session.open:
            self.refused[session.begun.status] += 1
            self._over.wait(0.02)
            return
        for _ in range(CALLS_PER_SESSION):
            key, began_s = f"{self._name}-{next(self._numbers)}", time.monotonic()
            answered = session.call("work", {"key": key}, key)
            if answered.status != 200 or b'"result"' not in answered.body or answered.receipt is None:
                self.refused[answered.status] += 1
                return
            self.acknowledged.append(Answered(key, answered.receipt, began_s, time.monotonic()))
            if self._over.is_set():
                return
        session.end()

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextlib.contextmanager
def calling(gate: Deployed, name: str) -> Iterator[list[Caller]]:
    """Two callers for each server, while the context is open."""
    callers = [Caller(gate, server, f"{name}-{server}-{number}") for server in ("own", "shared") for number in range(2)]
    try:
        yield callers
    finally:
        for caller in callers:
            caller.stop()


def strike(gate: Deployed, victim: str, chance: random.Random) -> None:
    """SIGKILL; returns when the others have done what they do about it, and what the victim held is gone."""
    if victim == "everything":
        family = gate.everyone()
        gate.kill_everything()
        until(lambda: not alive(family), "all ended", 20)
    elif victim == "supervisor":
        family = descendants(gate.pid)
        gate.process.kill()
        gate.process.wait()
        until(lambda: not alive(family), "the rooms ended, and the servers with them", 20)
    elif victim == "server":
        [runner] = until(lambda: gate.rooms("runner"), "a runner", 20)
        processes = until(lambda: descendants(runner), "a server's process", 20)
        struck = chance.choice(processes)
        with contextlib.suppress(ProcessLookupError):  # its session was just over
            os.kill(struck, signal.SIGKILL)
        until(lambda: not alive([struck]), "it ended", 20)
    else:
        before = until(lambda: gate.rooms(victim), f"a {victim} to strike", 20)
        struck = chance.choice(before)
        held = descendants(struck)
        os.kill(struck, signal.SIGKILL)
        until(lambda: not alive(held), f"what the {victim} held ended", 20)
        until(lambda: len(gate.rooms(victim)) >= len(before) and struck not in gate.rooms(victim), f"another {victim}")


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "victims", [ONE_OF_EACH, pytest.param(A_HUNDRED, marks=pytest.mark.nightly)], ids=["few", "hundred"]
)
def test_in_rounds_of_kills_nothing_is_executed_twice_and_nothing_acknowledged_is_missing(
    short_path: Path, victims: dict[str, int]
) -> None:
    chance = random.Random(SEED)
    order = [victim for victim, count in victims.items() for _ in range(count)]
    chance.shuffle(order)
    ground = short_path / "ground"
    ground.mkdir()
    port, issuer = free_port(), Issuer(ISSUER_URL, name="corp")
    servers = {
        name: real.Real(python("counting.py", str(ground / name)), ("work", {}), writable=(str(ground),))
        for name in ("own", "shared")
    }
    own, shared = real.config_of(port, servers).split('name = "shared"\n')
    config = own + 'name = "shared"\n' + shared.replace("[server.run]\n", "[server.run]\nprocesses = 'shared'\n")
    callers: list[Caller] = []
    back_s: dict[str, list[float]] = defaultdict(list)
    struck: list[str] = []
    waiting: tuple[str, float] | None = None  # who was struck and when, until calls are answered again
    while len(struck) < len(order) or waiting is not None:
        with (
            deployed(short_path / "gate", config, port, issuer=issuer) as gate,
            calling(gate, f"life-{len(struck)}") as these,
        ):
            callers += these
            while gate.process.poll() is None:
                if waiting is not None:
                    back_s[waiting[0]].append(first_after(these, waiting[1]) - waiting[1])
                    waiting = None
                if len(struck) == len(order):
                    break
                time.sleep(chance.uniform(0, 0.6))  # the random moment
                waiting = order[len(struck)], time.monotonic()
                struck.append(waiting[0])
                strike(gate, waiting[0], chance)
    with deployed(short_path / "gate", config, port, issuer=issuer) as gate:
        assert gate.stop() == 0
        acknowledged = [one for caller in callers for one in caller.acknowledged]
        in_the_log = {written.leaf for written in gate.log()}
        assert acknowledged and [one for one in acknowledged if one.leaf not in in_the_log] == []
        executed = Upstream()
        executed.executed = Counter(key for name in servers for key in (ground / name).read_text().split())
        assert {one.key for one in acknowledged} <= set(executed.executed)
        # Who was answered finds the outcome in the log, and it is a good one, not "unknown".
        told = {written.entry.call: written.entry.out for written in gate.log("call.result")}
        asked = {
            json.loads(written.entry.q.id or "null"): told.get(written.entry.call)
            for written in gate.log("call.intent")
            if written.entry.q is not None
        }
        assert {one.key for one in acknowledged if (out := asked[one.key]) is None or not out.ok} == set()
        assert_each_call_is_told_once(gate, executed)
        gate.verify()
    assert sum(map(len, back_s.values())) == len(order)
    tell(order, callers, executed.executed, back_s)


def first_after(callers: list[Caller], moment_s: float) -> float:
    """When both kinds of servers had answered a call that was begun after `moment_s`."""

    def answered(number: int) -> float | None:
        times = [
            one.answered_s
            for caller in callers[number : number + 2]
            for one in caller.acknowledged
            if one.began_s > moment_s
        ]
        return min(times, default=None)

    until(lambda: answered(0) and answered(2), "calls are answered again", 60)
    return max(answered(0) or 0.0, answered(2) or 0.0)


def tell(order: list[str], callers: list[Caller], executed: "Counter[str]", back_s: dict[str, list[float]]) -> None:
    refused = sum((caller.refused for caller in callers), Counter[int]())
    print(
        f"{len(order)} rounds: {sum(len(caller.acknowledged) for caller in callers)} calls answered, all in the log; {executed.total()} executed,"
        f" none twice; {dict(refused)} refused, {sum(caller.broken for caller in callers)} connections broken"
    )
    print("| SIGKILL for | rounds | back after, p50 | slowest |\n| --- | ---: | ---: | ---: |")
    for victim, took in sorted(back_s.items()):
        print(f"| {victim} | {len(took)} | {statistics.median(took):.1f} s | {max(took):.1f} s |")
