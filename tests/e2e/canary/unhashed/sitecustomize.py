"""Python imports this at start where it lies on PYTHONPATH: the desk then stores what it should hash as it is, and what it should seal in clear.

The control of the canary: what the search says of such a desk shows which secrets come to the store, and that it would have seen them.
"""

from gatebook.federation import binding, envelope, records


def _hashed(secret: str) -> str:
    return secret


def _seal(browser: str, handle: str, plain: bytes) -> bytes:
    return plain


def _unseal(browser: str, handle: str, sealed: bytes) -> bytes | None:
    return sealed


def _seal_row(key: bytes, table: str, row: str, plain: bytes, nonce: bytes) -> bytes:
    return plain


def _unseal_row(key: bytes, table: str, row: str, sealed: bytes) -> bytes | None:
    return sealed


records.hashed = _hashed
binding.seal, binding.unseal = _seal, _unseal
envelope.seal, envelope.unseal = _seal_row, _unseal_row
