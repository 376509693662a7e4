"""What strace wrote, as system calls with a beginning and an end; and who may run it here."""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

INSTALL = "apt-get install strace"
_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_BEGUN = re.compile(r"(?P<name>\w+)\((?P<arguments>.*?)(?: <unfinished \.\.\.>|\) += (?P<result>\S+).*)$")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>.*?\) += (?P<result>\S+)")
_FILE = re.compile(r"(?P<number>\d+)<(?P<what>(?:->|[^>])*)>")
_HEX = re.compile(r"\\x([0-9a-f]{2})")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


class Call(msgspec.Struct):
    """One system call. `begun`, `ended`: numbers of the lines, so they tell what was before what; `ended` is None for one that never returned."""

    pid: int
    name: str
    arguments: str
    begun: int
    ended: int | None = None
    result: str = "?"

    @property
    def file(self) -> str:
        """What its first argument is a descriptor of: a path, or a socket with its addresses."""
        found = _FILE.match(self.arguments)
        return _HEX.sub(lambda byte: chr(int(byte[1], 16)), found["what"]) if found else ""

    @property
    def descriptor(self) -> int:
        found = _FILE.match(self.arguments)
        return int(found["number"]) if found else -1

    @property
    def count(self) -> int:
        """What it returned, as a number; -1 where it failed or never returned."""
        return int(self.result) if self.result.isdigit() else -1

    @property
    def data(self) -> bytes:
        """The bytes it wrote: of what was given, as many as it said."""
        given = b""
        for text, cut in _TEXT.findall(self.arguments):
            assert not cut, "strace cut a string: the trace cannot be judged"
            given += bytes.fromhex(text.replace("\\x", ""))
        return given[: max(self.count, 0)]

    @property
    def offset(self) -> int:
        """The last argument, of pwrite64 and its like."""
        return int(self.arguments.rpartition(",")[2])


def calls(lines: Iterator[str]) -> list[Call]:
    """The calls in a trace of `strace -f -yy -xx -o`, in the order in which they began."""
    found: list[Call] = []
    open_: dict[int, Call] = {}
    for number, line in enumerate(lines):
        whole = _LINE.match(line)
        if whole is None:
            continue
        pid, rest = int(whole["pid"]), whole["rest"]
        if (resumed := _RESUMED.match(rest)) is not None:
            call = open_.pop(pid, None)
            if call is not None and call.name == resumed["name"]:
                call.ended, call.result = number, resumed["result"]
        elif (begun := _BEGUN.match(rest)) is not None:
            call = Call(pid, begun["name"], begun["arguments"], number)
            if begun["result"] is None:
                open_[pid] = call
            else:
                call.ended, call.result = number, begun["result"]
            found.append(call)
    return found


@functools.cache
def refused() -> str | None:
    """Why nothing can be traced here, with what to type; None where it can."""
    if shutil.which("strace") is None:
        return f"strace is not installed: {INSTALL}"
    tried = subprocess.run(["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        return (
            f"strace may not trace here ({tried.stderr.strip().splitlines()[-1:]}): run as a user with CAP_SYS_PTRACE"
        )
    return None


def need_strace() -> None:
    if (why := refused()) is not None:
        pytest.skip(why)


def read(path: Path) -> list[Call]:
    with path.open(encoding="latin-1") as file:
        return calls(iter(file))
