"""A small MCP server of our own that counts what it executes, holds calls until it is told, and streams without end."""

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOLD_S = 180.0
SILENCE_S = 0.05


class Upstream:
    """`executed`: how often each key was. `held`: keys of the calls being held now. `streams`: GET streams open now."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.stop: Callable[[], None] = lambda: None
        """Nobody listens any more, and every connection ends."""
        self.executed: Counter[str] = Counter()
        self.held: set[str] = set()
        self.streams = 0
        self.released = threading.Event()
        self.closing = threading.Event()
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: Upstream

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        params = message.get("params", {})
        match params.get("name", message["method"]):
            case "work":
                self._execute(params)
                self._answer(message, "done")
            case "hold":
                self._hold(params)
                self._answer(message, "released")
            case "trickle":
                self._trickle(message, params)
            case _:
                self._answer(message, "?")

    def do_GET(self) -> None:
        """A stream that ends only with its reader."""
        with self.upstream.lock:
            self.upstream.streams += 1
        try:
            self._begin_stream()
            self._event(
                {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "hi"}}
            )
            while not self.upstream.closing.wait(SILENCE_S):
                self._piece(b": still here\n\n")
        except OSError:
            self.close_connection = True
        finally:
            with self.upstream.lock:
                self.upstream.streams -= 1

    def _execute(self, params: dict[str, Any]) -> str:
        key = str(params["arguments"]["key"])
        with self.upstream.lock:
            self.upstream.executed[key] += 1
        return key

    def _hold(self, params: dict[str, Any]) -> None:
        key = self._execute(params)
        with self.upstream.lock:
            self.upstream.held.add(key)
        self.upstream.released.wait(HOLD_S)
        with self.upstream.lock:
            self.upstream.held.discard(key)

    def _trickle(self, message: dict[str, Any], params: dict[str, Any]) -> None:
        """An answer as a stream: a notification at once, the result when released."""
        try:
            self._begin_stream()
            self._event(
                {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "on it"}}
            )
            self._hold(params)
            self._event(_result(message, "released"))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def _event(self, message: object) -> None:
        self._piece(b"data: " + json.dumps(message).encode() + b"\n\n")

    def _piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _answer(self, message: dict[str, Any], text: str) -> None:
        body = json.dumps(_result(message, text)).encode()
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _result(message: dict[str, Any], text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message.get("id"), "result": {"content": [{"type": "text", "text": text}]}}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._taken: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._taken.append(connection)
        return connection, address

    def break_off(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in self._taken:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A gate that is killed breaks its connections; that is the test."""


@contextlib.contextmanager
def counting_server(port: int = 0, upstream: Upstream | None = None, host: str = "127.0.0.1") -> Iterator[Upstream]:
    """The server runs while the context is open, or until it is stopped; then it may be started again on its `port`, and goes on counting."""
    upstream = upstream or Upstream()
    handler = type("Handler", (_Handler,), {"upstream": upstream})
    with _Server((host, port), handler) as server:
        upstream.port = server.server_port
        upstream.stop = server.break_off
        upstream.url = f"http://{host}:{server.server_port}/mcp"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield upstream
        finally:
            upstream.released.set()
            upstream.closing.set()
            server.shutdown()
            thread.join()
