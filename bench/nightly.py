"""The rows of `make nightly`: many servers, many open streams, two workers. No bar stands on them; they show how the gate behaves."""

import contextlib
import resource
import select
import socket
from collections.abc import Iterator
from statistics import median

from bench import bodies, places
from bench.figures import Outcome, Round, Side
from bench.loading import Load, Wrong
from bench.processes import GATE_CORE, LOAD_CORE, Child, free_port, listens, pin, rss_mib
from bench.rows import Row
from bench.side_by_side import settle
from bench.stage import Contender, Stage, stage
from bench.telling import Options, say

SERVERS = 200
STREAMS = 5000
STREAM_SERVERS = 40
_STREAM_HEAD = "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\nAuthorization: Bearer {token}\r\n\r\n"


def measure_servers(row: Row, options: Options) -> Outcome:
    """The same number of callers at one server and at 200. Raises Wrong."""
    with stage(row.name, bodies.answers("clean", row.kib), keep=options.keep) as place:
        place.enter("gatebook", label="1-server", tokens=SERVERS)
        names = tuple(f"s{number}" for number in range(SERVERS))
        place.enter("gatebook", label="200-servers", tokens=1, names=names, upstreams=(place.upstream.port,) * SERVERS)
        sides = _in_turn(row, options, place)
    return Outcome(
        row=row.name, sides=sides, extra={"loss_percent": loss_percent(sides["1-server"], sides["200-servers"])}
    )


def measure_streams(row: Row, options: Options) -> Outcome:
    """Calls without and with 5,000 event streams open beside them. Raises Wrong."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with (
        stage(row.name, bodies.answers("clean", row.kib), keep=options.keep) as place,
        _streams_servers(place) as ports,
    ):
        # Streams have servers of their own: what is held open is no call, and a worker has at most 256 connections to one server.
        quiet = tuple(f"streams-{number}" for number in range(len(ports)))
        gate = place.enter(
            "gatebook",
            tokens=128,
            quiet=quiet,
            names=("mcp", *quiet),
            upstreams=(place.upstream.port, *ports),
            connections=2 * STREAMS,
        )
        assert gate.peer is not None
        free = _rounds(row, options, place, gate, "without streams")
        before = rss_mib(gate.peer.pids())
        with open_streams(gate, STREAMS):
            settle(place)
            held = rss_mib(gate.peer.pids())
            busy = _rounds(row, options, place, gate, f"with {STREAMS:,} streams")
    sides = {
        "gatebook, no stream": Side(rounds=tuple(free)),
        f"gatebook, {STREAMS:,} streams": Side(rounds=tuple(busy)),
    }
    extra = {"kib_per_stream": (held - before) * 1024 / STREAMS, "loss_percent": loss_percent(*sides.values())}
    return Outcome(row=row.name, sides=sides, extra=extra)


def measure_workers(row: Row, options: Options) -> Outcome:
    """One worker and two. The load shares the cores, so only the sum of CPU for a call says something. Raises Wrong."""
    with stage(row.name, bodies.answers("clean", row.kib), keep=options.keep) as place:
        place.enter("gatebook", label="1-worker", tokens=row.tokens)
        two = place.enter("gatebook", label="2-workers", tokens=row.tokens, workers=2)
        assert two.peer is not None
        for core, pid in zip((LOAD_CORE, GATE_CORE), two.peer.pids(), strict=True):
            pin(pid, core)
        sides = _in_turn(row, options, place)
    more = 100 * (sides["2-workers"].middle("cpu_us") / sides["1-worker"].middle("cpu_us") - 1)
    return Outcome(row=row.name, sides=sides, extra={"more_cpu_per_call_percent": more})


def loss_percent(one: Side, many: Side) -> float:
    """How much fewer calls a second, round by round; the median."""
    return median(
        100 * (1 - less.calls_per_s / more.calls_per_s) for more, less in zip(one.rounds, many.rounds, strict=True)
    )


@contextlib.contextmanager
def open_streams(gate: Contender, count: int) -> Iterator[None]:
    """`count` event streams are open, on each of which an event has come. Raises Wrong where the gate refuses one."""
    with contextlib.ExitStack() as held:
        waiting = select.epoll()
        held.callback(waiting.close)
        callers = [caller for name, those in gate.callers.items() if name != "mcp" for caller in those]
        open_now = {}
        for number in range(count):
            path, token = callers[number % len(callers)]
            connection = held.enter_context(socket.create_connection(("127.0.0.1", gate.port)))
            connection.sendall(_STREAM_HEAD.format(path=path, port=gate.port, token=token).encode())
            open_now[connection.fileno()] = connection
            waiting.register(connection, select.EPOLLIN)
        heard: dict[int, bytes] = dict.fromkeys(open_now, b"")
        missing = set(open_now)
        while missing:
            ready = waiting.poll(60)
            if not ready:
                raise Wrong(f"{len(missing)} of {count} streams did not open")
            for number, _ in ready:
                heard[number] += open_now[number].recv(65536)
                if b'"open"' in heard[number]:
                    missing.discard(number)
                elif not heard[number].startswith(b"HTTP/1.1 200"[: len(heard[number])]) or not heard[number]:
                    raise Wrong(f"a stream was refused: {heard[number][:300]!r}")
        yield


@contextlib.contextmanager
def _streams_servers(place: Stage) -> Iterator[tuple[int, ...]]:
    ports = tuple(free_port() for _ in range(STREAM_SERVERS))
    program = places.ROOT / "bench" / "programs" / "streams_server.py"
    child = Child("streams-server", [places.GATE_PYTHON, program, *map(str, ports)], place.directory, LOAD_CORE)
    try:
        child.until(lambda: all(map(listens, ports)))
        yield ports
    finally:
        child.stop()


def _in_turn(row: Row, options: Options, place: Stage) -> dict[str, Side]:
    rounds: dict[str, list[Round]] = {name: [] for name in place.contenders}
    for contender in place.contenders.values():
        place.load(contender, Load(connections=row.connections, seconds=options.seconds))
    settle(place)
    for _ in range(options.rounds):
        for name, contender in place.contenders.items():
            rounds[name] += _rounds(row, options, place, contender, name, 1)
    return {
        name: Side(rounds=tuple(seen), rss_idle_mib=place.contenders[name].rss_idle_mib)
        for name, seen in rounds.items()
    }


def _rounds(
    row: Row, options: Options, place: Stage, gate: Contender, name: str, times: int | None = None
) -> list[Round]:
    seen = []
    for _ in range(times or options.rounds):
        _, one = place.load(gate, Load(connections=row.connections, seconds=options.seconds))
        seen.append(one)
        say(
            f"{row.name} {name}: {one.calls_per_s:,.0f} calls/s, p99 {one.p99_us:,.0f} µs, CPU {one.cpu_us:.1f} µs/call, {one.rss_mib:.0f} MiB"
        )
        settle(place)
    return seen
