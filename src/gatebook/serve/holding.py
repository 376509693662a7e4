"""What a process holds at this moment, as numbers: for an operator who suspects a leak, and for the tests that look for one."""

import asyncio
import gc
import os
import threading
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def holdings() -> dict[str, int]:
    """Of this process, with a running event loop: `rss_bytes`, `tasks`, `threads`, `sockets`, other `files`, and `objects` that the
    garbage collector watches and that came after the start. Costs a full collection; nothing that is reported here says what it holds."""
    gc.collect()
    sockets, files = _descriptors()
    return {
        "rss_bytes": resident_bytes(),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "sockets": sockets,
        "files": files,
        "objects": len(gc.get_objects()),
    }


def _descriptors() -> tuple[int, int]:
    sockets = files = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # the descriptor of the listing itself
        if target.startswith("socket:"):
            sockets += 1
        else:
            files += 1
    return sockets, files
