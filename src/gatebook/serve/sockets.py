"""Listening sockets, bound by the supervisor and kept by it: a worker that is replaced inherits its predecessor's.

Closing a listener resets the connections queued on it, so only the supervisor ever does."""

import contextlib
import socket

from gatebook.model.errors import ConfigurationError

BACKLOG = 1024


def bind(listen: tuple[str, ...], keep: contextlib.ExitStack) -> list[socket.socket]:
    """One listening socket per address, sharing its port with the other workers' (SO_REUSEPORT); closed when `keep` is.

    Raises ConfigurationError where an address cannot be had."""
    return [keep.enter_context(_bind(address)) for address in listen]


def _bind(address: str) -> socket.socket:
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
