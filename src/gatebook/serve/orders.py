"""What an operator orders of a gate that runs, over a socket in its data directory: to be replaced, by itself or by another release.

`data_dir/run/supervisor.sock`, for the deployment's own user and root. One order per connection, answered in JSON lines: what happens, then how it ended.
The connection outlives the supervisor that took the order: its successor says the rest.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec

from gatebook.durable import make_folder
from gatebook.model.errors import ConfigurationError
from gatebook.model.record import Who
from gatebook.serve.activation import operator
from gatebook.serve.diagnostics import say_bug

SOCKET = "supervisor.sock"
MOST_BYTES = 4096
PATIENCE_S = 10.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Replace everything that runs. `python`: the interpreter of the release to go to; None for the one that runs, from its files as they
    are. `sudo_user`: who typed it, if root says so."""

    python: str | None = None
    sudo_user: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the answer. `done` is None until the last: then whether it was done, and `said` is how or why not."""

    said: str
    done: bool | None = None


class Asker:
    """Whoever gave an order, as long as he listens. `descriptor` may be handed on."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)

    @property
    def descriptor(self) -> int:
        return self._socket.fileno()

    def tell(self, said: str, *, done: bool | None = None) -> None:
        """One line is on its way, or nobody listens. With `done` it was the last."""
        with contextlib.suppress(OSError):
            self._socket.send(msgspec.json.encode(Said(said=said, done=done)) + b"\n")
        if done is not None:
            self._socket.close()


Obey = Callable[[Order, Who, Asker], Awaitable[None]]


@contextlib.contextmanager
def open_orders(data_dir: Path) -> Iterator[socket.socket]:
    """The socket, listening; of an earlier supervisor's nothing is left. Raises ConfigurationError."""
    folder = data_dir / "run"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        make_folder(folder)
        (folder / SOCKET).unlink(missing_ok=True)  # the deployment's lock is ours, so nobody listens there
        with _short(folder) as short:
            listener.bind(short)
        (folder / SOCKET).chmod(0o600)
        listener.listen(4)
        listener.setblocking(False)
    except OSError as failure:
        listener.close()
        raise ConfigurationError((f"{folder / SOCKET}: {failure.strerror or failure}",)) from failure
    with kept_orders(listener, data_dir):
        yield listener


@contextlib.contextmanager
def kept_orders(listener: socket.socket, data_dir: Path) -> Iterator[None]:
    """The socket is ours until the end; `listener` may come from the process whose place we took."""
    with listener:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (data_dir / "run" / SOCKET).unlink(missing_ok=True)


def connect(data_dir: Path) -> socket.socket:
    """A connection to the supervisor of the gate that runs there. Raises OSError where none does, or we may not."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(data_dir / "run") as short:
            connection.connect(short)
    except OSError:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """The socket's name in at most 107 bytes, however deep the folder lies."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


async def take_orders(listener: socket.socket, obey: Obey) -> None:
    """Until cancelled; one after the other. Whoever does not speak his order in time is not waited for."""
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        try:
            await _take(connection, obey)
        except Exception as bug:
            say_bug("taking an order", bug)


async def _take(connection: socket.socket, obey: Obey) -> None:
    connection.setblocking(False)
    asker = Asker(connection.detach())
    uid = _peer(asker.descriptor)
    if uid not in (0, os.geteuid()):
        asker.tell("only this deployment's own user and root may order that", done=False)
        return
    try:
        async with asyncio.timeout(PATIENCE_S):
            order = msgspec.json.decode(await _line(asker.descriptor), type=Order)
    except (TimeoutError, OSError, msgspec.MsgspecError):
        asker.tell("that is no order", done=False)
        return
    who = operator(uid, invoked=False)
    if uid == 0 and order.sudo_user is not None:
        who = msgspec.structs.replace(who, sub=f"os:{order.sudo_user[:64]}")
    await obey(order, who, asker)


async def _line(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=os.dup(descriptor)) as reading:
        reading.setblocking(False)
        line = b""
        while not line.endswith(b"\n") and len(line) < MOST_BYTES:
            piece = await loop.sock_recv(reading, MOST_BYTES)
            if not piece:
                break
            line += piece
        return line


def _peer(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as peer:
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
