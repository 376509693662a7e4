"""The judge of a trace, on traces written by hand: what is out of order is found."""

import re

import pytest

from gatebook.ledger.entry import Clocked
from gatebook.ledger.framing import HEADER_BYTES
from gatebook.ledger.scribe import Scribe
from tests.faults.call_order import judge
from tests.faults.strace import calls
from tests.world_ledger import START_US, CountingEntropy, a_draft

SEGMENT, CLIENT, SERVER = (
    "/data/segments/gate-0-e-000001.seg",
    "TCP:[127.0.0.1:1->127.0.0.1:2]",
    "TCP:[127.0.0.1:3->127.0.0.1:4]",
)


def stored() -> tuple[list[bytes], list[str]]:
    """The frames of a call's intent and of its result, and their leaves' hashes."""
    scribe = Scribe(writer="gate-0", epoch="0" * 20, entropy=CountingEntropy(), payload_key=None, development=False,
                    piece_bytes=4096, forget_after_us=1)  # fmt: skip
    made = [
        scribe.compose(
            a_draft(1, call="c-1", event=event, session=None, payloads=()),
            START_US,
            Clocked(src="none", off=0, ok=True),
        )
        for event in ("call.intent", "call.result")
    ]
    return [frames for frames, _ in made], [leaf.hex() for _, leaf in made]


(INTENT, RESULT), (_, RESULT_LEAF) = stored()


def text(data: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def written(data: bytes, offset: int) -> str:
    return f"7 pwrite64(5<{SEGMENT}>, {text(data)}, {len(data)}, {offset}) = {len(data)}"


def sent(where: str, data: bytes) -> str:
    return f"7 write(9<{where}>, {text(data)}, {len(data)}) = {len(data)}"


REQUEST = sent(SERVER, b"POST / HTTP/1.1\r\nGatebook-Call-Id: c-1\r\ncontent-length: 2\r\n\r\n{}")
HEAD = b"HTTP/1.1 200 OK\r\ngatebook-call-id: c-1\r\ngatebook-receipt: o " + RESULT_LEAF.encode() + b"\r\n"
ANSWER = sent(CLIENT, HEAD + b'content-length: 12\r\n\r\n{"result":1}')
INTENT_WRITTEN, RESULT_WRITTEN = written(INTENT, HEADER_BYTES), written(RESULT, HEADER_BYTES + len(INTENT))
SYNCED = f"8 fdatasync(5<{SEGMENT}>) = 0"
BEGUN, ENDED = f"8 fdatasync(5<{SEGMENT}> <unfinished ...>", "8 <... fdatasync resumed>) = 0"
FAILED = f"8 fdatasync(5<{SEGMENT}>) = -1 EIO (Input/output error)"
IN_ORDER = [INTENT_WRITTEN, SYNCED, REQUEST, RESULT_WRITTEN, SYNCED, ANSWER]


def wrongs(lines: list[str]) -> list[str]:
    order = judge(calls(iter(lines)), "/data/segments", re.compile("->127.0.0.1:4"), re.compile(":1->"), b'"result"')
    assert (order.requests, order.answers) == (1, 1)
    return order.wrong


def test_what_is_in_order_is_found_in_order() -> None:
    assert wrongs(IN_ORDER) == []
    assert wrongs([INTENT_WRITTEN, BEGUN, ENDED, REQUEST, RESULT_WRITTEN, BEGUN, ENDED, ANSWER]) == []


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([INTENT_WRITTEN, REQUEST, SYNCED, RESULT_WRITTEN, SYNCED, ANSWER], "request"),
        ([REQUEST, INTENT_WRITTEN, SYNCED, RESULT_WRITTEN, SYNCED, ANSWER], "request"),
        ([INTENT_WRITTEN, BEGUN, REQUEST, ENDED, RESULT_WRITTEN, SYNCED, ANSWER], "request"),
        ([BEGUN, INTENT_WRITTEN, ENDED, REQUEST, RESULT_WRITTEN, SYNCED, ANSWER], "request"),
        ([INTENT_WRITTEN, FAILED, REQUEST, RESULT_WRITTEN, SYNCED, ANSWER], "request"),
        ([INTENT_WRITTEN, SYNCED, REQUEST, RESULT_WRITTEN, ANSWER, SYNCED], "answer"),
        ([INTENT_WRITTEN, SYNCED, REQUEST, BEGUN, RESULT_WRITTEN, ENDED, ANSWER], "answer"),
        ([INTENT_WRITTEN, SYNCED, REQUEST, SYNCED, ANSWER], "answer"),
    ],
)
def test_what_is_out_of_order_is_found(lines: list[str], what: str) -> None:
    assert [wrong for wrong in wrongs(lines) if f"the {what} " in wrong]


def test_a_receipt_of_nothing_is_found() -> None:
    assert "names no entry" in str(
        wrongs([*IN_ORDER[:5], ANSWER.replace(text(RESULT_LEAF.encode())[1:-1], text(b"0" * 64)[1:-1])])
    )
