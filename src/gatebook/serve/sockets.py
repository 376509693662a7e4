"""Listening sockets, bound by the supervisor and kept by it: a worker that is replaced inherits its predecessor's.

Closing a listener resets the connections queued on it, so only the supervisor ever does."""

import contextlib
import socket
import stat
from pathlib import Path

from gatebook.model.errors import ConfigurationError

BACKLOG = 1024


def bind(listen: tuple[str, ...], workers: int, keep: contextlib.ExitStack) -> list[list[socket.socket]]:
    """For each worker its listening sockets, closed when `keep` is. Raises ConfigurationError where an address cannot be had.

    TCP: a socket for each worker, and the kernel spreads connections over them (SO_REUSEPORT). Unix: one, which all workers share."""
    everyones = [_bind_unix(address.removeprefix("unix:"), keep) for address in listen if address.startswith("unix:")]
    tcp = [address for address in listen if not address.startswith("unix:")]
    return [[*(keep.enter_context(_bind_tcp(address)) for address in tcp), *everyones] for _ in range(workers)]


def inherited(
    descriptors: tuple[tuple[int, ...], ...], listen: tuple[str, ...], keep: contextlib.ExitStack
) -> list[list[socket.socket]]:
    """As `bind` gave them to the process whose place we took. `descriptors`: for each worker; `listen`: what they listen on."""
    made = {fd: keep.enter_context(socket.socket(fileno=fd)) for each in descriptors for fd in each}
    for address in listen:
        if address.startswith("unix:"):
            keep.callback(Path(address.removeprefix("unix:")).unlink, missing_ok=True)
    return [[made[fd] for fd in each] for each in descriptors]


def _bind_tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host.strip("[]") or "0.0.0.0", int(port)))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except (OSError, ValueError) as failure:
        sock.close()
        raise ConfigurationError((f"listen {address}: {failure}; is another program using it?",)) from failure
    return sock


def _bind_unix(name: str, keep: contextlib.ExitStack) -> socket.socket:
    """Who may connect is decided by the directory's permissions; the socket is for its user and group."""
    path = Path(name)
    sock = keep.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        _remove_abandoned(path)
        sock.bind(name)
        path.chmod(0o660)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as failure:
        raise ConfigurationError((f"listen unix:{name}: {failure.strerror or failure}",)) from failure
    keep.callback(path.unlink, missing_ok=True)
    return sock


def _remove_abandoned(path: Path) -> None:
    """A socket that a killed supervisor left behind is gone; one that somebody listens on, or a file, is not ours to remove. Raises OSError."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError("there is a file of this name that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError("another program listens on it")
