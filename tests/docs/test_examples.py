"""The lines that the guides tell to type do what the guides say, typed into a shell."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gatebook import __version__, wiring
from gatebook.adapters.ledger_segment import SegmentLedger
from gatebook.config import load
from gatebook.model.deployment import Deployment
from tests.docs import pages
from tests.docs.pages import ROOT
from tests.world_ledger import PERSON, StillClock, a_draft

pytestmark = pytest.mark.slow

HOWTO = ROOT / "docs/howto"
GO_SOURCES = Path("/usr/share/gocode/src/golang.org/x/mod")


def block(page: str, holding: str) -> str:
    """The one shell block of a guide that holds this text."""
    found = [text for language, text in pages.blocks(HOWTO / page) if language == "sh" and holding in text]
    assert len(found) == 1, f"{page} has {len(found)} blocks with {holding!r}"
    return found[0]


def typed(lines: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """What `lines` do in `directory`, by sh, with `gatebook` as it is installed here; a failing line ends it."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["sh", "-ec", lines], cwd=directory, env=environment, capture_output=True, text=True, timeout=100
    )


def seal(deployment: Deployment) -> None:
    stop = threading.Event()
    stop.set()
    wiring.seal(deployment, stop, StillClock())


async def write(deployment: Deployment, numbers: range) -> None:
    """A worker's entries."""
    ledger = SegmentLedger.open(deployment.data_dir, "gate-0", deployment, StillClock())
    for number in numbers:
        await ledger.record(a_draft(number))
    await ledger.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with what the guides speak of: `data`, `log.vkey`, `payloads.key`, `checkpoint.old`."""
    made = typed("gatebook init . --profile dev --origin example.com/log", tmp_path)
    assert made.returncode == 0, made.stderr
    deployment = load(tmp_path / "gatebook.toml").deployment
    asyncio.run(write(deployment, range(20)))
    seal(deployment)
    shutil.copy(tmp_path / "data/log/checkpoint", tmp_path / "checkpoint.old")
    asyncio.run(write(deployment, range(20, 300)))
    seal(deployment)
    shutil.copy(tmp_path / "data/log.vkey", tmp_path / "log.vkey")
    return tmp_path


def test_the_guides_install_this_release_and_start_it_by_one_link() -> None:
    """A service that was restarted after an upgrade would else run the old release."""
    assert f"/usr/bin/python3 -m venv /opt/gatebook/{__version__}\n" in block("install.md", "-m venv /opt/gatebook/")
    assert f"ln -sfn {__version__} /opt/gatebook/current\n" in block("install.md", "-m venv /opt/gatebook/")
    assert "ln -sfn 0.2.0 /opt/gatebook/current\n" in block("upgrade.md", "/opt/gatebook/0.2.0/bin/gatebook upgrade")
    for page in ("install.md", "upgrade.md", "operate.md"):
        text = (HOWTO / page).read_text()
        assert "/opt/gatebook/bin/" not in text
        assert set(re.findall(r"ExecStart=(\S+)", text)) <= {"/opt/gatebook/current/bin/gatebook"}


COPY = block("verify-the-log.md", "tar -C data")
VERIFY = block("verify-the-log.md", "--checkpoint checkpoint.old")


def grow(place: Path) -> None:
    """More entries, sealed, as on a gate that serves: new checkpoints, and a tile that was partial is full."""
    deployment = load(place / "gatebook.toml").deployment
    asyncio.run(write(deployment, range(300)))
    seal(deployment)


def test_a_copy_of_a_log_that_grows_meanwhile_verifies(place: Path) -> None:
    lines = COPY.splitlines()
    everything = next(number for number, line in enumerate(lines) if line.startswith("tar"))
    assert typed("\n".join(lines[:everything]), place).returncode == 0
    grow(place)
    assert typed(lines[everything], place).returncode == 0
    assert typed(VERIFY, place).returncode == 1, "the last lines of the guide would not be needed"
    grow(place)
    assert typed("\n".join(lines[everything + 1 :]), place).returncode == 0
    verified = typed(VERIFY, place)
    assert verified.returncode == 0 and "INTACT" in verified.stdout, verified.stdout + verified.stderr


def test_a_checkpoint_copied_last_is_what_the_guide_warns_of(place: Path) -> None:
    assert typed("mkdir copy && cp -a data/log data/payloads copy/", place).returncode == 0
    grow(place)
    assert typed("cp data/log/checkpoint copy/log/", place).returncode == 0
    assert typed(VERIFY, place).returncode == 1


def test_the_auditors_lines_hold_for_a_whole_log(place: Path) -> None:
    for lines in (COPY, VERIFY, block("verify-the-log.md", "--payload-key payloads.key")):
        done = typed(lines, place)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "opened" in done.stdout
    found = typed("gatebook log --data-dir copy --call call-00000042 --json", place)
    assert found.returncode == 0 and found.stdout.count("\n") == 1
    asked = block("verify-the-log.md", "gatebook log --data-dir copy").replace(
        "--person alice", f"--person {PERSON.sub}"
    )
    assert typed(asked, place).returncode == 0


def test_the_auditors_lines_find_a_changed_entry_and_name_it(place: Path) -> None:
    assert typed(COPY, place).returncode == 0
    bundle = place / "copy/log/tile/entries/000"
    content = bundle.read_bytes()
    at = content.index(b"call-00000042")
    bundle.write_bytes(content[:at] + b"C" + content[at + 1 :])
    done = typed(VERIFY, place)
    assert done.returncode == 1
    assert done.stdout.startswith("entry ") and "BROKEN" in done.stdout


def test_a_log_that_is_cut_shows_by_the_older_checkpoint(place: Path) -> None:
    """And would not without it: what a signature alone does not prove."""
    assert typed(COPY, place).returncode == 0
    size = (place / "copy/log/checkpoint").read_text().splitlines()[1]
    shutil.copy(place / "copy/log/checkpoint", place / "checkpoint.new")
    shutil.copy(place / "checkpoint.old", place / "copy/log/checkpoint")
    (place / f"copy/log/checkpoints/{size}").unlink()
    done = typed(VERIFY.replace("checkpoint.old", "checkpoint.new"), place)
    assert done.returncode == 1 and "the log was cut" in done.stdout


def test_the_checker_in_go_is_built_and_run_as_the_guide_says(place: Path) -> None:
    if shutil.which("go") is None or not GO_SOURCES.is_dir():
        pytest.skip("no Go, or no golang.org/x/mod: apt-get install golang-go golang-golang-x-mod-dev")
    assert typed(COPY, place).returncode == 0
    lines = block("verify-the-log.md", "go build").replace("tests/e2e", f"{ROOT}/tests/e2e")
    done = typed(f"export GOCACHE={place}/go-cache GOPROXY=off GOFLAGS=\n{lines}", place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("example.com/log ")


def test_init_as_the_guide_says_writes_what_the_guide_says(tmp_path: Path) -> None:
    lines = block("configure.md", "gatebook init /etc/gatebook").replace("/etc/gatebook", str(tmp_path / "gatebook"))
    done = typed(lines, tmp_path)
    assert done.returncode == 0, done.stderr
    written = {
        str(file.relative_to(tmp_path / "gatebook")) for file in (tmp_path / "gatebook").rglob("*") if file.is_file()
    }
    assert written == {
        "gatebook.toml", "payloads.key", "data/keys/log.skey", "data/log.vkey", "data/payloads.pub", "data/keys/desk-signing.jwk",
    }  # fmt: skip
