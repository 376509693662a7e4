"""Card numbers, authentication data and secrets are planted in every place of requests and answers; nothing the gate writes holds one.

The controls: the same search over a file for each encoding, and over a gate whose masker was taken out.
"""

import base64
import contextlib
import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import payload, reading
from tests.e2e.attacks.recording import Asked, RecordingServer, honest
from tests.e2e.canary import plants
from tests.e2e.canary.answering import answers
from tests.e2e.canary.arriving import Requests, call
from tests.e2e.canary.search import Hit, Search
from tests.e2e.gate import Gate, config_for, free_port, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PATIENCE_S = 30
SERVER = """
credential = { header = "Authorization", value = "Bearer {secret}", secret = "file:%s" }
[[server.tool]]
match = ["pay"]
card_numbers = "allow"
[[server.tool]]
match = ["note"]
card_numbers = "mask"
"""


class Canary:
    """A gate between a client and a server that both plant what they can; afterwards, everything that was written."""

    def __init__(self, directory: Path, *, env: dict[str, str]) -> None:
        self.root = directory / "written"
        self._secret = directory / "elsewhere" / "upstream.secret"
        self._env = env
        self.received: dict[str, bytes] = {}
        """What clients got, by the case of the server's answer."""
        self.statuses: dict[str, bytes] = {}
        """The status line that each planted request got; empty where the connection was closed."""
        self.bodies: list[bytes] = []
        """Every recorded body, opened with the private key."""
        self.found_running: list[Hit] = []
        self.found: list[Hit] = []
        self.search = Search({})

    def run(self) -> None:
        self._secret.parent.mkdir(parents=True)
        self._secret.write_text(plants.CREDENTIAL + "\n")
        (self.root / "tmp").mkdir(parents=True)
        port = free_port()
        with RecordingServer() as server:
            config = config_for(port, {"shop": server.url}).replace(
                f'url = "{server.url}"\n', f'url = "{server.url}"{SERVER % self._secret}'
            )
            env = {"TMPDIR": str(self.root / "tmp"), **self._env}
            with running(self.root, config, port, env=env) as gate:
                self._plant(gate, server)
                self.found_running = self.search.directory(self.root) + deleted_but_open(gate, self.search)
                assert gate.stop() == 0
                self.bodies = list(recorded(gate))
                self.found = self.search.directory(self.root) + self._told(gate)

    def _plant(self, gate: Gate, server: RecordingServer) -> None:
        bearer = gate.token("shop")
        odd = [gate.token("shop", **{claim: plants.PLAIN}) for claim in ("sub", "azp", "sid", "jti", "acr")]
        self.search = Search(plants.searched(*_parts(bearer, *odd)))
        server.script = honest
        requests = Requests(f"127.0.0.1:{gate.port}", bearer)
        for sent in requests.everywhere():
            self.statuses[sent.name] = status = _exchanged(gate, sent.raw).partition(b"\r\n")[0]
            assert not sent.served or b" 200 " in status, (sent.name, status)
        for claim_bearer in odd:
            _exchanged(gate, requests.raw(call("claims", {}), bearer=claim_bearer))
        told = answers()

        def script(asked: Asked) -> Iterator[bytes]:
            yield from told[json.loads(asked.body)["params"]["arguments"]["say"]](asked)

        server.script = script
        for name in told:
            self.received[name] = _exchanged(gate, requests.raw(call(name, {"say": name})))

    def _told(self, gate: Gate) -> list[Hit]:
        """What the commands say and write of it."""
        hits = []
        gate.command("verify", "data", "--key", "data/log.vkey")
        entries = list(reading.entries(LogFiles(gate.data_dir / "log")))
        sessions = {one.entry.sess for one in entries if one.entry.sess}
        pages = self.root / "pages"
        pages.mkdir()
        for number, session in enumerate(sorted(sessions)):
            hits += self.search.bytes(gate.command("replay", "--all", session).stdout.encode(), "replay")
            gate.command("replay", session, "--html", str(pages / f"{number}.html"))
        for where, told in {
            "log": gate.command("log", "--limit", "9999", "--json"),
            "sessions": gate.command("sessions"),
        }.items():
            hits += self.search.bytes(told.stdout.encode(), where)
        return hits + self.search.directory(pages)


def recorded(gate: Gate) -> Iterator[bytes]:
    """Every recorded body, opened with the private key."""
    private = payload.load_private_key((gate.data_dir / "keys" / "payloads.key").read_text())
    recordings = reading.Recordings(LogFiles(gate.data_dir / "payloads"), private)
    for one in reading.entries(LogFiles(gate.data_dir / "log")):
        for pay in one.entry.pay:
            yield recordings.open(one.entry, pay)


def deleted_but_open(gate: Gate, search: Search) -> list[Hit]:
    """A file that was unlinked while it is open is on the disk all the same."""
    hits = []
    for pid in _family(gate.process.pid):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("/") and target.endswith(" (deleted)"):
                    hits += search.bytes(descriptor.read_bytes(), target)
    return hits


def _family(pid: int) -> list[int]:
    found = [pid]
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            found += _family(int(child))
    return found


def _parts(*tokens: str) -> list[str]:
    """A signature alone is as bad as the token; the header is the same in all of them and no secret."""
    return [part for made in tokens for part in (made, *made.split(".")[1:])]


def _exchanged(gate: Gate, raw: bytes) -> bytes:
    """Exactly these bytes out, everything back until the gate closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", gate.port), PATIENCE_S) as connection, contextlib.suppress(OSError):
        connection.sendall(raw)
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Canary:
    flown = Canary(tmp_path_factory.mktemp("canary"), env={})
    flown.run()
    return flown


def test_no_file_holds_a_planted_value_in_any_encoding(canary: Canary) -> None:
    assert len(canary.statuses) > 50 and len(canary.received) > 30
    assert (canary.found_running, canary.found) == ([], [])
    diagnostics = (canary.root / "gate.log").read_text()
    assert '"bug"' not in diagnostics and "Traceback" not in diagnostics, diagnostics[-4000:]


def test_no_recorded_body_holds_one_when_it_is_opened_with_the_private_key(canary: Canary) -> None:
    assert [hit for body in canary.bodies for hit in canary.search.bytes(body, "a recorded body")] == []
    assert [code for body in canary.bodies for code in plants.bare_codes(body)] == []


def test_what_was_planted_did_come_by_and_was_recorded_masked(canary: Canary) -> None:
    recorded = b"".join(canary.bodies)
    for marker in ("arguments-masked", "arguments-allowed", "arguments-large", *answers()):
        if marker.startswith(("arguments", "released")):
            assert marker.encode() in recorded, marker
    assert b"411111******1111" in recorded and b"[cvv removed]" in recorded and b"[track removed]" in recorded


def test_no_client_receives_a_planted_value_from_a_server(canary: Canary) -> None:
    assert [hit for name, answer in canary.received.items() for hit in canary.search.bytes(answer, name)] == []


ENCODINGS = {
    "raw": lambda value: b"text " + value + b" text",
    "hex": lambda value: value.hex().encode(),
    "hex in capitals": lambda value: value.hex().upper().encode(),
    "base64": lambda value: base64.b64encode(value),
    "base64 one byte on": lambda value: base64.b64encode(b"a" + value + b"b"),
    "base64 two bytes on": lambda value: base64.b64encode(b"ab" + value + b"cd"),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(b"\xff\xfe\xfb" + value),
    "UTF-16": lambda value: value.decode().encode("utf-16"),
    "JSON escapes": lambda value: "".join(f"\\u{c:04x}" for c in value).encode(),
    "percent escapes": lambda value: "".join(f"%{c:02X}" for c in value).encode(),
    "gzip in the middle of a file": lambda value: b"\0" * 5000 + gzip.compress(b"text" + value) + b"more",
    "zlib": lambda value: zlib.compress(value * 3, 9),
    "zlib, unfinished": lambda value: zlib.compress(value + bytes(range(256)) * 40, 0)[:-30],
    "gzip in base64": lambda value: base64.b64encode(gzip.compress(value)),
    "base64 in gzip": lambda value: gzip.compress(base64.b64encode(b"x" + value)),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_control_the_search_finds_each_plant_in_each_encoding(tmp_path: Path, encoding: str) -> None:
    planted = plants.searched("a-token.of-this.run")
    search = Search(planted)
    for what, value in planted.items():
        path = tmp_path / "data" / "payloads" / "planted"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ENCODINGS[encoding](value))
        assert what in {hit.what for hit in search.directory(tmp_path)}, (what, encoding)


@pytest.mark.parametrize("between", [" ", "-", ".", "\n"])
def test_control_the_search_finds_card_numbers_with_separators(between: str) -> None:
    search = Search(plants.searched())
    for number in plants.CARD_NUMBERS:
        written = between.join(number[i : i + 4] for i in range(0, len(number), 4))
        assert f"card number {number}" in {hit.what for hit in search.bytes(written.encode(), "-")}


def test_control_a_name_of_a_file_is_searched_too(tmp_path: Path) -> None:
    (tmp_path / f"log-{plants.PLAIN}").touch()
    assert Search(plants.searched()).directory(tmp_path) != []


def test_control_without_its_masker_the_gate_writes_plants_and_the_search_finds_them(
    tmp_path: Path,
) -> None:
    unmasked = Canary(tmp_path, env={"PYTHONPATH": str(Path(__file__).with_name("unmasked"))})
    unmasked.run()
    found = {hit.what for body in unmasked.bodies for hit in unmasked.search.bytes(body, "a recorded body")}
    assert {name for name in plants.searched() if name not in found} == set()
    assert any(plants.bare_codes(body) for body in unmasked.bodies)
    # What stands in clear beside the bodies: an id, a name.
    assert {hit.what for hit in unmasked.found} >= {f"card number {plants.PLAIN}"}
