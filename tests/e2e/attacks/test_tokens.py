"""Tokens that are none of ours, over the wire: each is refused with its status, nothing reaches a server, and the book has the attempt."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.attacks.ground import CALL, Attempt, Ground
from tests.issuing import Issuer, base64url, compact, private_key, public_jwk

pytestmark = pytest.mark.e2e


class Case(msgspec.Struct, frozen=True):
    """A token by its maker, and what it gets."""

    make: Callable[[Ground], str]
    reason: str
    status: int = 401


def good(place: Ground, **claims: Any) -> dict[str, Any]:
    """The claims of a good token of now."""
    now = int(time.time())
    base = {"iss": place.people.url, "sub": "alice", "aud": f"{place.gate.base}/payments/mcp", "azp": "client"}
    base |= {"groups": ["support"], "iat": now, "exp": now + 300, "jti": "j"}  # type: ignore[dict-item]
    return {name: value for name, value in (base | claims).items() if value is not ...}


def signed(place: Ground, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A good token but for `header` and `claims`; a value of `...` leaves the claim out."""
    return compact(place.people.header(**(header or {})), good(place, **claims), place.people.key, "ES256")


def hmac_with(form: Callable[[Ground], bytes]) -> Callable[[Ground], str]:
    return lambda place: compact(place.people.header(alg="HS256"), good(place), form(place), "HS256")


def public(place: Ground, encoding: Encoding) -> bytes:
    return place.people.key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def respelt(place: Ground, change: Callable[[str], str]) -> str:
    """Claims as text, changed, and signed by the issuer all the same."""
    return compact(place.people.header(), change(json.dumps(good(place))), place.people.key, "ES256")


def with_signature(place: Ground, change: Callable[[bytes], bytes]) -> str:
    start, _, signature = signed(place).rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    return f"{start}.{base64url(change(raw))}"


def unsigned(algorithm: str) -> Callable[[Ground], str]:
    return lambda place: compact(place.people.header(alg=algorithm), good(place), b"", "none")


def of(header: dict[str, Any] | None = None, **claims: Any) -> Callable[[Ground], str]:
    return lambda place: signed(place, header, **claims)


def soon(**offsets: float) -> Callable[[Ground], str]:
    return lambda place: signed(place, **{name: int(time.time()) + offset for name, offset in offsets.items()})


def audience(change: Callable[[str], object]) -> Callable[[Ground], str]:
    return lambda place: signed(place, aud=change(f"{place.gate.base}/payments/mcp"))


P384 = private_key("ES384", "attack")
OWN = private_key("ES256", "attack")
BAD, ALGORITHM, CLAIMS = "token_invalid", "token_algorithm", "token_claims"

CASES: dict[str, Case] = {
    # 1, 2: algorithms
    **{f"alg {name}": Case(unsigned(name), ALGORITHM) for name in ("none", "None", "NONE", "nOnE")},
    "HS256 with the public key as PEM": Case(hmac_with(lambda place: public(place, Encoding.PEM)), ALGORITHM),
    "HS256 with the public key as DER": Case(hmac_with(lambda place: public(place, Encoding.DER)), ALGORITHM),
    "HS256 with the public key as JWK": Case(
        hmac_with(lambda place: json.dumps(place.people.jwks()["keys"][0]).encode()), ALGORITHM
    ),
    # 3, 4: keys that come with the token
    "jwk": Case(
        lambda place: compact(place.people.header(jwk=public_jwk(OWN, "own")), good(place), OWN, "ES256"), BAD
    ),
    **{
        name: Case(of({name: value}), BAD)
        for name, value in (("jku", "http://127.0.0.1:1/jwks"), ("x5u", "http://127.0.0.1:1/cert"), ("x5c", ["MIIB"]))
    },
    # 5: kid
    "kid is a path": Case(of({"kid": "../../../../dev/null"}), "token_key_unknown"),
    "kid is SQL": Case(of({"kid": "' UNION SELECT 'x' --"}), "token_key_unknown"),
    "kid with a null": Case(of({"kid": "corp-0\x00"}), "token_key_unknown"),
    "kid of 10 kB": Case(of({"kid": "k" * 10_000}), BAD),
    "kid missing": Case(of({"kid": None}), BAD),
    "kid of another issuer": Case(lambda place: compact(
        place.people.header(kid=place.jobs.kids[0]), good(place), place.jobs.key, "ES256"), "token_key_unknown"),
    # 6: crit
    "crit": Case(of({"crit": ["exp"], "exp": 1}), BAD),
    "b64": Case(of({"crit": ["b64"], "b64": False}), BAD),
    # 7, 8: time
    "expired past the leeway": Case(soon(exp=-61, iat=-400), "token_expired"),
    **{
        f"exp {value!r}": Case(of(exp=value), CLAIMS)
        for value in ("4102444800", -1, 1e308, True, None, ..., [4102444800])
    },
    "nbf in the future": Case(soon(nbf=120), "token_not_yet_valid"),
    "iat in the future": Case(soon(iat=120, exp=400), "token_not_yet_valid"),
    # 9, 12: audience
    "aud with others": Case(audience(lambda ours: [ours, "account"]), "token_audience"),
    "aud twice": Case(audience(lambda ours: [ours, ours]), "token_audience"),
    "aud a prefix": Case(audience(lambda ours: ours[:-4]), "token_audience"),
    "aud with a slash": Case(audience(lambda ours: ours + "/"), "token_audience"),
    "aud in another case": Case(audience(str.upper), "token_audience"),
    "aud of another endpoint": Case(audience(lambda ours: ours.replace("payments", "everything")), "token_audience"),
    "aud missing": Case(of(aud=...), "token_audience"),
    # 10: issuer
    **{
        f"iss {name}": Case(of(iss=value), "token_issuer")
        for name, value in (
            ("with a slash", "http://127.0.0.1/idp/"), ("in another case", "HTTP://127.0.0.1/idp"),
            ("of another realm", "http://127.0.0.1/idp2"), ("with a port", "http://127.0.0.1:80/idp"), ("a list", ["http://127.0.0.1/idp"]),
            ("missing", ...),
        )
    },
    # 15: size, encryption, depth, duplicates
    "an encrypted one": Case(lambda place: ".".join(base64url(b'{"alg":"dir","enc":"A256GCM","zip":"DEF"}') for _ in range(5)), BAD),
    "claims compressed": Case(of({"zip": "DEF"}), BAD),
    "claims nested deep": Case(of(deep=json.loads("[" * 60 + "]" * 60)), BAD),
    "a claim twice": Case(lambda place: respelt(place, lambda text: text.replace('"sub"', '"sub": "root", "sub"')), BAD),
    "an escaped claim twice": Case(
        lambda place: respelt(place, lambda text: text.replace('"sub"', '"\\u0073ub": "root", "sub"')), BAD
    ),
    "a lone surrogate": Case(lambda place: respelt(place, lambda text: text.replace("alice", "\\ud800")), BAD),
    # 16: signatures
    "r and s zero": Case(lambda place: with_signature(place, lambda raw: bytes(64)), BAD),
    "truncated": Case(lambda place: with_signature(place, lambda raw: raw[:-1]), BAD),
    "padded with zeros": Case(lambda place: with_signature(place, lambda raw: raw + b"\0"), BAD),
    "empty signature": Case(lambda place: with_signature(place, lambda raw: b""), BAD),
    "another key": Case(lambda place: compact(place.people.header(), good(place), OWN, "ES256"), BAD),
    "P-384 under ES256": Case(lambda place: compact(place.people.header(), good(place), P384, "ES256"), BAD),
    "a claim changed": Case(
        lambda place: signed(place).replace(".", "." + base64url(json.dumps(good(place, sub="root")).encode()) + ".", 1)
        .rpartition(".")[0].rpartition(".")[0] + "." + signed(place).rpartition(".")[2], BAD,
    ),
    # 17: persons and jobs
    "an application as a person": Case(of(idtyp="app"), CLAIMS),
    "a client as its own subject": Case(of(sub="client"), CLAIMS),
    "an application of Entra": Case(of(oid="o", tid="t", roles=["x"]), CLAIMS),
    "an ID token": Case(of(nonce="n"), "token_type"),
    "a refresh token": Case(of(typ="Refresh"), "token_type"),
    "a bound token": Case(of(cnf={"jkt": "x"}), "token_type"),
}  # fmt: skip


@pytest.fixture(scope="module")
def attempts(place: Ground) -> dict[str, Attempt]:
    """Every case, made."""

    def attempt(case: Case) -> Attempt:
        return place.attempt(lambda address: place.ask(bearer=place.noted(case.make(place)), address=address))

    return {name: attempt(case) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_token_that_is_none_of_ours_is_refused_and_recorded(
    place: Ground, attempts: dict[str, Attempt], name: str
) -> None:
    attempt, case = attempts[name], CASES[name]
    answer, challenge = attempt.answer, attempt.answer.headers["www-authenticate"]
    assert attempt.arrived == b""
    assert (answer.status, answer.reason, answer.error["code"]) == (case.status, case.reason, 1401)
    assert 'error="invalid_token"' in challenge
    assert f'resource_metadata="{place.gate.base}/.well-known/oauth-protected-resource/payments/mcp"' in challenge
    entry = place.refused(attempt.address)
    assert (entry.ev, entry.out.reason, entry.res.server) == ("auth.failed", case.reason, "payments")
    assert (entry.who.kind, entry.who.sub) == ("unknown", "unauthenticated")


def test_the_good_token_that_the_cases_vary_is_accepted(place: Ground) -> None:
    address = place.address()
    answer = place.ask(bearer=place.noted(signed(place)), address=address)
    assert answer.status == 200 and b"fine" in answer.body
    entries = place.entries(lambda entries: len(entries) == 2, address)
    assert [entry.ev for entry in entries] == ["call.intent", "call.result"]


def test_a_token_of_one_endpoint_opens_no_other(place: Ground) -> None:
    address = place.address()
    answer = place.ask(bearer=place.token(server="payments"), server="everything", address=address)
    assert (answer.status, answer.reason) == (401, "token_audience")
    assert place.refused(address).res.server == "everything"


@pytest.mark.parametrize(
    ("kind", "claims", "reason"),
    [
        ("job", {"sub": "repo:x", "amr": ["pwd"]}, "token_claims"),
        ("job", {"sub": "repo:x", "auth_time": 1}, "token_claims"),
        ("job", {"sub": "repo:x"}, None),
    ],
)
def test_a_person_is_no_job_and_a_job_has_no_persons_role(
    place: Ground, kind: str, claims: dict[str, Any], reason: str | None
) -> None:
    address, issuer = place.address(), place.jobs
    made = place.noted(compact(issuer.header(), good(place, iss=issuer.url, **claims), issuer.key, "ES256"))
    with place.nothing_arrives():
        answer = place.ask(bearer=made, address=address)
    entry = place.refused(address)
    if reason is not None:
        assert (answer.status, answer.reason, entry.out.reason) == (401, reason, reason)
    else:
        assert (answer.status, answer.reason) == (200, "denied")
        assert (entry.who.kind, entry.who.sub, entry.out.reason) == (kind, "repo:x", "denied")


def test_a_token_of_a_megabyte_is_refused_before_it_is_read(place: Ground) -> None:
    address = place.address()
    made = place.noted(Issuer().token(sub="x" * 100) + "A" * (1 << 20))
    with place.nothing_arrives():
        [answer] = place.raw(place.post(b"{}", bearer=made), address)
    assert answer.status == 431
    assert place.refused(address).out.reason == "too_large"


# 14: where the token stands

VALUES: dict[str, tuple[str, int, str]] = {
    "none": ("", 401, "credential_missing"),
    "another scheme": ("Basic {}", 401, "credential_missing"),
    "only the scheme": ("Bearer", 400, "credential_malformed"),
    "two tokens": ("Bearer {} {}", 400, "credential_malformed"),
    "comma-joined": ("Bearer {}, Bearer {}", 400, "credential_malformed"),
    "quoted": ('Bearer "{}"', 400, "credential_malformed"),
    "a parameter": ("Bearer token={}", 400, "credential_malformed"),
    "a tab": ("Bearer\t{}", 400, "credential_malformed"),
    "not ASCII": ("Bearer {}\xe9", 400, "credential_malformed"),
}


@pytest.fixture(scope="module")
def misplaced(place: Ground) -> dict[str, Attempt]:
    """Every header of VALUES, sent."""

    def attempt(value: str) -> Attempt:
        headers = {"Authorization": value.replace("{}", place.token())}
        return place.attempt(lambda address: place.ask(headers=headers, address=address))

    return {name: attempt(value) for name, (value, _, _) in VALUES.items()}


@pytest.mark.parametrize("name", VALUES)
def test_an_authorization_header_that_holds_no_single_token_is_refused(
    place: Ground, misplaced: dict[str, Attempt], name: str
) -> None:
    attempt, (_, status, reason) = misplaced[name], VALUES[name]
    assert (attempt.answer.status, attempt.answer.reason, attempt.arrived) == (status, reason, b"")
    assert place.refused(attempt.address).out.reason == reason


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_read_in_any_case(place: Ground, scheme: str) -> None:
    answer = place.ask(headers={"Authorization": f"{scheme} {place.token()}"})
    assert answer.status == 200


HEADERS: dict[str, bytes] = {
    "two headers": b"Authorization: Bearer {}\r\nAuthorization: Bearer {}\r\n",
    "a good one and a bad one": b"Authorization: Bearer x\r\nAUTHORIZATION: Bearer {}\r\n",
    "folded": b"Authorization: Bearer\r\n {}\r\n",
    "folded with a tab": b"Authorization:\r\n\tBearer {}\r\n",
    "a space before the colon": b"Authorization : Bearer {}\r\n",
    "a line feed alone": b"X: 1\nAuthorization: Bearer {}\r\n",
    "a null": b"Authorization: Bearer {}\0\r\n",
}


@pytest.mark.parametrize("fields", HEADERS.values(), ids=HEADERS)
def test_an_authorization_that_two_readers_could_take_apart_differently_is_no_request(
    place: Ground, fields: bytes
) -> None:
    address, body = place.address(), json.dumps(CALL).encode()
    head = b"POST /payments/mcp HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n" % place.gate.port
    made = place.token().encode()
    with place.nothing_arrives():
        found = place.raw(
            head + fields.replace(b"{}", made) + b"Content-Length: %d\r\n\r\n" % len(body) + body, address
        )
    assert [answer.status for answer in found] == [400]
    assert place.refused(address).out.reason == "bad_request"


@pytest.mark.parametrize("target", ["/payments/mcp?access_token={}", "/payments/mcp?x=1&access%5ftoken={}"])
def test_a_token_in_the_query_is_not_taken(place: Ground, target: str) -> None:
    address, made = place.address(), place.token()
    line = f"POST {target.replace('{}', made)} HTTP/1.1"
    with place.nothing_arrives():
        [answer] = place.raw(place.post(b"{}", bearer=made, line=line), address)
    assert answer.status == 404
    assert place.refused(address).out.reason == "not_found"


def test_a_token_in_a_form_is_not_taken(place: Ground) -> None:
    address, made = place.address(), place.token()
    with place.nothing_arrives():
        answer = place.ask(
            b"access_token=" + made.encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            address=address,
        )
    assert (answer.status, answer.reason) == (401, "credential_missing")
    assert place.refused(address).out.reason == "credential_missing"


def test_many_attempts_of_one_source_are_one_entry_that_counts(place: Ground) -> None:
    address = place.address()
    for _ in range(20):
        assert place.ask(address=address).status == 401
    entries = place.entries(bool, address)
    assert {entry.ev for entry in entries} == {"auth.failed"}
    assert len(entries) <= 2  # one per worker: the first of its window; the others are counted until it ends
    assert [entry.x["attempts"] for entry in entries] == [1] * len(entries)
