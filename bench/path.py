"""The way of a call without sockets and without a disk: what the worker's own code costs, in one process and on one core.

    python -m bench.path                     µs of CPU for a call, medians of rounds; `--kib`, `--kind`, `--events` as in the rows
    python -m bench.path --functions         which functions were called how often for one call

Everything between the two transports is what ships: the connection, the exchange, the scribe, the upstream client. Bytes are handed in where
the kernel would, a prepared answer stands for the server, and a commit is what `SegmentLedger` does less the write and the sync. So the
figure leaves out system calls, changes of threads and the disk, and is steadier than a load: it is for comparing two versions of the code.
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import uvloop

from bench import bodies, loading
from bench.peers.common import Site
from bench.peers.gatebook import config
from bench.tokens import Issuer
from gatebook.adapters.clock_system import SystemClock
from gatebook.adapters.entropy_system import SystemEntropy
from gatebook.adapters.ledger_segment import SegmentLedger
from gatebook.adapters.secrets import FileOrEnvironment
from gatebook.adapters.sessions_shared import SharedSessions
from gatebook.adapters.upstream_http import HttpUpstreams
from gatebook.adapters.upstream_http.connection import Connection
from gatebook.adapters.upstream_http.pool import Pool
from gatebook.config.load import load
from gatebook.gate.exchange import exchange
from gatebook.gate.handles import SessionHandles
from gatebook.gate.leaving import Gone
from gatebook.gate.turns import Turns
from gatebook.gate.world import Standing, World
from gatebook.masking.trigger import look_first_with
from gatebook.model.deployment import KeySet, Snapshot
from gatebook.model.errors import Reason
from gatebook.model.http import Answer, Arrival
from gatebook.serve import keys
from gatebook.serve.connection import HttpProtocol
from gatebook.serve.registry import ConnectionRegistry
from gatebook.serve.worker import COLLECT_AFTER
from gatebook.speed import looker, reader
from gatebook.wire import native

CONNECTIONS = 32


class _Wire:
    """A transport whose other end is a callback, called in the next turn of the loop."""

    def __init__(self, taken: Any) -> None:
        self._taken = taken
        self._closing = False

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._taken, data)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 40000) if name == "peername" else default

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self._closing = True

    close = abort

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...


class _Client:
    """One connection that asks again once it is answered, until `left` is used up."""

    def __init__(self, place: "InProcess", protocol: HttpProtocol) -> None:
        self._place, self._protocol = place, protocol
        protocol.connection_made(cast(asyncio.BaseTransport, _Wire(self._answered)))

    def ask(self) -> None:
        request = self._place.next_request()
        if request is not None:
            self._protocol.data_received(request)

    def _answered(self, data: bytes) -> None:
        if self._place.answered(data):
            self.ask()


class InProcess:
    """A worker's code around prepared requests and answers."""

    def __init__(self, directory: Path, kind: bodies.Kind, kib: int, *, events: bool, tools: int = 1) -> None:
        issuer = Issuer()
        site = Site(directory=directory, port=18080, upstreams=(18081,), issuer=issuer, tools=("*",))
        (directory / "jwks.json").write_text(issuer.jwks())
        (directory / "gatebook.toml").write_text(config(site))
        deployment = load(directory / "gatebook.toml").deployment
        keys.make_missing(deployment)
        callers = [(site.path("mcp"), token) for token in issuer.tokens(site.audience("mcp"), ["everybody"] * 64)]
        asked = loading.questions("127.0.0.1:18080", callers, tuple(f"tool_{number:03}" for number in range(tools)))
        self._requests = [asked.requests[place] for place in asked.order if asked.classes[place] == 1]
        self._answer = _http(bodies.answers(kind, kib, events=events))
        key_set = KeySet(jwks=issuer.jwks(), fetched_at=time.time())
        snapshot = Snapshot(number=1, config_sha256="0" * 64, deployment=deployment, key_sets={"corp": key_set})
        self._deployment, self._standing = deployment, Standing.of(snapshot)
        self._directory = directory
        self._asked = self._left = self.done = 0
        self.world: World
        self._clients: list[_Client] = []
        self._target = 0
        self._finished: asyncio.Future[None]

    def start(self) -> None:
        """On the event loop: everything is made."""
        native.use(reader())
        if (first := looker()) is not None:
            look_first_with(first)
        clock, entropy = SystemClock(), SystemEntropy()
        ledger = SegmentLedger.open(self._directory / "data", "gate-0", self._deployment, clock, entropy=entropy)
        commit_at_once(ledger)
        upstreams = HttpUpstreams(self._deployment.limits)
        pool = upstreams._pool(self._deployment.servers[0])
        pool._reach = lambda: self._reach(pool)  # type: ignore[method-assign]
        self.world = World(
            clock=clock, ledger=ledger, upstreams=upstreams, credentials=FileOrEnvironment(),
            sessions=SharedSessions(self._directory / "data" / "run" / "sessions.map", self._deployment.limits),
            handles=SessionHandles(keys.session_key(self._deployment)), fingerprint=keys.fingerprint_key(self._deployment),
            standing=lambda: self._standing, trust=lambda: None, keys_wanted=print, closed=lambda: None, random=entropy,
            report_bug=_bug, turns=Turns(ThreadPoolExecutor(1)),
        )  # fmt: skip
        registry = ConnectionRegistry(self._deployment.limits)
        for _ in range(CONNECTIONS):
            protocol = HttpProtocol(
                self._exchange, self._deployment.limits, registry, unreadable=_unreadable, last_resort=_last_resort
            )
            self._clients.append(_Client(self, protocol))

    def _exchange(self, arrival: Arrival, gone: Gone) -> Coroutine[Any, Any, Answer]:
        return exchange(arrival, gone, self.world)

    async def _reach(self, pool: Pool) -> Connection:
        connection = Connection(pool, self._deployment.limits.header_bytes)

        def asked(_: bytes) -> None:
            asyncio.get_running_loop().call_soon(connection.data_received, self._answer)

        connection.connection_made(cast(asyncio.BaseTransport, _Wire(asked)))
        return connection

    def next_request(self) -> bytes | None:
        if not self._left:
            return None
        self._left -= 1
        self._asked = (self._asked + 1) % len(self._requests)
        return self._requests[self._asked]

    def answered(self, data: bytes) -> bool:
        """Whether an answer is whole with `data`. A stream's head comes alone, and its last chunk, too."""
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"refused: {data[:400]!r}")
        streamed = data.endswith(b"\r\n\r\n") if data.startswith(b"HTTP/1.1 ") else not data.endswith(b"0\r\n\r\n")
        self.done += not streamed
        if self.done >= self._target and not self._finished.done():
            self._finished.set_result(None)
        return not streamed

    async def run(self, calls: int) -> float:
        """So many calls are answered. Seconds of CPU."""
        self._finished = asyncio.get_running_loop().create_future()
        self._left, self.done, self._target = calls, 0, calls
        begun = time.process_time()
        for client in self._clients:
            client.ask()
        await asyncio.wait_for(self._finished, 60)
        return time.process_time() - begun


def commit_at_once(ledger: SegmentLedger) -> None:
    """A batch is taken apart as the committing thread does, but nothing is written."""

    def hand_over() -> None:
        batch, ledger._queue, ledger._queued_bytes = ledger._queue, [], 0
        leaves = []
        for queued in batch:
            composed = queued.composed or queued.finish()  # type: ignore[misc]
            ledger._chain.refund(queued.admitted)
            leaves.append(composed.leaf)
        ledger._committing = True
        asyncio.get_running_loop().call_soon(ledger._told, batch, leaves, None)

    ledger._hand_over = hand_over  # type: ignore[method-assign]


def _http(answers: bodies.Answers) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: {answers.media_type}\r\nContent-Length: {len(answers.plain)}\r\n\r\n"
    return head.encode() + answers.plain


async def _unreadable(client_ip: str, reason: Reason) -> None:
    raise SystemExit(f"unreadable: {reason}")


async def _last_resort(arrival: Arrival, failure: BaseException) -> Any:
    raise SystemExit(f"failed: {failure!r}")


def _bug(where: str, failure: BaseException | None) -> None:
    raise SystemExit(f"bug in {where}: {failure!r}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.path", description=__doc__)
    parser.add_argument("--kind", choices=("clean", "ids"), default="clean")
    parser.add_argument("--kib", type=int, default=1)
    parser.add_argument("--events", action="store_true", help="event streams")
    parser.add_argument(
        "--tools", type=int, default=1, help="in rotation with 64 tokens; from 33 on no head comes again in time"
    )
    parser.add_argument("--calls", type=int, default=4000, help="in each round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--functions", action="store_true", help="count the calls of functions, instead of measuring")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()

    async def run(directory: Path) -> None:
        place = InProcess(directory, told.kind, told.kib, events=told.events, tools=told.tools)
        place.start()
        await place.run(1000)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        if told.functions:
            counted: Counter[str] = Counter()

            def count(frame: Any, event: str, what: Any) -> None:
                if event == "call":
                    counted[frame.f_code.co_qualname + " " + Path(frame.f_code.co_filename).name] += 1
                elif event == "c_call":
                    counted["C " + getattr(what, "__qualname__", repr(what))] += 1

            sys.setprofile(count)
            await place.run(320)
            sys.setprofile(None)
            print(f"{sum(counted.values()) / 320:.1f} calls of functions for each call")
            for name, times in counted.most_common(400):
                if times >= 160:
                    print(f"{times / 320:6.1f}  {name}")
            return
        seconds = [await place.run(told.calls) / told.calls for _ in range(told.rounds)]
        figures = {"least_us": min(seconds) * 1e6, "median_us": statistics.median(seconds) * 1e6, "rounds": told.rounds}
        print(
            json.dumps(figures)
            if told.json
            else f"{figures['least_us']:.1f} µs at the least, median {figures['median_us']:.1f} µs"
        )

    with (
        tempfile.TemporaryDirectory(prefix="gatebook-path-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(run(Path(folder)))


if __name__ == "__main__":
    main()
