"""The life of an issuer's public keys, as a pure state machine. Who drives it does the fetching; what may be believed is decided here.

The rules: a set is fetched anew after TTL_S; on an outage the last good one serves until it is MAX_STALE_S old, then there is none and
the issuer's tokens are refused; a fetch starts at most once in MIN_INTERVAL_S, whoever asks for whatever key; a set that is empty or
unacceptable never replaces a good one. An acceptable set replaces the old one whole: a key that its issuer withdrew is gone.

LIMIT: whoever can serve the issuer's key set once, over its TLS name, is believed until the next fetch (at most TTL_S later).
"""

import json
from collections import Counter
from typing import Any, assert_never

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from joserfc.util import urlsafe_b64decode

from gatebook.identity.errors import KeySetRefused
from gatebook.identity.strict import parse_object
from gatebook.model.deployment import KeySet

TTL_S = 600.0
MAX_STALE_S = 86_400.0
MIN_INTERVAL_S = 30.0
MAX_KEYS = 64
MAX_BYTES = 512 * 1000
MAX_KID_CHARACTERS = 256
MAX_MEMBER_CHARACTERS = 700
"""Enough for the 683 of a 4096-bit modulus; read before any arithmetic, so that a 65536-bit one costs nothing."""

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_PUBLIC_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_COORDINATE_BYTES = {("EC", "P-256"): 32, ("EC", "P-384"): 48, ("EC", "P-521"): 66, ("OKP", "Ed25519"): 32}
_MAX_EXPONENT = 2**32


# What can happen to the keys of one issuer.


class Wanted(msgspec.Struct, frozen=True):
    """A token named a key that the current set does not hold. Any number of these cost one fetch per MIN_INTERVAL_S."""


class Changed(msgspec.Struct, frozen=True):
    """The operator's own file of the set is another one now. It is read at once: nobody who calls can cause that."""


class Started(msgspec.Struct, frozen=True):
    """A fetch has begun."""


class Fetched(msgspec.Struct, frozen=True):
    """A fetch has ended with `raw`, the bytes of a JWK Set."""

    raw: bytes


class Failed(msgspec.Struct, frozen=True):
    """A fetch has ended with nothing; `why` is for the operator."""

    why: str


Event = Wanted | Changed | Started | Fetched | Failed


class KeySetState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one issuer's keys. Times are seconds since the epoch; the empty state is an issuer never asked.

    `fetched_at`: when the issuer last stood by `jwks` (RFC 7517 text, normalised). `problem`: why the last fetch brought nothing.
    """

    jwks: str | None = None
    fetched_at: float | None = None
    started_at: float | None = None
    fetching: bool = False
    wanted: bool = False
    changed: bool = False
    problem: str | None = None


def remembered(known: KeySet) -> KeySetState:
    """The state of an issuer whose last good set survived a restart. It is due for a fetch at once, whatever its age."""
    return KeySetState(jwks=known.jwks, fetched_at=known.fetched_at, wanted=True)


def advance(state: KeySetState, now_s: float, event: Event) -> KeySetState:
    """The state after `event`. A refused set counts as a failed fetch and leaves the good one where it is."""
    match event:
        case Wanted():
            return msgspec.structs.replace(state, wanted=True)
        case Changed():
            return msgspec.structs.replace(state, changed=True)
        case Started():
            return msgspec.structs.replace(state, started_at=now_s, fetching=True, wanted=False, changed=False)
        case Failed(why):
            return msgspec.structs.replace(state, fetching=False, problem=why)
        case Fetched(raw):
            try:
                jwks = acceptable_key_set(raw)
            except KeySetRefused as refused:
                return msgspec.structs.replace(state, fetching=False, problem=str(refused))
            return msgspec.structs.replace(state, jwks=jwks, fetched_at=now_s, fetching=False, problem=None)
        case _:
            assert_never(event)


def fetch_due(state: KeySetState, now_s: float) -> bool:
    """Whether a fetch may and should start now. Never while one is under way, never twice within MIN_INTERVAL_S but for a file that
    has changed."""
    return not state.fetching and next_fetch_at(state, now_s) <= now_s


def next_fetch_at(state: KeySetState, now_s: float) -> float:
    """When the next fetch is due if nothing else happens: seconds since the epoch, `now_s` or earlier where it is due already."""
    if (
        state.changed or state.started_at is None or state.started_at > now_s
    ):  # never asked, or the clock was set back since
        return now_s
    failed = state.problem is not None or state.jwks is None
    pause_s = MIN_INTERVAL_S if state.wanted or failed else TTL_S
    return state.started_at + pause_s


def current(state: KeySetState, now_s: float) -> KeySet | None:
    """The set to verify with, or None where there is none that is less than MAX_STALE_S old: then the issuer's tokens are refused."""
    if state.jwks is None or state.fetched_at is None or now_s - state.fetched_at >= MAX_STALE_S:
        return None
    return KeySet(jwks=state.jwks, fetched_at=state.fetched_at)


def acceptable_key_set(raw: bytes) -> str:
    """The usable signature keys of a JWK Set: RFC 7517 JSON, normalised, so that equal sets are equal text. Idempotent.

    Usable: `kid` of 1 to 256 printable characters that no other key of the set has; RSA of 2048 to 4096 bits with an odd exponent from
    65537 to 2^32, EC P-256, P-384 or P-521, or Ed25519; not for another use. Other keys are left out, as RFC 7517 §5 asks.
    Raises KeySetRefused for the set as a whole: beyond MAX_BYTES or MAX_KEYS, no JWK Set, private or symmetric key material in it
    (whoever publishes that has no secret left), or no usable key.
    """
    if len(raw) > MAX_BYTES:
        raise KeySetRefused(f"the key set is larger than {MAX_BYTES} bytes")
    try:
        entries = parse_object(raw).get("keys")
    except ValueError as error:
        raise KeySetRefused(f"the key set is no JWK Set: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KeySetRefused('the key set is no JWK Set: "keys" is not a list of objects')
    if len(entries) > MAX_KEYS:
        raise KeySetRefused(f"the key set holds more than {MAX_KEYS} keys")
    if any(_PRIVATE_MEMBERS & entry.keys() or entry.get("kty") == "oct" for entry in entries):
        raise KeySetRefused("the key set holds private or symmetric key material: its keys must be considered lost")
    keys = _usable([entry for entry in entries if _is_for_signatures(entry)])
    if not keys:
        raise KeySetRefused("the key set holds no usable signature key (each needs a kid of its own)")
    return json.dumps({"keys": keys}, separators=(",", ":"), sort_keys=True)


def _usable(entries: list[dict[str, Any]]) -> list[dict[str, str]]:
    times = Counter(entry["kid"] for entry in entries if isinstance(entry.get("kid"), str))
    alone = [entry for entry in entries if isinstance(entry.get("kid"), str) and times[entry["kid"]] == 1]
    keys = [key for entry in alone if (key := _normalised(entry)) is not None]
    return sorted(keys, key=lambda key: key["kid"])


def _is_for_signatures(entry: dict[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _normalised(entry: dict[str, Any]) -> dict[str, str] | None:
    """The key with nothing but what verification needs, or None where it cannot be used."""
    kty, kid, alg = entry.get("kty"), entry["kid"], entry.get("alg")
    members = _PUBLIC_MEMBERS.get(kty) if isinstance(kty, str) else None
    if members is None or not 0 < len(kid) <= MAX_KID_CHARACTERS or not kid.isprintable():
        return None
    found = (
        {"kty": kty, "kid": kid, "use": "sig"}
        | {name: entry.get(name) for name in members}
        | ({} if alg is None else {"alg": alg})
    )
    key = {
        name: value for name, value in found.items() if isinstance(value, str) and len(value) <= MAX_MEMBER_CHARACTERS
    }
    if len(key) != len(found):
        return None
    try:
        if not (_is_strong_rsa(key) if kty == "RSA" else _has_curve(key)):
            return None
        JWKRegistry.import_key({**key})  # refuses a point that is not on its curve
    except (JoseError, ValueError):
        return None
    return key


def _is_strong_rsa(key: dict[str, str]) -> bool:
    n = int.from_bytes(urlsafe_b64decode(key["n"].encode("ascii")), "big")
    e = int.from_bytes(urlsafe_b64decode(key["e"].encode("ascii")), "big")
    return 2048 <= n.bit_length() <= 4096 and n % 2 == 1 and 65537 <= e <= _MAX_EXPONENT and e % 2 == 1


def _has_curve(key: dict[str, str]) -> bool:
    size = _COORDINATE_BYTES.get((key["kty"], key["crv"]))
    coordinates = [key[name] for name in ("x", "y") if name in key]
    return size is not None and all(len(urlsafe_b64decode(c.encode("ascii"))) == size for c in coordinates)
