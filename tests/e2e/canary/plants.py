"""What is planted: published test card numbers in the forms people write them, authentication data, and secrets. Nobody's card.

Each load carries a marker of its own: words that may be kept, so that a test can tell "masked and recorded" from "never came by".
"""

import json

CREDENTIAL = "cred-7f3KQm2xZp9LwR4tYv8B+/s1d"
"""The upstream's credential, which the gate injects."""

PLAIN, SPACED, DASHED, NUMBER, NESTED, KEY, TABLE, ON_STRIPE = (
    "4111111111111111", "5555555555554444", "378282246310005", "6011111111111117",
    "30569309025904", "3530111333300000", "4242424242424242", "5105105105105100",
)  # fmt: skip
CARD_NUMBERS = (PLAIN, SPACED, DASHED, NUMBER, NESTED, KEY, TABLE, ON_STRIPE)

TRACK_2 = f";{ON_STRIPE}=29122011758928889?"
TRACK_1 = f"%B{ON_STRIPE}^PLANTED/CARDHOLDER^29122016413375551000000?"
CODE = "9137"
PIN = "580264"
PIN_BLOCK = "0412AC89ABCDEF67"


def text(marker: str) -> str:
    """One line of ASCII with everything in it, fit for a header's value."""
    return (
        f"{marker} card {PLAIN}, 5555 5555 5555 4444; 3782-822463-10005 {TRACK_2} "
        f"cvv {CODE} card pin: {PIN} pin block {PIN_BLOCK} {CREDENTIAL} end"
    )


def load(marker: str, *, authentication_data: bool = True) -> dict[str, object]:
    """A JSON object with everything in it, in the shapes that databases and payment switches give it."""
    planted: dict[str, object] = {
        "marker": marker,
        "plain": f"card {PLAIN}.",
        "spaced": "5555 5555 5555 4444",
        "dashed": "3782-822463-10005",
        "number": int(NUMBER),
        "nested": json.dumps({"n": NESTED, "list": [int(NESTED)]}),
        KEY: "a key",
        "table": f"id,pan,name\n1,{TABLE},Ann\n",
        "credential": f"Bearer {CREDENTIAL}",
    }
    if authentication_data:
        planted |= {
            "track1": TRACK_1,
            "track2": TRACK_2,
            "cvv": CODE,
            "said": f"the cvv is {CODE} and card pin: {PIN}",
            "pin_block": PIN_BLOCK,
        }
    return planted


def searched(*more: str) -> dict[str, bytes]:
    """Name → value of all that must be found nowhere; `more`: secrets of this run. Codes and PINs are too short to be looked for
    alone among hashes and instants: here they stand with what is beside them (`bare_codes` looks for the rest)."""
    named = {f"card number {number}": number for number in CARD_NUMBERS}
    named |= {
        "track 1": "PLANTED/CARDHOLDER",
        "discretionary data of track 1": "6413375551",
        "discretionary data of track 2": "1758928889",
        "pin block": PIN_BLOCK,
        "code in text": f"cvv {CODE}",
        "code in a sentence": f"cvv is {CODE}",
        "code by its key": f'"cvv": "{CODE}"',
        "code by its key, compact": f'"cvv":"{CODE}"',
        "code by its key, in a string": f'\\"cvv\\": \\"{CODE}\\"',
        "pin in text": f"pin: {PIN}",
        "credential": CREDENTIAL,
    }
    named |= {f"secret {place}": secret for place, secret in enumerate(more)}
    return {name: value.encode() for name, value in named.items()}


def bare_codes(text: bytes) -> list[str]:
    """The codes and PINs that stand in the bodies of a recording, whatever is beside them."""
    return [code for code in (CODE, PIN) if code.encode() in text]
