"""Judges a trace of a worker: of every call, when its records were durable and when its bytes left, by the kernel's own account.

Nothing here knows how the gate commits: a record is durable when an fdatasync or fsync of its segment has returned that began after the
last write of the record's bytes had; a byte has left when the call that wrote it to the socket began."""

import re
from collections import defaultdict
from collections.abc import Iterator

import msgspec

from gatebook.ledger.entry import decode
from gatebook.ledger.framing import HEADER_BYTES, FrameKind, read_frames
from gatebook.ledger.merkle import leaf_hash
from tests.faults.strace import Call

WRITES = frozenset({"write", "writev", "sendto", "sendmsg"})
_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)\r$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding: *chunked\r$")
_CALL = re.compile(rb"(?im)^gatebook-call-id: *(\S+)\r$")
_RECEIPT = re.compile(rb"(?im)^gatebook-receipt: *\S+ ([0-9a-f]{64})\r$")
NEVER = 1 << 60


class Record(msgspec.Struct, frozen=True):
    """An entry in a segment: when the bytes of its frames, its payloads' included, were durable (line number; NEVER where they were not)."""

    event: str
    call: str
    durable: int
    leaf: str


class Message(msgspec.Struct, frozen=True):
    """An HTTP message that left: when its first byte did, when that of its result did, and what it says of itself."""

    call: str
    began: int
    result_began: int | None
    receipt: str
    streamed: bool


class Bytes:
    """What was written to one place, with the beginning and end of the system call that wrote each byte."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._pieces: list[tuple[int, int, int]] = []

    def add(self, data: bytes, begun: int, ended: int) -> None:
        self._pieces.append((len(self.data), begun, ended))
        self.data += data

    def begun(self, position: int) -> int:
        return [begun for start, begun, _ in self._pieces if start <= position][-1]


def records(trace: list[Call], folder: str) -> list[Record]:
    """Every entry that was written into a segment below `folder`."""
    writes: dict[str, list[Call]] = defaultdict(list)
    syncs: dict[str, list[Call]] = defaultdict(list)
    for call in trace:
        if folder not in call.file or not call.file.endswith((".seg", ".new")):
            continue
        # A segment is made under another name; its records are written when it has its own.
        if call.name in ("pwrite64", "pwritev", "pwritev2") and call.count > 0 and call.file.endswith(".seg"):
            writes[call.file].append(call)
        elif call.name in ("fdatasync", "fsync") and call.result == "0":
            syncs[call.file].append(call)
    return [record for file, written in writes.items() for record in _records(written, syncs[file])]


def _records(writes: list[Call], syncs: list[Call]) -> Iterator[Record]:
    end = max(call.offset + call.count for call in writes)
    image = bytearray(end)
    for call in writes:
        image[call.offset : call.offset + call.count] = call.data
    start = HEADER_BYTES
    for found in read_frames(bytes(image), HEADER_BYTES):
        if found.kind is not FrameKind.LEAF:
            continue
        entry = decode(found.body)
        parts = [call for call in writes if call.offset < found.end and call.offset + call.count > start]
        written = max(NEVER if call.ended is None else call.ended for call in parts)
        durable = min((sync.ended or NEVER for sync in syncs if sync.begun > written), default=NEVER)
        yield Record(entry.ev, entry.call or "", durable, leaf_hash(found.body).hex())
        start = found.end


def written_to(trace: list[Call], socket: re.Pattern[str]) -> list[Bytes]:
    """What left on each connection whose description matches; one that a descriptor had before another is another."""
    connections: dict[tuple[int, str], Bytes] = defaultdict(Bytes)
    for call in trace:
        if call.name in WRITES and call.count > 0 and socket.search(call.file):
            connections[call.descriptor, call.file].add(call.data, call.begun, call.ended or NEVER)
    return list(connections.values())


def messages(connection: Bytes, result: bytes) -> Iterator[Message]:
    """The HTTP messages of one direction, in order. `result`: bytes that only a call's result holds."""
    data, position = bytes(connection.data), 0
    while position < len(data):
        body = data.index(b"\r\n\r\n", position) + 4
        head = data[position:body]
        streamed = _CHUNKED.search(head) is not None
        if streamed:
            end = data.index(b"\r\n0\r\n\r\n", body) + 7
        else:
            length = _LENGTH.search(head)
            end = body + (int(length[1]) if length else 0)
        at = data.find(result, body, end)
        if at >= 0 and streamed:
            at = data.rindex(b"\r\n", body - 2, at - 2) + 2 if b"\r\n" in data[body - 2 : at - 2] else body
        call, receipt = _CALL.search(head), _RECEIPT.search(head)
        yield Message(
            call=call[1].decode() if call else "",
            began=connection.begun(position),
            result_began=None if at < 0 else connection.begun(at if streamed else position),
            receipt=receipt[1].decode() if receipt else "",
            streamed=streamed,
        )
        position = end


class Order(msgspec.Struct):
    """What was judged, and what is wrong with it."""

    requests: int = 0
    answers: int = 0
    streams: int = 0
    wrong: list[str] = []


def judge(trace: list[Call], folder: str, upstream: re.Pattern[str], clients: re.Pattern[str], result: bytes) -> Order:
    """Of every request that left for the upstream, and of every answer that left for a client: was the record durable before its first byte?"""
    order = Order()
    intents: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    leaves: set[str] = set()
    for record in records(trace, folder):
        leaves.add(record.leaf)
        if record.event == "call.intent":
            intents[record.call] = record.durable
        elif record.event == "call.result":
            outcomes[record.call] = record.durable
    for connection in written_to(trace, upstream):
        for message in messages(connection, result):
            order.requests += 1
            if intents.get(message.call, NEVER) >= message.began:
                order.wrong.append(f"the request of {message.call!r} left before its intent was durable")
    for connection in written_to(trace, clients):
        for message in messages(connection, result):
            if not message.call:
                continue  # a health check
            order.answers += 1
            order.streams += message.streamed
            began = message.result_began if message.result_began is not None else message.began
            if outcomes.get(message.call, NEVER) >= began:
                order.wrong.append(f"the answer to {message.call!r} left before its outcome was durable")
            if intents.get(message.call, NEVER) >= message.began:
                order.wrong.append(f"the head of {message.call!r} left before its intent was durable")
            if message.receipt not in leaves:
                order.wrong.append(f"the receipt of {message.call!r} names no entry that was written")
    return order
