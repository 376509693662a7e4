"""An issuer for tests: its keys, its JWK Set, and tokens with any header and any claims, well-formed or not.

    issuer = Issuer("https://idp.example", name="corp")
    snapshot = issuing.snapshot((issuer,), (server,))
    token = issuer.token(aud=server.audiences["corp"])

Tokens are put together by hand and signed with `cryptography`: a library that refuses to make a bad token cannot test who refuses it.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gatebook.model import deployment
from gatebook.model.deployment import Deployment, KeySet, Role, Server, Snapshot

NOW_S = 1_790_000_000
"""The instant of these tests: tokens are issued at it and last five minutes."""

RESOURCE = "https://gate.example/payments/mcp"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_CURVES: dict[str, tuple[ec.EllipticCurve, str, int]] = {
    "ES256": (ec.SECP256R1(), "P-256", 32),
    "ES384": (ec.SECP384R1(), "P-384", 48),
    "ES512": (ec.SECP521R1(), "P-521", 66),
}
_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


@cache
def private_key(algorithm: str, label: str = "", bits: int = 2048) -> PrivateKey:
    """A key for `algorithm`, made once per test run; `label` tells several apart."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm][0])
    if algorithm in ("EdDSA", "Ed25519"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _number(value: int, size: int | None = None) -> str:
    return base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def public_jwk(key: PrivateKey, kid: str, **members: Any) -> dict[str, Any]:
    """The public half as a JWK with `use` sig; `members` are added or replace what is there."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        found = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    elif isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        size = (public.curve.key_size + 7) // 8
        name = next(name for curve, name, _ in _CURVES.values() if curve.name == public.curve.name)
        found = {"kty": "EC", "crv": name, "x": _number(point.x, size), "y": _number(point.y, size)}
    else:
        found = {"kty": "OKP", "crv": "Ed25519", "x": base64url(public.public_bytes_raw())}
    return found | {"kid": kid, "use": "sig"} | members


def sign(key: PrivateKey | bytes, algorithm: str, message: bytes) -> bytes:
    """The JWS signature (RFC 7518 §3) of `message`; `key` is bytes for HS256, and none gives no signature."""
    if isinstance(key, bytes):
        return hmac.new(key, message, hashlib.sha256).digest()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    digest = _HASHES.get(algorithm[-3:], hashes.SHA256())
    if isinstance(key, rsa.RSAPrivateKey):
        if algorithm.startswith("PS"):
            return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return key.sign(message, padding.PKCS1v15(), digest)
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def compact(
    header: Mapping[str, Any] | str, claims: Mapping[str, Any] | str, key: PrivateKey | bytes, algorithm: str
) -> str:
    """A compact JWS over exactly this header and these claims; given as text, they are taken as they stand."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    signing_input = ".".join(base64url(part.encode("utf-8", "surrogatepass")) for part in parts)
    signature = b"" if algorithm.lower() == "none" else sign(key, algorithm, signing_input.encode())
    return f"{signing_input}.{base64url(signature)}"


class Issuer:
    """An identity provider with one current signing key; `rotate` makes the next one current."""

    def __init__(
        self,
        url: str = "https://idp.example",
        *,
        name: str = "corp",
        kind: Literal["person", "job"] = "person",
        algorithm: str = "ES256",
        **settings: Any,
    ) -> None:
        self.url = url
        self.name = name
        self.algorithm = algorithm
        self.model = deployment.Issuer(name=name, url=url, kind=kind, **settings)
        self.kids = [f"{name}-0"]
        self._keys = {self.kids[0]: private_key(algorithm, self.kids[0])}

    def rotate(self, *, keep_old: bool = True) -> None:
        """A new key signs from now on; the old ones stay published or are withdrawn."""
        kid = f"{self.name}-{len(self.kids)}"
        self.kids = [*self.kids, kid]
        kept = self._keys if keep_old else {}
        self._keys = {**kept, kid: private_key(self.algorithm, kid)}

    @property
    def key(self) -> PrivateKey:
        return self._keys[self.kids[-1]]

    def jwks(self) -> dict[str, Any]:
        return {"keys": [public_jwk(key, kid) for kid, key in self._keys.items()]}

    def key_set(self, fetched_at: float = NOW_S) -> KeySet:
        return KeySet(jwks=json.dumps(self.jwks()), fetched_at=fetched_at)

    def header(self, **members: Any) -> dict[str, Any]:
        """The header of a good token; a member given as None is left out."""
        return _without_none({"alg": self.algorithm, "kid": self.kids[-1], "typ": "JWT"} | members)

    def claims(self, **claims: Any) -> dict[str, Any]:
        """The claims of a good token of Alice's at NOW_S; a claim given as None is left out."""
        good = {
            "iss": self.url, "sub": "00u1alice", "aud": RESOURCE, "azp": "claude-code",
            "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 300, "jti": "jti-1",
        }  # fmt: skip
        return _without_none(good | claims)

    def token(self, header: Any = None, **claims: Any) -> str:
        """A signed token; `header` (a mapping) and `claims` add to or replace those of a good one."""
        return compact(self.header(**(header or {})), self.claims(**claims), self.key, self.algorithm)


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def server(name: str = "payments", *issuers: str, audience: str | None = None) -> Server:
    """The protected server `name` at which tokens of `issuers` (default: corp) for its resource are accepted."""
    resource = f"https://gate.example/{name}/mcp"
    audiences = dict.fromkeys(issuers or ("corp",), audience or resource)
    return Server(name=name, url="https://upstream.example/mcp", resource=resource, audiences=audiences)


def snapshot(
    issuers: tuple[Issuer, ...],
    servers: tuple[Server, ...] = (),
    roles: tuple[Role, ...] = (),
    *,
    fetched_at: float = NOW_S,
) -> Snapshot:
    """A snapshot with these issuers and their present keys."""
    whole = Deployment(
        profile="pci",
        public_url="https://gate.example",
        listen=("127.0.0.1:8443",),
        workers=1,
        data_dir="/var/lib/gatebook",
        origin="gate.example/log",
        log_key="/etc/gatebook/log.key",
        payload_public_key="/etc/gatebook/payload.pub",
        issuers=tuple(issuer.model for issuer in issuers),
        servers=servers or (server(),),
        roles=roles,
    )
    key_sets = {issuer.name: issuer.key_set(fetched_at) for issuer in issuers}
    return Snapshot(number=1, config_sha256="0" * 64, deployment=whole, key_sets=key_sets)
