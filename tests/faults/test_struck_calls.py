"""EIO, ENOSPC and SIGKILL at every system call by which a writer or a sealer changes its files, on the code that ships, by strace: after the next
start `verify` passes and nothing that was acknowledged is missing."""

import os
import random
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import pytest

from tests.faults.strace import need_strace
from tests.faults.test_ledger_kill import ROOT, check
from tests.world_ledger import Place, a_draft, a_place, write_and_seal

CALLS = "openat,write,pwrite64,ftruncate,fsync,fdatasync,flock,rename,link,linkat,unlink,unlinkat,mkdir,rmdir,close"
Fault = Literal["error=EIO", "error=ENOSPC", "signal=KILL"]
FULL = frozenset(
    {"openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "link", "linkat", "mkdir", "ftruncate"}
)
"""The calls that may meet a full disk."""
AT_ONCE = 2
FORKING = threading.Lock()
"""A child has our descriptors until it becomes strace, and so would hold the locks of a log that is being recovered here."""
SAMPLE = 12
_CALL = re.compile(r"(\d+) +(\w+)\((.*)")


class Point(NamedTuple):
    """The `number`-th call of this name that some thread makes; `what` it was done to. `first`: no other thread had made so many before."""

    name: str
    number: int
    what: str
    first: bool


def run(role: str, data: Path, *options: str) -> tuple[list[str], set[str], int]:
    """The process's calls below `data`, what it acknowledged, and its exit status."""
    # Not with --seccomp-bpf: a thread's first call then survives its SIGKILL.
    trace = data.parent / f"{data.name}.trace"
    command = ["strace", "-f", "-y", "-s", "300", "-e", "signal=none", "-o", str(trace), *options]
    with FORKING:
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "tests.faults.ledger_round", str(data), role],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONHASHSEED": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    said, _ = process.communicate(timeout=60)
    lines = trace.read_text("utf-8", "replace").splitlines()
    trace.unlink()
    return lines, {line.decode() for line in said.split(b"\n")[:-1]}, process.returncode


def points(role: str, base: Place, directory: Path) -> list[Point]:
    """Every call of an undisturbed life that touches the data, with its number among the calls of that name in its thread."""
    here = copied(base, directory / "undisturbed")
    lines, _, status = run(role, here.directory, "-e", f"trace={CALLS}")
    assert status == 0
    counted: Counter[tuple[str, str]] = Counter()
    came: set[tuple[str, int]] = set()
    found: list[Point] = []
    for line in lines:
        if (made := _CALL.match(line)) is None:
            continue
        thread, name, rest = made.groups()
        counted[thread, name] += 1
        first = (name, counted[thread, name]) not in came
        came.add((name, counted[thread, name]))
        changes = name not in ("openat", "close") or "O_CREAT" in rest or ".seg" in rest or ".new" in rest
        if str(here.directory) in rest and changes:
            what = re.sub(
                r"-[0-9a-f]{20}", "", rest.partition(str(here.directory))[2].partition(">")[0].partition('"')[0]
            )
            found.append(Point(name, counted[thread, name], what, first))
    return sorted(set(found))


def copied(base: Place, directory: Path) -> Place:
    shutil.copytree(base.directory, directory)
    place = msgspec.structs.replace(
        base, directory=directory, deployment=msgspec.structs.replace(base.deployment, data_dir=str(directory))
    )
    (directory / "deployment.json").write_bytes(msgspec.json.encode(place.deployment))
    return place


def base_of(role: str, directory: Path) -> tuple[Place, set[str]]:
    """A deployment with a signed past: for the sealer, with what a writer left as well."""
    place = a_place(directory / "base", segment_bytes=96 << 10)
    said = {f"past-{number}" for number in range(20)}
    write_and_seal(place, [a_draft(number % 3, call=f"past-{number}") for number in range(20)])
    if role == "seal":
        (place.directory / "deployment.json").write_bytes(msgspec.json.encode(place.deployment))
        _, more, status = run("write", place.directory, "-e", "trace=none")
        assert status == 0 and len(more) == 24
        said |= more
    return place, said


def strike(role: str, base: Place, said: set[str], point: Point, fault: Fault, directory: Path) -> bool:
    """One life with one call struck, and what is found after the next start. Whether the blow hit our data."""
    place = copied(base, directory)
    blow = f"inject={point.name}:{fault}:when={point.number}"
    lines, more, _ = run(role, place.directory, "-e", f"trace={point.name}", "-e", blow)
    told = "= ?" if fault == "signal=KILL" else "(INJECTED)"
    hit = any(str(directory) in line and line.rstrip().endswith(told) for line in lines)
    for path in (directory / "segments").iterdir():
        os.utime(path, (0, 0))  # what a writer left that died as it started is taken away when a minute has passed
    try:
        with FORKING:
            check(place, said | more)
    except Exception as failure:
        raise AssertionError(f"{role}: {fault} at {point}: {failure!r}") from failure
    shutil.rmtree(directory)
    return hit


def struck(role: str, fault: Fault, directory: Path, most: int | None) -> None:
    need_strace()
    base, said = base_of(role, directory)
    every = points(role, base, directory)
    due = [point for point in every if fault != "error=ENOSPC" or point.name in FULL]
    if fault == "signal=KILL":
        # strace counts the calls of each thread: a kill at the second `close` ends whoever loads the interpreter, long before another thread gets there.
        due = [point for point in due if point.first]
    chosen = due if most is None else random.Random(most).sample(due, most)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        hits = list(
            threads.map(
                lambda numbered: strike(role, base, said, numbered[1], fault, directory / f"{numbered[0]}"),
                enumerate(chosen),
            )
        )
    names = Counter(point.name for point in due)
    print(f"{role}, {fault}: {len(due)} points ({', '.join(f'{n} {name}' for name, n in sorted(names.items()))}); "
          f"{len(chosen)} struck, {sum(hits)} in the data")  # fmt: skip
    assert sum(hits) >= len(chosen) * 0.8


BLOWS = pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC", "signal=KILL"])
ROLES = pytest.mark.parametrize("role", ["write", "seal"])


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(300)
@BLOWS
@ROLES
def test_after_a_struck_call_nothing_acknowledged_is_missing(role: str, fault: Fault, tmp_path: Path) -> None:
    struck(role, fault, tmp_path, SAMPLE)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(3600)
@BLOWS
@ROLES
def test_after_a_blow_at_every_call_nothing_acknowledged_is_missing(role: str, fault: Fault, tmp_path: Path) -> None:
    struck(role, fault, tmp_path, None)
