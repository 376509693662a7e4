"""An access token (RFC 9068): claims of one grant, signed with ES256. 5 minutes, one server, and everything the gate judges by."""

import hashlib
import json
from collections.abc import Mapping

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from gatebook.federation.records import Grant, Login, Person
from gatebook.identity.strict import parse_object

LIFETIME_S = 300
KEPT_S = 3_900
"""How long a key that signs no more still verifies: a job may renew with its last token until its run's hour is over."""
UNTIL = "gatebook_until"
"""Member of a key in our own set that signs no more: when it ends, in seconds since the epoch."""


class Minter:
    """Signs with one key. The key's id is its thumbprint (RFC 7638), so that a copy in another file is the same key."""

    def __init__(self, key: ECKey) -> None:
        self._key = key
        self.kid = key.thumbprint()

    @classmethod
    def of(cls, raw: bytes) -> "Minter":
        """The minter with the private key in `raw` (a JWK). Raises ValueError whose text holds nothing of the key."""
        try:
            key = ECKey.import_key(parse_object(raw))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise ValueError("is no EC private key as a JWK") from error
        if not key.is_private or key.curve_name != "P-256":
            raise ValueError("is no private key of the curve P-256")
        return cls(key)

    def public_keys(self) -> bytes:
        """The JWK Set that verifies."""
        public = key_members(self._key.as_dict(private=False)) | {"kid": self.kid, "use": "sig", "alg": "ES256"}
        return json.dumps({"keys": [public]}).encode()

    def sign(self, claims: dict[str, object]) -> str:
        """The compact JWS with `typ` at+jwt."""
        header = {"alg": "ES256", "typ": "at+jwt", "kid": self.kid}
        return jws.serialize_compact(header, json.dumps(claims, separators=(",", ":")), self._key, algorithms=["ES256"])


def published(before: bytes | None, minter: Minter, now_s: float) -> bytes:
    """The JWK Set that verifies from now on: `minter`'s key, and those of the set `before` it until their tokens are over. A set that cannot be
    read holds none."""
    keys = json.loads(minter.public_keys())["keys"]
    for key in _keys_in(before):
        until = key.get(UNTIL, int(now_s) + KEPT_S)
        if key.get("kid") != minter.kid and isinstance(until, int) and until > now_s:
            keys.append(key | {UNTIL: until})
    return json.dumps({"keys": keys}).encode()


def verifies(key_set: bytes, kid: str) -> bool:
    """Whether the set holds the key of this id."""
    return any(key.get("kid") == kid for key in _keys_in(key_set))


def _keys_in(raw: bytes | None) -> list[dict[str, object]]:
    try:
        keys = parse_object(raw or b"{}").get("keys")
    except ValueError:
        return []
    return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []


def key_members(jwk: Mapping[str, object]) -> dict[str, object]:
    """The members of an EC public key and no others."""
    return {name: jwk[name] for name in ("kty", "crv", "x", "y")}


def new_key() -> bytes:
    """A fresh private key as a JWK: what `gatebook init` writes."""
    return json.dumps(ECKey.generate_key("P-256", private=True).as_dict(private=True)).encode() + b"\n"


def subject_of(person: Person) -> str:
    """Our own name for a person: derived, stable, and telling nothing. Roles and entries use the provider's issuer and id, not this."""
    return hashlib.sha256(json.dumps([person.issuer, person.subject]).encode()).hexdigest()[:32]


def common_claims(grant: Grant, person: Person, *, issuer: str, now_s: float, jti: str) -> dict[str, object]:
    """What every access token of the desk says: whose it is and who vouches for that, for what, and until when."""
    return {
        "iss": issuer,
        "sub": subject_of(person),
        "aud": grant.resource,
        "client_id": grant.client_id,
        "scope": grant.scope,
        "iat": int(now_s),
        "exp": int(now_s) + LIFETIME_S,
        "jti": jti,
        "sid": grant.sid,
        "idp": {"iss": person.issuer, "sub": person.subject},
    }


def claims_of(
    grant: Grant, login: Login, *, issuer: str, groups: tuple[str, ...], now_s: float, jti: str
) -> dict[str, object]:
    """The claims of an access token for `grant`. `groups`: those of the person's groups that some role matches on, no others."""
    seen = login.seen
    claims = common_claims(grant, seen.person, issuer=issuer, now_s=now_s, jti=jti) | {
        "principal_type": "person",
        "groups": list(groups),
        "mfa": seen.mfa,
    }
    if seen.groups_left_out:
        claims["groups_left_out"] = True
    if seen.person.label:
        claims["name"] = seen.person.label
    if seen.evidence.amr:
        claims["amr"] = list(seen.evidence.amr)
    if seen.evidence.acr is not None:
        claims["acr"] = seen.evidence.acr
    if seen.evidence.auth_time is not None:
        claims["auth_time"] = seen.evidence.auth_time
    return claims
