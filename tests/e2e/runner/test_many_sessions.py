"""Many sessions over the five real servers, and nothing left of them; what each server takes is printed, and stands in docs/runner.md."""

import itertools
import statistics
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.gate import free_port
from tests.e2e.life.deployed import alive, children, deployed, descendants, until
from tests.e2e.runner import real
from tests.e2e.runner.legacy import Session, result
from tests.e2e.runner.starting import needs_bubblewrap

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not real.INSTALLED, reason=real.HOW_TO_INSTALL),
    needs_bubblewrap,
]


class Watching(threading.Thread):
    """Looks all the time which processes the runner has. `most`: how many sandboxes at once; `seen`: every process there ever was."""

    def __init__(self, runner: int) -> None:
        super().__init__(daemon=True)
        self._runner = runner
        self._over = threading.Event()
        self.most = 0
        self.seen: set[int] = set()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, len(alive(children(self._runner))))
            self.seen |= set(descendants(self._runner))

    def stop(self) -> None:
        self._over.set()
        self.join()


def held(pid: int) -> Counter[str]:
    """What the runner holds, by kind: sockets, pipes, other descriptors, threads."""
    found: Counter[str] = Counter()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        found[target.partition(":[")[0]] += 1
    found["threads"] = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    return found


class Memory(NamedTuple):
    """What processes hold together: all pages of each, and shared ones by their share."""

    rss_bytes: int
    pss_bytes: int


def memory_of(pids: list[int]) -> Memory:
    found: Counter[str] = Counter()
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            kind, _, kib = line.partition(":")
            found[kind] += int(kib.split()[0]) << 10
    return Memory(found["Rss"], found["Pss"])


def own_bytes(pid: int) -> int:
    return next(
        int(line.split()[1]) << 10
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("sessions", "at_once"), [(10, 5), pytest.param(200, 40, marks=pytest.mark.nightly)])
def test_of_many_sessions_no_more_are_alive_than_allowed_and_nothing_is_left(
    short_path: Path, sessions: int, at_once: int
) -> None:
    servers = real.five(short_path / "ground")
    port = free_port()
    config = real.config_of(port, servers, run="start_s = 60\n", more=f"[runner]\nprocesses = {at_once}\n")
    with deployed(short_path / "gate", config, port) as gate:
        [runner] = gate.rooms("runner")
        tokens = {name: gate.token(name) for name in servers}
        start_s: dict[str, list[float]] = defaultdict(list)
        taken: dict[str, list[Memory]] = defaultdict(list)

        def begun(name: str) -> tuple[Session, float] | None:
            """None where the place of a process that has just ended is not free yet."""
            began = time.monotonic()
            session = Session(gate, name, tokens[name])
            if session.open:
                return session, time.monotonic() - began
            session.connection.close()
            assert_refused_clearly(session, at_once)
            return None

        def begin(name: str) -> Session:
            """One more session, which has called a tool."""
            before = set(children(runner))
            session, took_s = until(lambda: begun(name), "room for one more")
            start_s[name].append(took_s)
            tool, arguments = servers[name].call
            assert result(session.call(tool, arguments)).get("content"), (name, tool)
            session.connection.close()  # it is made again when it is wanted: one that is idle for long is closed by the gate
            [new] = set(children(runner)) - before
            taken[name].append(memory_of([new, *descendants(new)]))
            return session

        # One of each has been: what the runner keeps of a first time is no leak.
        for name in servers:
            assert begin(name).end() == 200
        until(lambda: not children(runner), "all ended")
        before, before_bytes = held(runner), own_bytes(runner)
        start_s.clear()
        taken.clear()
        watching = Watching(runner)
        turn = itertools.cycle(servers)
        alive_now = [begin(next(turn)) for _ in range(at_once)]
        refused = Session(gate, "everything", tokens["everything"])
        refused.connection.close()
        assert_refused_clearly(refused, at_once)
        for _ in range(sessions - at_once):
            assert alive_now.pop(0).end() == 200
            alive_now.append(begin(next(turn)))
        assert sum(map(len, start_s.values())) == sessions and len(children(runner)) == at_once
        for session in alive_now:
            session.end()
        until(lambda: not children(runner), "all ended")
        watching.stop()
        assert watching.most == at_once
        until(lambda: not alive(list(watching.seen)), "no process that ever was is left")
        until(lambda: held(runner) - before == Counter(), f"held as before: {before}, now {held(runner)}")
        left = sorted(path.name for path in (gate.data_dir / "run" / "runner").iterdir())
        assert left == sorted(f"{name}.sock" for name in servers)
        grown = own_bytes(runner) - before_bytes
        assert grown < 4 << 20
        tell(sessions, at_once, len(watching.seen), grown, start_s, taken)
        assert gate.stop() == 0
        gate.verify()


def assert_refused_clearly(refused: Session, at_once: int) -> None:
    assert not refused.open
    assert refused.begun.status == 503
    assert f"All {at_once} processes that runner.processes allows are in use" in refused.begun.body.decode()


def tell(
    sessions: int,
    at_once: int,
    processes: int,
    grown: int,
    start_s: dict[str, list[float]],
    taken: dict[str, list[Memory]],
) -> None:
    print(
        f"{sessions} sessions, {at_once} at once: {processes} processes seen, none left; the runner grew by {grown >> 10} KiB"
    )
    print(
        "| server | sessions | start-up p50 | slowest | RSS p50 | PSS p50 |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for name, took in start_s.items():
        print(
            f"| {name} | {len(took)} | {statistics.median(took):.2f} s | {max(took):.2f} s"
            f" | {statistics.median(each.rss_bytes for each in taken[name]) / (1 << 20):.0f} MiB"
            f" | {statistics.median(each.pss_bytes for each in taken[name]) / (1 << 20):.0f} MiB |"
        )


def test_a_gate_that_is_stopped_in_the_middle_leaves_no_process(short_path: Path) -> None:
    servers = real.five(short_path / "ground")
    port = free_port()
    with deployed(short_path / "gate", real.config_of(port, servers, run="start_s = 60\n"), port) as gate:
        [runner] = gate.rooms("runner")
        for name in servers:
            session = Session(gate, name, gate.token(name))
            session.connection.close()
            assert session.open
        everyone = descendants(runner)
        assert len(everyone) >= 3 * len(servers)
        gate.process.kill()
        gate.process.wait()
        until(lambda: not alive(everyone), "all ended", 5)
