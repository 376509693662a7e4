"""Is the masker alive? Run at start-up: a gate whose masking is broken must not open."""

import json

from gatebook.masking.documents import inspect_arguments, mask, mask_text
from gatebook.masking.results import MaskingFailed

# Published test numbers (the networks' and Stripe's documentation); nobody's card.
_CANARIES = (
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    "6011111111111117",
    "30569309025904",
    "3530111333300000",
)
_TRACK = ";4111111111111111=29122010000000000000?"


def self_test() -> None:
    """Returns when canary card numbers, a track and a code do not survive masking; else raises MaskingFailed."""
    for canary in _CANARIES:
        spaced = (
            f"{canary[:4]} {canary[4:10]} {canary[10:]}"
            if len(canary) < 16
            else " ".join(canary[i : i + 4] for i in (0, 4, 8, 12))
        )
        content = {
            "plain": f"card {canary}.",
            "spaced": spaced,
            "number": int(canary),
            canary: [json.dumps({"n": int(canary)})],
        }
        body = json.dumps(content).encode()
        _gone(canary, mask(body).body.decode(), mask(body).findings)
        _gone(canary, *mask_text(f"declined: {canary}"))
        _known("own_mask", mask(body).body)
    masked = mask(json.dumps({"stripe": _TRACK, "cvv": "987", "cvc": 987}).encode())
    if b"2912" in masked.body or b"987" in masked.body or len(masked.findings) != 3:
        raise MaskingFailed("self-test: authentication data survived")


def _gone(canary: str, text: str, findings: tuple[object, ...]) -> None:
    if not findings or canary in "".join(char for char in text if char not in " -"):
        raise MaskingFailed("self-test: a card number survived")


def _known(detector: str, body: bytes) -> None:
    if all(finding.detector != detector for finding in inspect_arguments(body)):
        raise MaskingFailed("self-test: our own mask is not recognised in arguments")
