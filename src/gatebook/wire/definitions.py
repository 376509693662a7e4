"""The digest of a tool's definition: over the whole of it, so that no member can be changed unseen."""

import hashlib
from typing import Any

import msgspec

from gatebook.wire import strict_json


def digest(definition: bytes) -> str:
    """SHA-256 (hex) over the definition's JSON, keys sorted, without white space: the same however a server orders or spaces it, and another as soon as
    any member is, a description's invisible character too. Raises Malformed(PARSE_ERROR) where parsers could read two definitions in it."""
    return digest_of(strict_json.decode(definition))


def digest_of(definition: Any) -> str:
    """As `digest`, for one that was decoded strictly."""
    return hashlib.sha256(msgspec.json.encode(definition, order="sorted")).hexdigest()
