"""A server that keeps every byte it receives and answers with whatever bytes a test gives it."""

import json
import socket
import threading
from collections.abc import Callable, Iterator

Script = Callable[["Asked"], Iterator[bytes]]
"""Given one request, the pieces to send; the connection is closed after the last, so a script frames as it likes."""


class Asked:
    """One request as it came. `gone` is true once the gate has let the connection go."""

    def __init__(self, head: bytes, body: bytes, connection: socket.socket) -> None:
        self.head = head
        self.body = body
        self._connection = connection

    @property
    def id(self) -> bytes:
        """The JSON-RPC id, as a raw token."""
        return json.dumps(json.loads(self.body)["id"]).encode()

    def wait_until_gone(self, seconds: float = 30) -> bool:
        """Blocks until the other side closes; False if it has not within `seconds`."""
        self._connection.settimeout(seconds)
        try:
            return self._connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


def reply(body: bytes, *fields: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    """A whole HTTP answer."""
    head = (b"HTTP/1.1 " + status, b"content-type: " + kind, b"content-length: %d" % len(body), *fields)
    return b"\r\n".join((*head, b"connection: close", b"", body))


def result(asked: Asked, value: bytes = b'{"content":[{"type":"text","text":"fine"}]}') -> bytes:
    return b'{"jsonrpc":"2.0","id":' + asked.id + b',"result":' + value + b"}"


def stream_head(*fields: bytes) -> bytes:
    return b"\r\n".join(
        (b"HTTP/1.1 200 OK", b"content-type: text/event-stream", *fields, b"connection: close", b"", b"")
    )


def honest(asked: Asked) -> Iterator[bytes]:
    """A well-behaved answer: 202 where there is nothing to answer, else a result, or a batch of them."""
    if asked.body[:1] == b"[":
        results = (b'{"jsonrpc":"2.0","id":%d,"result":{}}' % message["id"] for message in json.loads(asked.body))
        yield reply(b"[" + b",".join(results) + b"]")
    elif not asked.body or b'"id"' not in asked.body or b'"method"' not in asked.body:
        yield reply(b"", status=b"202 Accepted")
    else:
        yield reply(result(asked))


class RecordingServer:
    """Listens on 127.0.0.1 until the context ends. `received` holds every byte of every connection, in order of arrival."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.asked: list[Asked] = []
        self.script: Script = honest
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/mcp"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> "RecordingServer":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        with self._lock:
            for connection in self._open:
                connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            head, body = self._request(connection)
            asked = Asked(head, body, connection)
            self.asked.append(asked)
            for piece in self.script(asked):
                connection.sendall(piece)
        except OSError:
            pass  # the gate had enough
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _request(self, connection: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length:
            body += self._receive(connection)
        return head, body

    def _receive(self, connection: socket.socket) -> bytes:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError
        self.received += piece
        return piece
