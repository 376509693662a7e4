"""[18]-[24] The life of a key set: what is believed, for how long, and how often anybody is asked."""

import json
from typing import Any

import pytest

from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import (
    MAX_STALE_S,
    MIN_INTERVAL_S,
    TTL_S,
    Changed,
    Event,
    Failed,
    Fetched,
    KeySetState,
    Started,
    Wanted,
    acceptable_key_set,
    advance,
    current,
    fetch_due,
    next_fetch_at,
    remembered,
)
from gatebook.model.deployment import KeySet
from tests.issuing import NOW_S, Issuer, base64url, private_key, public_jwk

ES = public_jwk(private_key("ES256"), "es")
RSA = public_jwk(private_key("RS256"), "rsa")
GOOD = json.dumps({"keys": [ES]}).encode()
OTHER = json.dumps({"keys": [RSA]}).encode()


def after(*events: tuple[float, Event], state: KeySetState | None = None) -> KeySetState:
    """The state after `events`, each at so many seconds past NOW_S."""
    state = state or KeySetState()
    for offset_s, event in events:
        state = advance(state, NOW_S + offset_s, event)
    return state


def kids(*keys: dict[str, Any]) -> list[str]:
    return [key["kid"] for key in json.loads(acceptable_key_set(json.dumps({"keys": keys}).encode()))["keys"]]


def refusal(raw: bytes | dict[str, Any]) -> str:
    with pytest.raises(KeySetRefused) as refused:
        acceptable_key_set(raw if isinstance(raw, bytes) else json.dumps(raw).encode())
    return str(refused.value)


# when to fetch


def test_an_issuer_never_asked_is_asked_at_once() -> None:
    assert fetch_due(KeySetState(), NOW_S)
    assert current(KeySetState(), NOW_S) is None


def test_nobody_is_asked_twice_at_a_time() -> None:
    assert not fetch_due(after((0, Started()), (1, Wanted())), NOW_S + 10_000)


def test_a_good_set_serves_for_its_time_and_is_then_fetched_anew() -> None:
    state = after((0, Started()), (1, Fetched(GOOD)))
    assert not fetch_due(state, NOW_S + TTL_S - 1)
    assert fetch_due(state, NOW_S + TTL_S)
    assert next_fetch_at(state, NOW_S + 1) == NOW_S + TTL_S


def test_an_unknown_key_brings_the_fetch_forward() -> None:
    state = after((0, Started()), (1, Fetched(GOOD)), (100, Wanted()))
    assert fetch_due(state, NOW_S + 100)


def test_a_flood_of_unknown_keys_is_one_fetch_in_thirty_seconds_and_loses_no_key() -> None:
    state, fetches = after((0, Started()), (0, Fetched(GOOD))), 0
    for second in range(1, 301):
        for _ in range(50):
            state = advance(state, NOW_S + second, Wanted())
        if fetch_due(state, NOW_S + second):
            fetches += 1
            state = after((second, Started()), (second, Fetched(GOOD)), state=state)
    assert fetches == 300 / MIN_INTERVAL_S
    found = current(state, NOW_S + 300)
    assert found is not None
    assert json.loads(found.jwks)["keys"][0]["kid"] == "es"


def test_a_key_wanted_while_a_fetch_is_under_way_is_looked_for_once_more() -> None:
    state = after((0, Started()), (5, Wanted()), (6, Fetched(GOOD)))
    assert not fetch_due(state, NOW_S + MIN_INTERVAL_S - 1)
    assert fetch_due(state, NOW_S + MIN_INTERVAL_S)


def test_after_a_failure_the_next_try_comes_after_the_pause_and_not_before() -> None:
    state = after((0, Started()), (10, Failed("hang")))
    assert not fetch_due(state, NOW_S + MIN_INTERVAL_S - 1)
    assert fetch_due(state, NOW_S + MIN_INTERVAL_S)


def test_a_clock_that_was_set_back_stops_no_fetch() -> None:
    assert fetch_due(after((0, Started()), (1, Fetched(GOOD))), NOW_S - 3600)


# what is believed


def test_an_outage_is_survived_for_a_day_and_then_there_are_no_keys() -> None:
    state = after((0, Started()), (0, Fetched(GOOD)))
    for second in range(600, 90_000, 600):
        state = after((second, Started()), (second, Failed("500")), state=state)
    assert current(state, NOW_S + MAX_STALE_S - 1) == KeySet(jwks=acceptable_key_set(GOOD), fetched_at=NOW_S)
    assert current(state, NOW_S + MAX_STALE_S) is None
    assert state.problem == "500"


@pytest.mark.parametrize(
    "bad", [b'{"keys":[]}', b"{}", b"", b"<html>", b'{"keys":[{"kty":"oct","k":"AA","kid":"es"}]}', b"x" * 600_000]
)
def test_a_set_that_cannot_be_believed_never_replaces_a_good_one(bad: bytes) -> None:
    state = after((0, Started()), (0, Fetched(GOOD)), (600, Started()), (600, Fetched(bad)))
    assert current(state, NOW_S + 600) == KeySet(jwks=acceptable_key_set(GOOD), fetched_at=NOW_S)
    assert state.problem


def test_a_good_set_replaces_the_old_one_whole() -> None:
    state = after((0, Started()), (0, Fetched(GOOD)), (600, Started()), (601, Fetched(OTHER)))
    assert current(state, NOW_S + 601) == KeySet(jwks=acceptable_key_set(OTHER), fetched_at=NOW_S + 601)
    assert state.problem is None


def test_a_poisoned_set_is_gone_with_the_next_good_one() -> None:
    poison = json.dumps({"keys": [public_jwk(private_key("ES256", "attacker"), "es")]}).encode()
    state = after((0, Started()), (0, Fetched(poison)), (600, Started()), (600, Fetched(GOOD)))
    assert current(state, NOW_S + 600) == KeySet(jwks=acceptable_key_set(GOOD), fetched_at=NOW_S + 600)


def test_keys_remembered_over_a_restart_serve_at_their_age_and_are_fetched_at_once() -> None:
    state = remembered(KeySet(jwks=acceptable_key_set(GOOD), fetched_at=NOW_S - 1000))
    assert fetch_due(state, NOW_S)
    assert current(state, NOW_S) == KeySet(jwks=acceptable_key_set(GOOD), fetched_at=NOW_S - 1000)
    assert current(state, NOW_S - 1000 + MAX_STALE_S) is None


# which keys


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_keys_of_each_kind_are_usable(algorithm: str) -> None:
    assert kids(public_jwk(private_key(algorithm), "k")) == ["k"]


def test_a_set_is_normalised_so_that_equal_keys_are_equal_text() -> None:
    noisy = {**ES, "x5c": ["MIIB"], "x5t": "a", "exp": 7, "key_ops": ["verify"]}
    one = acceptable_key_set(json.dumps({"keys": [RSA, noisy]}).encode())
    other = acceptable_key_set(json.dumps({"other": 1, "keys": [ES, RSA]}, indent=2).encode())
    assert one == other == acceptable_key_set(one.encode())


def test_two_keys_with_one_kid_are_both_unusable() -> None:
    assert kids(ES, {**RSA, "kid": "es"}, {**RSA, "kid": "alone"}) == ["alone"]


def test_an_encryption_key_of_the_same_kid_is_in_nobodys_way() -> None:
    assert kids(ES, {**RSA, "kid": "es", "use": "enc"}) == ["es"]


@pytest.mark.parametrize(
    "useless",
    [
        {**RSA, "use": "enc"},
        {**RSA, "use": 1},
        {**RSA, "key_ops": ["encrypt"]},
        {**RSA, "key_ops": "verify"},
        {**RSA, "alg": 1},
        {**RSA, "kid": ""},
        {**RSA, "kid": "k" * 257},
        {**RSA, "kid": "a\x00"},
        {**RSA, "kid": 7},
        {name: value for name, value in RSA.items() if name != "kid"},
        {**RSA, "kty": "AKP", "pub": "x"},
        {**RSA, "kty": ["RSA"]},
        {**RSA, "e": base64url(b"\x01")},
        {**RSA, "e": base64url(b"\x03")},
        {**RSA, "e": base64url((65538).to_bytes(3, "big"))},
        {**RSA, "e": base64url(b"\xff" * 64)},
        {**RSA, "n": base64url(b"\xff" * 128)},
        {**RSA, "n": base64url(b"\xff" * 8192)},
        {**RSA, "n": RSA["n"] + "="},
        {**RSA, "n": RSA["n"][:-4] + "é+/ "},
        {**RSA, "n": 65537},
        {**ES, "kid": "rsa", "crv": "P-384"},
        {**ES, "kid": "rsa", "crv": "secp256k1"},
        {**ES, "kid": "rsa", "x": base64url(b"\x01" * 32)},
        {**ES, "kid": "rsa", "x": base64url(b"\x00" * 32), "y": base64url(b"\x00" * 32)},
        {**ES, "kid": "rsa", "y": None},
        {"kty": "OKP", "crv": "X25519", "x": base64url(b"\x09" * 32), "kid": "rsa"},
        {"kty": "OKP", "crv": "Ed25519", "x": base64url(b"\x09" * 31), "kid": "rsa"},
    ],
)
def test_a_key_that_cannot_be_used_is_left_out_and_alone_is_no_set(useless: dict[str, Any]) -> None:
    assert kids(ES, useless) == ["es"]
    assert "no usable signature key" in refusal({"keys": [useless]})


@pytest.mark.parametrize(
    "leak",
    [
        {**RSA, "d": "AQAB"},
        {**RSA, "p": "AQAB"},
        {**RSA, "use": "enc", "d": "AQAB"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "h"},
        {"kty": "oct"},
    ],
)
def test_one_private_key_spoils_the_whole_set_and_is_not_repeated(leak: dict[str, Any]) -> None:
    words = refusal({"keys": [ES, leak]})
    assert "private or symmetric" in words
    assert "AQAB" not in words


def test_a_set_of_too_many_keys_is_refused_and_of_just_enough_is_not() -> None:
    many = [{**ES, "kid": str(number)} for number in range(64)]
    assert len(kids(*many)) == 64
    assert "more than 64" in refusal({"keys": [*many, ES]})
    assert "more than 64" in refusal({"keys": [ES] * 1500})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'{"keys":{}}',
        b'{"keys":["a"]}',
        b'{"keys":null}',
        b'{"keys":[],"keys":[]}',
        b"\xff\xfe",
        b'{"keys":' + b"[" * 100_000,
        b'{"keys":[NaN]}',
    ],
)
def test_what_is_no_key_set_is_refused(raw: bytes) -> None:
    assert "no JWK Set" in refusal(raw)


def test_a_set_beyond_its_size_is_refused_unread() -> None:
    assert "larger" in refusal(GOOD + b" " * 512_000)


def test_issuers_of_tests_publish_acceptable_sets() -> None:
    assert kids(*Issuer().jwks()["keys"]) == ["corp-0"]


def test_a_file_that_changed_is_read_at_once_and_once() -> None:
    read = after((0, Started()), (1, Fetched(GOOD)))
    assert not fetch_due(read, NOW_S + 2)
    changed = after((2, Changed()), state=read)
    assert fetch_due(changed, NOW_S + 2)
    assert not fetch_due(after((2, Started()), state=changed), NOW_S + 2), "while it is read"
    assert not fetch_due(after((2, Started()), (3, Fetched(OTHER)), state=changed), NOW_S + 3)
