"""Many calls, many sessions, many abandoned streams: what a worker holds at the end is what it held after the first fifth.

Every fifth brings new sessions beside the old ones, so that what is kept for each of them counts. The workers themselves say what they
hold (`room.holds`, by SIGUSR1); what the kernel says of them agrees.
"""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.e2e.gate import ISSUER_URL, config_for, free_port
from tests.e2e.life.deployed import Deployed, deployed, until
from tests.e2e.soak.callers import Callers, Session
from tests.e2e.soak.upstream import Counts, SoakedServer
from tests.issuing import Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FIFTHS = 5
MOST_GROWTH = 1.05
WORKERS = 2
WARMING = 10_000
"""Each with a head of its own, as many as the whole soak sends in its first fifth: what is kept of heads (2,048 in each worker) is full then."""
EARLY = 300
"""Sessions that warm: ciphers are kept ready for 256."""
SETTLED_S = 30.0
NOTHING_LEFT = ("connections", "exchanges", "streams", "buffered_bytes", "callers")
LET_GO = ("sockets", "files")
"""What is given back a little later: connections to the server after 4 s, segments when the sealer has taken them."""
AS_BEFORE = ("tasks", "threads")

Holdings = dict[str, dict[str, Any]]


def held(gate: Deployed, among: str = "gate-") -> Holdings:
    """What each worker says it holds, now."""
    before = len(gate.said("room.holds"))
    os.kill(gate.pid, signal.SIGUSR1)
    until(lambda: len(gate.said("room.holds")) >= before + 1 + WORKERS, "the rooms tell")
    return {line["room"]: line for line in gate.said("room.holds")[before:] if line["room"].startswith(among)}


def settled(gate: Deployed, quiet: Holdings) -> Holdings:
    """The same, once nothing is under way and there are no more sockets and files than before the first call."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        now = held(gate)
        busy = [room for room, holds in now.items() if any(holds[name] for name in NOTHING_LEFT)]
        if not busy and all(now[room][name] <= quiet[room][name] for room in now for name in LET_GO):
            return now
        assert time.monotonic() < deadline, f"not at rest: {now}"
        time.sleep(0.5)


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS"))


async def soak(
    gate: Deployed, port: int, calls: int, sessions: int, streams: int, warming: int
) -> tuple[list[Holdings], Counts, Callers]:
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: SoakedServer(counts), "127.0.0.1", port)
    callers = Callers(gate.port, "soaked", seed=20261122)
    known: list[Session] = []
    told = []
    gate.until_segments_are_ready(WORKERS)
    quiet = held(gate)
    async with server:
        # Before anything counts: every thread is started, and of a small soak every bounded memory is full.
        early = [
            Session(gate.token("soaked", subject="early", sid=f"early-{n}")) for n in range(EARLY if warming else 1)
        ]
        await callers.call([], early, 300, tool="large")
        callers.singular = 1
        await callers.call(early, [], warming)
        callers.singular = 2
        await callers.abandon(early, 20)
        callers.answered.clear()
        callers.abandoned = 0
        for fifth in range(FIFTHS):
            first = fifth * sessions // FIFTHS
            newcomers = [
                Session(gate.token("soaked", subject=f"person-{n}", sid=f"login-{n}"))
                for n in range(first, first + sessions // FIFTHS)
            ]
            began = time.monotonic()
            await callers.call(known, newcomers, calls // FIFTHS)
            print(f"fifth {fifth + 1}: {calls / FIFTHS / (time.monotonic() - began):.0f} calls/s")
            await callers.abandon(known, streams // FIFTHS)
            told.append(await asyncio.to_thread(settled, gate, quiet))
            for room, holds in told[-1].items():
                print("  ", room, {name: value for name, value in holds.items() if name not in ("t", "event", "room")})
            print("   sealer", resident_bytes(gate.rooms("sealer")[0]), "supervisor", resident_bytes(gate.pid))
    return told, counts, callers


def soaked(directory: Path, calls: int, sessions: int, streams: int, warming: int = 0) -> None:
    port, upstream_port = free_port(), free_port()
    issuer = Issuer(ISSUER_URL, name="corp")
    config = config_for(port, {"soaked": f"http://127.0.0.1:{upstream_port}/mcp"}, workers=WORKERS)
    # As large as in production, nearly: small ones turn so often that a busy machine refuses calls for want of one.
    config = config.replace("segment_bytes = 8388608", f"segment_bytes = {32 << 20}")
    with deployed(directory, config, port, issuer=issuer) as gate:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            told, counts, callers = runner.run(soak(gate, upstream_port, calls, sessions, streams, warming))
        assert callers.wrong == []
        assert sum(callers.answered.values()) == calls + sessions and callers.abandoned == streams
        assert (counts.streams, counts.connections) == (0, 0)
        first, last = told[0], told[-1]
        for room in first:
            grown = last[room]["rss_bytes"] / first[room]["rss_bytes"]
            assert grown <= MOST_GROWTH, (room, grown, told)
            assert {name: last[room][name] for name in AS_BEFORE} == {name: first[room][name] for name in AS_BEFORE}
        assert gate.stop() == 0
        opened, closed = gate.log("stream.open"), gate.log("stream.close")
        assert {one.entry.call for one in opened} == {one.entry.call for one in closed}
        gate.verify()


@pytest.mark.timeout(300)
def test_a_tenth_of_the_soak_leaves_nothing_behind(tmp_path: Path) -> None:
    soaked(tmp_path, calls=10_000, sessions=200, streams=50, warming=WARMING)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_calls_leave_nothing_behind(tmp_path: Path) -> None:
    soaked(tmp_path, calls=100_000, sessions=2_000, streams=500)
