"""Masking of cardholder data: detect → findings with spans; apply findings. Pure: no I/O, no clock; the only state is a memo of
short clean texts, beside each set of secrets.

`mask` looks once over the raw bytes, for everything together (trigger). When something is left of that which is no mere id or
clock, it walks the document to the leaves under the hits (walk, frames), judges each one decoded (leaves: card numbers in pans,
numbers and networks; authentication data in sad; tables; secrets), and splices the changes into the original (edits). What is not
a finding passes byte for byte.

What is not found yet, so that nobody counts on it:
LIMIT: a card number split over two neighbouring text leaves, or over two events of a stream.
LIMIT: digits and separators beyond ASCII (full-width, Arabic-Indic, no-break and thin spaces, zero-width characters).
LIMIT: data inside percent-encoding, HTML entities, base64, compressed data, or digits in hexadecimal ASCII; of encodings
  only JSON inside strings is read, four layers deep. A leaf under `data` or `blob` that is base64, longer than 64 characters and
  neither hexadecimal nor made of digits and signs, passes as binary, whatever its letters and digits say.
LIMIT: groups of digits with different separators between them (`4111 1111-1111 1111`), and one digit per group.
LIMIT: no clock, so no budget of time: in messages above 64 KB work is counted instead, and too much of it is refused (budget.py).
  Up to that, hostile input costs up to about 5 ms per KB (tables of codes), most of it half of that. Large bodies belong into a thread.
LIMIT: names, addresses and other personal data; secrets other than the live ones that are handed in; digits in words.
LIMIT: UnionPay numbers without a valid check digit, and twelve or thirteen digits, only count among words for cards.
LIMIT: labels of codes are known in a dozen languages (words.py); a code without any label, key or column stays.
"""

from gatebook.masking.documents import inspect, inspect_arguments, is_clean, mask, mask_text
from gatebook.masking.recordable import recordable
from gatebook.masking.results import Inspected, Masked, MaskingFailed
from gatebook.masking.secrets import NO_SECRETS, Secrets
from gatebook.masking.selftest import self_test
from gatebook.model.finding import Finding

__all__ = [
    "NO_SECRETS",
    "Finding",
    "Inspected",
    "Masked",
    "MaskingFailed",
    "Secrets",
    "inspect",
    "inspect_arguments",
    "is_clean",
    "mask",
    "mask_text",
    "recordable",
    "self_test",
]
