"""A compact JWS and an instant → a Principal, or a refusal. The signature itself is joserfc's; what may be verified with what is ours.

Unverified parts of a token serve for one thing only: to find the issuer and the key to verify with.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from gatebook.identity.bearer import MAX_TOKEN_BYTES
from gatebook.identity.claims import demand_access_token, demand_audience, demand_within_lifetime, principal_of
from gatebook.identity.errors import KeySetRefused, TokenRefused
from gatebook.identity.keysets import MAX_KID_CHARACTERS, MAX_STALE_S, acceptable_key_set
from gatebook.identity.own import own_principal
from gatebook.identity.own_jobs import Vouching, own_job
from gatebook.identity.strict import parse_object
from gatebook.model.deployment import Issuer, KeySet, Server, Snapshot
from gatebook.model.errors import Reason
from gatebook.model.principal import Principal

# Which key an algorithm demands: (kty, curve). HS* and none are not here and cannot be configured in. RFC 7518 §3, RFC 8037, RFC 9864.
_KEY_OF_ALGORITHM: dict[str, tuple[str, str | None]] = {
    **{f"{family}{bits}": ("RSA", None) for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
_KEYS_IN_HEADER = frozenset({"jwk", "jku", "x5u", "x5c"})
"""Headers by which a token brings its own key. Ignoring them would do; a token that has one is an attack or a mistake, so it is refused."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_ACCESS_TOKEN_TYPE = "at+jwt"

_Key = RSAKey | ECKey | OKPKey


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A verified token. The same token at the same server proves the same principal until `good_until` (seconds since the epoch,
    exclusive): the token's own `exp`, or the moment when the keys it was verified with are too old. Then it must be judged again."""

    principal: Principal
    good_until: float


class Verifier:
    """Verifies tokens by one snapshot: its issuers, its servers' audiences, its key sets. Immutable; build a new one per snapshot.

    An issuer whose key set is absent or not acceptable (`keysets.acceptable_key_set`) has no keys: KEYS_UNAVAILABLE.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        deployment = snapshot.deployment
        self._by_url: dict[str, list[_Trusted]] = {}
        self._idps = {idp.url: idp.name for idp in deployment.idps}
        self._vouching = Vouching.of(deployment)
        for issuer in deployment.issuers:
            matches = [m for role in deployment.roles for m in role.match if m.issuer == issuer.name]
            claims_of_roles = frozenset(name for match in matches for name in match.claims)
            trusted = _Trusted(issuer, claims_of_roles, snapshot.key_sets.get(issuer.name))
            self._by_url.setdefault(issuer.url, []).append(trusted)

    def verify(self, token: str, server: Server, now_s: float) -> Principal:
        """Who the bearer of `token` is at `server`, at `now_s` (seconds since the epoch). Raises TokenRefused."""
        return self.judge(token, server, now_s).principal

    def judge(self, token: str, server: Server, now_s: float) -> Judged:
        """As `verify`, with how long the answer holds. The order of the steps is the proof: each relies on those above it."""
        # 1. The form: three base64url parts, of which two are JSON objects that every parser reads alike.
        header, payload = _take_apart(token)
        # 2. The header names one asymmetric algorithm and one key, and brings no key of its own.
        algorithm, kid = _read_header(header)
        # 3. The issuer, as the token claims it: the only use made of a claim before the signature.
        trusted = self._find_issuer(payload.get("iss"), server)
        try:
            # 4. This issuer signs so, and this is a token of the kind we take.
            _demand_pinned(header, algorithm, trusted.issuer)
            # 5. Exactly one key of this issuer, made for this algorithm.
            key = trusted.find_key(algorithm, kid, now_s)
            # 6. The signature over the very bytes that were read above.
            _demand_signature(token, algorithm, key)
            # 7. From here on the claims are the issuer's word: for this server, for now, as an access token.
            demand_audience(payload, server.audiences[trusted.issuer.name])
            expires_at = demand_within_lifetime(payload, trusted.issuer.leeway_s, now_s)
            demand_access_token(payload, declared=_media_type(header) == _ACCESS_TOKEN_TYPE, kind=trusted.issuer.kind)
            # 8. Who it is.
            if trusted.issuer.kind == "desk" and payload.get("principal_type") == "job":
                principal = own_job(payload, self._vouching, expires_at)
            elif trusted.issuer.kind == "desk":
                principal = own_principal(payload, self._idps, expires_at)
            else:
                principal = principal_of(payload, trusted.issuer, trusted.claims_of_roles, expires_at)
        except TokenRefused as refused:
            refused.issuer = trusted.issuer.name
            raise
        return Judged(principal=principal, good_until=min(expires_at, trusted.good_until))

    def _find_issuer(self, url: object, server: Server) -> "_Trusted":
        candidates = self._by_url.get(url, []) if isinstance(url, str) else []
        accepted = [trusted for trusted in candidates if trusted.issuer.name in server.audiences]
        # Two configured issuers with one URL at one server: which of them speaks would be a guess.
        if len(accepted) != 1:
            raise TokenRefused(Reason.TOKEN_ISSUER, "The token's issuer is not accepted here.")
        return accepted[0]


def claimed_issuer(token: str) -> str | None:
    """The `iss` that a token claims, to find whose keys to verify it with; nothing is proven. None where it names none. Raises TokenRefused."""
    issuer = _take_apart(token)[1].get("iss")
    return issuer if isinstance(issuer, str) else None


def verified_claims(token: str, issuer: Issuer, key_set: KeySet | None, now_s: float) -> dict[str, Any]:
    """The claims of a JWT of any type that `issuer` signed: steps 1 to 6 of `Verifier.judge`, for a token whose issuer is known beforehand, and
    that `iss` names it. What the claims say is for the caller to judge. Raises TokenRefused."""
    header, payload = _take_apart(token)
    algorithm, kid = _read_header(header)
    if payload.get("iss") != issuer.url:
        raise TokenRefused(Reason.TOKEN_ISSUER, "The token is of another issuer.")
    if algorithm not in issuer.algorithms:
        raise TokenRefused(Reason.TOKEN_ALGORITHM, "The token's algorithm is not accepted from its issuer.")
    key = _Trusted(issuer, frozenset(), key_set).find_key(algorithm, kid, now_s)
    _demand_signature(token, algorithm, key)
    return payload


class _Trusted:
    """One configured issuer with its keys by kid."""

    def __init__(self, issuer: Issuer, claims_of_roles: frozenset[str], key_set: KeySet | None) -> None:
        self.issuer = issuer
        self.claims_of_roles = claims_of_roles
        self.good_until = 0.0 if key_set is None else key_set.fetched_at + MAX_STALE_S
        self._keys = {} if key_set is None else _import_keys(key_set.jwks)

    def find_key(self, algorithm: str, kid: str, now_s: float) -> _Key:
        if not self._keys or now_s >= self.good_until:
            raise TokenRefused(Reason.KEYS_UNAVAILABLE, "The issuer's keys are not available at present.")
        key = self._keys.get(kid)
        if key is None:
            raise TokenRefused(
                Reason.TOKEN_KEY_UNKNOWN, "The token is signed with a key that its issuer does not publish."
            )
        kty, curve = _KEY_OF_ALGORITHM[algorithm]
        fits = key.key_type == kty and (curve is None or key.get("crv") == curve) and key.alg in (None, algorithm)
        if not fits:
            raise TokenRefused(Reason.TOKEN_ALGORITHM, "The token's algorithm is not the one of its key.")
        return key


@functools.lru_cache(maxsize=64)
def _import_keys(jwks: str) -> Mapping[str, _Key]:
    """Remembered: the desk asks at each token, also at one that anybody made up, and 64 keys of 4096 bits take a while."""
    try:
        entries = msgspec.json.decode(acceptable_key_set(jwks.encode()))["keys"]
    except KeySetRefused:
        return {}
    keys = {entry["kid"]: JWKRegistry.import_key(entry) for entry in entries}
    return {kid: key for kid, key in keys.items() if not isinstance(key, OctKey)}


def _take_apart(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    found = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN_BYTES else None
    if found is None:
        raise TokenRefused(Reason.TOKEN_INVALID, "The token is not a signed JWT in compact form of at most 16 KiB.")
    try:
        return tuple(parse_object(urlsafe_b64decode(found[part].encode("ascii"))) for part in (1, 2))  # type: ignore[return-value]
    except ValueError as error:
        raise TokenRefused(Reason.TOKEN_INVALID, "The token's header or claims are not well-formed JSON.") from error


def _read_header(header: dict[str, Any]) -> tuple[str, str]:
    """The algorithm and the kid. Unknown header members are ignored, RFC 7515 §4, unless `crit` says otherwise: we know no extension."""
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _KEY_OF_ALGORITHM:
        raise TokenRefused(Reason.TOKEN_ALGORITHM, "The token's algorithm is not accepted.")
    if _KEYS_IN_HEADER & header.keys():
        raise TokenRefused(Reason.TOKEN_INVALID, "The token brings a key of its own.")
    if header.keys() & {"crit", "b64", "enc", "zip"}:
        raise TokenRefused(Reason.TOKEN_INVALID, "The token's header asks for an extension that is not supported.")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
        raise TokenRefused(Reason.TOKEN_INVALID, "The token does not name the key it is signed with.")
    return algorithm, kid


def _demand_pinned(header: dict[str, Any], algorithm: str, issuer: Issuer) -> None:
    if algorithm not in issuer.algorithms:
        raise TokenRefused(Reason.TOKEN_ALGORITHM, "The token's algorithm is not accepted from its issuer.")
    accepted = (_ACCESS_TOKEN_TYPE,) if issuer.token_type == "at+jwt" else (None, "jwt", _ACCESS_TOKEN_TYPE)
    if _media_type(header) not in accepted:
        raise TokenRefused(Reason.TOKEN_TYPE, "The token is not an access token.")


def _media_type(header: dict[str, Any]) -> str | None:
    """`typ` in lower case without "application/" (RFC 7515 §4.1.9), None where absent, "" where it is no string."""
    if "typ" not in header:
        return None
    typ = header["typ"]
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else ""


class _Pinned(jws.JWSRegistry):
    """joserfc's algorithms under our limits: its 512 bytes of header are too few for Entra's, and the sizes are bounded above anyway."""

    max_header_length = MAX_TOKEN_BYTES
    max_payload_length = MAX_TOKEN_BYTES

    def get_alg(self, name: str) -> Any:
        # The library warns on every use of "EdDSA" (RFC 9864 renames it); here the key's curve is fixed, so the name is not ambiguous.
        return self.algorithms[name]


_REGISTRY = _Pinned(algorithms=list(_KEY_OF_ALGORITHM), strict_check_header=False)


def _demand_signature(token: str, algorithm: str, key: _Key) -> None:
    try:
        verified = jws.deserialize_compact(token, key, registry=_REGISTRY)
    except (JoseError, ValueError) as error:
        raise TokenRefused(Reason.TOKEN_INVALID, "The token's signature does not verify.") from error
    assert verified.protected["alg"] == algorithm
