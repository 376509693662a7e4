"""A registered job's public key file → a JWK Set. PEM is what OpenSSL writes; a JWK Set can hold several keys, so that one replaces another."""

import json

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from gatebook.identity.errors import KeySetRefused

_PEM = b"-----BEGIN PUBLIC KEY-----"
_PRIVATE = b"PRIVATE KEY-----"


def key_set_of(raw: bytes, name: str) -> bytes:
    """The set in `raw`. A PEM's one key gets the job's `name` as its `kid`. Raises KeySetRefused, whose text holds nothing of the key."""
    if _PRIVATE in raw:
        raise KeySetRefused(
            "holds a private key: give the public half, and replace the key, which has been in two places"
        )
    if not raw.lstrip().startswith(_PEM):
        return raw
    if raw.count(_PEM) > 1:
        raise KeySetRefused("holds several PEM keys; write a JWK Set, in which each has a kid of its own")
    for kind in (ECKey, OKPKey, RSAKey):
        try:
            members = kind.import_key(raw).as_dict(private=False)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        return json.dumps({"keys": [{**members, "kid": name, "use": "sig"}]}).encode()
    raise KeySetRefused("is no public key that can be read: EC, RSA or Ed25519")
