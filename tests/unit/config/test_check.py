"""What `gatebook check` finds around a configuration; one test per way a deployment can be wrong."""

import datetime
import ipaddress
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gatebook.adapters.secrets import FileOrEnvironment
from gatebook.config import Problem, examine
from gatebook.config.check import problems
from gatebook.config.checking.probe import Probe
from gatebook.config.names import certificate_covers, certificates
from gatebook.config.reach import reach
from gatebook.ledger import note, payload
from gatebook.ledger.entry import Clocked
from gatebook.ports import Instant

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
ORIGIN = "mcp.example.com/prod"
CONFIG = """
profile = "pci"
public_url = "https://mcp.example.com"
listen = ["127.0.0.1:8443"]
data_dir = "data"
tls = { certificate = "cert.pem", key = "key.pem" }
[log]
origin = "mcp.example.com/prod"
[[issuer]]
name = "corp"
url = "https://idp.example.com"
kind = "person"
[[server]]
name = "payments"
url = "https://payments.internal/mcp"
credential = { secret = "file:secret" }
[[role]]
name = "support"
match = [{ issuer = "corp", group = "support" }]
allow = [{ server = "payments", tools = ["get_order"] }]
"""


class FixedClock:
    def __init__(self, synchronised: bool = True) -> None:
        self._synchronised = synchronised

    def now(self) -> Instant:
        return Instant(
            unix_us=int(NOW.timestamp() * 1_000_000), clocked=Clocked(src="test", off=0, ok=self._synchronised)
        )


def certificate(path: Path, key_path: Path, *names: str, days: int = 90, from_days: int = -1) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ignored.example")])
    alternatives: list[x509.GeneralName] = []
    for alternative in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(alternative)))
        except ValueError:
            alternatives.append(x509.DNSName(alternative))
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW + datetime.timedelta(days=from_days))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    key_path.chmod(0o600)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A deployment without a fault."""
    (tmp_path / "gatebook.toml").write_text(CONFIG)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "keys").mkdir(mode=0o700)
    signer, verifier = note.generate_key(ORIGIN)
    _, public = payload.generate_key_pair()
    (data / "keys/log.skey").write_text(signer + "\n")
    (data / "keys/log.skey").chmod(0o600)
    (data / "log.vkey").write_text(verifier + "\n")
    (data / "payloads.pub").write_bytes(public)
    (tmp_path / "secret").write_text("s3cret-value\n")
    (tmp_path / "secret").chmod(0o600)
    certificate(tmp_path / "cert.pem", tmp_path / "key.pem", "mcp.example.com")
    return tmp_path


def probe(**changes: object) -> Probe:
    whole = Probe(clock=FixedClock(), credentials=FileOrEnvironment(), reach=lambda *_: None)
    return msgspec.structs.replace(whole, **changes)


def found(place: Path, **changes: object) -> list[Problem]:
    """Every problem but the two that every deployment has for now, where its rooms have no users of their own."""
    said = problems(examine(place / "gatebook.toml"), probe(**changes))
    return [p for p in said if "UNANCHORED" not in p.what and "under one user" not in p.what]


def test_a_deployment_without_a_fault_has_two_warnings_that_it_is_unanchored_and_under_one_user(place: Path) -> None:
    one_user, unanchored = problems(examine(place / "gatebook.toml"), probe())
    assert {one_user.severity, unanchored.severity} == {"warning"}
    assert one_user.what.startswith("all rooms run under one user") and unanchored.what.startswith("UNANCHORED")


Break = Callable[[Path], object]


def rewrite(old: str, new: str) -> Break:
    def change(place: Path) -> None:
        text = (place / "gatebook.toml").read_text()
        assert old in text
        (place / "gatebook.toml").write_text(text.replace(old, new))

    return change


BROKEN: list[tuple[str, Break, str, str]] = [
    ("no data directory", lambda p: (p / "data").rename(p / "gone"), "error", "is not there"),
    ("data directory a file", rewrite('"data"', '"secret"'), "error", "is no directory"),
    ("data directory open", lambda p: (p / "data").chmod(0o755), "error", "is open to other users"),
    ("log key open", lambda p: (p / "data/keys/log.skey").chmod(0o640), "error", "has mode 0640"),
    ("log key gone", lambda p: (p / "data/keys/log.skey").unlink(), "error", "there is no file"),
    ("log key broken", lambda p: (p / "data/keys/log.skey").write_text("x"), "error", "is no log key"),
    ("log key no text", lambda p: (p / "data/keys/log.skey").write_bytes(b"\xff"), "error", "cannot be read"),
    (
        "log key of another log",
        lambda p: (p / "data/keys/log.skey").write_text(note.generate_key("other/log")[0]),
        "error",
        "is the key of another log",
    ),
    (
        "verifier of another key",
        lambda p: (p / "data/log.vkey").write_text(note.generate_key(ORIGIN)[1]),
        "error",
        "is not the verifier key",
    ),
    ("payload key gone", lambda p: (p / "data/payloads.pub").unlink(), "error", "there is no file"),
    ("payload key broken", lambda p: (p / "data/payloads.pub").write_text("x"), "error", "is no public payload key"),
    (
        "private half in the public one's place",
        lambda p: (p / "data/payloads.pub").write_bytes(payload.generate_key_pair()[0]),
        "error",
        "is no public payload key",
    ),
    ("private half beside", lambda p: (p / "data/payloads.key").touch(), "error", "private payload key lies on this"),
    (
        "private half by init",
        lambda p: (p / "payloads.key").touch(),
        "error",
        "private payload key lies on this machine",
    ),
    ("private half by serve", lambda p: (p / "data/keys/payloads.key").touch(), "error", "private payload key lies on"),
    ("certificate broken", lambda p: (p / "cert.pem").write_text("x"), "error", "cannot be used together"),
    (
        "key of another certificate",
        lambda p: certificate(p / "other.pem", p / "key.pem", "mcp.example.com"),
        "error",
        "cannot be used together",
    ),
    ("tls key open", lambda p: (p / "key.pem").chmod(0o644), "error", "has mode 0644"),
    (
        "certificate of another host",
        lambda p: certificate(p / "cert.pem", p / "key.pem", "example.com"),
        "error",
        "does not name mcp.example.com",
    ),
    (
        "certificate expired",
        lambda p: certificate(p / "cert.pem", p / "key.pem", "mcp.example.com", from_days=-9, days=-1),
        "error",
        "expired on 2026-11-21",
    ),
    (
        "certificate of tomorrow",
        lambda p: certificate(p / "cert.pem", p / "key.pem", "mcp.example.com", from_days=1),
        "error",
        "is valid only from 2026-11-23",
    ),
    (
        "certificate nearly expired",
        lambda p: certificate(p / "cert.pem", p / "key.pem", "mcp.example.com", days=9),
        "warning",
        "expires in 9 days",
    ),
    ("secret gone", lambda p: (p / "secret").unlink(), "error", "cannot be read: No such file"),
    ("secret empty", lambda p: (p / "secret").write_text("\n"), "error", "is empty"),
    (
        "secret of two lines",
        lambda p: (p / "secret").write_text("s3cret-value\nX: y\n"),
        "error",
        "no header can carry",
    ),
    ("secret open", lambda p: (p / "secret").chmod(0o644), "error", "can be read by everybody"),
    ("secret not set", rewrite('"file:secret"', '"env:GATEBOOK_TEST_ABSENT"'), "error", "is not set"),
    (
        "key set broken",
        lambda p: (
            (p / "keys.json").write_text("{}"),
            rewrite('"https://idp.example.com"', '"https://idp.example.com"\njwks_file = "keys.json"')(p),
        ),
        "error",
        "is not usable",
    ),
    (
        "key set with a private key",
        lambda p: (
            (p / "keys.json").write_text(json.dumps({"keys": [{"kty": "oct", "kid": "1", "k": "s3cret-value"}]})),
            rewrite('"https://idp.example.com"', '"https://idp.example.com"\njwks_file = "keys.json"')(p),
        ),
        "error",
        "private or symmetric key",
    ),
]


@pytest.mark.parametrize(("change", "severity", "words"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_each_fault_is_found(place: Path, change: Break, severity: str, words: str) -> None:
    change(place)
    faults = [problem for problem in found(place) if words in problem.what]
    assert [problem.severity for problem in faults] == [severity], found(place)
    assert all(problem.mend and problem.where for problem in faults)
    assert "s3cret-value" not in " ".join(str(problem) for problem in found(place))


@pytest.mark.parametrize(("change", "words"), [(row[1], row[3]) for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_fault_hides_no_other(place: Path, change: Break, words: str) -> None:
    change(place)
    both = found(place, clock=FixedClock(synchronised=False), reach=lambda *_: "no connection")
    assert any(problem.where == "clock" for problem in both)
    assert any(problem.where == "server payments: url" for problem in both)
    assert any(words in problem.what for problem in both)


def test_a_file_that_cannot_be_read_still_has_its_clock_looked_at(place: Path) -> None:
    (place / "gatebook.toml").write_text("profile = ")
    said = found(place, clock=FixedClock(synchronised=False))
    assert [problem.where for problem in said] == [str(place / "gatebook.toml"), "clock"]


def test_a_file_of_another_name_that_cannot_be_read_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text("profile = ")
    [problem] = examine(tmp_path / "night.toml").problems
    assert problem.where == str(tmp_path / "night.toml")


def test_an_unsynchronised_clock_is_an_error_in_pci_and_a_warning_in_dev(place: Path) -> None:
    def severity() -> list[str]:
        return [p.severity for p in found(place, clock=FixedClock(synchronised=False)) if p.where == "clock"]

    assert severity() == ["error"]
    rewrite('"pci"', '"dev"')(place)
    assert severity() == ["warning"]


def test_another_user_than_the_owner_is_told(place: Path) -> None:
    [problem] = found(place, user_id=os.geteuid() + 1)
    assert (problem.severity, problem.where) == ("error", "user")


@pytest.mark.parametrize(
    ("free_mib", "free_files", "told"),
    [
        (100, 90_000, [("error", "only 100 MiB are free: below 256 MiB")]),
        (1000, 90_000, [("warning", "only 1000 MiB are free")]),
        (6000, 1_999, [("error", "only 1999 more files can be made (inodes): below")]),
        (6000, 19_999, [("warning", "only 19999 more files can be made (inodes)")]),
        (1000, 1_999, [("error", "only 1999 more files can be made (inodes): below")]),
        (1000, 3_000, [("warning", "only 1000 MiB are free and only 3000 more files")]),
        (6000, 20_000, []),
    ],
)
def test_a_disk_that_fills_is_told_before_it_is_full(
    place: Path, free_mib: int, free_files: int, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(place)
    blocks = (free_mib << 20) // real.f_frsize
    fields = [*real[:4], blocks, 1 << 20, free_files, free_files, *real[8:]]
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    said = found(place)
    assert [problem.severity for problem in said] == [severity for severity, _ in told]
    assert all(problem.what.startswith(words) for problem, (_, words) in zip(said, told, strict=True)), said


def test_servers_and_issuers_that_cannot_be_reached_are_all_told(place: Path) -> None:
    asked: list[tuple[object, ...]] = []

    def unreachable(*arguments: object) -> str:
        asked.append(arguments)
        return "no connection within 5 s"

    said = found(place, reach=unreachable)
    assert sorted(problem.where for problem in said) == ["issuer corp: url", "server payments: url"]
    assert sorted(str(arguments[0]) for arguments in asked) == [
        "https://idp.example.com",
        "https://payments.internal/mcp",
    ]


def test_offline_connects_nowhere_and_says_so(place: Path) -> None:
    def forbidden(*_: object) -> str:
        raise AssertionError("connected")

    [problem] = found(place, reach=forbidden, offline=True)
    assert problem.severity == "warning" and "--offline" in problem.what


def test_checking_changes_nothing(place: Path) -> None:
    def state() -> dict[str, tuple[int, int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_mode, p.stat().st_size) for p in sorted(place.rglob("*"))}

    before = state()
    found(place)
    assert state() == before


def test_in_dev_keys_may_be_missing(place: Path) -> None:
    rewrite('"pci"', '"dev"')(place)
    for name in ("data/keys/log.skey", "data/log.vkey", "data/payloads.pub"):
        (place / name).unlink()
    assert {problem.severity for problem in found(place)} == {"warning"}
    assert sum("`gatebook serve` makes one" in problem.mend for problem in found(place)) == 2


@pytest.mark.parametrize(
    ("names", "host", "covered"),
    [
        (("a.example",), "a.example", True),
        (("a.example",), "A.Example", True),
        (("*.example",), "a.example", True),
        (("*.example",), "b.a.example", False),
        (("*.example",), "example", False),
        (("*.a.example",), "a.example", False),
        (("127.0.0.1",), "127.0.0.1", True),
        (("::1",), "::1", True),
        (("a.example",), "127.0.0.1", False),
        (("a.example",), "ignored.example", False),
    ],
)
def test_a_certificate_covers_the_names_in_it(tmp_path: Path, names: tuple[str, ...], host: str, covered: bool) -> None:
    certificate(tmp_path / "c", tmp_path / "k", *names)
    [leaf] = certificates((tmp_path / "c").read_bytes())
    assert certificate_covers(leaf, host) is covered


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def serve_tls(server: socket.socket, context: ssl.SSLContext, received: list[bytes]) -> threading.Thread:
    def run() -> None:
        connection, _ = server.accept()
        try:
            with context.wrap_socket(connection, server_side=True) as tls:
                received.append(tls.recv(100))
        except OSError:
            connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("trusted", [True, False])
def test_a_tls_server_is_reached_with_its_ca_alone_and_nothing_is_sent(
    tmp_path: Path, listening: socket.socket, trusted: bool
) -> None:
    # Validity is judged by OpenSSL with the machine's clock: the certificate covers every day a test may run on.
    certificate(tmp_path / "cert", tmp_path / "key", "127.0.0.1", from_days=-3650, days=36500)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    received: list[bytes] = []
    thread = serve_tls(listening, context, received)
    port = listening.getsockname()[1]
    why = reach(f"https://127.0.0.1:{port}/mcp", str(tmp_path / "cert") if trusted else None, None, None, 5)
    thread.join(5)
    if trusted:
        assert why is None
        assert received in ([], [b""])
    else:
        assert why is not None and "not trusted" in why


def test_a_plain_server_and_a_unix_socket_are_reached(tmp_path: Path, listening: socket.socket) -> None:
    assert reach(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", None, None, None, 5) is None
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        assert reach(f"unix:{tmp_path / 's'}:/mcp", None, None, None, 5) is None


def test_what_does_not_listen_is_told_in_words(tmp_path: Path, listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    listening.close()
    assert reach(f"http://127.0.0.1:{port}/mcp", None, None, None, 5) == "no connection: Connection refused"
    assert reach(f"unix:{tmp_path / 's'}:/mcp", None, None, None, 5) == "no connection: No such file or directory"


def test_a_workloads_and_a_jobs_key_files_are_looked_into(place: Path) -> None:
    more = """
[desk]
listen = ["0.0.0.0:8444"]
public_url = "https://login.example.com"
[[workload]]
name = "cluster"
preset = "kubernetes"
url = "https://kubernetes.default.svc"
jwks_file = "cluster.json"
owner = "Team"
match = [{ namespace = "a", serviceaccount = "b", serviceaccount_uid = "c" }]
[[job]]
name = "nightly"
owner = "Dana"
public_key = "nightly.pem"
"""
    config = place / "gatebook.toml"
    config.write_text(config.read_text() + more)
    (place / "cluster.json").write_text("{}")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (place / "nightly.pem").write_bytes(private)
    said = [str(problem) for problem in found(place)]
    assert any("workload cluster: jwks_file" in each and "is not usable" in each for each in said)
    assert any("job nightly: public_key" in each and "holds a private key" in each for each in said)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (place / "nightly.pem").write_bytes(public)
    assert not any("job nightly: public_key" in str(problem) for problem in found(place))
