"""Ten servers, one of which takes calls and never answers: what that does to the calls of the other nine."""

import contextlib
import socket
from collections.abc import Iterator
from statistics import median

from bench import bodies
from bench.figures import Outcome, Round, Side
from bench.loading import Load
from bench.rows import Row
from bench.side_by_side import settle
from bench.stage import Contender, stage
from bench.telling import Options, say

SHARE = 0.5
"""Of the maximum: with calls at random instants, a p99 that is the gate's and not that of a full queue."""
HANGING = 64
STALLED = "stalled"
NAMES = (*(f"s{number}" for number in range(9)), STALLED)
_TOKENS_EACH = 8


def measure(row: Row, options: Options) -> Outcome:
    """The nine servers' p99 with and without 64 calls that hang at the tenth, in turn. Raises Wrong."""
    with (
        stage(row.name, bodies.answers("clean", row.kib), keep=options.keep) as place,
        a_server_that_never_answers() as port,
    ):
        upstreams = (*[place.upstream.port] * 9, port)
        gate = place.enter("gatebook", tokens=_TOKENS_EACH, names=NAMES, upstreams=upstreams, quiet=(STALLED,))
        measured, _ = place.load(gate, Load(connections=row.connections, seconds=options.seconds))
        settle(place)
        rate = SHARE * measured.per_s
        rounds: dict[str, list[Round]] = {"without": [], "with": []}
        for number in range(max(options.rounds, 3)):
            for name, hanging in (("without", 0), ("with", HANGING)):
                with hanging_calls(gate, hanging):
                    load = Load(connections=row.connections, seconds=options.seconds, rate=rate)
                    _, one = place.load(gate, load)
                rounds[name].append(one)
                say(
                    f"{row.name} round {number + 1} {name}: p50 {one.p50_us:,.0f} µs, p99 {one.p99_us:,.0f} µs at {rate:,.0f} calls/s"
                )
                settle(place)
    pairs = zip(rounds["without"], rounds["with"], strict=True)
    rise = median(100 * (stalled.p99_us / free.p99_us - 1) for free, stalled in pairs)
    sides = {f"gatebook, {name} a stalled server": Side(rounds=tuple(seen)) for name, seen in rounds.items()}
    return Outcome(row=row.name, sides=sides, extra={"p99_rise_percent": rise, "rate_calls_per_s": rate})


@contextlib.contextmanager
def a_server_that_never_answers() -> Iterator[int]:
    """Connections are made and bytes are taken, by the kernel; nobody reads them."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        port: int = listening.getsockname()[1]
        yield port


@contextlib.contextmanager
def hanging_calls(gate: Contender, count: int) -> Iterator[None]:
    """`count` calls wait at the stalled server, each on a connection of its own."""
    with contextlib.ExitStack() as held:
        callers = gate.callers[STALLED]
        for number in range(count):
            path, token = callers[number % len(callers)]
            connection = held.enter_context(socket.create_connection(("127.0.0.1", gate.port)))
            connection.sendall(bodies.request(path, f"127.0.0.1:{gate.port}", bodies.TOOL, token))
        yield
