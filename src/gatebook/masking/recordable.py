"""A name as an entry may hold it. Claims and names are anybody's choice, and an entry holds no form of a card number."""

import hmac

from gatebook.masking.documents import mask_text


def recordable(name: str, key: bytes) -> str:
    """`name`; where it could be a card number its HMAC under `key`, so that two names stay two, and one is one wherever it is written."""
    if not mask_text(name)[1]:
        return name
    return "hmac:" + hmac.digest(key, name.encode(), "sha256").hex()[:32]
