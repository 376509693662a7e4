"""Clients that take their answers slowly: they get every byte, the gate holds little, the server is slowed down, others are not."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.attacks.recording import Asked
from tests.e2e.life.deployed import until
from tests.e2e.wire.place import LAST_CHUNK, Place, answer, chunk, event, kept, stream_begins
from tests.e2e.wire.test_connections import Reading, body_of, request, told_of

READERS = 12
NOTE = event(
    b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"' + b"x" * 64000 + b'"}}'
)
NOTES = 600
OFFERED = READERS * NOTES * len(NOTE)
"""460 MB: more than the gate could hold by mistake, or the systems between its connections."""
SMALL_BUFFER = 32 << 10


def resident_bytes(pids: list[int]) -> int:
    """What these processes hold in memory, together."""
    fields = [Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0] for pid in pids]
    return sum(int(kib) << 10 for kib in fields)


def slow(place: Place, number: int, subject: str) -> socket.socket:
    """A client that has asked and reads nothing yet."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", place.gate.port))
    connection.sendall(request(place, number, place.token(subject, server="shapes"), server="shapes"))
    return connection


def test_streams_that_nobody_reads_slow_down_their_servers_and_nobody_else(place: Place) -> None:
    sent = [0] * READERS
    lock = threading.Lock()

    def script(asked: Asked) -> Iterator[bytes]:
        if b'"id":999' in asked.body:
            yield kept(answer(asked))
            return
        number = int(asked.body.partition(b'"id":')[2].partition(b",")[0])
        yield stream_begins()
        for _ in range(NOTES):
            with lock:
                sent[number] += len(NOTE)
            yield chunk(NOTE)
        yield chunk(event(answer(asked))) + LAST_CHUNK

    workers = place.gate.rooms("gate")
    before = resident_bytes(workers)
    with place.playing(script):
        connections = [slow(place, number, f"slow-{number}") for number in range(READERS)]
        try:
            seen: list[list[int]] = []

            def still() -> bool:
                """Three looks in a row at which no server could send more."""
                seen.append(list(sent))
                return min(sent) > 0 and len(seen) > 50 and seen[-50] == seen[-1]

            until(still, "the servers are held up")
            assert sum(sent) < OFFERED / 2
            held = resident_bytes(workers) - before
            for number in range(40):
                got = place.ask(body_of(999), bearer=place.token(f"quick-{number % 8}"))
                assert (got.status, got.body) == (200, told_of(999))
            assert held < 96 << 20, f"{held >> 20} MiB more"
            # One of them goes on reading, and nothing of its answer is missing.
            answers = Reading(connections[0])
            assert answers.next().body == NOTE * NOTES + event(told_of(0))
        finally:
            for connection in connections:
                connection.close()


def test_bodies_that_nobody_takes_are_given_up_the_oldest_first_and_nobody_is_refused_for_them(place: Place) -> None:
    """`buffered_bytes` is 16 MiB for each of two workers, and 40 answers of 4 MB are left lying."""
    told = b'{"jsonrpc":"2.0","id":1,"result":{"x":"' + b"y" * 4_000_000 + b'"}}'
    workers = place.gate.rooms("gate")
    asked: list[bytes] = []

    def script(request: Asked) -> Iterator[bytes]:
        asked.append(request.body)
        yield kept(told if b'"id":1,' in request.body else answer(request))

    def leave(number: int) -> socket.socket:
        """One more that takes nothing; its answer is on its way when this returns."""
        before = len(asked)
        connection = slow(place, 1, f"slow-{number}")
        until(lambda: len(asked) > before, "asked")
        return connection

    with place.playing(script), contextlib.ExitStack() as closing:
        left = [closing.enter_context(leave(number)) for number in range(20)]
        first = resident_bytes(workers)
        left += [closing.enter_context(leave(number)) for number in range(20, 40)]
        for number in range(20):
            got = place.ask(body_of(999), bearer=place.token(f"quick-{number % 8}"))
            assert (got.status, got.body) == (200, told_of(999))
        more = resident_bytes(workers) - first
        assert more < 40 << 20, f"{more >> 20} MiB more for the second twenty"
        taken = [taken_from(connection, len(told)) for connection in left]
    whole = [number for number, body in enumerate(taken) if body == told]
    assert 39 in whole and 0 not in whole and len(whole) <= 12
    assert all(told.startswith(body) for body in taken)


def taken_from(connection: socket.socket, size: int) -> bytes:
    """The body of the answer, as far as it comes: at most `size`."""
    received = bytearray()
    begin = -1
    with contextlib.suppress(ConnectionError):
        while (begin < 0 or len(received) < begin + size) and (piece := connection.recv(1 << 20)):
            received += piece
            begin = begin if begin >= 0 else received.find(b"\r\n\r\n") + 4
    return bytes(received[begin:])
