"""Everything that one row needs, started; and taken away again with all that it wrote."""

import contextlib
import datetime
import http.client
import ipaddress
import json
import os
import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench import bodies, loading, places
from bench.bodies import CARD_TOOL, PAN, Answers
from bench.figures import Round
from bench.loading import Expected, Load, Measured, Questions, Wrong
from bench.peers.common import Peer, Site, Tls
from bench.peers.envoy import Envoy
from bench.peers.fastmcp import Fastmcp
from bench.peers.gatebook import Gatebook
from bench.peers.nginx import Nginx, Upstream
from bench.processes import cpu_s, free_port, rss_mib, stop_all
from bench.tokens import Issuer

LEAST_FREE_BYTES = 12 << 30
MOST_HELD_BYTES = 20 << 30

STARTS: dict[str, Callable[[Site], Peer]] = {"nginx": Nginx, "envoy": Envoy, "gatebook": Gatebook}


class Contender(msgspec.Struct, kw_only=True):
    """One server under load. `peer` is None for the upstream itself."""

    name: str
    port: int
    asked: Questions
    expected: Expected
    peer: Peer | None
    ca_file: str | None = None
    rss_idle_mib: float = 0.0
    callers: dict[str, list[tuple[str, str]]] = {}
    """Server → (path, token) of everybody who calls it."""
    own_sent: int = 0
    """Calls that its own upstream must have counted, where it has one."""


class Stage:
    """The upstream of a row and whoever stands before it; `sent` is what the upstream must have counted."""

    def __init__(self, directory: Path, answers: Answers, *, tls: bool = False) -> None:
        if places.free_bytes() < LEAST_FREE_BYTES:
            raise Wrong(f"less than {LEAST_FREE_BYTES >> 30} GiB are free under {places.RUNS}")
        self.directory = directory
        self.answers = answers
        self.issuer = Issuer()
        self.tls = certificate(directory) if tls else None
        self.upstream = Upstream(directory / "upstream", answers, self.tls)
        self.contenders: dict[str, Contender] = {}
        self.sent = 0

    def enter(
        self,
        name: str,
        *,
        tokens: int,
        tools: tuple[str, ...] = (bodies.TOOL,),
        label: str = "",
        quiet: tuple[str, ...] = (),
        **site: Any,
    ) -> Contender:
        """Server `name` is up, has answered one call of each kind rightly, and is ready for its load.

        `tokens` for each of the protected servers; `label` tells two of one kind apart; no load calls the servers in `quiet`."""
        settings = {"upstreams": (self.upstream.port,), **site}
        place = Site(
            directory=self.directory / (label or name), port=free_port(), issuer=self.issuer, tls=self.tls, **settings
        )  # fmt: skip
        peer = STARTS[name](place)
        groups = [place.groups[n % len(place.groups)] for n in range(tokens)]
        callers = {
            server: [(place.path(server), token) for token in self.issuer.tokens(place.audience(server), groups)]
            for server in place.names
        }
        answering = [caller for server in place.names if server not in quiet for caller in callers[server]]
        contender = Contender(
            name=name,
            port=place.port,
            asked=loading.questions(f"127.0.0.1:{place.port}", answering, tools),
            expected=Expected(plain=self.answers.plain, card=self.answers.card),
            peer=peer,
            ca_file=str(self.tls.ca) if self.tls else None,
            callers=callers,
        )
        self.contenders[label or name] = contender
        # One call of each kind by hand: what comes back is judged here, and every later answer must be the same bytes.
        plain = self._ask(contender, tools[0], *answering[0])
        card = self._ask(contender, CARD_TOOL, *answering[0])
        check_answers(name, self.answers, plain, card)
        contender.expected = Expected(plain=plain, card=card)
        contender.rss_idle_mib = rss_mib(peer.pids())
        return contender

    def enter_fastmcp(self, tokens: int) -> Contender:
        """FastMCP's proxy is up before an upstream of its own. It writes messages anew, so of an answer only what the tool said is compared."""
        place = Site(directory=self.directory / "fastmcp", port=free_port(), upstreams=(), issuer=self.issuer)
        peer = Fastmcp(place, self.answers)
        made = [
            (place.path("mcp"), token) for token in self.issuer.tokens(place.audience("mcp"), ["everybody"] * tokens)
        ]
        said = [
            json.dumps(json.loads(body)["result"]["content"][0]["text"])[1:-1]
            for body in (self.answers.plain, self.answers.card)
        ]
        contender = Contender(
            name="fastmcp",
            port=place.port,
            asked=loading.questions(f"127.0.0.1:{place.port}", made, (bodies.TOOL,)),
            expected=Expected(plain=said[0].encode(), card=said[1].encode(), whole=False),
            peer=peer,
            rss_idle_mib=rss_mib(peer.pids()),
        )
        self.contenders["fastmcp"] = contender
        return contender

    def enter_direct(self, tokens: int) -> Contender:
        """The upstream itself, with nothing between."""
        made = [("/mcp/mcp", token) for token in self.issuer.tokens("nobody", ["everybody"] * tokens)]
        asked = loading.questions(f"127.0.0.1:{self.upstream.port}", made, (bodies.TOOL,))
        expected = Expected(plain=self.answers.plain, card=self.answers.card)
        self.contenders["direct"] = Contender(
            name="direct", port=self.upstream.port, asked=asked, expected=expected, peer=None
        )
        return self.contenders["direct"]

    def load(self, contender: Contender, load: Load) -> tuple[Measured, Round]:
        """One load; every answer was right and the upstream counted as many. Raises Wrong."""
        if places.held_bytes() > MOST_HELD_BYTES:
            raise Wrong(f"the row has written more than {MOST_HELD_BYTES >> 30} GiB")
        pids = contender.peer.pids() if contender.peer else ()
        before = cpu_s(pids)
        measured = loading.run(contender.port, contender.asked, contender.expected, load, ca_file=contender.ca_file)
        used, lasted = cpu_s(pids) - before, max(measured.lasted, 1e-9)
        rss = rss_mib(pids)
        if isinstance(contender.peer, Fastmcp):
            contender.own_sent += measured.sent
            if contender.peer.counted() != contender.own_sent:
                raise Wrong(
                    f"the upstream of fastmcp counted {contender.peer.counted()} calls where {contender.own_sent} were made"
                )
        else:
            self.sent += measured.sent
            self.check_count()
        return measured, Round(
            calls_per_s=measured.per_s,
            p50_us=measured.p50_us,
            p99_us=measured.p99_us,
            cpu_us=used / measured.sent * 1e6,
            rss_mib=rss,
            busy=used / lasted,
            load_busy=measured.cpu_s / lasted,
        )

    def check_count(self) -> None:
        """The upstream was called exactly as often as answers came: nothing was answered without it, nothing sent twice."""
        counted = self.upstream.counted(self.sent)
        if counted != self.sent:
            raise Wrong(f"the upstream counted {counted} calls where {self.sent} were made")

    def _ask(self, contender: Contender, tool: str, path: str, token: str) -> bytes:
        status, body = post(contender, path, bodies.call(tool), tool, token)
        self.sent += 1
        if status != 200:
            raise Wrong(f"{contender.name} answers {tool} with {status}: {body[:600].decode(errors='replace')}")
        return body

    def stop(self) -> None:
        for contender in self.contenders.values():
            if contender.peer is not None:
                contender.peer.stop()
        self.upstream.stop()


@contextlib.contextmanager
def stage(name: str, answers: Answers, *, tls: bool = False, keep: bool = False) -> Iterator[Stage]:
    """A stage of its own directory, which is gone afterwards; `keep`: but for what the servers were told and said."""
    directory = places.RUNS / f"{name}-{os.getpid()}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    made: Stage | None = None
    try:
        made = Stage(directory, answers, tls=tls)
        yield made
    finally:
        if made is not None:
            made.stop()
        stop_all()
        if keep:
            for data in directory.glob("*/data"):
                shutil.rmtree(data, ignore_errors=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def check_answers(name: str, answers: Answers, plain: bytes, card: bytes) -> None:
    """What the first two calls brought: the server's own bytes, and through the gate the card number masked and nothing else changed. Raises Wrong."""
    masks = name == "gatebook"
    for got, sent in ((plain, answers.plain), (card, answers.card)):
        if masks and PAN.encode() in sent:
            check_masked(got, sent)
        elif got != sent:
            raise Wrong(f"{name} changes an answer: {got[:300]!r}")


def check_masked(got: bytes, sent: bytes) -> None:
    """`got` is `sent` but for digits of the card number: at least six of them hidden, none in clear anywhere. Raises Wrong."""
    at = sent.index(PAN.encode())
    head, tail = sent[:at], sent[at + len(PAN) :]
    shown = got[len(head) : len(got) - len(tail)]
    if not (got.startswith(head) and got.endswith(tail)):
        raise Wrong(f"more than the card number is changed: {got[:300]!r}")
    if sum(48 <= sign <= 57 for sign in shown) > 10 or PAN.encode() in got:
        raise Wrong("a card number came back in clear")


def post(contender: Contender, path: str, body: bytes, tool: str, token: str) -> tuple[int, bytes]:
    """One call by an ordinary client; (status, body)."""
    address = ("127.0.0.1", contender.port)
    connection: http.client.HTTPConnection
    if contender.ca_file is not None:
        context = ssl.create_default_context(cafile=contender.ca_file)
        connection = http.client.HTTPSConnection(*address, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(*address, timeout=30)
    headers = {
        "Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": f"Bearer {token}",
        "MCP-Protocol-Version": bodies.VERSION, "Mcp-Method": "tools/call", "Mcp-Name": tool,
    }  # fmt: skip
    with contextlib.closing(connection):
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def certificate(directory: Path) -> Tls:
    """An authority made for this row, and its certificate for 127.0.0.1 (ECDSA P-256), good for a day."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]  # nginx compares names only
    loopback = x509.SubjectAlternativeName(names)

    def made(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, *extensions: tuple[x509.ExtensionType, bool]
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            subject_name=subject, issuer_name=ca_name, public_key=public, serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(hours=1), not_valid_after=now + datetime.timedelta(days=1),
        )  # fmt: skip
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(ca_key, hashes.SHA256())

    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    ca = made(
        ca_name, ca_key.public_key(), (x509.BasicConstraints(ca=True, path_length=0), True), (usage, True),
        (x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False),
    )  # fmt: skip
    leaf = made(
        name, key.public_key(), (x509.BasicConstraints(ca=False, path_length=None), True), (loopback, False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    )  # fmt: skip
    tls = Tls(ca=directory / "ca.pem", certificate=directory / "leaf.pem", key=directory / "leaf.key")
    tls.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    tls.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    tls.key.write_bytes(key.private_bytes(pem, pkcs8, plain))
    tls.key.chmod(0o600)
    return tls
