"""`gatebook demo` as a process, and what it left behind."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatebook.demo.children import gatebook_command

READY_S = 60.0
STOP_S = 30.0


class RunningDemo:
    """A demonstration that stays; `introduction` is what it says of itself with --json."""

    def __init__(self, process: "subprocess.Popen[str]", introduction: dict[str, Any]) -> None:
        self.process = process
        self.introduction = introduction

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_S)

    def children(self) -> dict[str, int]:
        """Its direct child processes: a word of the command line → pid."""
        found: dict[str, int] = {}
        for pid in children_of(self.process.pid):
            words = command_line(pid)
            found[next(word for word in ("gatebook.demo.idp", "gatebook.demo.payments", "serve") if word in words)] = (
                pid
            )
        return found


@contextmanager
def running_demo(directory: Path, *options: str) -> Iterator[RunningDemo]:
    """A demonstration in `directory`, ready; killed at the end if the test did not stop it."""
    errors = directory.parent / f"{directory.name}-stderr.txt"
    with errors.open("w") as sink:
        process = subprocess.Popen(
            [*gatebook_command(), "demo", "--json", "--data-dir", str(directory), *options],
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
        )
    try:
        yield RunningDemo(process, _introduction(process, errors))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_S)
        assert process.stdout is not None
        process.stdout.close()


def run_demo(directory: Path, *options: str, timeout_s: float = 100.0) -> "subprocess.CompletedProcess[str]":
    """The command run to its end."""
    command = [*gatebook_command(), "demo", "--data-dir", str(directory), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def gatebook(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*gatebook_command(), *arguments], capture_output=True, text=True, timeout=60, check=False)


def processes_naming(text: str) -> list[str]:
    """Command lines of living processes that hold `text`."""
    lines = [command_line(int(each.name)) for each in Path("/proc").iterdir() if each.name.isdecimal()]
    return [line for line in lines if text in line and "pytest" not in line]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def is_gone(pid: int) -> bool:
    """Whether the process has ended, or only waits to be reaped."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def wait_until_gone(pids: list[int], timeout_s: float = 15.0) -> list[int]:
    """Those that still run after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while (left := [pid for pid in pids if not is_gone(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def descendants(pid: int) -> list[int]:
    below = children_of(pid)
    return below + [each for child in below for each in descendants(child)]


def _introduction(process: "subprocess.Popen[str]", errors: Path) -> dict[str, Any]:
    assert process.stdout is not None
    text = ""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        text += line
        if line == "}\n":
            introduction: dict[str, Any] = json.loads(text)
            return introduction
        if not line and process.poll() is not None:
            break
    raise AssertionError(f"the demonstration did not come up:\n{text}{errors.read_text()}")
