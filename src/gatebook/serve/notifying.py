"""What the service manager hears of us (sd_notify(3)): that we serve, read the configuration anew, stop, and are alive."""

import asyncio
import contextlib
import os
import socket
import time
from typing import Final

_US: Final = 1_000_000
_PATIENCE_S: Final = 0.5
NOTIFYING: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})


class Notifier:
    """Tells whoever listens at $NOTIFY_SOCKET; nobody does where there is none. Whoever takes our place finds the variables as they were; no room does."""

    def __init__(self) -> None:
        name = os.environ.get("NOTIFY_SOCKET")
        watchdog_us = os.environ.get("WATCHDOG_USEC")
        meant = os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
        # A name that begins with @ is in the abstract namespace.
        self._address = None if name is None else f"\0{name[1:]}" if name.startswith("@") else name
        self._alive_every_s = int(watchdog_us) / _US / 3 if watchdog_us and watchdog_us.isdigit() and meant else None

    def ready(self, status: str) -> None:
        self._say(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    async def keep_alive(self) -> None:
        """Until cancelled: the watchdog hears of this event loop, three times in each of its periods. Returns where there is no watchdog."""
        while self._alive_every_s is not None:
            self._say("WATCHDOG=1")
            await asyncio.sleep(self._alive_every_s)

    def _say(self, text: str) -> None:
        if self._address is None:
            return
        # A service manager that does not listen must not hold up a service for long; one that is busy for a moment must hear it all the same.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.settimeout(_PATIENCE_S)
            sock.sendto(text.encode(), self._address)
