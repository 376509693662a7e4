"""The forwarder adds its lines and nothing else, whatever the shape of the request."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.e2e.conformance.forwarder import forwarding
from tests.e2e.conformance.suite import compare

LINE = "Authorization: Bearer x"


@contextmanager
def peer(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that takes one connection and hands it to `answer`; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        thread.join()


def read_until(connection: socket.socket, ending: bytes) -> bytes:
    received = b""
    while not received.endswith(ending):
        piece = connection.recv(65536)
        assert piece, f"the connection ended after {received!r}"
        received += piece
    return received


def exchange(request: bytes, ending: bytes) -> bytes:
    """What arrives behind the forwarder when `request` is sent in front of it."""
    arrived = b""

    def answer(connection: socket.socket) -> None:
        nonlocal arrived
        arrived = read_until(connection, ending)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with peer(answer) as url, forwarding(url, LINE) as entrance:
        host, port = entrance.removeprefix("http://").removesuffix("/mcp").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(request)
            assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    return arrived


def test_the_line_is_added_at_the_end_of_the_head_and_the_rest_is_untouched() -> None:
    head = b"POST /mcp HTTP/1.1\r\nHost: evil.example\r\nX-Odd:   two  \r\nContent-Length: 4\r\n"
    assert exchange(head + b"\r\nbody", b"body") == head + LINE.encode() + b"\r\n\r\nbody"


def test_every_request_of_a_connection_gets_the_line_and_no_body_is_taken_for_a_head() -> None:
    body = b"GET /inner HTTP/1.1\r\n\r\n"
    first = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n" % len(body)
    second = b"GET /last HTTP/1.1\r\n"
    line = LINE.encode() + b"\r\n"
    arrived = exchange(first + b"\r\n" + body + second + b"\r\n", second + line + b"\r\n")
    assert arrived == first + line + b"\r\n" + body + second + line + b"\r\n"


def test_a_chunked_body_passes_with_its_extensions_and_trailers() -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
    body = b"4;ext=1\r\nbody\r\n0\r\nTrailer: last\r\n\r\n"
    assert exchange(head + b"\r\n" + body, b"last\r\n\r\n") == head + LINE.encode() + b"\r\n\r\n" + body


def test_a_hang_up_of_the_client_reaches_the_server() -> None:
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        read_until(connection, b"\r\n\r\n")
        if connection.recv(1) == b"":
            ended.set()

    with peer(answer) as url, forwarding(url, LINE) as entrance:
        host, port = entrance.removeprefix("http://").removesuffix("/mcp").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert ended.wait(30)


def test_a_check_that_did_not_run_is_a_loss_and_a_revision_not_asked_for_is_none() -> None:
    direct = {"r1": {"s": {"a": "SUCCESS", "b": "SUCCESS", "c": "WARNING"}}, "r2": {"s": {"a": "SUCCESS"}}}
    losses = compare(direct, {"r1": {"s": {"a": "FAILURE"}}})
    assert [str(loss) for loss in losses] == ["r1 s: a (FAILURE)", "r1 s: b (did not run)"]
