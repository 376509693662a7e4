"""Verifiers that are not ours judge our log: golang.org/x/mod/sumdb (by a small Go program) and aics-tlog (under a later Python)."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gatebook.adapters.log_files import LogFiles
from gatebook.ledger import note
from gatebook.ledger.checkpoint import Checkpoint, sign_checkpoint
from gatebook.ledger.growing import GrowingLog
from tests.world_ledger import a_place, a_sealed_log

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GO_SOURCES = Path("/usr/share/gocode")

Check = Callable[..., tuple[bool, str]]
"""(log directory, vkey, older checkpoint) → (accepted, what it said)."""


@pytest.fixture(scope="session")
def go_check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Built offline from what Debian packages, in GOPATH mode: no module proxy is asked."""
    if shutil.which("go") is None or not (GO_SOURCES / "src/golang.org/x/mod").is_dir():
        pytest.skip("no Go, or no golang.org/x/mod: apt-get install golang-go golang-golang-x-mod-dev")
    program = tmp_path_factory.mktemp("go") / "check"
    environment = {
        "PATH": os.environ["PATH"], "GOPATH": str(GO_SOURCES), "GO111MODULE": "off", "GOFLAGS": "", "GOPROXY": "off",
        "GOCACHE": str(program.parent / "cache"), "HOME": str(program.parent),
    }  # fmt: skip
    subprocess.run(["go", "build", "-o", str(program), str(HERE / "check.go")], env=environment, check=True)
    return lambda *arguments: accepted([str(program), *map(str, arguments)])


@pytest.fixture(scope="session")
def aics_check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """In a virtual environment of its own, from pinned and hashed packages."""
    python = later_python()
    if python is None:
        pytest.skip("no Python 3.12 or later on the PATH or under ~/.pyenv: aics-tlog needs one")
    home = tmp_path_factory.mktemp("aics")
    subprocess.run([python, "-m", "venv", str(home)], check=True)
    requirements = ROOT / "requirements" / "independent.txt"
    install = [
        str(home / "bin/pip"),
        "install",
        "--quiet",
        "--no-input",
        "--require-hashes",
        "--requirement",
        str(requirements),
    ]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"aics-tlog cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return lambda *arguments: accepted([str(home / "bin/python"), str(HERE / "aics_check.py"), *map(str, arguments)])


@pytest.fixture(params=["go", "aics"])
def check(request: pytest.FixtureRequest) -> Check:
    found: Check = request.getfixturevalue(f"{request.param}_check")
    return found


def accepted(command: list[str]) -> tuple[bool, str]:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def later_python() -> str | None:
    installed = sorted(Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python"))
    for candidate in (*map(str, installed), "python3.12", "python3.13", "python3.14"):
        path = shutil.which(candidate)
        if path and subprocess.run([path, "-c", "import venv"], capture_output=True).returncode == 0:
            return path
    return None


def a_log_of(directory: Path, size: int, *, old: int) -> str:
    """A log of made-up entries with checkpoints at `old` and `size`; its verifier key."""
    key, vkey = note.generate_key("example.com/log")
    signer = note.load_signer(key)
    log, growing = LogFiles(directory), GrowingLog()
    for number in range(size):
        growing.append(b"entry %d" % number)
        if growing.size in (old, size):
            log.write_once(growing.flush().files)
            signed = sign_checkpoint(
                Checkpoint(origin="example.com/log", size=growing.size, root=growing.tree.root()), signer
            )
            log.write_once([(f"checkpoints/{growing.size}", signed)])
            log.replace("checkpoint", signed)
    return vkey


@pytest.mark.parametrize(
    ("size", "old"),
    [
        (1, 1),
        (2, 1),
        (3, 2),
        (255, 17),
        (256, 255),
        (257, 256),
        (511, 256),
        (512, 300),
        (513, 512),
        (65_537, 65_535),
        (70_000, 300),
    ],
)
def test_logs_of_every_awkward_size_are_accepted(check: Check, tmp_path: Path, size: int, old: int) -> None:
    vkey = a_log_of(tmp_path, size, old=old)
    held, said = check(tmp_path, vkey, tmp_path / "checkpoints" / str(old))
    assert held, said


def test_the_log_of_a_deployment_is_accepted_and_every_kind_of_damage_is_not(check: Check, tmp_path: Path) -> None:
    place = a_place(tmp_path / "data")
    a_sealed_log(place)
    archive = sorted((place.log / "checkpoints").iterdir(), key=lambda file: int(file.name))
    for old in archive:
        held, said = check(place.log, place.vkey, old)
        assert held, said
    size = int(archive[-1].name)
    for name in (
        "checkpoint",
        "tile/0/000",
        f"tile/0/001.p/{size - 256}",
        "tile/entries/000",
        f"tile/entries/001.p/{size - 256}",
    ):
        file = place.log / name
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 3] ^= 1
        file.write_bytes(changed)
        held, _ = check(place.log, place.vkey)
        assert not held, f"a changed byte of {name} was accepted"
        file.write_bytes(whole)


def test_a_rewritten_log_is_refused_against_an_older_checkpoint(check: Check, tmp_path: Path) -> None:
    key, vkey = note.generate_key("example.com/log")
    signer = note.load_signer(key)
    for name, change in (("kept", 0), ("rewritten", 7)):
        log, growing = LogFiles(tmp_path / name), GrowingLog()
        for number in range(300):
            growing.append(b"entry %d" % (number ^ change))
        log.write_once(growing.flush().files)
        state = Checkpoint(origin="example.com/log", size=300, root=growing.tree.root())
        log.replace("checkpoint", sign_checkpoint(state, signer))
    assert check(tmp_path / "rewritten", vkey)[0]
    assert check(tmp_path / "kept", vkey, tmp_path / "kept" / "checkpoint")[0]
    assert not check(tmp_path / "rewritten", vkey, tmp_path / "kept" / "checkpoint")[0]
