"""The ground of the attacks: one running gate, a recording server and a real one behind it, and the book to look things up in."""

import base64
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import payload, reading
from gatebook.ledger.entry import Entry
from tests.e2e.attacks import table
from tests.e2e.attacks.recording import RecordingServer, honest
from tests.e2e.conformance.everything_server import everything_server
from tests.e2e.gate import ISSUER_URL, Gate, free_port, running, token
from tests.folders import below
from tests.issuing import Issuer, private_key, public_jwk

SECRET = "up+stream/secret=8c1f&41"
JOBS_URL = "http://127.0.0.1/ci"
PAN = "4111111111111111"
PATIENCE_S = 20
CALL: dict[str, Any] = {
    "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_order", "arguments": {"id": "42"}},
}  # fmt: skip
TWIN_KEYS = [public_jwk(private_key("ES256", name), "twin") for name in ("twin one", "twin two")]
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}

CONFIG = """profile = "dev"
public_url = "http://127.0.0.1:{port}"
listen = ["127.0.0.1:{port}"]
workers = 2
data_dir = "data"
[log]
origin = "localhost/test"
segment_bytes = 8388608
[limits]
header_s = 1
body_s = 1
request_bytes = 65536
response_bytes = 1048576
header_bytes = 32768
upstream_response_s = 3
stream_idle_s = 3
[[issuer]]
name = "corp"
url = "{people}"
kind = "person"
jwks_file = "jwks.json"
[[issuer]]
name = "ci"
url = "{jobs}"
kind = "job"
jwks_file = "jobs.json"
[[issuer]]
name = "rsa"
url = "{people}-rsa"
kind = "person"
jwks_file = "rsa.json"
[[issuer]]
name = "twins"
url = "{people}-twins"
kind = "person"
jwks_file = "twins.json"
[[issuer]]
name = "tenant"
url = "{people}/tenant-1/v2.0"
kind = "person"
jwks_file = "jwks.json"
[[server]]
name = "payments"
url = "{payments}"
credential = {{ header = "Authorization", value = "Bearer {{secret}}", secret = "env:PAYMENTS_SECRET" }}
[[server]]
name = "everything"
url = "{everything}"
[[role]]
name = "support"
match = [ {{ issuer = "corp", group = "support" }} ]
allow = [
  {{ server = "payments", tools = ["get_order", "list_*"], resources = ["orders://*"], prompts = ["greet"] }},
  {{ server = "everything", tools = ["**"], resources = ["**"], prompts = ["**"] }},
]
"""


class Received(msgspec.Struct, frozen=True):
    """What one request got. `status` 0: the connection was closed without a word."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found

    @property
    def reason(self) -> str:
        return str(self.error["data"]["reason"])

    @property
    def in_words(self) -> str:
        """The refusal as the table of attacks tells it: status, JSON-RPC code and reason of every error."""
        if self.headers.get("content-type") != "application/json":
            return f"HTTP {self.status}, and the connection is closed"
        found = json.loads(self.body)
        errors = [each["error"] for each in (found if isinstance(found, list) else [found])]
        codes = sorted({f"{error['code']} `{error['data']['reason']}`" for error in errors})
        return f"HTTP {self.status}, {', '.join(codes)}"

    @property
    def whole(self) -> str:
        """Everything that the client can see."""
        return repr(self.headers) + self.body.decode("utf-8", "replace")


class Attempt(msgspec.Struct, frozen=True):
    """One attack: where it came from, what it got, and what of it reached the recording server."""

    address: str
    got: list[Received]
    arrived: bytes

    @property
    def answer(self) -> Received:
        [answer] = self.got
        return answer


class Ground:
    """A gate under attack. `address()` gives the next case its own place to come from."""

    def __init__(self, gate: Gate, issuers: dict[str, Issuer], payments: RecordingServer) -> None:
        self.gate = gate
        self.people = gate.issuer
        self.issuers = issuers
        self.payments = payments
        self.tokens: set[str] = set()
        self._addresses = (f"127.{a}.{b}.{c}" for a in range(1, 250) for b in range(250) for c in range(1, 250))

    @property
    def jobs(self) -> Issuer:
        return self.issuers["jobs"]

    @property
    def rsa(self) -> Issuer:
        """Signs with RS256; the others with ES256."""
        return self.issuers["rsa"]

    @property
    def twins(self) -> Issuer:
        """Its key set has one key, and two more that share a kid."""
        return self.issuers["twins"]

    def address(self) -> str:
        return next(self._addresses)

    def token(self, subject: str = "alice", *, server: str = "payments", **claims: Any) -> str:
        """One that the gate accepts, of the group `support` where nothing else is said."""
        made = token(
            self.people, f"{self.gate.base}/{server}/mcp", subject=subject, **{"groups": ("support",), **claims}
        )
        return self.noted(made)

    def noted(self, made: str) -> str:
        """A token of which no part may be found in any file afterwards."""
        self.tokens.add(made)
        return made

    def ask(
        self,
        message: object = CALL,
        *,
        bearer: str | None = None,
        headers: dict[str, str] | None = None,
        server: str = "payments",
        address: str | None = None,
        method: str = "POST",
    ) -> Received:
        """One request by an ordinary client. `message`: bytes as they are, anything else as JSON."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        sent = {**JSON_HEADERS, **({} if bearer is None else {"Authorization": f"Bearer {bearer}"}), **(headers or {})}
        with contextlib.closing(self._connection(address)) as connection:
            connection.request(method, f"/{server}/mcp", body=body if method == "POST" else None, headers=sent)
            answer = connection.getresponse()
            return Received(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def _connection(self, address: str | None) -> http.client.HTTPConnection:
        source = (address or self.address(), 0)
        return http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=PATIENCE_S, source_address=source)

    @contextlib.contextmanager
    def connected(self, address: str | None = None) -> Iterator[socket.socket]:
        """A bare connection."""
        source = (address or self.address(), 0)
        with socket.create_connection(("127.0.0.1", self.gate.port), PATIENCE_S, source_address=source) as connection:
            yield connection

    def raw(self, data: bytes, address: str | None = None) -> list[Received]:
        """Exactly these bytes; every answer until the gate closes."""
        with self.connected(address) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
            return answers(until_closed(connection))

    def post(self, body: bytes, *fields: str, bearer: str, line: str = "POST /payments/mcp HTTP/1.1") -> bytes:
        """The bytes of one request that asks for the connection to be closed."""
        lines = [line, f"Host: 127.0.0.1:{self.gate.port}", f"Authorization: Bearer {bearer}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in JSON_HEADERS.items()]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", *fields, "", ""]).encode("latin-1") + body

    def attempt(self, attack: Callable[[str], Received | list[Received]]) -> Attempt:
        """`attack`, from an address of its own. Make all attempts of a table before looking any up: the book is sealed once a second."""
        address, before = self.address(), len(self.payments.received)
        got = attack(address)
        return Attempt(address, got if isinstance(got, list) else [got], bytes(self.payments.received[before:]))

    # The book

    def book(self) -> list[Entry]:
        """Every entry that is sealed by now."""
        with contextlib.suppress(FileNotFoundError):
            return [found.entry for found in reading.entries(LogFiles(self.gate.data_dir / "log"))]
        return []

    def entries(self, found: Callable[[list[Entry]], bool], address: str) -> list[Entry]:
        """The entries of what came from `address`, once they satisfy `found`."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            entries = [entry for entry in self.book() if entry.from_.ip == address and entry.ev != "session.open"]
            if found(entries):
                return entries
            if time.monotonic() > deadline:
                raise AssertionError(f"not in the book: {[(entry.ev, entry.out.reason) for entry in entries]}")
            time.sleep(0.05)

    def held(self, case: int, variant: str, attempt: Attempt) -> Entry:
        """The one refusal of an attempt, which goes into the table of attacks."""
        entry = self.refused(attempt.address)
        table.saw(case, variant, attempt.answer.in_words, table.in_words(entry))
        return entry

    def refused(self, address: str) -> Entry:
        """The one refusal of what came from `address`; nothing else came from there."""
        entries = self.entries(lambda entries: bool(entries), address)
        assert [entry.ev for entry in entries] in (["auth.failed"], ["call.refused"]), entries
        assert not entries[0].out.ok
        return entries[0]

    @contextlib.contextmanager
    def nothing_arrives(self) -> Iterator[None]:
        """Not one byte reaches the recording server."""
        before = len(self.payments.received)
        yield
        assert bytes(self.payments.received[before:]) == b""

    @contextlib.contextmanager
    def playing(self, script: Any) -> Iterator[None]:
        """The recording server answers by `script` meanwhile."""
        self.payments.script = script
        try:
            yield
        finally:
            self.payments.script = honest

    def served_meanwhile(self) -> None:
        """The other server, a real one, answers a real call."""
        headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
        answer = self.ask(message, bearer=self.token(server="everything"), server="everything", headers=headers)
        assert answer.status == 200 and b"test_simple_text" in answer.body, answer

    # The files

    def sweep(self) -> list[str]:
        """Everything in the gate's files that must not be there: secret, card numbers, and any part of any token."""
        directory = self.gate.directory
        given = {directory / "gatebook.toml", *directory.glob("*.json")}
        files = [path for path in below(directory) if path.is_file() and path not in given]
        assert directory / "gate.log" in files and len(files) > 10
        forbidden = self._forbidden()
        found: list[str] = []
        for path in files:
            with contextlib.suppress(FileNotFoundError):  # the sealer goes on where the gate runs
                found += [f"{what} in {path.name}" for what in _found(path.read_bytes(), forbidden)]
        return found

    def sweep_recordings(self) -> list[str]:
        """The same in every recorded body, opened with the private key. There are some."""
        private = payload.load_private_key((self.gate.data_dir / "keys" / "payloads.key").read_text())
        recordings = reading.Recordings(LogFiles(self.gate.data_dir / "payloads"), private)
        bodies = [(entry, pay.part, recordings.open(entry, pay)) for entry in self.book() for pay in entry.pay]
        assert len(bodies) > 0
        forbidden = self._forbidden()
        return [
            f"{what} in the {part} of {entry.id}" for entry, part, body in bodies for what in _found(body, forbidden)
        ]

    def _forbidden(self) -> dict[str, bytes]:
        secret = SECRET.encode()
        forbidden = {
            "the secret": secret, "the secret in base64": base64.b64encode(secret)[:-4],
            "the secret in a URL": quote(SECRET, safe="").encode(), "a card number": PAN.encode(),
            "a card number in groups": b"4111 1111 1111 1111", "a card number with dashes": b"4111-1111-1111-1111",
        }  # fmt: skip
        parts = (part for made in self.tokens for part in made.split(".") if len(part) > 40)
        return forbidden | {f"a token's part {part[:8]}": part.encode() for part in parts}


def _found(content: bytes, forbidden: dict[str, bytes]) -> list[str]:
    content = content.rstrip(b"\0")
    return [what for what, value in forbidden.items() if value in content]


def until_closed(connection: socket.socket) -> bytes:
    """Everything up to the end; a reset counts as one."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return received


def answers(raw: bytes) -> list[Received]:
    """The answers in `raw`, which all have a length or end with the connection."""
    found = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = int(headers.get("content-length", len(rest)))
        found.append(Received(int(lines[0].split()[1]), headers, rest[:length]))
        raw = rest[length:]
    return found


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Ground]:
    """The gate runs; at the end it is stopped and its files are looked through."""
    port = free_port()
    issuers = {
        "jobs": Issuer(JOBS_URL, name="ci", kind="job"),
        "rsa": Issuer(f"{ISSUER_URL}-rsa", name="rsa", algorithm="RS256"),
        "twins": Issuer(f"{ISSUER_URL}-twins", name="twins"),
    }
    (directory / "gate").mkdir()
    for name, issuer in issuers.items():
        keys = issuer.jwks()["keys"] + (TWIN_KEYS if name == "twins" else [])
        (directory / "gate" / f"{name}.json").write_text(json.dumps({"keys": keys}))
    with RecordingServer() as payments, everything_server(directory / "everything.log") as everything:
        config = CONFIG.format(
            port=port, people=ISSUER_URL, jobs=JOBS_URL, payments=payments.url, everything=everything
        )
        with running(directory / "gate", config, port, env={"PAYMENTS_SECRET": SECRET}) as gate:
            attacked = Ground(gate, issuers, payments)
            yield attacked
            gate.stop()
        log = (gate.directory / "gate.log").read_text()
        assert '"bug"' not in log and "Traceback" not in log, log[-4000:]
        assert attacked.sweep() == []
        assert attacked.sweep_recordings() == []
