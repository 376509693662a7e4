"""A row in which the same load meets each server in turn, round after round."""

import os
import time
from pathlib import Path
from statistics import median

import msgspec

from bench import bodies
from bench.figures import Outcome, Side
from bench.loading import Load
from bench.processes import GATE_CORE, LOAD_CORE
from bench.rows import Row
from bench.stage import Stage, stage
from bench.telling import Options, say

PACED_SHARE = 0.7
UNPACED = ("direct", "fastmcp")
KEPT_S = 0.1
"""Calls of this time may be waiting at the end of a paced load; more, and it fell behind."""


def measure(row: Row, options: Options) -> Outcome:
    """The row's figures. Raises Wrong."""
    answers = bodies.answers(row.kind, row.kib, events=row.events, cards=row.cards)
    with stage(row.name, answers, tls=row.tls, keep=options.keep) as place:
        for name in options.peers:
            if name != "fastmcp":
                place.enter(name, tokens=row.tokens)
        if row.fastmcp and "fastmcp" in options.peers:
            place.enter_fastmcp(row.tokens)
        if row.direct:
            place.enter_direct(row.tokens)
        for contender in place.contenders.values():  # code paths warm, connections made, tokens verified once
            place.load(contender, Load(connections=row.connections, seconds=options.seconds / 2))
        settle(place)
        sides, syncs = _rounds(row, options, place)
        sides = _paced(row, options, place, sides)
        extra = {"fdatasync_p50_us": median(syncs)} if syncs else {}
        told = {
            name: contender.peer.config.read_text() for name, contender in place.contenders.items() if contender.peer
        }
    return Outcome(row=row.name, sides=sides, extra=extra, told=told)


def _rounds(row: Row, options: Options, place: Stage) -> tuple[dict[str, Side], list[float]]:
    rounds: dict[str, list[object]] = {name: [] for name in place.contenders}
    syncs: list[float] = []
    for number in range(options.rounds):
        for name, contender in place.contenders.items():
            _, one = place.load(contender, Load(connections=row.connections, seconds=_seconds(name, options)))
            rounds[name].append(one)
            say(
                f"{row.name} round {number + 1} {name}: {one.calls_per_s:,.0f} calls/s, p50 {one.p50_us:,.0f} µs, p99 {one.p99_us:,.0f} µs, "
                f"CPU {one.cpu_us:.1f} µs/call, core {one.busy:.0%}, load {one.load_busy:.0%}"
            )
            settle(place)
        if row.direct:
            syncs.append(fdatasync_p50_us(place.directory))
    sides = {
        name: Side(rounds=tuple(rounds[name]), rss_idle_mib=contender.rss_idle_mib)  # type: ignore[arg-type]
        for name, contender in place.contenders.items()
    }
    return sides, syncs


def _paced(row: Row, options: Options, place: Stage, sides: dict[str, Side]) -> dict[str, Side]:
    """Each server at 70 % of the most that it answers when calls come at random instants, in turn.

    That can be far less than what it answers to callers who wait for one another: those come in bunches, which spare a server
    wake-ups. At a rate that it does not reach, only the length of the measurement would be measured."""
    rates = {
        name: PACED_SHARE * _most(row, options, place, name, side)
        for name, side in sides.items()
        if name not in UNPACED
    }
    seen: dict[str, list[float]] = {name: [] for name in rates}
    for _ in range(min(options.rounds, row.paced_rounds)):
        for name, rate in rates.items():
            load = Load(connections=row.connections, seconds=options.seconds, rate=rate)
            measured, _ = place.load(place.contenders[name], load)
            seen[name].append(measured.p99_us)
            behind = f"; {measured.unsent:,} CALLS WERE NOT SENT IN TIME" if measured.unsent > rate * KEPT_S else ""
            say(
                f"{row.name} at {rate:,.0f} calls/s {name}: p50 {measured.p50_us:,.0f} µs, p99 {measured.p99_us:,.0f} µs{behind}"
            )
            settle(place)
    return {
        name: msgspec.structs.replace(side, paced_p99_us=tuple(seen[name]), paced_rate=rates[name])
        if name in rates
        else side
        for name, side in sides.items()
    }


def _most(row: Row, options: Options, place: Stage, name: str, side: Side) -> float:
    """Calls a second that it answers where more come, at random instants."""
    load = Load(connections=row.connections, seconds=options.seconds / 2, rate=side.middle("calls_per_s"))
    measured, _ = place.load(place.contenders[name], load)
    settle(place)
    return measured.per_s


def _seconds(name: str, options: Options) -> float:
    """FastMCP's proxy answers so few calls that it needs longer for a figure."""
    return 4 * options.seconds if name == "fastmcp" else options.seconds


def settle(place: Stage) -> None:
    """Nobody is still at work on what was asked: the sealer shares the load's core."""
    for contender in place.contenders.values():
        if contender.peer is not None:
            contender.peer.settle()


def fdatasync_p50_us(directory: Path, times: int = 300) -> float:
    """What one commit of 4 KiB into an allocated file costs on this disk, on the gate's core. The file is removed."""
    os.sched_setaffinity(0, {GATE_CORE})
    path = directory / "fdatasync"
    block = os.urandom(4096)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, bytes(4096 * times), 0)
        os.fsync(descriptor)
        seen = []
        for number in range(times):
            begun = time.perf_counter()
            os.pwrite(descriptor, block, 4096 * number)
            os.fdatasync(descriptor)
            seen.append((time.perf_counter() - begun) * 1e6)
    finally:
        os.close(descriptor)
        path.unlink()
        os.sched_setaffinity(0, {LOAD_CORE})
    return median(seen)
