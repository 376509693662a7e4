"""What a worker holds after thousands of calls and hundreds of abandoned streams is what it held before."""

import os
import signal
import socket
from collections import Counter
from pathlib import Path

from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Deployed, until
from tests.e2e.life.load import load
from tests.e2e.life.upstream import Upstream

WORKERS = 2
CALLS = 2_000
STREAMS = 200
AT_ONCE = 20
MOST_GROWTH_BYTES = 8 << 20
"""Of two workers together: 4 KB for each call. Measured: 2 MB, which is caches and the map of sessions."""


def held(gate: Deployed) -> Counter[str]:
    """What the workers hold, by kind: open sockets, other descriptors, threads."""
    found: Counter[str] = Counter()
    for pid in gate.rooms("gate"):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            # Segments turn over: what counts is that there are not ever more of them, made already or still being made.
            segment = ".seg" in target or target.endswith(".new")
            found["socket" if target.startswith("socket:") else "segment" if segment else target] += 1
        found["threads"] += sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    return found


def resident_bytes(gate: Deployed) -> int:
    return sum(
        int(line.split()[1]) << 10
        for pid in gate.rooms("gate")
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )


def call_often(gate: Deployed, name: str, calls: int) -> None:
    with load(gate, name) as callers:
        until(lambda: len(callers.acknowledged) >= calls, "calls", 60)
    assert (callers.refused, callers.broken) == ([], [])


def abandon(gate: Deployed, upstream: Upstream, streams: int) -> None:
    """Streams that were begun and dropped without a word, each in another way: before, during and after their first event."""
    head = "".join(f"{name}: {value}\r\n" for name, value in gate.headers_for(gate.token("counting")).items())
    request = f"GET /counting/mcp HTTP/1.1\r\n{head}\r\n".encode()
    for start in range(0, streams, AT_ONCE):
        clients = [socket.create_connection(("127.0.0.1", gate.port), timeout=30) for _ in range(AT_ONCE)]
        for client in clients:
            client.sendall(request)
        for number, client in enumerate(clients):
            if (start + number) % 3:
                client.recv(1 << ((start + number) % 12))
        for client in clients:
            client.close()
    until(lambda: upstream.streams == 0, "the server's side of every stream ended")


def test_nothing_is_left_of_calls_and_abandoned_streams(deploy: Deploy, upstream: Upstream) -> None:
    with deploy() as gate:
        call_often(gate, "warm", 400)
        abandon(gate, upstream, 2 * AT_ONCE)
        gate.until_segments_are_ready(WORKERS)
        before = until(lambda: (now := held(gate)) == held(gate) and now, "settled")
        before_bytes = resident_bytes(gate)
        call_often(gate, "calls", CALLS)
        abandon(gate, upstream, STREAMS)
        # Connections to the server are given back a little later, and so is a segment that the sealer has taken.
        until(lambda: held(gate) - before == Counter(), f"no more than {before}")
        assert resident_bytes(gate) - before_bytes < MOST_GROWTH_BYTES
        assert gate.stop() == 0
        opened, closed = gate.log("stream.open"), gate.log("stream.close")
        assert {w.entry.call for w in opened} == {w.entry.call for w in closed}
        assert len(opened) == STREAMS + 2 * AT_ONCE
        gate.verify()


def test_the_supervisor_holds_nothing_of_rooms_that_ended(deploy: Deploy) -> None:
    with deploy() as gate:

        def holds() -> int:
            return sum(1 for _ in Path(f"/proc/{gate.pid}/fd").iterdir())

        before = holds()
        for kind in ("gate", "desk", "sealer"):
            rooms = gate.rooms(kind)
            for pid in rooms:
                os.kill(pid, signal.SIGKILL)
            until(lambda: len(gate.rooms(kind)) == len(rooms) and not set(rooms) & set(gate.rooms(kind)), kind)  # noqa: B023
        until(lambda: gate.get("/readyz") == 200, "ready again")
        until(lambda: holds() <= before, f"{before} descriptors as before, now {holds()}")
        assert gate.stop() == 0
