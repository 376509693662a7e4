"""What the masker costs, in CPU µs per KB: `python bench/masking.py`. One core, no gate, no I/O.

Each figure is the median of many rounds of `time.process_time`, so that other work on the machine counts little. The bodies
are made here, from a fixed seed: MCP answers whose rows hold what tools return, and no card number unless the row says so.
"""

import argparse
import json
import random
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

from gatebook import masking
from gatebook.masking import Secrets
from gatebook.masking.networks import evidence, luhn_valid

KB = 1024
SECRETS = Secrets((b"sk_live_9aHc72LqPz0TnB4e", b"p4ss/w+rd with spaces", b"eyJhbGciOiJFUzI1NiJ9.e30.c2ln"))
HEADERS = (b"application/json", b"2025-11-25", b"application/json, text/event-stream", b"no-store, private")
WORDS = (
    "the quick report on open orders was sent to every region and nobody asked why it took so long to arrive in time"
).split()
CARDS = ("4111111111111111", "5555 5555 5555 4444", "378282246310005")  # published test numbers


def prose(draw: random.Random) -> dict[str, Any]:
    return {
        "title": " ".join(draw.choices(WORDS, k=5)),
        "state": draw.choice(["open", "closed"]),
        "count": draw.randrange(10_000),
        "tags": draw.sample(WORDS, 3),
        "text": " ".join(draw.choices(WORDS, k=25)),
    }


def ids(draw: random.Random) -> dict[str, Any]:
    """Ids of 12 to 19 digits, clocks in every unit, UUIDs, digests, phone numbers, prices, fractions."""
    ms = 1_700_000_000_000 + draw.randrange(10**11)
    stamp = f"2026-{draw.randrange(1, 13):02d}-{draw.randrange(1, 29):02d}T19:{draw.randrange(60):02d}:14"
    return {
        "id": str(uuid.UUID(int=draw.getrandbits(128), version=4)),
        "created_ms": ms,
        "updated_us": ms * 1000 + draw.randrange(1000),
        "seen": f"{stamp}.{draw.randrange(10**6):06d}Z",
        "printed": stamp.replace("T", " "),
        "order_id": number(draw, draw.randrange(12, 20)),
        "row": int(number(draw, draw.randrange(12, 20))),
        "etag": f"{draw.getrandbits(256):064x}",
        "trace": f"{draw.getrandbits(128):032x}",
        "phone": f"+{draw.choice(['49', '44', '1', '34'])} {draw.randrange(100, 999)} {draw.randrange(10**6, 10**7)}",
        "price": draw.randrange(10**6) / 100,
        "share": draw.random(),
    }


def number(draw: random.Random, length: int) -> str:
    """An id of that many digits, of any prefix, that is no card number."""
    while True:
        digits = str(draw.randrange(10 ** (length - 1), 10**length))
        if not (evidence(digits.encode()) == "firm" and luhn_valid(digits.encode())):
            return digits


def numbers(draw: random.Random) -> dict[str, Any]:
    """Nothing but ids of sixteen digits: the densest that a clean body gets."""
    return {"ids": [number(draw, 16) for _ in range(8)]}


def shop(draw: random.Random) -> dict[str, Any]:
    """Ids among words for cards: every loose prefix counts."""
    return {"cart_id": number(draw, 16), "discarded": False, **ids(draw)}


def pans(draw: random.Random) -> dict[str, Any]:
    """One card number in each tenth row of ids."""
    return {"note": f"paid with {draw.choice(CARDS)}" if draw.random() < 0.1 else "paid", **ids(draw)}


def one_pan(draw: random.Random) -> dict[str, Any]:
    return {"note": "paid", **ids(draw)}


def body(row: Callable[[random.Random], dict[str, Any]], kilobytes: int, *, text: bool, card: bool = False) -> bytes:
    """An answer to tools/call of about that size: rows as a JSON text, as most servers send them, or structured."""
    draw = random.Random(7)
    rows: list[dict[str, Any]] = []
    size = 0
    while size < kilobytes * KB - 200:
        rows.append(row(draw))
        size += len(json.dumps(rows[-1]))
    if card:
        rows[len(rows) // 2]["note"] = f"paid with {CARDS[0]}"
    content: dict[str, Any] = {"structuredContent": {"rows": rows}, "content": []}
    if text:
        content = {"content": [{"type": "text", "text": json.dumps(rows)}], "isError": False}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": content}).encode()


def cpu_us(work: Callable[[], object], budget_s: float = 0.4) -> float:
    """CPU µs of one call: the median of rounds, each long enough to be measured."""
    work()
    started = time.process_time()
    work()
    once = max(time.process_time() - started, 1e-6)
    calls = max(1, int(0.004 / once))
    rounds = []
    for _ in range(max(5, int(budget_s / (calls * once)))):
        started = time.process_time()
        for _ in range(calls):
            work()
        rounds.append((time.process_time() - started) / calls)
    return statistics.median(rounds) * 1e6


BODIES: dict[str, tuple[Callable[[random.Random], dict[str, Any]], bool]] = {
    "clean": (prose, False),
    "ids and timestamps": (ids, False),
    "ids among card words": (shop, False),
    "16-digit ids only": (numbers, False),
    "one card number": (one_pan, True),
    "card numbers in each tenth row": (pans, False),
}


def doors() -> dict[str, Callable[[bytes], object]]:
    found: dict[str, Callable[[bytes], object]] = {
        "mask": masking.mask,
        "mask+secrets": lambda raw: masking.mask(raw, SECRETS),
        "inspect_arguments": masking.inspect_arguments,
    }
    inspect = getattr(masking, "inspect", None)
    if inspect is not None:
        found["inspect+secrets"] = lambda raw: inspect(raw, SECRETS)
    return found


def bodies() -> None:
    print(f"{'CPU µs per KB':48}" + "".join(f"{name:>20}" for name in doors()))
    for name, (row, card) in BODIES.items():
        for text in (True, False):
            for kilobytes in (1, 200):
                raw = body(row, kilobytes, text=text, card=card)
                label = f"{name}, {len(raw) / KB:.1f} KB, {'text' if text else 'structured'}"
                figures = [cpu_us(lambda door=door, raw=raw: door(raw)) / (len(raw) / KB) for door in doors().values()]
                print(f"{label:48}" + "".join(f"{figure:20.2f}" for figure in figures), flush=True)


def short() -> None:
    print(f"\n{'CPU µs per header value':48}{'mask_text':>20}{'mask_text+secrets':>20}{'is_clean+secrets':>20}")
    is_clean = getattr(masking, "is_clean", None)
    for value in HEADERS:
        text = value.decode()
        figures = [
            cpu_us(lambda text=text: masking.mask_text(text)),
            cpu_us(lambda text=text: masking.mask_text(text, SECRETS)),
            cpu_us(lambda value=value: is_clean(value, SECRETS)) if is_clean else float("nan"),
        ]
        print(f"{text:48}" + "".join(f"{figure:20.2f}" for figure in figures), flush=True)


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "labels": lambda n: b"cvv " * (n // 4),
    "labels that come to nothing": lambda n: b"pin cvv cid " * (n // 12),
    "labels and codes": lambda n: b"cvv 123 " * (n // 8),
    "fillers": lambda n: b"cvv is the " * (n // 11),
    "rows of fours": lambda n: b"4111 " * (n // 5),
    "numbers side by side": lambda n: b"4111 1111 1111 1111 " * (n // 20),
    "numbers with a comma": lambda n: b"4111111111111111," * (n // 17),
    "almost numbers": lambda n: b"4111111111111112," * (n // 17),
    "one run among cards": lambda n: b"card " + b"4" * n,
    "lengths and digits": lambda n: b"emv " + b"16" * (n // 2),
    "half tracks": lambda n: b"411111111111=2512" * (n // 17),
    "carets": lambda n: b"4^" * (n // 2),
    "hexadecimal": lambda n: b"4111111111111111a" * (n // 17),
    "escapes": lambda n: b"4111111111111111" + b"\\n" * (n // 2),
    "escaped letters": lambda n: b"\\u0034" * (n // 6),
    "a table": lambda n: b"a,cvv\\n" + b"1,123\\n" * (n // 7),
    "our own masks": lambda n: b"411111******1111 " * (n // 17),
    "stars": lambda n: b"4*" * (n // 2),
}  # fmt: skip


def hostile() -> None:
    print(f"\n{'CPU µs per KB, hostile, 32 KB':48}{'one text':>20}{'short texts':>20}{'small objects':>20}")
    for name, made in HOSTILE.items():
        content = made(32 * KB)
        leaves = [made(24) for _ in range(1024)]
        raws = (
            b'"%b"' % content,
            b'["%b"]' % b'","'.join(leaves),
            b"[%b]" % b",".join(b'{"cvv":"%b"}' % leaf for leaf in leaves),
        )
        figures = [cpu_us(lambda raw=raw: refused(raw), 0.1) / (len(raw) / KB) for raw in raws]
        print(f"{name:48}" + "".join(f"{figure:20.1f}" for figure in figures), flush=True)


def refused(raw: bytes) -> None:
    """The dearer door; a refusal is an answer, too."""
    try:
        masking.inspect_arguments(raw)
        masking.mask(raw)
    except masking.MaskingFailed:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", choices=["bodies", "short", "hostile", []], default=[])
    parts = parser.parse_args().parts or ["bodies", "short", "hostile"]
    for part in parts:
        {"bodies": bodies, "short": short, "hostile": hostile}[part]()
