"""On a process's PYTHONPATH: its wall clock runs by as many seconds ahead as the file CLOCK_AHEAD says. For attacks that take a day."""

import os
import time

_FILE = os.environ.get("CLOCK_AHEAD", "")
_time, _time_ns = time.time, time.time_ns


def _ahead_s() -> int:
    try:
        with open(_FILE, encoding="ascii") as file:  # noqa: PTH123 - as little as can be is imported here
            return int(file.read() or 0)
    except (OSError, ValueError):
        return 0


if _FILE:
    time.time = lambda: _time() + _ahead_s()
    time.time_ns = lambda: _time_ns() + _ahead_s() * 1_000_000_000
