"""Where nothing can be written, nothing is let through: a sealer that takes nothing, a full disk, a write that fails. And before a disk is full."""

import contextlib
import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.life.conftest import Deploy
from tests.e2e.life.deployed import Answered, Deployed, call, until
from tests.e2e.life.held import Held
from tests.e2e.life.upstream import Upstream

SMALLEST_SEGMENT = 1 << 20
LARGE = "word " * 40_000
BUDGET = "[disk]\nwarn_free_bytes = 25165824\nrefuse_free_bytes = 16777216\n"


def ask(gate: Deployed, key: str = "key", **arguments: object) -> Answered:
    return gate.ask(call("work", key, **arguments), gate.token("counting"))


def test_without_a_free_segment_calls_are_refused_and_taken_again_when_there_is_one(
    deploy: Deploy, upstream: Upstream
) -> None:
    with deploy(segment_bytes=SMALLEST_SEGMENT, workers=1) as gate:
        [sealer] = gate.rooms("sealer")
        os.kill(sealer, signal.SIGSTOP)
        answered: list[Answered] = []

        def filled() -> bool:
            answered.append(ask(gate, f"large-{len(answered)}", text=LARGE))
            return answered[-1].status == 503

        until(filled, "all segments full", 60)
        assert {(a.status, a.reason) for a in answered} == {(200, None), (503, "ledger_unavailable")}
        executed = sum(upstream.executed.values())
        assert ask(gate, "refused", text=LARGE).status == 503
        assert sum(upstream.executed.values()) == executed, "nothing is sent that cannot be recorded"
        os.kill(sealer, signal.SIGCONT)
        until(lambda: {ask(gate, "after", text=LARGE).status for _ in range(8)} == {200}, "served again")
        assert gate.stop() == 0
        in_the_log = {written.leaf for written in gate.log()}
        assert {answer.receipt for answer in answered if answer.status == 200} <= in_the_log
        gate.verify()


def test_a_worker_whose_write_fails_refuses_and_is_replaced(deploy: Deploy) -> None:
    with deploy(workers=1) as gate:
        [worker] = gate.rooms("gate")
        # No write beyond this offset succeeds any more; the kernel says EFBIG, as a bad disk says EIO.
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, 4096))
        while (refused := ask(gate)).status == 200:
            assert not gate.said("room.failed")
        assert (refused.status, refused.reason) == (503, "ledger_unavailable")
        [failed] = until(lambda: gate.said("room.failed"), "said")
        assert (failed["room"], "OSError" in failed["why"]) == ("gate-0", True)
        until(lambda: gate.rooms("gate") not in ([], [worker]), "another worker")
        answered = until(lambda: (a := ask(gate, "after")).status == 200 and a, "served again")
        assert gate.stop() == 0
        assert answered.receipt in {written.leaf for written in gate.log()}
        gate.verify()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB of its own."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(directory)]
    try:
        mounted = subprocess.run(mounting, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only a user who may mount can make a small disk")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_on_a_full_disk_calls_are_refused_and_the_log_stays_whole(deploy: Deploy, small_disk: Path) -> None:
    data = small_disk / "data"
    data.mkdir()
    with deploy(segment_bytes=SMALLEST_SEGMENT, workers=1, data_dir=data, more=BUDGET) as gate:
        answered = [ask(gate, "before")]
        assert answered[0].status == 200
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()

        def refused() -> bool:
            answered.append(ask(gate, f"large-{len(answered)}", text=LARGE))
            return answered[-1].status == 503

        until(refused, "refused", 60)
        assert {(a.status, a.reason) for a in answered} <= {
            (200, None),
            (503, "ledger_unavailable"),
            (503, "disk_short"),
        }
        filler.unlink()
        until(lambda: {ask(gate, "after").status for _ in range(8)} == {200}, "served again")
        assert gate.stop() == 0
        in_the_log = {written.leaf for written in gate.log()}
        assert {answer.receipt for answer in answered if answer.status == 200} <= in_the_log
        gate.verify()


def fill(file: Path, leave_bytes: int) -> None:
    """`file` takes so much that `leave_bytes` are free."""
    space = os.statvfs(file.parent)
    with file.open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, space.f_bavail * space.f_frsize - leave_bytes)


def test_before_a_disk_is_full_it_is_said_then_calls_are_refused_and_what_is_under_way_ends_well(
    deploy: Deploy, upstream: Upstream, small_disk: Path
) -> None:
    data = small_disk / "data"
    data.mkdir()
    with deploy(segment_bytes=SMALLEST_SEGMENT, workers=1, data_dir=data, more=BUDGET) as gate:
        fill(small_disk / "some", 22 << 20)
        until(lambda: gate.said("disk.low"), "said")
        assert ask(gate, "while it is low").status == 200
        held = Held(gate, "held")
        until(lambda: upstream.held == {"held"}, "the call at the server")
        fill(small_disk / "more", 14 << 20)
        until(lambda: gate.said("disk.short"), "said")
        until(lambda: gate.get("/readyz") == 503, "not ready")
        refused = [ask(gate, f"refused-{number}") for number in range(20)]
        assert {(each.status, each.reason) for each in refused} == {(503, "disk_short")}
        assert not any(key.startswith("refused") for key in upstream.executed)
        told = json.loads(gate.command("doctor", "--offline", "--json", check=False).stdout)
        urgent = {finding["where"]: finding["line"] for finding in told if finding["urgency"] == "now"}
        assert {"gate", "data_dir", "server counting"} <= set(urgent)
        assert urgent["data_dir"] == f"df -h {gate.data_dir}"
        upstream.released.set()
        held.join()
        assert held.answered is not None and held.answered.status == 200
        # A worker that is started now knows it too.
        [worker] = gate.rooms("gate")
        os.kill(worker, signal.SIGKILL)
        until(lambda: gate.rooms("gate") not in ([], [worker]), "another worker")
        until(lambda: gate.get("/healthz") == 200, "it serves")
        assert ask(gate, "refused by the next").reason == "disk_short"
        assert gate.get("/readyz") == 503
        for filler in ("some", "more"):
            (small_disk / filler).unlink()
        until(lambda: gate.said("disk.enough"), "said")
        until(lambda: ask(gate, "after").status == 200, "served again")
        assert gate.stop() == 0
        assert [written.entry.out.reason for written in gate.log("disk.space")] == ["low", "short", "enough"]
        counted = [w.entry.x["attempts"] for w in gate.log("call.refused") if w.entry.out.reason == "disk_short"]
        assert counted[0] == 1 and len(counted) <= 3
        assert {w.entry.res.method for w in gate.log("call.refused") if w.entry.out.reason == "disk_short"} == {"POST"}
        assert held.answered.receipt in {written.leaf for written in gate.log()}
        gate.verify()


def test_where_hardly_a_file_can_be_made_it_is_said_what_is_lacking(deploy: Deploy, small_disk: Path) -> None:
    data = small_disk / "data"
    data.mkdir()

    def allow(more_files: int) -> None:
        space = os.statvfs(small_disk)
        inodes = space.f_files - space.f_favail + more_files
        subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", str(small_disk)], check=True)

    with deploy(segment_bytes=SMALLEST_SEGMENT, workers=1, data_dir=data, more=BUDGET) as gate:
        allow(1_000)
        until(lambda: gate.said("disk.short"), "said")
        until(lambda: ask(gate, "refused").reason == "disk_short", "refused")
        told = json.loads(gate.command("doctor", "--offline", "--json", check=False).stdout)
        [lacking] = [finding for finding in told if finding["where"] == "data_dir" and finding["urgency"] == "now"]
        assert "more files can be made" in lacking["what"] and "MiB are free" not in lacking["what"]
        assert lacking["line"] == f"df -i {gate.data_dir}"
        refused = gate.command("restart", check=False)
        assert refused.returncode == 1 and "more files can be made" in refused.stdout + refused.stderr
        allow(50_000)
        until(lambda: gate.said("disk.enough"), "said")
        until(lambda: ask(gate, "after").status == 200, "served again")
        assert gate.stop() == 0
        gate.verify()
