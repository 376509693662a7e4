"""The sealer: how much it does alone on a core, and how far it is behind while calls come."""

import threading
import time
from statistics import median

from bench import bodies
from bench.figures import Outcome
from bench.loading import Load
from bench.peers.gatebook import Gatebook
from bench.processes import GATE_CORE, LOAD_CORE, cpu_s, held, pin
from bench.rows import Row
from bench.side_by_side import settle
from bench.stage import Stage, stage
from bench.telling import Options, say

ENTRIES_A_CALL = 2
BACKLOG_CALLS = 10_000
RATES = (500, 1000, 2000)
_REACHED = 0.95


def measure_alone(row: Row, options: Options) -> Outcome:
    """Entries a second from a standing start behind a backlog, on a core with nothing else to do. Raises Wrong."""
    rates, costs = [], []
    with stage(row.name, bodies.answers("clean", row.kib), keep=options.keep) as place:
        gate = _gate(place, row)
        for number in range(options.rounds):
            before = gate.sealed()
            with held(gate.sealer()):
                load = Load(connections=row.connections, warm_s=0, seconds=40, most_requests=BACKLOG_CALLS)
                measured, _ = place.load(place.contenders["gatebook"], load)
                pin(gate.sealer(), GATE_CORE)
                used = cpu_s([gate.sealer()])
            entries = ENTRIES_A_CALL * measured.sent
            took = gate.sealed_to(before + entries)
            costs.append((cpu_s([gate.sealer()]) - used) / entries * 1e6)
            rates.append(entries / took)
            pin(gate.sealer(), LOAD_CORE)
            say(f"{row.name} round {number + 1}: {rates[-1]:,.0f} entries/s, CPU {costs[-1]:.1f} µs/entry")
            settle(place)
    return Outcome(row=row.name, extra={"entries_per_s": median(rates), "cpu_us_per_entry": median(costs)})


def measure_behind(row: Row, options: Options) -> Outcome:
    """The longest that an entry waited to be under a signed checkpoint, at rising rates. Raises Wrong."""
    extra: dict[str, float] = {}
    with stage(row.name, bodies.answers("clean", row.kib), keep=options.keep) as place:
        gate = _gate(place, row)
        for rate in RATES:
            before = gate.sealed()
            with Watch(gate) as watch:
                load = Load(connections=row.connections, warm_s=0, seconds=3 * options.seconds, rate=rate)
                measured, _ = place.load(place.contenders["gatebook"], load)
            answered = measured.counted / measured.seconds
            if answered < _REACHED * rate:  # then the lag would be the gate's own
                say(
                    f"{row.name} at {rate} calls/s: the gate answers {answered:,.0f} calls/s only; what the sealer would do is not known"
                )
                extra["highest_rate_the_gate_answers"] = answered
                break
            lag = behind_s(
                watch.seen, before, measured.began, measured.began + measured.seconds, ENTRIES_A_CALL * answered
            )
            extra[f"behind_s_at_{rate}_calls_per_s"] = lag
            say(f"{row.name} at {rate} calls/s: {lag:.2f} s behind")
            settle(place)
        else:
            extra["behind_s"] = max(extra.values())
    return Outcome(row=row.name, extra=extra)


def behind_s(seen: list[tuple[float, int]], before: int, began: float, ended: float, entries_per_s: float) -> float:
    """The longest that the newest sealed entry lay behind. `seen`: (instant, entries sealed); entries come evenly from `began` to `ended`,
    `before` were sealed already. A sample says how old the oldest entry is that is not sealed."""
    lags = [0.0]
    for at, sealed in seen:
        if began <= at and sealed - before < (ended - began) * entries_per_s:
            lags.append(at - (began + max(0, sealed - before) / entries_per_s))
    return max(lags)


class Watch:
    """Notes the size of the checkpoint every 10 ms while it is entered, and until nothing is left behind."""

    def __init__(self, gate: Gatebook) -> None:
        self.seen: list[tuple[float, int]] = []
        self._gate = gate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.seen.append((time.monotonic(), self._gate.sealed()))

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._gate.settle()
        finally:
            self._over.set()
            self._thread.join()


def _gate(place: Stage, row: Row) -> Gatebook:
    """A gate whose sessions are all open, with nothing left to seal: from here on each call is two entries."""
    contender = place.enter("gatebook", tokens=row.tokens)
    place.load(contender, Load(connections=row.connections, seconds=1))
    settle(place)
    assert isinstance(contender.peer, Gatebook)
    return contender.peer
