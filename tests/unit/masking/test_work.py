"""Work grows with the size of the input and no faster, whatever the input: counted in steps, not in seconds."""

import json
import sys
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


@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_input_is_at_most_twice_the_work(name: str) -> None:
    small, large = (calls(HOSTILE[name](size)) for size in (20_000, 40_000))
    assert large <= 2.2 * small + 200


def test_a_message_made_of_nothing_but_places_to_look_at_is_refused() -> None:
    within, beyond = ("cvv 123 " * count for count in (1_000, documents.MOST_PLACES))
    assert mask(json.dumps([within]).encode()).findings
    with pytest.raises(MaskingFailed, match="more places"):
        mask(json.dumps([beyond]).encode())
