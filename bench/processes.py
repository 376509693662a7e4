"""Child processes pinned to a core, and what the kernel knows of them (/proc)."""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

CORES: Final = sorted(os.sched_getaffinity(0))
LOAD_CORE: Final = CORES[0]
"""Load, upstream, sealer, desk, supervisor."""
GATE_CORE: Final = CORES[min(1, len(CORES) - 1)]
"""The gate's worker, or the peer's."""

_libc: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1
_started: Final[list["Child"]] = []

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Died(Exception):
    """A process ended or did not become ready; the text holds the end of what it printed."""


class Child:
    """One started process. Its output goes to a file beside its configuration."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        core: int,
        *,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.output = directory / f"{name}.out"
        directory.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **(env or {})},
                preexec_fn=lambda: _prepare(core),
            )
        _started.append(self)

    @property
    def pid(self) -> int:
        return self.process.pid

    def until(self, ready: Callable[[], bool], within_s: float = 40) -> None:
        """Raises Died where it ends first, or takes longer."""
        deadline = time.monotonic() + within_s
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Died(f"{self.name} did not become ready:\n{self.tail()}")
            time.sleep(0.02)

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def tail(self) -> str:
        return self.said()[-3000:]

    def stop(self, within_s: float = 60) -> None:
        """It has ended: SIGTERM first."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(within_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def stop_all() -> None:
    """No child that was started is left, also not one whose start went wrong half-way."""
    while _started:
        _started.pop().stop()


def _prepare(core: int) -> None:
    """In the child, before it becomes the program: its core, its end with ours, and as many files as this machine allows."""
    os.sched_setaffinity(0, {core})
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def pin(pid: int, core: int) -> None:
    """Every thread of `pid` runs on `core` only, and so do those that they start."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), {core})


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time so far, all threads. Seconds, in steps of 10 ms."""
    return sum(_ticks(pid) for pid in pids) / _TICKS


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def rss_mib(pids: Sequence[int]) -> float:
    """Resident memory now. MiB."""
    return sum(_status_kib(pid, "VmRSS") for pid in pids) / 1024


def _status_kib(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def children(pid: int) -> Iterator[tuple[int, list[str]]]:
    """(pid, command line) of the processes that `pid` started."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]


@contextlib.contextmanager
def held(pid: int) -> Iterator[None]:
    """`pid` stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
