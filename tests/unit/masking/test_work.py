"""Work grows with the size of the input and no faster, whatever the input: counted in steps, not in seconds."""

import json
import random
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from gatebook.masking import MaskingFailed, Secrets, documents, mask

HOSTILE: dict[str, Callable[[int], bytes]] = {
    "one run of digits": lambda n: b'"%b"' % (b"4" * n),
    "one number": lambda n: b"4" * n,
    "one run among cards": lambda n: b'["card","card %b"]' % (b"4" * n),
    "lengths and digits": lambda n: b'["emv %b"]' % (b"16" * (n // 2)),
    "rows of fours": lambda n: b'"%b"' % (b"4111 " * (n // 5)),
    "numbers side by side": lambda n: b'"%b"' % (b"4111 1111 1111 1111 " * (n // 20)),
    "labels": lambda n: b'"%b"' % (b"cvv " * (n // 4)),
    "labels and fillers": lambda n: b'"cvv %b"' % (b"is the " * (n // 7)),
    "carets": lambda n: b'"%b"' % (b"4^" * (n // 2)),
    "half tracks": lambda n: b'"%b"' % (b"411111111111=2512" * (n // 17)),
    "escapes": lambda n: b'"4111111111111111%b"' % (b"\\n" * (n // 2)),
    "escapes in escapes": lambda n: b'"cvv%b"' % (b"\\\\\\\\" * (n // 4)),
    "a table": lambda n: b'"a,cvv\\n%b"' % (b"1,123\\n" * (n // 7)),
    "quotes in a table": lambda n: b'"a,cvv\\n%b"' % (b'\\"' * (n // 2)),
    "short arrays": lambda n: b'["cvv"%b]' % (b",[123]" * (n // 6)),
    "deep arrays again and again": lambda n: b'["4111111111111111"%b]' % (b",[[[[]]]]" * (n // 9)),
    "hexadecimal": lambda n: b'"%b"' % (b"4111111111111111a" * (n // 17)),
    "base64 secrets": lambda n: b'"%b"' % (b"c2VjcmV0LXZhbHVl" * (n // 16)),
}


def calls(body: bytes) -> int:
    """Function calls, Python's and C's, while masking: what a loop in Python costs."""
    count = 0

    def counted(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    secrets = Secrets((b"secret-value",))
    mask(body[:0] + b"{}", secrets)
    sys.setprofile(counted)
    try:
        mask(body, secrets)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_input_is_at_most_twice_the_work(name: str) -> None:
    small, large = (calls(HOSTILE[name](size)) for size in (20_000, 40_000))
    assert large <= 2.2 * small + 200


def row(chance: random.Random) -> dict[str, Any]:
    """What clean answers are full of, and what begins like a card number now and then."""
    digits = [str(chance.randrange(10**18, 10**19)) for _ in range(4)]
    return {
        "id": str(uuid.UUID(int=chance.getrandbits(128))),
        "at": "2026-11-22T16:30:56.123456Z",
        "ms": 1_700_000_000_000 + chance.randrange(10**10),
        "us": 1_700_000_000_000_000 + chance.randrange(10**13),
        "digest": f"{chance.getrandbits(256):064x}",
        "order": digits[0][: chance.randrange(12, 19)] + "0",
        "phone": "+49 1512 3456789",
        "price": 129.99,
        "share": chance.random(),
    }


@pytest.mark.parametrize("text", [False, True], ids=["structured", "text"])
def test_clean_ids_and_clocks_are_passed_over_by_the_patterns_not_one_by_one(text: bool) -> None:
    chance = random.Random(7)
    rows = [row(chance) for _ in range(200)]
    body = json.dumps({"text": json.dumps(rows)} if text else rows).encode()
    masked = mask(body)
    clean = json.dumps(json.loads(masked.body)).encode()
    # A row holds a dozen numbers; one call of a function for each would already cost more than the pass over all of them.
    assert calls(clean) < 12 * len(rows)


def test_a_message_made_of_nothing_but_places_to_look_at_is_refused() -> None:
    within, beyond = ("cvv 123 " * count for count in (1_000, documents.MOST_PLACES))
    assert mask(json.dumps([within]).encode()).findings
    with pytest.raises(MaskingFailed, match="more places"):
        mask(json.dumps([beyond]).encode())
