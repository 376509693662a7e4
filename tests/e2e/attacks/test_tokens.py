"""Tokens that are none of ours, over the wire: each is refused with its status, nothing reaches a server, and the book has the attempt."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.attacks import table
from tests.e2e.attacks.ground import CALL, Attempt, Ground
from tests.e2e.gate import ISSUER_URL
from tests.issuing import Issuer, base64url, compact, private_key, public_jwk

pytestmark = pytest.mark.e2e


class Case(msgspec.Struct, frozen=True):
    """A token by its maker, and what it gets."""

    make: Callable[[Ground], str]
    reason: str
    status: int = 401
    number: int | None = None
    """In the table of attacks."""


def good(place: Ground, **claims: Any) -> dict[str, Any]:
    """The claims of a good token of now."""
    now = int(time.time())
    base = {"iss": place.people.url, "sub": "alice", "aud": f"{place.gate.base}/payments/mcp", "azp": "client"}
    base |= {"groups": ["support"], "iat": now, "exp": now + 300, "jti": "j"}  # type: ignore[dict-item]
    return {name: value for name, value in (base | claims).items() if value is not ...}


def signed(place: Ground, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A good token but for `header` and `claims`; a value of `...` leaves the claim out."""
    return compact(place.people.header(**(header or {})), good(place, **claims), place.people.key, "ES256")


def public(issuer: Issuer, encoding: Encoding) -> bytes:
    return issuer.key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


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


def numbered(number: int | None, cases: dict[str, Case]) -> dict[str, Case]:
    """The cases as those of one number in the table of attacks."""
    return {name: msgspec.structs.replace(case, number=number) for name, case in cases.items()}


def hmac_forms(issuer_of: Callable[[Ground], Issuer], kind: str) -> dict[str, Case]:
    """HS256 by a token of this issuer, with each form of its public key as the secret."""
    forms: dict[str, Callable[[Issuer], bytes]] = {
        "PEM": lambda issuer: public(issuer, Encoding.PEM),
        "PEM without the last line end": lambda issuer: public(issuer, Encoding.PEM).rstrip(),
        "DER": lambda issuer: public(issuer, Encoding.DER),
        "JWK": lambda issuer: json.dumps(issuer.jwks()["keys"][0]).encode(),
    }

    def forged(form: Callable[[Issuer], bytes]) -> Callable[[Ground], str]:
        def make(place: Ground) -> str:
            issuer = issuer_of(place)
            return compact(issuer.header(alg="HS256"), good(place, iss=issuer.url), form(issuer), "HS256")

        return make

    return {
        f"HS256 with the {kind} public key as {name}": Case(forged(form), ALGORITHM) for name, form in forms.items()
    }


def other_s(place: Ground) -> str:
    """A good token with the other of its two valid signatures."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

    def change(raw: bytes) -> bytes:
        return raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")

    return with_signature(place, change)


CASES: dict[str, Case] = {
    **numbered(1, {f"alg {name}": Case(unsigned(name), ALGORITHM) for name in ("none", "None", "NONE", "nOnE")}),
    **numbered(2, {**hmac_forms(lambda place: place.people, "EC"), **hmac_forms(lambda place: place.rsa, "RSA")}),
    **numbered(3, {
        "jwk": Case(lambda place: compact(place.people.header(jwk=public_jwk(OWN, "own")), good(place), OWN, "ES256"), BAD),
    }),
    **numbered(4, {
        name: Case(of({name: value}), BAD)
        for name, value in (("jku", "http://127.0.0.1:1/jwks"), ("x5u", "http://127.0.0.1:1/cert"), ("x5c", ["MIIB"]))
    }),
    **numbered(5, {
        "kid is a path": Case(of({"kid": "../../../../dev/null"}), "token_key_unknown"),
        "kid is SQL": Case(of({"kid": "' UNION SELECT 'x' --"}), "token_key_unknown"),
        "kid with a null": Case(of({"kid": "corp-0\x00"}), "token_key_unknown"),
        "kid of 10 kB": Case(of({"kid": "k" * 10_000}), BAD),
        "kid missing": Case(of({"kid": None}), BAD),
        "kid of another issuer": Case(lambda place: compact(
            place.people.header(kid=place.jobs.kids[0]), good(place), place.jobs.key, "ES256"), "token_key_unknown"),
        **{
            f"kid that two keys of the set have, signed by the {which}": Case(lambda place, which=which: compact(
                place.twins.header(kid="twin"), good(place, iss=place.twins.url), private_key("ES256", f"twin {which}"), "ES256"), "token_key_unknown")
            for which in ("one", "two")
        },
    }),
    **numbered(6, {
        "crit": Case(of({"crit": ["exp"], "exp": 1}), BAD),
        "crit unknown": Case(of({"crit": ["urn:example:x"], "urn:example:x": 1}), BAD),
        "b64": Case(of({"crit": ["b64"], "b64": False}), BAD),
    }),
    **numbered(7, {
        "passed by a second over the leeway": Case(soon(exp=-61, iat=-400), "token_expired"),
        "a fraction, long passed": Case(of(exp=1.5, iat=1), "token_expired"),
        **{f"exp {value!r}": Case(of(exp=value), CLAIMS) for value in ("4102444800", -1, -1.5, 1e308, True, None, [4102444800])},
        "exp missing": Case(of(exp=...), CLAIMS),
    }),
    **numbered(8, {
        "nbf in the future": Case(soon(nbf=120), "token_not_yet_valid"),
        "iat in the future": Case(soon(iat=120, exp=400), "token_not_yet_valid"),
    }),
    **numbered(9, {
        "aud of somebody else": Case(audience(lambda ours: "account"), "token_audience"),
        "aud with others": Case(audience(lambda ours: [ours, "account"]), "token_audience"),
        "aud twice": Case(audience(lambda ours: [ours, ours]), "token_audience"),
        "aud a prefix": Case(audience(lambda ours: ours[:-4]), "token_audience"),
        "aud with a slash": Case(audience(lambda ours: ours + "/"), "token_audience"),
        "aud in another case": Case(audience(str.upper), "token_audience"),
        "aud missing": Case(of(aud=...), "token_audience"),
    }),
    **numbered(10, {
        **{
            f"iss {name}": Case(of(iss=value), "token_issuer")
            for name, value in (
                ("with a slash", "http://127.0.0.1/idp/"), ("in another case", "HTTP://127.0.0.1/idp"),
                ("of another realm", "http://127.0.0.1/idp2"), ("with a port", "http://127.0.0.1:80/idp"), ("a list", ["http://127.0.0.1/idp"]),
                ("missing", ...),
            )
        },
        # Two tenants of one provider sign with the same keys; only the first is configured.
        "another tenant, same keys": Case(of(iss=f"{ISSUER_URL}/tenant-2/v2.0", tid="tenant-2", oid="o", scp="x"), "token_issuer"),
    }),
    **numbered(12, {
        "aud of another endpoint": Case(audience(lambda ours: ours.replace("payments", "everything")), "token_audience"),
    }),
    **numbered(15, {
        "an encrypted one": Case(lambda place: ".".join(base64url(b'{"alg":"dir","enc":"A256GCM","zip":"DEF"}') for _ in range(5)), BAD),
        "claims compressed": Case(of({"zip": "DEF"}), BAD),
        "claims nested deep": Case(of(deep=json.loads("[" * 60 + "]" * 60)), BAD),
        "claims nested 4,000 deep": Case(lambda place: respelt(place, lambda text: text[:-1] + ', "deep": ' + "[" * 4000 + "]" * 4000 + "}"), BAD),
        "a claim twice": Case(lambda place: respelt(place, lambda text: text.replace('"sub"', '"sub": "root", "sub"')), BAD),
        "an escaped claim twice": Case(
            lambda place: respelt(place, lambda text: text.replace('"sub"', '"\\u0073ub": "root", "sub"')), BAD
        ),
        "a header member twice": Case(lambda place: compact(
            json.dumps(place.people.header()).replace('"alg"', '"alg": "none", "alg"'), good(place), place.people.key, "ES256"), BAD),
        "a lone surrogate": Case(lambda place: respelt(place, lambda text: text.replace("alice", "\\ud800")), BAD),
    }),
    **numbered(16, {
        "r and s zero": Case(lambda place: with_signature(place, lambda raw: bytes(64)), BAD),
        "s zero": Case(lambda place: with_signature(place, lambda raw: raw[:32] + bytes(32)), BAD),
        "truncated": Case(lambda place: with_signature(place, lambda raw: raw[:-1]), BAD),
        "padded with zeros": Case(lambda place: with_signature(place, lambda raw: raw + b"\0"), BAD),
        "empty signature": Case(lambda place: with_signature(place, lambda raw: b""), BAD),
        "another key": Case(lambda place: compact(place.people.header(), good(place), OWN, "ES256"), BAD),
        "P-384 under ES256": Case(lambda place: compact(place.people.header(), good(place), P384, "ES256"), BAD),
        "a claim changed": Case(
            lambda place: signed(place).replace(".", "." + base64url(json.dumps(good(place, sub="root")).encode()) + ".", 1)
            .rpartition(".")[0].rpartition(".")[0] + "." + signed(place).rpartition(".")[2], BAD,
        ),
    }),
    # 17, 11: persons and jobs, other kinds of token
    "an application as a person": Case(of(idtyp="app"), CLAIMS),
    "a client as its own subject": Case(of(sub="client"), CLAIMS),
    "an application of Entra": Case(of(oid="o", tid="t", roles=["x"]), CLAIMS),
    "an ID token": Case(of(nonce="n"), "token_type"),
    "a refresh token": Case(of(typ="Refresh"), "token_type"),
    "a bound token": Case(of(cnf={"jkt": "x"}), "token_type"),
    **numbered(76, {
        "the gate's clock five minutes ahead: the token has just expired": Case(soon(iat=-600, nbf=-600, exp=-300), "token_expired"),
        "the gate's clock five minutes behind: the token was just issued": Case(soon(iat=300, nbf=300, exp=600), "token_not_yet_valid"),
    }),
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
    entry = place.refused(attempt.address) if case.number is None else place.held(case.number, name, attempt)
    assert (entry.ev, entry.out.reason, entry.res.server) == ("auth.failed", case.reason, "payments")
    assert (entry.who.kind, entry.who.sub) == ("unknown", "unauthenticated")


def test_the_good_token_that_the_cases_vary_is_accepted(place: Ground) -> None:
    address = place.address()
    answer = place.ask(bearer=place.noted(signed(place)), address=address)
    assert answer.status == 200 and b"fine" in answer.body
    entries = place.entries(lambda entries: len(entries) == 2, address)
    assert [entry.ev for entry in entries] == ["call.intent", "call.result"]


def test_the_other_of_two_valid_signatures_is_the_same_caller(place: Ground) -> None:
    """High s. RFC 7518 §3.4 prefers neither, and issuers send both half of the time: to refuse one would refuse honest callers."""
    attempt = place.attempt(lambda address: place.ask(bearer=place.noted(other_s(place)), address=address))
    assert attempt.answer.status == 200
    entries = place.entries(lambda entries: len(entries) == 2, attempt.address)
    assert {entry.who.sub for entry in entries} == {"alice"}
    table.saw(
        16, "high s: the other of two valid signatures", "HTTP 200, as the same caller", table.in_words(entries[-1])
    )


def test_issuers_that_the_cases_vary_sign_good_tokens_too(place: Ground) -> None:
    for issuer in (place.rsa, place.twins):
        made = compact(issuer.header(), good(place, iss=issuer.url), issuer.key, issuer.algorithm)
        assert place.ask(bearer=place.noted(made)).reason == "denied"  # known, and without a role


def test_a_token_of_one_endpoint_opens_no_other(place: Ground) -> None:
    token = place.token(server="payments")
    attempt = place.attempt(lambda address: place.ask(bearer=token, server="everything", address=address))
    assert (attempt.answer.status, attempt.answer.reason) == (401, "token_audience")
    assert place.held(12, "presented at the other endpoint", attempt).res.server == "everything"


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
    made = place.noted(Issuer().token(sub="x" * 100) + "A" * (1 << 20))
    attempt = place.attempt(lambda address: place.raw(place.post(b"{}", bearer=made), address))
    assert (attempt.arrived, attempt.answer.status) == (b"", 431)
    assert place.held(15, "a token of a megabyte", attempt).out.reason == "too_large"


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
    assert place.held(14, name, attempt).out.reason == reason


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_read_in_any_case(place: Ground, scheme: str) -> None:
    """RFC 9110 §11.1: the scheme's case means nothing, so nothing may hang on it."""
    headers = {"Authorization": f"{scheme} {place.token()}"}
    attempt = place.attempt(lambda address: place.ask(headers=headers, address=address))
    assert attempt.answer.status == 200
    entries = place.entries(lambda entries: len(entries) == 2, attempt.address)
    table.saw(14, f"the scheme as {scheme!r}", "HTTP 200, as the caller", table.in_words(entries[-1]))


HEADERS: dict[str, bytes] = {
    "two headers": b"Authorization: Bearer {}\r\nAuthorization: Bearer {}\r\n",
    "a good one and a bad one": b"Authorization: Bearer x\r\nAUTHORIZATION: Bearer {}\r\n",
    "folded": b"Authorization: Bearer\r\n {}\r\n",
    "folded with a tab": b"Authorization:\r\n\tBearer {}\r\n",
    "a space before the colon": b"Authorization : Bearer {}\r\n",
    "a line feed alone": b"X: 1\nAuthorization: Bearer {}\r\n",
    "a null": b"Authorization: Bearer {}\0\r\n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_an_authorization_that_two_readers_could_take_apart_differently_is_no_request(place: Ground, name: str) -> None:
    fields, body = HEADERS[name], json.dumps(CALL).encode()
    head = b"POST /payments/mcp HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n" % place.gate.port
    made = place.token().encode()
    whole = head + fields.replace(b"{}", made) + b"Content-Length: %d\r\n\r\n" % len(body) + body
    attempt = place.attempt(lambda address: place.raw(whole, address))
    assert (attempt.arrived, [answer.status for answer in attempt.got]) == (b"", [400])
    assert place.held(14, name, attempt).out.reason == "bad_request"


@pytest.mark.parametrize("target", ["/payments/mcp?access_token={}", "/payments/mcp?x=1&access%5ftoken={}"])
def test_a_token_in_the_query_is_not_taken(place: Ground, target: str) -> None:
    made = place.token()
    line = f"POST {target.replace('{}', made)} HTTP/1.1"
    attempt = place.attempt(lambda address: place.raw(place.post(b"{}", bearer=made, line=line), address))
    assert (attempt.arrived, attempt.answer.status) == (b"", 404)
    assert place.held(14, f"in the query: {target.partition('?')[2]}", attempt).out.reason == "not_found"


def test_a_token_in_a_form_is_not_taken(place: Ground) -> None:
    form, headers = b"access_token=" + place.token().encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    attempt = place.attempt(lambda address: place.ask(form, headers=headers, address=address))
    assert (attempt.arrived, attempt.answer.status, attempt.answer.reason) == (b"", 401, "credential_missing")
    assert place.held(14, "in a form in the body", attempt).out.reason == "credential_missing"


def test_many_attempts_of_one_source_are_one_entry_that_counts(place: Ground) -> None:
    address = place.address()
    for _ in range(20):
        assert place.ask(address=address).status == 401
    entries = place.entries(bool, address)
    assert {entry.ev for entry in entries} == {"auth.failed"}
    assert len(entries) <= 2  # one per worker: the first of its window; the others are counted until it ends
    assert [entry.x["attempts"] for entry in entries] == [1] * len(entries)
    table.saw(
        14,
        "20 requests without a token from one source",
        "HTTP 401, 1401 `credential_missing`, each",
        "`auth.failed` `credential_missing`, counted",
    )
