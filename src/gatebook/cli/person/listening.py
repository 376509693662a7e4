"""A port of this machine that waits for the one redirect which ends a login."""

import contextlib
import hmac
import http.server
import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from gatebook.cli.person.errors import PersonError

PATIENCE_S = 300.0


class Listener(http.server.HTTPServer):
    """Waits for the one redirect that bears our `state`. Whatever else comes is refused, and does not end the wait."""

    answer: dict[str, str] | None = None
    state = ""
    path = "/callback"

    def await_answer(self, state: str) -> dict[str, str]:
        self.state, self.timeout = state, 1.0
        deadline = time.monotonic() + PATIENCE_S
        while self.answer is None:
            if time.monotonic() > deadline:
                raise PersonError(f"nobody logged in within {PATIENCE_S / 60:.0f} minutes; run it again")
            self.handle_request()
        return self.answer

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that breaks is no news."""


class _Listener6(Listener):
    address_family = socket.AF_INET6


class _Redirect(http.server.BaseHTTPRequestHandler):
    server: Listener
    timeout = 5.0

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        answer = dict(parse_qsl(parts.query)) if parts.path == self.server.path else {}
        ours = hmac.compare_digest(answer.get("state", "").encode(), self.server.state.encode())
        if ours and self.server.answer is None:
            self.server.answer = answer
        self._say(200, "Done. You may close this page.") if ours else self._say(404, "Nothing waits for this here.")

    def _say(self, status: int, words: str) -> None:
        body = f"<!doctype html><meta charset=utf-8><title>Gatebook</title><p>{words}".encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", "default-src 'none'"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The request line holds the code: it is written nowhere."""


@contextlib.contextmanager
def listening(host: str, port: int, path: str, tls: ssl.SSLContext | None = None) -> Iterator[Listener]:
    """Listening at `path` there. Raises PersonError."""
    try:
        listener = (_Listener6 if ":" in host else Listener)((host, port), _Redirect)
    except OSError as failure:
        raise PersonError(f"port {port} of {host} cannot be used: {failure.strerror}; choose another") from failure
    listener.path = path
    if tls is not None:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    with listener:
        yield listener
