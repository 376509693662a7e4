"""Client, router, gate and server, each in a network of its own: with the rules that come with Gatebook the server is reached through the gate alone."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.e2e.gate import ISSUER_URL, config_for, token
from tests.e2e.life.deployed import alive, call, descendants, until
from tests.issuing import Issuer

GATE, SERVER = "10.77.0.2", "10.78.0.2"
PORT, SERVER_PORT = 8443, 9000
SERVING = f"""
import signal
from tests.e2e.life.upstream import counting_server
with counting_server({SERVER_PORT}, host="{SERVER}"):
    signal.pause()
"""


class Networks:
    """Four network namespaces: client – router – gate, and router – server."""

    def __init__(self) -> None:
        self._prefix = f"gatebook-{os.getpid()}-"

    def __enter__(self) -> "Networks":
        for name in ("router", "client", "gate", "server"):
            ip("netns", "add", self._prefix + name)
        for number, name in enumerate(("client", "gate", "server"), 76):
            there = self._prefix + name
            ip(
                "-n",
                there,
                "link",
                "add",
                "up0",
                "type",
                "veth",
                "peer",
                "name",
                name,
                "netns",
                self._prefix + "router",
            )
            ip("-n", there, "address", "add", f"10.{number}.0.2/24", "dev", "up0")
            self._ip("router", "address", "add", f"10.{number}.0.1/24", "dev", name)
            for network, link in ((name, "lo"), (name, "up0"), ("router", name)):
                self._ip(network, "link", "set", link, "up")
            self._ip(name, "route", "add", "default", "via", f"10.{number}.0.1")
        self.run("router", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("client", "gate", "server", "router"):
            subprocess.run(["ip", "netns", "del", self._prefix + name], check=False)

    def _ip(self, name: str, *words: str) -> None:
        ip("-n", self._prefix + name, *words)

    def words(self, name: str, *words: str) -> list[str]:
        """The command line that runs `words` in that network."""
        return ["ip", "netns", "exec", self._prefix + name, *words]

    def run(self, name: str, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(self.words(name, *words), capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return done


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@pytest.fixture
def networks(root: None) -> Iterator[Networks]:
    for program in ("ip", "nft", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: apt-get install nftables iproute2 curl")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this container may make no network of its own")
    with Networks() as made:
        yield made


@contextlib.contextmanager
def background(words: list[str], folder: Path, name: str) -> Iterator[Path]:
    """The program runs; its output is in the file that this gives. It and all that it started end with it."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, cwd=folder, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    try:
        yield log
        assert process.poll() is None, log.read_text()[-3000:]
    finally:
        family = [process.pid, *descendants(process.pid)]
        process.terminate()
        process.wait(60)
        until(lambda: not alive(family), f"{name} ended")


def asked(networks: Networks, url: str, bearer: str, *more: str) -> tuple[int, str]:
    """What curl says in the client's network: its exit status (7: no connection), and the HTTP status."""
    headers = [word for header in (f"authorization: Bearer {bearer}", "content-type: application/json",
        "accept: application/json, text/event-stream", "mcp-protocol-version: 2025-11-25") for word in ("-H", header)]  # fmt: skip
    body = call("work", "one").decode()
    done = networks.run(
        "client", "curl", "-s", "-o", os.devnull, "-w", "%{http_code}", *headers, "-d", body, *more, url, check=False
    )
    return done.returncode, done.stdout


def counted(networks: Networks, name: str) -> int:
    said = networks.run("router", "nft", "--json", "list", "counter", "inet", "gatebook", name).stdout
    return next(int(each["counter"]["packets"]) for each in json.loads(said)["nftables"] if "counter" in each)


def test_a_server_is_reached_through_the_gate_and_in_no_other_way(networks: Networks, tmp_path: Path) -> None:
    issuer = Issuer(ISSUER_URL, name="corp")
    server, gate = f"http://{SERVER}:{SERVER_PORT}/mcp", f"http://{GATE}:{PORT}/counting/mcp"
    bearer = token(issuer, gate)
    (tmp_path / "jwks.json").write_text(json.dumps(issuer.jwks()))
    config = config_for(PORT, {"counting": server}, workers=1).replace(f"127.0.0.1:{PORT}", f"{GATE}:{PORT}")
    (tmp_path / "gatebook.toml").write_text(config)
    serve = networks.words("gate", sys.executable, "-m", "gatebook", "serve")
    with background(networks.words("server", sys.executable, "-c", SERVING), tmp_path, "server"), background(
        serve, tmp_path, "gate"
    ):  # fmt: skip
        until(lambda: networks.run("client", "curl", "-sf", f"http://{GATE}:{PORT}/readyz", check=False).returncode == 0, "the gate", 60)  # fmt: skip
        until(lambda: asked(networks, server, "none") == (0, "200"), "without rules the server is open to the client")
        assert asked(networks, gate, bearer) == (0, "200")

        subprocess.run([sys.executable, "-m", "gatebook", "units", "-d", str(tmp_path / "etc")], check=True)
        networks.run("router", "nft", "--file", str(tmp_path / "etc/nftables.d/gatebook.nft"))
        assert asked(networks, gate, bearer) == (0, "200"), "the gate still serves, and reaches the server"
        assert asked(networks, gate, "none") == (0, "401"), "and it is the gate that answers"
        assert counted(networks, "bypass") == 0
        assert asked(networks, server, bearer) == (7, "000")
        assert asked(networks, server.replace(str(SERVER_PORT), "22"), bearer) == (7, "000")
        assert counted(networks, "bypass") == 2
        assert asked(networks, f"http://{GATE}:22/", bearer) == (7, "000"), "of the gate, its ports alone"

        # Somebody who calls himself by the gate's address.
        networks.run("client", "ip", "address", "add", f"{GATE}/32", "dev", "lo")
        exit_status, _ = asked(networks, server, bearer, "--interface", GATE, "--connect-timeout", "1")
        assert exit_status != 0 and counted(networks, "spoofed") > 0
        networks.run("client", "ip", "address", "del", f"{GATE}/32", "dev", "lo")

        networks.run("router", "nft", "delete", "table", "inet", "gatebook")
        assert asked(networks, server, "none") == (0, "200"), "it was the rules, and nothing else"
