"""An issuer of the bench's own: one ES256 key, its JWK Set, and people's access tokens for one resource."""

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import ECKey

ISSUER_URL: Final = "http://127.0.0.1/idp"
LIFETIME_S: Final = 4 * 3600


class Issuer:
    def __init__(self) -> None:
        self._key = ECKey.generate_key(
            "P-256", parameters={"kid": "bench-1", "use": "sig", "alg": "ES256"}, private=True
        )

    def jwks(self) -> str:
        return json.dumps({"keys": [self._key.as_dict(private=False)]})

    def public_pem(self) -> str:
        return self._key.as_pem(private=False).decode()

    def tokens(self, audience: str, groups: Sequence[str]) -> list[str]:
        """A token for each of `groups`, every one another person's."""
        return [self._token(audience, number, group) for number, group in enumerate(groups)]

    def _token(self, audience: str, number: int, group: str) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": ISSUER_URL, "sub": f"person-{number:04}", "aud": audience, "azp": "bench", "client_id": "bench",
            "groups": [group], "iat": now, "exp": now + LIFETIME_S, "jti": f"jti-{number}",
        }  # fmt: skip
        return jwt.encode({"alg": "ES256", "kid": "bench-1", "typ": "JWT"}, claims, self._key, algorithms=["ES256"])
