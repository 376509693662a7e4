"""A program that tells what it can see and do, as one line of JSON. Run by the tests as a server's program; it imports nothing of ours."""

import json
import os
import socket
import sys
from pathlib import Path


def told(asked: dict[str, list[str]]) -> dict[str, object]:
    return {
        "processes": sorted(int(name) for name in names("/proc") if name.isdigit()),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "environment": dict(os.environ),
        "status": dict(
            line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
        ),
        "directory": str(Path.cwd()),
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "descriptors": sorted(int(name) for name in names("/proc/self/fd") if Path(f"/proc/self/fd/{name}").exists()),
        "listed": {path: outcome(lambda path=path: names(path)) for path in asked.get("list", [])},
        "read": {path: outcome(lambda path=path: Path(path).read_text()) for path in asked.get("read", [])},
        "mode": {
            path: outcome(lambda path=path: oct(Path(path).stat().st_mode & 0o7777)) for path in asked.get("read", [])
        },
        "written": {
            path: outcome(lambda path=path: Path(path, "written").write_text("x")) for path in asked.get("write", [])
        },
        "connected": {name: outcome(lambda name=name: connect(name)) for name in asked.get("connect", [])},
    }


def names(folder: str) -> list[str]:
    return sorted(entry.name for entry in Path(folder).iterdir())


def outcome(attempt: object) -> object:
    try:
        return attempt()  # type: ignore[operator]
    except OSError as failure:
        return type(failure).__name__


def connect(name: str) -> str:
    """`name`: a TCP port of this machine, or a Unix socket; `@` stands for the null byte of an abstract one."""
    if name.isdigit():
        with socket.create_connection(("127.0.0.1", int(name)), timeout=5):
            return "yes"
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(name.replace("@", "\0", 1))
        return "yes"


if __name__ == "__main__":
    print(json.dumps(told(json.loads(sys.argv[1]))), flush=True)
