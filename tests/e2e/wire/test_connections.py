"""HTTP/1.1 as clients use it: keep-alive, pipelining, chunked bodies, expectations (RFC 9112)."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.attacks.ground import JSON_HEADERS, Received
from tests.e2e.attacks.recording import Asked
from tests.e2e.wire.place import Place, answer, event, events_then_end, kept

HOST = "Host: 127.0.0.1:{port}"


def body_of(number: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"t"}}' % number


def told_of(number: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"result":{}}' % number


def request(
    place: Place,
    number: int,
    bearer: str | None,
    *fields: str,
    body: bytes | None = None,
    version: str = "1.1",
    server: str = "payments",
) -> bytes:
    """One request that leaves the connection open, its body as it is framed by `fields` where these frame it."""
    lines = [f"POST /{server}/mcp HTTP/{version}", HOST.format(port=place.gate.port)]
    lines += [f"{name}: {value}" for name, value in JSON_HEADERS.items()]
    lines += [] if bearer is None else [f"Authorization: Bearer {bearer}"]
    content = body_of(number) if body is None else body
    if not any(field.lower().startswith("transfer-encoding") for field in fields):
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, *fields, "", ""]).encode() + content


class Reading:
    """The answers that come on one connection, one at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = b""

    def next(self) -> Received:
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._until(b"\r\n"), 16):
                body += self._exactly(size)
                assert self._exactly(2) == b"\r\n"
            assert self._exactly(2) == b"\r\n"
        else:
            body = self._exactly(int(headers.get("content-length", "0")))
        return Received(int(head[0].split()[1]), headers, body)

    def at_end(self) -> bool:
        return not self._held and self._connection.recv(1) == b""

    def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._more()
        found, _, self._held = self._held.partition(end)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        found, self._held = self._held[:size], self._held[size:]
        return found

    def _more(self) -> None:
        piece = self._connection.recv(65536)
        assert piece, f"the connection ended after {self._held!r}"
        self._held += piece


def by_kind(asked: Asked) -> Iterator[bytes]:
    """Every third answer is a stream."""
    number = json.loads(asked.body)["id"]
    yield events_then_end(event(answer(asked))) if number % 3 == 0 else kept(answer(asked))


def expected(number: int) -> bytes:
    return event(told_of(number)) if number % 3 == 0 else told_of(number)


def test_a_connection_serves_many_callers_one_after_the_other(place: Place) -> None:
    bearers = [place.token("alice"), place.token("bob")]
    before = place.payments.connections
    with place.playing(by_kind), place.connected() as connection:
        answers = Reading(connection)
        for number in range(100):
            connection.sendall(request(place, number, bearers[number % 2]))
            got = answers.next()
            assert (got.status, got.body) == (200, expected(number))
            assert got.headers.get("connection", "keep-alive") == "keep-alive"
    assert place.payments.connections - before <= 4


def test_requests_in_one_packet_are_answered_in_order_bodies_streams_and_refusals(place: Place) -> None:
    bearer = place.token()
    sent = b"".join(request(place, number, None if number % 5 == 4 else bearer) for number in range(40))
    with place.playing(by_kind), place.connected() as connection:
        connection.sendall(sent)
        answers = Reading(connection)
        for number in range(40):
            got = answers.next()
            if number % 5 == 4:
                assert got.status == 401
            else:
                assert (got.status, got.body) == (200, expected(number))


def test_requests_cut_at_every_byte_are_the_same_requests(place: Place) -> None:
    sent = request(place, 1, place.token()) + request(place, 2, place.token())
    with place.playing(by_kind), place.connected() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in sent:
            connection.sendall(bytes([byte]))
        answers = Reading(connection)
        assert [answers.next().body for _ in range(2)] == [expected(1), expected(2)]


def test_a_body_in_chunks_reaches_the_server_with_its_length(place: Place) -> None:
    body = body_of(1)
    chunks = b'1;ext="x"\r\n{\r\n' + b"%x\r\n%b\r\n0\r\nTrailer: dropped\r\n\r\n" % (len(body) - 1, body[1:])
    sent = request(place, 1, place.token(), "Transfer-Encoding: chunked", body=chunks)
    with place.playing(by_kind), place.connected() as connection:
        connection.sendall(sent + request(place, 2, place.token()))
        answers = Reading(connection)
        assert [answers.next().body for _ in range(2)] == [expected(1), expected(2)]
    first, _ = place.payments.asked[-2:]
    assert first.body == body
    assert (
        b"content-length: %d" % len(body) in first.head
        and b"chunked" not in first.head
        and b"dropped" not in first.head
    )


def test_a_client_that_waits_is_told_to_go_on(place: Place) -> None:
    sent = request(place, 1, place.token(), "Expect: 100-continue")
    head, _, body = sent.partition(b"\r\n\r\n")
    with place.playing(by_kind), place.connected() as connection:
        connection.sendall(head + b"\r\n\r\n")
        answers = Reading(connection)
        assert answers.next().status == 100
        connection.sendall(body)
        assert answers.next().body == expected(1)
    assert b"expect" not in place.payments.asked[-1].head.lower()


@pytest.mark.parametrize(("version", "fields"), [("1.1", ("Connection: close",)), ("1.0", ())])
@pytest.mark.parametrize("number", [1, 3], ids=["body", "stream"])
def test_a_client_that_wants_no_more_gets_its_answer_and_an_end(
    place: Place, number: int, version: str, fields: tuple[str, ...]
) -> None:
    with place.playing(by_kind), place.connected() as connection:
        connection.sendall(request(place, number, place.token(), *fields, version=version))
        if version == "1.0" and number == 3:
            received = b""
            while piece := connection.recv(65536):
                received += piece
            assert received.partition(b"\r\n\r\n")[2] == expected(number)
            assert b"transfer-encoding" not in received
        else:
            answers = Reading(connection)
            got = answers.next()
            assert (got.body, got.headers["connection"]) == (expected(number), "close")
            assert answers.at_end()


def test_interim_answers_of_a_server_are_not_its_answer(place: Place) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    with place.playing(lambda asked: iter([early + kept(answer(asked))])):
        got = place.ask(body_of(1), bearer=place.token())
    assert (got.status, got.body) == (200, told_of(1)) and "link" not in got.headers


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_an_answer_that_ends_with_its_connection_is_whole(place: Place, version: bytes) -> None:
    head = version + b" 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nConnection: close\r\n\r\n"
    with place.playing(lambda asked: iter([head.replace(b"Connection", b"connection") + answer(asked)])):
        got = place.ask(body_of(1), bearer=place.token())
    assert (got.status, got.body) == (200, told_of(1))
    assert got.headers["content-type"] == "application/json; charset=UTF-8"


def test_a_server_that_closes_idle_connections_loses_nobodys_call(place: Place) -> None:
    """It says nothing of it and closes after every answer: no call is sent into a closed connection, none is sent twice."""
    before = len(place.payments.asked)

    def script(asked: Asked) -> Iterator[bytes]:
        yield kept(answer(asked))
        raise OSError("closes")

    bearer = place.token()
    with place.playing(script):
        assert {place.ask(body_of(1), bearer=bearer).status for _ in range(60)} == {200}
    assert len(place.payments.asked) - before == 60
