"""Whatever a caller sends, the answer is a principal or a TokenRefused: any other exception would be ours to explain."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gatebook.identity.bearer import read_bearer
from gatebook.identity.errors import KeySetRefused, TokenRefused
from gatebook.identity.keysets import acceptable_key_set
from gatebook.identity.tokens import Verifier
from tests import issuing
from tests.examples import up_to
from tests.issuing import NOW_S, Issuer, compact

CORP, CI = Issuer(), Issuer("https://ci.example", name="ci", kind="job", algorithm="EdDSA")
SERVER = issuing.server("payments", "corp", "ci")
VERIFIER = Verifier(issuing.snapshot((CORP, CI), (SERVER,)))

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(NOW_S) | st.just("Bearer")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8
)
CLAIM_NAMES = st.sampled_from(
    "iss sub aud exp nbf iat jti sid azp client_id cid appid groups scope scp amr acr auth_time act cnf nonce typ idtyp oid tid"
    " email preferred_username gty hd hasgroups _claim_names run_id run_attempt job_id actor_id user_id".split()
)
HEADER_NAMES = st.sampled_from("alg kid typ cty crit b64 jwk jku x5c x5t x5u zip enc epk".split())
KEY_MEMBERS = st.sampled_from("kty kid use key_ops alg n e d k crv x y".split())


def judged(token: str) -> None:
    try:
        principal = VERIFIER.verify(token, SERVER, NOW_S)
    except TokenRefused:
        return
    assert principal.subject
    assert principal.login


@settings(max_examples=up_to(300), deadline=None)
@given(
    issuer=st.sampled_from([CORP, CI]),
    claims=st.dictionaries(CLAIM_NAMES, VALUES, max_size=5),
    header=st.dictionaries(HEADER_NAMES, VALUES, max_size=2),
)
def test_any_claims_and_headers_end_in_a_principal_or_a_refusal(
    issuer: Issuer, claims: dict[str, Any], header: dict[str, Any]
) -> None:
    judged(compact(issuer.header() | header, issuer.claims() | claims, issuer.key, issuer.algorithm))


@settings(max_examples=up_to(300), deadline=None)
@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,90}", fullmatch=True))
def test_any_text_ends_in_a_refusal(token: str) -> None:
    judged(token)


@settings(max_examples=up_to(300), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([b"authorization", b"content-type", b"x"]), st.binary())),
    st.binary(),
    st.binary(),
)
def test_any_headers_end_in_a_token_or_a_refusal(
    headers: list[tuple[bytes, bytes]], target: bytes, body: bytes
) -> None:
    try:
        assert read_bearer(tuple(headers), target, body=body)
    except TokenRefused:
        return


@settings(max_examples=up_to(300), deadline=None)
@given(
    st.lists(
        st.dictionaries(KEY_MEMBERS, VALUES | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig"])),
        max_size=3,
    ),
    st.booleans(),
)
def test_any_key_set_is_normalised_once_or_refused(keys: list[dict[str, Any]], good: bool) -> None:
    entries = [issuing.public_jwk(CORP.key, "good") | entry for entry in keys] if good else keys
    try:
        normalised = acceptable_key_set(json.dumps({"keys": entries}).encode())
    except KeySetRefused:
        return
    assert acceptable_key_set(normalised.encode()) == normalised
