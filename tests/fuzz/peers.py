"""The corpus of `differentials.json`, sent to the gate, to Envoy (JWT, MCP filter, RBAC by tool) and to FastMCP's proxy (JWT), all before
one real server. `make differentials` writes what became of each request into docs/attacks.md.

It shows that the corpus bites: what is refused by one is understood by another, and the server behind it acts on some reading of it.
"""

import argparse
import contextlib
import datetime
import json
import platform
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench import places
from bench.peers.common import Peer, Site
from bench.peers.envoy import Envoy
from bench.peers.gatebook import Gatebook
from bench.processes import LOAD_CORE, Child, free_port, listens
from bench.tokens import ISSUER_URL, Issuer
from tests.fuzz.differentials import GOOD, Case, Corpus, Where, exchange

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "attacks.md"
BEGIN, END = "<!-- the corpus beside others -->", "<!-- end of the corpus beside others -->"
PATIENCE_S = 10
LONG_PATIENCE_S = 40
"""For requests that never end: the gate's own limit for a body is 30 s."""
NAMES = ("gatebook", "envoy", "fastmcp")


class Relay:
    """Passes bytes on to the server and keeps what came: whether anything of a request went on."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.received = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._target))
            for one, other, kept in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(one, other, kept), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, kept: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                if kept:
                    self.received += piece
                other.sendall(piece)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class FastMcp:
    """The bench's own start of it has an upstream of its own; this one has ours."""

    name = "fastmcp"

    def __init__(self, site: Site) -> None:
        site.directory.mkdir(parents=True)
        self.config = site.directory / "settings.json"
        settings = {
            "port": site.port, "path": site.path("mcp"), "upstream": f"http://127.0.0.1:{site.upstreams[0]}/mcp/mcp",
            "public_key": site.issuer.public_pem(), "issuer": ISSUER_URL, "audience": site.audience("mcp"),
        }  # fmt: skip
        self.config.write_text(json.dumps(settings))
        program = places.ROOT / "bench" / "programs" / "fastmcp_proxy.py"
        self._child = Child("fastmcp", [places.FASTMCP_PYTHON, program, self.config], site.directory, LOAD_CORE)
        self._child.until(lambda: listens(site.port))

    def pids(self) -> tuple[int, ...]:
        return (self._child.pid,)

    def settle(self) -> float | None:
        return None

    def stop(self) -> None:
        self._child.stop()


STARTS: dict[str, Callable[[Site], Peer]] = {"gatebook": Gatebook, "envoy": Envoy, "fastmcp": FastMcp}


class Became(msgspec.Struct, frozen=True):
    """What became of one request: the statuses of the answers, what the server did, and whether anything reached it."""

    statuses: tuple[str, ...]
    ran: tuple[str, ...]
    arrived: bool
    waited_s: int
    """Without that the other side ended the connection; 0 where it did."""
    alive: bool

    @property
    def in_words(self) -> str:
        if not self.alive:
            return "**crashed**"
        silence = f"no answer, still held after {self.waited_s} s" if self.waited_s else "closed without a word"
        answered = ", ".join(self.statuses) or silence
        if self.ran:
            return f"**passed on: the server ran {', '.join(self.ran)}** ({answered})"
        if self.arrived:
            return f"**passed on**, the server refused ({answered})"
        return f"refused ({answered})" if self.statuses else answered


class Contender:
    """One of the three, with a relay and a server of its own."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self._directory = directory / name
        self._seen = directory / f"{name}.seen"
        self._seen.touch()
        issuer = Issuer()
        server = free_port()
        self.relay = Relay(server)
        self._site = Site(
            directory=self._directory, port=free_port(), upstreams=(self.relay.port,), issuer=issuer, tools=("get_order",)
        )  # fmt: skip
        [token] = issuer.tokens(self._site.audience("mcp"), ["everybody"])
        self.where = Where(f"127.0.0.1:{self._site.port}", "/mcp/mcp", token)
        command = [sys.executable, "-m", "tests.fuzz.server", str(server), str(self._seen)]
        self._server = Child("server", command, directory, LOAD_CORE, env={"PYTHONPATH": str(ROOT)})
        try:
            self._server.until(lambda: listens(server))
            self._peer = STARTS[name](self._site)
        except BaseException:
            self._server.stop()
            raise

    def sent(self, case: Case) -> Became:
        """One request, and what came of it. A contender that died is started again for the next."""
        before, ran = len(self.relay.received), len(self._ran())
        patience_s = LONG_PATIENCE_S if case.cut else PATIENCE_S
        received, ended = exchange(self._site.port, case.bytes_for(self.where), patience_s=patience_s)
        arrived = bytes(self.relay.received[before:])
        alive = listens(self._site.port)
        if not alive:
            self._peer.stop()
            shutil.rmtree(self._directory)
            self._peer = STARTS[self.name](self._site)
        return Became(
            statuses=_statuses(received),
            ran=tuple(self._ran()[ran:]),
            arrived=self._is_of_the_request(arrived),
            waited_s=0 if ended else patience_s,
            alive=alive,
        )

    def _is_of_the_request(self, arrived: bytes) -> bool:
        """FastMCP's proxy has a word with the server for itself before it passes a call on."""
        if self.name != "fastmcp":
            return bool(arrived)
        return any(method in arrived for method in (b'"tools/call"', b'"resources/read"', b"delete_customer"))

    def _ran(self) -> list[str]:
        return [json.loads(line) for line in self._seen.read_text(encoding="utf-8").splitlines()]

    def stop(self) -> None:
        self._peer.stop()
        self._server.stop()


def _statuses(received: bytes) -> tuple[str, ...]:
    """The status of each answer; the code of its JSON-RPC error where it has one."""
    found = []
    for part in received.split(b"HTTP/1.")[1:]:
        body = part.partition(b"\r\n\r\n")[2]
        code = body.partition(b'"error":')[2].partition(b'"code":')[2].strip()
        digits = code[: len(code) - len(code.lstrip(b"-0123456789"))].decode()
        found.append(part[2:5].decode("latin-1") + (f" {digits}" if digits else ""))
    return tuple(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.peers")
    parser.add_argument("--write", action="store_true", help="into docs/attacks.md")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    arguments = parser.parse_args()
    cases = {name: case for name, case in Corpus().by_name().items() if arguments.only in name}
    with contenders() as started:
        for contender in started:
            good = contender.sent(GOOD)
            print(f"{contender.name}: a good call: {good.in_words}", flush=True)
            assert good.ran == ("get_order",), "a good call must pass, or nothing is shown"
        became = {}
        for name, case in cases.items():
            became[name] = [contender.sent(case) for contender in started]
            print(f"{name}: " + " | ".join(each.in_words for each in became[name]), flush=True)
        for contender in started:
            assert contender.sent(GOOD).ran == ("get_order",), "a good call must still pass"
    text = table(became)
    if arguments.write:
        write(text)
    return 0 if not any(each[0].arrived for each in became.values()) else 1


@contextlib.contextmanager
def contenders() -> Iterator[list[Contender]]:
    directory = places.RUNS / "differentials"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    started: list[Contender] = []
    try:
        for name in NAMES:
            started.append(Contender(name, directory))
        yield started
    finally:
        for contender in started:
            contender.stop()
        shutil.rmtree(directory, ignore_errors=True)


def table(became: dict[str, list[Became]]) -> str:
    """The page's section: versions, sums, and a line for each request."""
    sums = []
    for index, name in enumerate(NAMES):
        all_ = [each[index] for each in became.values()]
        passed, ran = sum(each.arrived or bool(each.ran) for each in all_), sum(bool(each.ran) for each in all_)
        other = sum(any(what != "get_order" for what in each.ran) for each in all_)
        silent = sum(not each.statuses for each in all_)
        dead = sum(not each.alive for each in all_)
        sums.append(f"| {TITLES[name]} | {len(all_) - passed} | {passed} | {ran} | {other} | {silent} | {dead} |")
    lines = [
        f"{len(became)} requests, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {versions()}.",
        "",
        "| | not passed on | passed on | of these the server acted on | not as `get_order` with its argument | no answer | crashed |",
        "|---|---|---|---|---|---|---|",
        *sums,
        "",
        "| request | Gatebook | Envoy | FastMCP's proxy |",
        "|---|---|---|---|",
        *(
            f"| {_shown(name)} | {' | '.join(_shown(each.in_words, bold=True) for each in row)} |"
            for name, row in became.items()
        ),
    ]
    return "\n".join(lines)


TITLES = {"gatebook": "Gatebook", "envoy": "Envoy", "fastmcp": "FastMCP's proxy"}


def versions() -> str:
    envoy = subprocess.run([places.envoy(), "--version"], capture_output=True, text=True, check=True).stdout
    packages = subprocess.run(
        [places.FASTMCP_PYTHON, "-c", "from importlib.metadata import version as v; print(v('fastmcp'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    number = envoy.split("version:")[1].split("/")[1]
    return f"Envoy {number}, FastMCP {packages}, Python {platform.python_version()}"


def _shown(text: str, *, bold: bool = False) -> str:
    printable = "".join(sign if sign.isprintable() else f"U+{ord(sign):04X}" for sign in text)
    escaped = (
        printable.replace("\\", "\\\\").replace("|", "\\|").replace("_", "\\_").replace("<", "\\<").replace("`", "\\`")
    )
    return escaped if bold else escaped.replace("*", "\\*")


def write(text: str) -> None:
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
