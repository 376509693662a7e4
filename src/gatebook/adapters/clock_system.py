"""ports.Clock: the host's clock, and what chrony or the kernel says of its synchronisation."""

import ctypes
import os
import shutil
import subprocess
import threading
from time import monotonic, time_ns

import msgspec

from gatebook.ledger.entry import Clocked
from gatebook.ports import Instant

REFRESH_S = 45.0
STALE_S = 60.0
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000


UNKNOWN = Clocked(src="none", off=0, ok=False)
"""Nobody can say; other sources are "chrony" and "kernel"."""


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>, as glibc and musl have it on 64-bit Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class SystemClock:
    """Asks once when made (at most two seconds), then every 45 s in a thread of its own. An answer older than 60 s counts as unsynchronised."""

    def __init__(self) -> None:
        self._observe()
        self._stop = threading.Event()
        threading.Thread(target=self._refresh, name="clock", daemon=True).start()

    def now(self) -> Instant:
        fresh = monotonic() - self._observed_at <= STALE_S
        return Instant(unix_us=time_ns() // 1000, clocked=self._observed if fresh else self._outdated)

    def close(self) -> None:
        """End the thread. Idempotent; a process that ends need not call it."""
        self._stop.set()

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH_S):
            self._observe()

    def _observe(self) -> None:
        self._observed = observe()
        self._outdated = msgspec.structs.replace(self._observed, ok=False)
        self._observed_at = monotonic()


def observe() -> Clocked:
    """What is known now: chrony's word where `chronyc` is on the PATH and its daemon answers, else the kernel's. Never raises."""
    return from_chrony() or from_kernel()


def from_chrony() -> Clocked | None:
    """None where there is no `chronyc` or no answer. The last field of its CSV is the leap status, the fifth the offset in seconds."""
    program = shutil.which("chronyc")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-c", "tracking"], capture_output=True, timeout=2, check=True, env=_environment()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return read_tracking(done.stdout.decode("ascii", "replace"))


def read_tracking(line: str) -> Clocked | None:
    """The answer of `chronyc -c tracking`; None where it is none. Any leap status but "Not synchronised" is a synchronised clock."""
    fields = line.strip().split(",")
    if len(fields) < 14:
        return None
    try:
        offset_us = round(float(fields[4]) * 1_000_000)
    except ValueError:
        return None
    leap = fields[-1]
    return Clocked(src="chrony", off=offset_us, ok=leap in ("Normal", "Insert second", "Delete second"))


def from_kernel() -> Clocked:
    """adjtimex(2): synchronised where the state is not TIME_ERROR and STA_UNSYNC is not set."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return UNKNOWN
    if state < 0:
        return UNKNOWN
    offset_us = timex.offset // 1000 if timex.status & _STA_NANO else timex.offset
    return Clocked(src="kernel", off=offset_us, ok=state != _TIME_ERROR and not timex.status & _STA_UNSYNC)


def _environment() -> dict[str, str]:
    """A known language, and none of our own settings: those of a process that holds secrets are not for its children."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
