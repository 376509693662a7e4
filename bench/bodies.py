"""What is asked and what is answered: MCP 2026-07-28, one `tools/call` a request, the answers made from a fixed seed.

The server's answer has the id of every request, 1, so that one prepared answer fits all of them.
"""

import json
import random
import uuid
from typing import Final, Literal

import msgspec

Kind = Literal["clean", "ids"]
"""`clean`: words and small numbers, nothing that a detector looks at. `ids`: UUIDs, epoch milliseconds, order numbers: looked at, and clean."""

VERSION: Final = "2026-07-28"
PAN: Final = "4111111111111111"
"""Visa's published test number."""
CARD_TOOL: Final = "get_card"
"""The tool whose answers carry the card number."""
TOOL: Final = "get_order"

_WORDS: Final = (
    "order parcel shipped pending address street north green customer window support refund balance total note delivery garden "
    "river autumn ledger paper copper silver harbour station morning evening weekly monthly account status active closed blue"
).split()
_SEED: Final = 20_260_728


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says: to CARD_TOOL `card`, to everything else `plain`. Bodies of Content-Type `media_type`."""

    plain: bytes
    card: bytes
    media_type: str = "application/json"


def answers(kind: Kind, kib: int, *, events: bool = False, cards: bool = False) -> Answers:
    """Answers of about `kib` KiB. `events`: as an event stream with one progress notification before. `cards`: each answer has a card number."""
    records = _records(kind, kib * 1024)
    plain, card = _result(records), _result(_with_card(records))
    if events:
        return Answers(plain=_events(plain), card=_events(card), media_type="text/event-stream")
    return Answers(plain=card if cards else plain, card=card)


def call(tool: str) -> bytes:
    """The request's body."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    arguments = {"customer": "cus_ada", "include": ["lines", "address"], "note": "as discussed this morning"}
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


def request(path: str, host: str, tool: str, token: str) -> bytes:
    """One whole HTTP request."""
    body = call(tool)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {VERSION}\r\nMcp-Method: tools/call\r\n"
        f"Mcp-Name: {tool}\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _result(records: list[dict[str, object]]) -> bytes:
    text = json.dumps({"orders": records})
    result = {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": False}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


def _events(message: bytes) -> bytes:
    progress = {
        "jsonrpc": "2.0",
        "method": "notifications/message",
        "params": {"level": "info", "data": "half of it is done"},
    }
    return b"".join(b"event: message\ndata: " + data + b"\n\n" for data in (json.dumps(progress).encode(), message))


def _with_card(records: list[dict[str, object]]) -> list[dict[str, object]]:
    middle = len(records) // 2
    return [*records[:middle], records[middle] | {"paid_with": PAN}, *records[middle + 1 :]]


def _records(kind: Kind, size: int) -> list[dict[str, object]]:
    """As many as make a message of `size` bytes, or a little more."""
    chance = random.Random(_SEED)
    make = _clean if kind == "clean" else _ids
    records: list[dict[str, object]] = []
    length = len(_result([]))
    while length < size:
        records.append(make(chance))
        length += len(
            json.dumps(json.dumps(records[-1]))
        )  # twice: it stands as text in the message; its quotes for the comma
    return records


def _clean(chance: random.Random) -> dict[str, object]:
    return {
        "customer": " ".join(chance.sample(_WORDS, 2)), "status": chance.choice(_WORDS), "quantity": chance.randint(1, 99),
        "price": f"{chance.randint(1, 99)}.{chance.randint(10, 99)}", "note": " ".join(chance.choices(_WORDS, k=12)),
    }  # fmt: skip


def _ids(chance: random.Random) -> dict[str, object]:
    return {
        "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)), "order": f"ORD-{chance.randint(10**9, 10**10 - 1)}",
        "created_ms": 1_790_000_000_000 + chance.randint(0, 10**9), "updated": f"2026-09-{chance.randint(10, 28)}T10:{chance.randint(10, 59)}:33.123Z",
        "trace": f"{chance.getrandbits(128):032x}", "shipment": _no_card_number(chance), "customer": f"cus_{chance.randint(10**7, 10**8)}",
    }  # fmt: skip


def _no_card_number(chance: random.Random) -> str:
    """Sixteen digits that begin as a card number does, and are none: their check digit is wrong."""
    digits = f"{chance.choice('3456')}{chance.randint(10**13, 10**14 - 1)}"
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(digits))
    check = -sum(value - 9 if value > 9 else value for value in doubled) % 10
    return f"{digits}{(check + chance.randint(1, 9)) % 10}"
