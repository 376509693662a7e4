"""What is refused as a token, and why; numbers in brackets are those of the attack list in the design's identity page."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatebook.identity.errors import TokenRefused
from gatebook.identity.keysets import MAX_STALE_S
from gatebook.identity.tokens import Verifier
from gatebook.model.deployment import KeySet
from gatebook.model.errors import Reason
from gatebook.model.principal import Principal
from tests import issuing
from tests.issuing import NOW_S, RESOURCE, Issuer, base64url, compact, private_key

CORP = Issuer()
SERVER = issuing.server()
VERIFIER = Verifier(issuing.snapshot((CORP,)))

LEEWAY_S = CORP.model.leeway_s


def verify(token: str, now_s: float = NOW_S, verifier: Verifier = VERIFIER) -> Principal:
    return verifier.verify(token, SERVER, now_s)


def refusal(token: str, now_s: float = NOW_S, verifier: Verifier = VERIFIER) -> Reason:
    with pytest.raises(TokenRefused) as refused:
        verify(token, now_s, verifier)
    leaked = [part for part in token.split(".") if len(part) > 8 and part in str(refused.value)]
    assert leaked == []
    return refused.value.reason


def verifier_of(*issuers: Issuer) -> Verifier:
    return Verifier(issuing.snapshot(issuers, (issuing.server("payments", *(i.name for i in issuers)),)))


def test_a_good_token_names_its_subject() -> None:
    principal = verify(CORP.token())
    assert (principal.issuer, principal.subject) == ("https://idp.example", "00u1alice")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_each_default_algorithm_verifies(algorithm: str) -> None:
    issuer = Issuer(algorithm=algorithm)
    assert verify(issuer.token(), verifier=verifier_of(issuer)).subject == "00u1alice"


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS384", "PS512", "ES384", "ES512", "Ed25519"])
def test_an_algorithm_beyond_the_default_verifies_where_it_is_pinned_and_only_there(algorithm: str) -> None:
    pinned = Issuer(algorithm=algorithm, algorithms=(algorithm,))
    assert verify(pinned.token(), verifier=verifier_of(pinned)).subject == "00u1alice"
    unpinned = Issuer(algorithm=algorithm)
    assert refusal(unpinned.token(), verifier=verifier_of(unpinned)) is Reason.TOKEN_ALGORITHM


# [1] [2] algorithms


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
def test_an_unsigned_token_is_refused(name: str) -> None:
    token = compact(CORP.header(alg=name), CORP.claims(), b"", "none")
    assert refusal(token) is Reason.TOKEN_ALGORITHM


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
def test_the_public_key_is_never_an_hmac_secret(algorithm: str, form: str) -> None:
    issuer = Issuer(algorithm=algorithm, algorithms=("RS256", "ES256", "HS256"))
    secret = {
        "pem": issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": issuer.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(issuer.jwks()["keys"][0]).encode(),
    }[form]
    token = compact(issuer.header(alg="HS256"), issuer.claims(), secret, "HS256")
    assert refusal(token, verifier=verifier_of(issuer)) is Reason.TOKEN_ALGORITHM


def test_an_algorithm_that_is_not_text_is_refused() -> None:
    assert refusal(CORP.token(header={"alg": ["ES256"]})) is Reason.TOKEN_ALGORITHM


# [3] [4] keys that a token brings along


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jwk", issuing.public_jwk(CORP.key, "corp-0")),
        ("jku", "https://evil.example/jwks"),
        ("x5u", "https://evil.example/cert"),
        ("x5c", ["MIIB"]),
        ("jku", ""),
    ],
)
def test_a_token_that_brings_its_own_key_is_refused(name: str, value: object) -> None:
    assert refusal(CORP.token(header={name: value})) is Reason.TOKEN_INVALID


# [5] kid


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "corp-0\x00", "CORP-0", "corp-0 "])
def test_a_kid_that_the_issuer_does_not_publish_is_refused_and_says_whose_keys_to_fetch(kid: str) -> None:
    with pytest.raises(TokenRefused) as refused:
        verify(CORP.token(header={"kid": kid}))
    assert (refused.value.reason, refused.value.issuer) == (Reason.TOKEN_KEY_UNKNOWN, "corp")


@pytest.mark.parametrize("kid", ["k" * 10_000, "", 7, ["corp-0"]])
def test_a_kid_that_is_none_is_refused(kid: object) -> None:
    assert refusal(CORP.token(header={"kid": kid})) is Reason.TOKEN_INVALID


def test_a_token_without_kid_is_refused_even_where_there_is_one_key() -> None:
    assert refusal(CORP.token(header={"kid": None})) is Reason.TOKEN_INVALID


def test_a_kid_that_two_keys_have_is_no_key() -> None:
    twice = {
        "keys": [issuing.public_jwk(CORP.key, "corp-0"), issuing.public_jwk(private_key("ES256", "second"), "corp-0")]
    }
    other = {"keys": [*twice["keys"], issuing.public_jwk(private_key("ES256", "third"), "other")]}
    snapshot = issuing.snapshot((CORP,))
    for jwks, reason in ((twice, Reason.KEYS_UNAVAILABLE), (other, Reason.TOKEN_KEY_UNKNOWN)):
        key_sets = {"corp": KeySet(jwks=json.dumps(jwks), fetched_at=NOW_S)}
        verifier = Verifier(msgspec.structs.replace(snapshot, key_sets=key_sets))
        assert refusal(CORP.token(), verifier=verifier) is reason


# [6] crit


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": False}, {"crit": []}, {"b64": False}]
)
def test_a_header_that_demands_an_extension_is_refused(header: dict[str, Any]) -> None:
    assert refusal(CORP.token(header=header)) is Reason.TOKEN_INVALID


def test_a_header_that_nobody_must_understand_is_ignored() -> None:
    assert verify(CORP.token(header={"x5t": "abc", "vendor": {"a": 1}, "cty": "x" * 900})).subject == "00u1alice"


# [7] [8] [76] time


def test_a_token_holds_to_the_end_of_the_leeway_and_not_a_second_longer() -> None:
    token = CORP.token(exp=NOW_S)
    assert verify(token, NOW_S + LEEWAY_S - 1).expires_at == NOW_S
    assert refusal(token, NOW_S + LEEWAY_S) is Reason.TOKEN_EXPIRED
    assert refusal(token, NOW_S + LEEWAY_S + 1) is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize("exp", ["1790000300", -1, 1e308, True, [NOW_S + 300], {}, 10**30, None])
def test_an_exp_that_is_no_date_is_refused(exp: object) -> None:
    assert refusal(CORP.token(exp=exp)) is Reason.TOKEN_CLAIMS


def test_an_exp_of_null_is_refused() -> None:
    claims = CORP.claims() | {"exp": None}
    assert refusal(compact(CORP.header(), claims, CORP.key, "ES256")) is Reason.TOKEN_CLAIMS


def test_an_exp_with_a_fraction_is_a_date() -> None:
    assert verify(CORP.token(exp=NOW_S + 10.5)).expires_at == NOW_S + 10.5


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_of_the_future_is_refused(name: str) -> None:
    assert verify(CORP.token(**{name: NOW_S + LEEWAY_S})).subject == "00u1alice"
    assert refusal(CORP.token(**{name: NOW_S + LEEWAY_S + 1})) is Reason.TOKEN_NOT_YET_VALID
    assert refusal(CORP.token(**{name: str(NOW_S)})) is Reason.TOKEN_CLAIMS


def test_a_clock_five_minutes_off_refuses_both_ways() -> None:
    token = CORP.token(exp=NOW_S + 200)
    assert refusal(token, NOW_S + 300) is Reason.TOKEN_EXPIRED
    assert refusal(token, NOW_S - 300) is Reason.TOKEN_NOT_YET_VALID


# [9] [12] audience


@pytest.mark.parametrize(
    "aud",
    [
        "https://gate.example/ledger/mcp",
        RESOURCE + "/",
        RESOURCE[:-1],
        RESOURCE.upper(),
        "https://gate.example",
        "*",
        [RESOURCE, "account"],
        ["account", RESOURCE],
        [RESOURCE, RESOURCE],
        [],
        "",
        {"aud": RESOURCE},
        None,
    ],
)
def test_a_token_that_is_not_for_this_endpoint_alone_is_refused(aud: object) -> None:
    assert refusal(CORP.token(aud=aud)) is Reason.TOKEN_AUDIENCE


def test_an_audience_may_be_a_list_of_one() -> None:
    assert verify(CORP.token(aud=[RESOURCE])).subject == "00u1alice"


def test_a_token_of_one_endpoint_opens_no_other() -> None:
    payments, ledger = issuing.server("payments"), issuing.server("ledger")
    verifier = Verifier(issuing.snapshot((CORP,), (payments, ledger)))
    token = CORP.token(aud=payments.resource)
    assert verifier.verify(token, payments, NOW_S).subject == "00u1alice"
    with pytest.raises(TokenRefused) as refused:
        verifier.verify(token, ledger, NOW_S)
    assert refused.value.reason is Reason.TOKEN_AUDIENCE


# [10] issuer


@pytest.mark.parametrize(
    "iss",
    [
        "https://idp.example/",
        "https://IDP.example",
        "https://idp.example/other",
        "http://idp.example",
        "",
        None,
        7,
        ["https://idp.example"],
    ],
)
def test_an_issuer_that_is_not_configured_to_the_byte_is_refused(iss: object) -> None:
    assert refusal(CORP.token(iss=iss)) is Reason.TOKEN_ISSUER


def test_another_tenant_with_the_same_keys_is_another_issuer() -> None:
    ours = Issuer("https://login.example/tenant-a/v2.0")
    token = compact(ours.header(), ours.claims(iss="https://login.example/tenant-b/v2.0"), ours.key, "ES256")
    assert refusal(token, verifier=verifier_of(ours)) is Reason.TOKEN_ISSUER


def test_the_key_of_one_issuer_does_not_sign_for_another() -> None:
    other = Issuer("https://other.example", name="other")
    token = compact(other.header(), other.claims(iss=CORP.url), other.key, "ES256")
    forged = compact(CORP.header(), CORP.claims(), other.key, "ES256")
    assert refusal(token, verifier=verifier_of(CORP, other)) is Reason.TOKEN_KEY_UNKNOWN
    assert refusal(forged, verifier=verifier_of(CORP, other)) is Reason.TOKEN_INVALID


def test_an_issuer_is_accepted_only_at_the_servers_that_name_it() -> None:
    verifier = Verifier(issuing.snapshot((CORP,), (issuing.server("payments", "ci"),)))
    with pytest.raises(TokenRefused) as refused:
        verifier.verify(CORP.token(), issuing.server("payments", "ci"), NOW_S)
    assert refused.value.reason is Reason.TOKEN_ISSUER


def test_two_issuers_with_one_url_at_one_server_are_no_issuer() -> None:
    twin = Issuer(CORP.url, name="twin", kind="job")
    both, one = issuing.server("payments", "corp", "twin"), issuing.server("payments", "corp")
    verifier = Verifier(issuing.snapshot((CORP, twin), (both,)))
    assert verifier.verify(CORP.token(), one, NOW_S).kind == "person"
    with pytest.raises(TokenRefused) as refused:
        verifier.verify(CORP.token(), both, NOW_S)
    assert refused.value.reason is Reason.TOKEN_ISSUER


# [11] other tokens


@pytest.mark.parametrize("mark", ["nonce", "at_hash", "c_hash", "s_hash"])
def test_an_id_token_is_no_access_token(mark: str) -> None:
    assert refusal(CORP.token(**{mark: "x"})) is Reason.TOKEN_TYPE


@pytest.mark.parametrize("claim", ["ID", "Refresh", "Offline", "Logout", 7])
def test_a_token_whose_claim_says_it_is_another_is_refused(claim: object) -> None:
    assert refusal(CORP.token(typ=claim)) is Reason.TOKEN_TYPE


def test_a_keycloak_access_token_says_bearer() -> None:
    assert verify(CORP.token(typ="Bearer")).subject == "00u1alice"


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "application/jwt", "at+jwt", "application/at+JWT"])
def test_an_issuer_of_plain_jwts_may_use_these_types(typ: str | None) -> None:
    assert verify(CORP.token(header={"typ": typ})).subject == "00u1alice"


@pytest.mark.parametrize("typ", ["dpop+jwt", "logout+jwt", "oauth-id-jag+jwt", "JOSE", "", 7, ["JWT"]])
def test_a_token_of_another_type_is_refused(typ: object) -> None:
    assert refusal(CORP.token(header={"typ": typ})) is Reason.TOKEN_TYPE


def test_an_issuer_of_access_token_jwts_may_use_no_other_type() -> None:
    issuer = Issuer(token_type="at+jwt")
    verifier = verifier_of(issuer)
    assert verify(issuer.token(header={"typ": "at+jwt"}, nonce="n"), verifier=verifier).subject == "00u1alice"
    assert verify(issuer.token(header={"typ": "application/at+jwt"}), verifier=verifier).subject == "00u1alice"
    for typ in (None, "JWT"):
        assert refusal(issuer.token(header={"typ": typ}), verifier=verifier) is Reason.TOKEN_TYPE


def test_a_token_that_is_bound_to_a_key_is_refused_without_its_proof() -> None:
    token = CORP.token(header={"typ": "at+jwt"}, cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})
    assert refusal(token) is Reason.TOKEN_TYPE


# [15] size and form


def test_a_token_of_a_megabyte_is_refused_unread() -> None:
    started = time.perf_counter()
    assert refusal(CORP.token(pad="x" * 1_000_000)) is Reason.TOKEN_INVALID
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: "opaque-token",
        lambda token: token + ".",
        lambda token: token + ".x.y",
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.replace(".", "..", 1),
        lambda token: "é" + token,
        lambda token: token.replace("-", "+") + "+",
        lambda token: token[:-2],
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.rpartition(".")[0] + "." + base64url(b"\x00" * 64),
        lambda token: token.rpartition(".")[0] + "." + base64url(b"\xff" * 64),
        lambda token: json.dumps(dict(zip(("protected", "payload", "signature"), token.split("."), strict=True))),
    ],
)
def test_a_token_that_is_spoilt_is_refused(spoil: Callable[[str], str]) -> None:
    assert refusal(spoil(CORP.token())) is Reason.TOKEN_INVALID


def test_every_changed_character_of_a_token_is_seen() -> None:
    token = CORP.token()
    for place in range(0, len(token), 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert refusal(changed)


def test_an_encrypted_or_compressed_token_is_refused() -> None:
    assert refusal("e30.e30.e30.e30.e30") is Reason.TOKEN_INVALID
    assert refusal(CORP.token(header={"zip": "DEF"})) is Reason.TOKEN_INVALID
    assert refusal(CORP.token(header={"enc": "A256GCM"})) is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "claims",
    [
        '{"a":' + "[" * 5000 + "]" * 5000 + "}",
        '{"a":' * 2000 + "1" + "}" * 2000,
        "[" * 6000,
        '{"' + "[" * 40 + '\\"' * 5000,
        "[]",
        '"text"',
        "1",
        "{} {}",
        "{}\x00",
        "\ufeff{}",
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":1e400}',
        '{"a":' + "9" * 5000 + "}",
        '{"a":"\ud800"}',
        '{"a":"\\ud800"}',
    ],
)
def test_claims_that_parsers_read_differently_are_refused_at_once(claims: str) -> None:
    started = time.perf_counter()
    assert refusal(compact(CORP.header(), claims, CORP.key, "ES256")) is Reason.TOKEN_INVALID
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"sub": "00u1alice"', '"sub": "00u1alice", "sub": "00u2bob"'),
        ('"aud"', '"aud": "https://elsewhere.example", "aud"'),
        ('"sub": "00u1alice"', '"sub": "00u1alice", "\\u0073ub": "00u2bob"'),
        ('"sub": "00u1alice"', '"sub": "00u1alice", "act": {"sub": "a", "sub": "b"}'),
    ],
)
def test_a_claim_that_occurs_twice_is_refused(old: str, new: str) -> None:
    claims = json.dumps(CORP.claims()).replace(old, new, 1)
    assert refusal(compact(CORP.header(), claims, CORP.key, "ES256")) is Reason.TOKEN_INVALID


def test_a_header_member_that_occurs_twice_is_refused() -> None:
    header = json.dumps(CORP.header()).replace('"alg"', '"alg": "none", "alg"', 1)
    assert refusal(compact(header, CORP.claims(), CORP.key, "ES256")) is Reason.TOKEN_INVALID


# [16] signatures


def test_a_signature_with_the_other_s_verifies_too() -> None:
    """ECDSA has two signatures for each (s and n - s); RFC 7518 §3.4 prefers neither, and issuers send both halves of the time."""
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    token = CORP.token()
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    other_s = n - int.from_bytes(raw[32:], "big")
    assert verify(f"{signed}.{base64url(raw[:32] + other_s.to_bytes(32, 'big'))}").subject == "00u1alice"


def test_a_der_signature_is_refused() -> None:
    assert isinstance(CORP.key, ec.EllipticCurvePrivateKey)
    signed = CORP.token().rpartition(".")[0]
    der = CORP.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
    assert refusal(f"{signed}.{base64url(der)}") is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    ("of_key", "of_token"),
    [("ES384", "ES256"), ("RS256", "ES256"), ("ES256", "RS256"), ("EdDSA", "ES256"), ("ES512", "ES384")],
)
def test_a_key_verifies_only_the_algorithm_it_is_made_for(of_key: str, of_token: str) -> None:
    issuer = Issuer(algorithm=of_key, algorithms=("ES256", "ES384", "ES512", "RS256", "EdDSA"))
    token = compact(issuer.header(alg=of_token), issuer.claims(), issuer.key, of_key)
    assert refusal(token, verifier=verifier_of(issuer)) is Reason.TOKEN_ALGORITHM


def test_a_key_that_names_its_algorithm_verifies_no_other() -> None:
    issuer = Issuer(algorithm="RS256")
    snapshot = issuing.snapshot((issuer,))
    jwks = {"keys": [issuing.public_jwk(issuer.key, "corp-0", alg="RS256")]}
    key_sets = {"corp": KeySet(jwks=json.dumps(jwks), fetched_at=NOW_S)}
    verifier = Verifier(msgspec.structs.replace(snapshot, key_sets=key_sets))
    token = compact(issuer.header(alg="PS256"), issuer.claims(), issuer.key, "PS256")
    assert verify(issuer.token(), verifier=verifier).subject == "00u1alice"
    assert refusal(token, verifier=verifier) is Reason.TOKEN_ALGORITHM


# [17] persons, jobs, applications


@pytest.mark.parametrize(
    "claims",
    [
        {"idtyp": "app"},
        {"oid": "o", "tid": "t", "roles": ["Task.Read"]},
        {"gty": "client-credentials", "sub": "abc@clients"},
        {"preferred_username": "service-account-bot"},
        {"email": "bot@project.iam.gserviceaccount.com"},
        {"sub": "claude-code"},
        {"azp": None, "client_id": "bot", "sub": "bot"},
    ],
)
def test_an_application_is_no_person(claims: dict[str, Any]) -> None:
    assert refusal(CORP.token(**claims)) is Reason.TOKEN_CLAIMS


def test_a_delegated_entra_token_is_a_persons() -> None:
    assert verify(CORP.token(oid="o", tid="t", scp="access_as_user")).scopes == {"access_as_user"}


@pytest.mark.parametrize(
    "claims",
    [
        {"auth_time": NOW_S},
        {"amr": ["pwd"]},
        {"idtyp": "user"},
        {"hd": "corp.example"},
        {"oid": "o", "tid": "t", "scp": "x"},
    ],
)
def test_a_person_is_no_job(claims: dict[str, Any]) -> None:
    ci = Issuer(kind="job")
    assert verify(ci.token(), verifier=verifier_of(ci)).kind == "job"
    assert refusal(ci.token(**claims), verifier=verifier_of(ci)) is Reason.TOKEN_CLAIMS


# [18] [19] keys


def test_during_a_rotation_with_overlap_both_keys_verify() -> None:
    issuer = Issuer()
    old = issuer.token()
    issuer.rotate()
    verifier = verifier_of(issuer)
    assert [verify(token, verifier=verifier).subject for token in (old, issuer.token())] == ["00u1alice"] * 2


def test_after_a_rotation_without_overlap_only_the_new_key_verifies() -> None:
    issuer = Issuer()
    old = issuer.token()
    issuer.rotate(keep_old=False)
    verifier = verifier_of(issuer)
    assert verify(issuer.token(), verifier=verifier).subject == "00u1alice"
    assert refusal(old, verifier=verifier) is Reason.TOKEN_KEY_UNKNOWN


def test_without_keys_every_token_is_refused() -> None:
    verifier = Verifier(msgspec.structs.replace(issuing.snapshot((CORP,)), key_sets={}))
    assert refusal(CORP.token(), verifier=verifier) is Reason.KEYS_UNAVAILABLE


def test_with_a_key_set_that_must_not_be_believed_every_token_is_refused() -> None:
    leaked = json.dumps({"keys": [issuing.public_jwk(CORP.key, "corp-0", d="AQAB")]})
    key_sets = {"corp": KeySet(jwks=leaked, fetched_at=NOW_S)}
    verifier = Verifier(msgspec.structs.replace(issuing.snapshot((CORP,)), key_sets=key_sets))
    assert refusal(CORP.token(), verifier=verifier) is Reason.KEYS_UNAVAILABLE


def test_keys_of_a_day_ago_verify_nothing_even_if_nobody_takes_them_away() -> None:
    token = CORP.token(exp=NOW_S + 1000)
    fresh = Verifier(issuing.snapshot((CORP,), fetched_at=NOW_S - MAX_STALE_S + 1))
    stale = Verifier(issuing.snapshot((CORP,), fetched_at=NOW_S - MAX_STALE_S))
    assert verify(token, verifier=fresh).subject == "00u1alice"
    assert refusal(token, verifier=stale) is Reason.KEYS_UNAVAILABLE


def test_an_answer_holds_no_longer_than_its_keys_and_its_token() -> None:
    by_token = VERIFIER.judge(CORP.token(), SERVER, NOW_S)
    by_keys = Verifier(issuing.snapshot((CORP,), fetched_at=NOW_S - MAX_STALE_S + 7)).judge(CORP.token(), SERVER, NOW_S)
    assert (by_token.good_until, by_keys.good_until) == (NOW_S + 300, NOW_S + 7)
