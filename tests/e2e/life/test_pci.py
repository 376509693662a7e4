"""The `pci` profile as an operator runs it: TLS on both hops, keys of `gatebook init`, a clock that chrony vouches for."""

import json
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.e2e.clients.visits import Visit, python_sdk
from tests.e2e.gate import free_port
from tests.e2e.life.deployed import Deployed, alive, deployed, refusal, until
from tests.e2e.life.tls_server import tls_server
from tests.faults.certificates import Authority
from tests.issuing import Issuer

API_KEY = "k-7f3a-never-seen-by-callers"
ORIGIN = "mcp.example.com/prod"
IDP = "https://idp.example.com/realms/corp"
TRACKING = (
    "C0A80001,192.168.0.1,3,1790000000.123456789,{offset},0.000001,0.000002,-1.5,0.001,0.01,0.002,0.001,64.2,{leap}\n"
)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where one pci deployment lives, before it is started."""

    directory: Path
    authority: Authority
    port: int
    config: str
    verifier_key: str
    issuer: Issuer

    @property
    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.certificate))

    @property
    def synchronised(self) -> dict[str, str]:
        return chrony(self.directory, "Normal")


def chrony(directory: Path, leap: str) -> dict[str, str]:
    """The environment in which `chronyc` says that: the gate's own clock adapter runs and reads it."""
    programs = directory / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    program = programs / "chronyc"
    answer = TRACKING.format(offset="0.000217", leap=leap)
    program.write_text(f'#!/bin/sh\ntest "$*" = "-c tracking" && printf "%s" "{answer}"\n')
    program.chmod(0o755)
    return {"PATH": f"{programs}:/usr/bin:/bin"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Everything made as the documentation says: `gatebook init`, certificates, the server's key in a file of its own."""
    directory, certificates, port = tmp_path / "gate", tmp_path / "pki", free_port()
    certificates.mkdir()
    authority = Authority(certificates)
    certificate, key = authority.issue("localhost")
    url = f"https://localhost:{port}"
    command = ["-m", "gatebook", "init", str(directory), "--origin", ORIGIN, "--public-url", url, "--json"]
    made = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    for source, name in ((certificate, "cert.pem"), (key, "key.pem"), (authority.certificate, "internal-ca.pem")):
        shutil.copy(source, directory / name)
    (directory / "orders.secret").write_text(API_KEY + "\n")
    with tls_server(certificate, key, API_KEY, tmp_path / "server.log") as server:
        config = f'''profile = "pci"
public_url = "{url}"
listen = ["127.0.0.1:{port}"]
workers = 2
data_dir = "data"
tls = {{ certificate = "cert.pem", key = "key.pem" }}
[log]
origin = "{ORIGIN}"
segment_bytes = 8388608
[payloads]
public_key = "data/payloads.pub"
[[issuer]]
name = "corp"
url = "{IDP}"
kind = "person"
jwks_file = "jwks.json"
[[server]]
name = "orders"
url = "{server}"
ca_file = "internal-ca.pem"
credential = {{ secret = "file:{directory}/orders.secret" }}
[[role]]
name = "support"
match = [ {{ issuer = "corp", group = "support" }} ]
allow = [ {{ server = "orders", tools = ["get_*"] }} ]
'''
        (directory / "gatebook.toml").unlink()
        issuer = Issuer(IDP, name="corp")
        (directory / "jwks.json").write_text(json.dumps(issuer.jwks()))
        yield Place(
            directory=directory,
            authority=authority,
            port=port,
            config=config,
            verifier_key=json.loads(made.stdout)["verifier_key"],
            issuer=issuer,
        )


def visit(gate: Deployed, place: Place, tool: str | None = "get_order", **arguments: object) -> Visit:
    """By a real client that trusts the internal authority and nobody else."""
    token = gate.token("orders", groups=("support",), subject="alice")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(place.authority.certificate))
        return python_sdk(f"{gate.public_url}/orders/mcp", token, tool, **arguments)


def serial(gate: Deployed) -> object:
    """The serial number of the certificate that the gate shows now."""
    connection = gate.connect(5)
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        certificate = connection.sock.getpeercert()
        assert certificate is not None
        return certificate["serialNumber"]
    finally:
        connection.close()


def test_a_call_over_tls_on_both_hops_is_masked_recorded_and_verified(place: Place) -> None:
    with deployed(
        place.directory, place.config, place.port, issuer=place.issuer, tls=place.trusting, env=place.synchronised
    ) as gate:
        seen = visit(gate, place, order_id="ord_1")
        assert seen.error is None, seen.error
        assert seen.text == "order ord_1, paid by card 4111 11** **** 1111"
        banner = (place.directory / "gate.log").read_text()
        assert gate.stop() == 0
    assert f"serves https://localhost:{place.port} on 127.0.0.1:{place.port} with 2 worker(s)" in banner
    assert "DEV PROFILE" not in banner
    assert "UNANCHORED" in banner
    done = gate.command("verify", "data", "--key", place.verifier_key, "--payload-key", "payloads.key", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dev profile" not in done.stdout
    [result] = [w.entry for w in gate.log("call.result") if w.entry.res.name == "get_order"]
    assert (result.clk.src, result.clk.off, result.clk.ok) == ("chrony", 217, True)
    assert (result.who.sub, result.who.kind, result.dlp) == ("alice", "person", {"pan:masked": 2})
    written = b"".join(path.read_bytes() for path in gate.data_dir.rglob("*") if path.is_file())
    assert API_KEY.encode() not in written + banner.encode()
    assert b"4111111111111111" not in written.replace(b" ", b"")


def test_new_certificates_are_shown_without_a_restart_and_a_bad_file_changes_nothing(place: Place) -> None:
    with deployed(
        place.directory, place.config, place.port, issuer=place.issuer, tls=place.trusting, env=place.synchronised
    ) as gate:
        workers, old = gate.rooms("gate"), serial(gate)
        (place.directory / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
        until(lambda: len(gate.said("certificate.refused")) == 2, "both workers refused it")
        gate.process.send_signal(signal.SIGHUP)
        until(lambda: len(gate.said("config.loaded")) == 2, "reloaded beside a bad certificate")
        assert {serial(gate) for _ in range(16)} == {old}
        certificate, key = place.authority.issue("localhost")
        shutil.copy(certificate, place.directory / "cert.pem")
        shutil.copy(key, place.directory / "key.pem")
        until(lambda: old not in {serial(gate) for _ in range(16)}, "the new certificate in both workers")
        assert len({serial(gate) for _ in range(16)}) == 1
        assert gate.rooms("gate") == workers
        assert alive(workers) == workers
        assert visit(gate, place, order_id="ord_2").error is None


def test_an_unsynchronised_clock_refuses_the_start(place: Place) -> None:
    said = refusal(place.directory, place.config, env=chrony(place.directory, "Not synchronised"))
    assert "the clock is not synchronised" in said
    assert not (place.directory / "data" / "log" / "checkpoint").exists()


@pytest.mark.parametrize(("key", "what"), [("keys/log.skey", "log.key"), ("payloads.pub", "payloads.public_key")])
def test_a_missing_key_refuses_the_start_and_none_is_made(place: Place, key: str, what: str) -> None:
    path = place.directory / "data" / key
    path.unlink()
    said = refusal(place.directory, place.config, env=place.synchronised)
    assert f"there is no file {path}" in said
    assert "gatebook init" in said
    assert what in said
    assert not path.exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('url = "https://localhost', 'url = "http://localhost', "is not encrypted"),
        ('secret = "file:', 'secret = "literal:', "the secret itself stands in the configuration"),
        ('url = "https://idp', 'url = "http://idp', "is not https"),
        ('tls = { certificate = "cert.pem", key = "key.pem" }\n', "", "tls"),
        ("data/payloads.pub", "data/elsewhere.pub", "there is no file"),
    ],
    ids=["http server", "literal secret", "http issuer", "no certificate", "no payload key"],
)
def test_what_pci_forbids_refuses_the_start(place: Place, old: str, new: str, words: str) -> None:
    assert old in place.config
    head, server = place.config.split("[log]")
    config = head.replace(old, new) + "[log]" + server.replace(old, new)
    said = refusal(place.directory, config, env=place.synchronised)
    assert words in said
    assert API_KEY not in said


def test_a_log_key_of_another_log_refuses_the_start_in_the_sealers_words(place: Place) -> None:
    said = refusal(place.directory, place.config.replace(ORIGIN, "mcp.example.com/other"), env=place.synchronised)
    assert f"the log key is named '{ORIGIN}', the log's origin is 'mcp.example.com/other'" in said.replace("\n", " ")
