"""What release 0.1.0 left is read by every command, verified, sealed on top of, and served from (tests/vectors/release-0.1.0)."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from gatebook import formats
from tests.e2e.gate import ISSUER_URL, free_port
from tests.e2e.life.deployed import call, deployed
from tests.e2e.life.upstream import Upstream
from tests.issuing import Issuer
from tests.unpacking import unpack

LEFT = Path(__file__).parents[2] / "vectors" / "release-0.1.0" / "deployment.tar.xz"
SEALED = ["sealed-0", "sealed-1", "sealed-2", "denied", "second-0", "second-1"]
WAITING = ["waiting-0", "waiting-1"]


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The deployment's directory, as it was left."""
    with tarfile.open(LEFT) as archive:
        unpack(archive, tmp_path)
    return tmp_path


def said(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gatebook", *arguments], cwd=directory, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asked(directory: Path) -> list[str]:
    """The JSON-RPC ids of what was asked for, as `gatebook log` tells them, once each."""
    entries = [json.loads(line) for line in said(directory, "log", "--json", "--limit", "1000").splitlines()]
    return list(dict.fromkeys(json.loads(each["q"]["id"]) for each in entries if each.get("q", {}).get("id")))


def verified(directory: Path) -> str:
    return said(directory, "verify", "data", "--key", "data/log.vkey", "--payload-key", "data/keys/payloads.key")


def test_every_reading_command_reads_it(left: Path) -> None:
    assert asked(left) == SEALED
    sessions = [json.loads(line) for line in said(left, "sessions", "--json").splitlines()]
    assert len(sessions) == 2
    entries = [json.loads(line) for line in said(left, "log", "--json").splitlines()]
    [denied] = [each for each in entries if each["ev"] == "call.refused"]
    assert "denied" in said(left, "why", denied["call"])
    recorded = "".join(said(left, "replay", each["session"], "--key", "data/keys/payloads.key") for each in sessions)
    assert "sealed-1" in recorded and "second-1" in recorded
    assert "intact" in verified(left).lower()
    assert json.loads(said(left, "formats", "--json"))["data_dir"] == {"release": None, "formats": {}}


def test_a_gate_of_this_release_seals_on_top_of_it_and_serves_from_it(left: Path, upstream: Upstream) -> None:
    port, issuer = free_port(), Issuer(ISSUER_URL, name="corp")
    config = (left / "gatebook.toml").read_text()
    for old, new in (("8470", str(port)), ("http://127.0.0.1:8471/mcp", upstream.url), ("8472", str(free_port()))):
        assert old in config
        config = config.replace(old, new)
    with deployed(left, config, port, issuer=issuer) as gate:
        answered = gate.ask(call("work", "new"), gate.token("counting"))
        assert answered.reason is None
        assert gate.stop() == 0
    assert asked(left) == [*SEALED, *WAITING, "new"]
    assert answered.receipt in {written.leaf for written in gate.log()}
    assert {str(w.entry.x["writer"]) for w in gate.log("log.recover")} == {"gate-0", "desk", "supervisor", "sealer"}
    assert "intact" in verified(left).lower()
    lying = formats.lying(left / "data")
    assert lying is not None and lying.formats == {name: each.version for name, each in formats.KNOWN.items()}
