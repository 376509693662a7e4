"""What a supervisor leaves to the program that takes its place under the same process id: `exec` keeps descriptors and children, and nothing else.

The old one writes a `Handover` into a file without a name and becomes the new one, which reads it. Both must be of one `control.VERSION`.
docs/adr/0020-a-supervisor-becomes-the-next.md
"""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from gatebook import __version__
from gatebook.model.deployment import Snapshot, Trust
from gatebook.model.errors import ConfigurationError
from gatebook.model.record import Who
from gatebook.serve.control import VERSION, Keys

VARIABLE = "GATEBOOK_HANDOVER"
_HELD_BACK = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Between two programs nobody handles them, and each would end the process. SIGHUP is blocked all the time."""


class HandedRoom(msgspec.Struct, frozen=True, kw_only=True):
    """One child process: the descriptor of the talk with it, and what it said that was not understood yet."""

    name: str
    pid: int
    control: int
    unread: bytes
    release: str


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as it runs. `lock`, `sockets` (for each worker), `orders`, `signals` and `asker` are descriptors; `signals` gives what signals came
    meanwhile, a byte for each; `asker` is the connection of whoever ordered it, and waits for the end. `back`: the program line of whoever handed over. `failed`: why the one that got this gives it back."""

    version: int = VERSION
    release: str = __version__
    author: Who
    snapshot: Snapshot
    trust: Trust | None
    keys: Keys
    lock: int
    sockets: tuple[tuple[int, ...], ...]
    orders: int
    signals: int
    asker: int | None
    rooms: tuple[HandedRoom, ...]
    back: tuple[str, ...]
    failed: str | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        listening = tuple(fd for each in self.sockets for fd in each)
        asker = () if self.asker is None else (self.asker,)
        return (self.lock, self.orders, self.signals, *asker, *listening, *(room.control for room in self.rooms))


def own_line() -> tuple[str, ...]:
    """How this program was started, so that it can be started again."""
    return (sys.executable, *sys.orig_argv[1:])


def become(line: tuple[str, ...], handover: Handover) -> NoReturn:
    """This process runs `line` with what `handover` names. Raises OSError where it cannot; then nothing has changed but that the descriptors
    may be inherited."""
    memory = os.memfd_create("gatebook-handover", 0)  # not closed by exec
    with os.fdopen(os.dup(memory), "wb") as file:
        file.write(msgspec.json.encode(handover))
    for descriptor in handover.descriptors:
        os.set_inheritable(descriptor, True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        os.execve(line[0], list(line), {**os.environ, VARIABLE: str(memory)})  # noqa: S606
    finally:  # reached only where it failed
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(memory)


def handed() -> Handover | None:
    """What the program before us left, its descriptors ours alone again; None where we were started by somebody else. Asked for once.

    What we do not understand goes back to whoever left it; raises ConfigurationError where even that cannot be."""
    name = os.environ.pop(VARIABLE, None)
    if name is None:
        return None
    raw = b""
    try:
        raw = Path(f"/proc/self/fd/{int(name)}").read_bytes()
        found = msgspec.json.decode(raw, type=Handover)
        if found.version != VERSION:
            raise ValueError(f"it is of version {found.version}, not {VERSION}")
    except (OSError, ValueError) as failure:
        _return(raw, f"release {__version__} does not understand what was left: {failure}")
        raise ConfigurationError((f"{VARIABLE} names nothing that a running Gatebook left; unset it",)) from failure
    os.close(int(name))
    for descriptor in found.descriptors:
        os.set_inheritable(descriptor, False)
    return found


def _return(raw: bytes, why: str) -> None:
    """Whoever left `raw` has it again, with `why`: nothing was done with it. Returns where that is not possible."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        left = json.loads(raw)
        if left["failed"] is None:
            memory = os.memfd_create("gatebook-handover", 0)
            with os.fdopen(os.dup(memory), "w") as file:
                json.dump({**left, "failed": why}, file)
            os.execve(left["back"][0], left["back"], {**os.environ, VARIABLE: str(memory)})  # noqa: S606


class SignalsNoted:
    """From when this is made, signals are noted for the program that runs next: what a handler had told our own loop would be lost with it, and
    any thread may be the one that a signal comes to. `descriptor`: where they are read."""

    def __init__(self) -> None:
        self.descriptor, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def heard_again(self) -> None:
        """Nobody runs next: they are ours, those that came meanwhile too."""
        signal.set_wakeup_fd(self._before)
        os.close(self._writing)
        _raise_noted(self.descriptor)


def receive_signals(left: Handover | None) -> None:
    """What was held back or noted between two programs arrives now; to be called once there are handlers."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    if left is not None:
        _raise_noted(left.signals)


def _raise_noted(descriptor: int) -> None:
    with os.fdopen(descriptor, "rb", buffering=0) as noted:
        for number in noted.read(4096) or b"":
            if number in _HELD_BACK:
                signal.raise_signal(number)
