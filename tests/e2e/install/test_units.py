"""What `gatebook units` writes, judged by systemd's and nftables' own tools. None of it is loaded on this machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = ("systemd-analyze", "systemd-sysusers", "systemd-tmpfiles")


@pytest.fixture
def written(installed: Path, tmp_path: Path) -> Path:
    if any(shutil.which(tool) is None for tool in TOOLS):
        pytest.skip("no systemd tools: apt-get install systemd")
    assert typed(str(installed / "gatebook"), "units", "--runner", "--directory", str(tmp_path)).returncode == 0
    return tmp_path


def typed(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")


def test_the_unit_is_understood_to_the_last_word(written: Path) -> None:
    """With and without the drop-in, which systemd reads with it."""
    unit = written / "systemd/system/gatebook.service"
    for _ in range(2):
        done = typed("systemd-analyze", "verify", "--man=no", str(unit))
        # Other units of this machine may have faults of their own.
        assert done.returncode == 0 and "gatebook" not in done.stderr, done.stderr
        (unit.parent / "gatebook.service.d/runner.conf").unlink(missing_ok=True)
    unit.write_text(unit.read_text().replace("RestrictRealtime=", "RestrictSurrealtime="))
    assert "gatebook" in typed("systemd-analyze", "verify", "--man=no", str(unit)).stderr, "and this sees a wrong word"


def exposure(unit: Path) -> float:
    """As systemd-analyze reckons: 0 to 10, and up to 5 is OK."""
    done = typed("systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for gatebook.service: ([0-9.]+) (\w+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    print(found[0])
    return float(found[1])


def test_the_unit_leaves_little_that_a_process_can_reach(written: Path) -> None:
    unit = written / "systemd/system/gatebook.service"
    assert exposure(unit) <= 4.0, "with what bubblewrap needs"
    (unit.parent / "gatebook.service.d/runner.conf").unlink()
    assert exposure(unit) <= 2.5
    loose = [line for line in unit.read_text().splitlines() if not line.startswith(("Protect", "System", "Cap"))]
    unit.write_text("\n".join(loose))
    assert exposure(unit) > 5.0, "and this sees a loose one"


def test_users_and_folders_are_made_by_systemds_own_tools(written: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes users, also in another root")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    users = (written / "sysusers.d/gatebook.conf", written / "tmpfiles.d/gatebook.conf")
    made = typed("systemd-sysusers", f"--root={root}", str(users[0]))
    assert made.returncode == 0, made.stderr
    names = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    accounts = {name[0]: (int(name[2]), name[6]) for name in names}
    assert {"gatebook", "gatebook-gate", "gatebook-sealer", "gatebook-desk", "gatebook-runner"} <= accounts.keys()
    assert all(shell.endswith("nologin") for name, (_, shell) in accounts.items() if name.startswith("gatebook"))
    laid = typed("systemd-tmpfiles", f"--root={root}", "--create", str(users[1]))
    assert laid.returncode == 0, laid.stderr
    data, secrets = (root / "var/lib/gatebook").stat(), (root / "etc/gatebook/secrets").stat()
    assert (data.st_uid, data.st_mode & 0o7777) == (accounts["gatebook"][0], 0o711)
    assert (secrets.st_uid, secrets.st_mode & 0o7777) == (0, 0o711)


def test_nothing_that_differs_is_overwritten(written: Path, installed: Path) -> None:
    unit = written / "systemd/system/gatebook.service"
    unit.write_text("[Service]\n")
    refused = typed(str(installed / "gatebook"), "units", "--directory", str(written))
    assert refused.returncode == 1 and str(unit) in refused.stderr and unit.read_text() == "[Service]\n"
    assert typed(str(installed / "gatebook"), "units", "--force", "--directory", str(written)).returncode == 0
    assert f"ExecStart={installed / 'gatebook'} serve" in unit.read_text()


def test_typed_by_way_of_a_link_the_unit_starts_whatever_the_link_names(installed: Path, tmp_path: Path) -> None:
    """As install.md and upgrade.md lay it out: a release beside the other, `current`, and a link to that on everybody's PATH."""
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/current").symlink_to(installed.parent)
    (tmp_path / "gatebook").symlink_to(tmp_path / "opt/current/bin/gatebook")
    assert typed(str(tmp_path / "gatebook"), "units", "--directory", str(tmp_path / "etc")).returncode == 0
    unit = (tmp_path / "etc/systemd/system/gatebook.service").read_text()
    assert f"\nExecStart={tmp_path}/opt/current/bin/gatebook serve" in unit
    assert f"\nExecStartPre=+{tmp_path}/opt/current/bin/gatebook layout" in unit


def test_the_rules_for_the_network_are_understood(written: Path) -> None:
    if shutil.which("nft") is None or os.geteuid() != 0:
        pytest.skip("only root asks nft: apt-get install nftables")
    rules = str(written / "nftables.d/gatebook.nft")
    checked = typed("unshare", "--net", "nft", "--check", "--file", rules)
    if checked.returncode != 0 and "unshare" in checked.stderr:
        pytest.skip("this container may make no network of its own")
    assert checked.returncode == 0, checked.stderr
