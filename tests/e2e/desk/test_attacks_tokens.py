"""Attacks with tokens of the wrong kind, and with guesses, on the desk and on the gate behind it. Numbers are those of docs/attacks.md.

Also with tokens that the desk's own key signed: the test reads it, as nobody else can.
"""

import base64
import json
import secrets
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from tests.e2e.desk import CALLBACK, CLIENT_ID, Place, place
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import Person
from tests.issuing import compact, private_key, public_jwk

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

ALICE = Person(sub="00u1alice", groups=("support",), amr=("pwd", "otp"))
OTHER_CLIENT = "https://claude.ai/oauth/claude-code-client-metadata"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
BEARER_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
WORKLOAD = """
[[workload]]
name = "ci"
url = "http://localhost:1/ci"
owner = "Payments platform team"
match = [{ sub = "batch/7" }]
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("kinds"), WORKLOAD) as here:
        yield here


@pytest.fixture(scope="module")
def tokens(here: Place) -> dict[str, Any]:
    return here.log_in(here.browser(ALICE))


def at_the_gate(here: Place, scheme: str, token: str, **headers: str) -> tuple[int, str]:
    """The status and the challenge of one call with this Authorization header."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    stated = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}
    status, answered, _ = here.gate.post(
        "payments", message, headers={"authorization": f"{scheme} {token}", **stated, **headers}
    )
    return status, answered.get("www-authenticate", "")


def refused_at_the_gate(here: Place, reasons: set[str]) -> None:
    """Each of these reasons has an entry `auth.failed`: the first of a source and a reason is written at once."""
    for _ in range(20):
        lines = here.gate.command("log", "--json", "--failed", "--limit", "1000").stdout.splitlines()
        entries = [json.loads(line) for line in lines]
        missing = reasons - {entry["out"]["reason"] for entry in entries if entry["ev"] == "auth.failed"}
        if not missing:
            return
        time.sleep(0.2)
    raise AssertionError(f"no entry for {missing}")


def a_code(here: Place) -> tuple[str, str]:
    """A code, and its verifier."""
    verifier = secrets.token_urlsafe(48)
    return here.browser(ALICE).visit(here.request(verifier=verifier)).answer["code"], verifier


def redeem(here: Place, code: str, verifier: str, **form: str) -> httpx2.Response:
    base = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
    return here.token(**{**base, **form})


# 11: tokens of another kind


def test_no_other_token_of_a_login_is_an_access_token(here: Place, tokens: dict[str, Any]) -> None:
    theirs = here.idp.log_in(ALICE, audience=here.resource("payments"))
    code, _ = a_code(here)
    for other in (theirs.id_token, theirs.access_token, tokens["refresh_token"], code, CLIENT_ID, "gbr1.x.y.z"):
        assert at_the_gate(here, "Bearer", other)[0] == 401, other
        assert other == tokens["refresh_token"] or here.refresh(other).json()["error"] == "invalid_grant", other
    assert here.call(tokens["access_token"]) == 200
    refused_at_the_gate(here, {"token_invalid"})


def as_the_desk(here: Place, token: str, header: dict[str, Any], **changed: Any) -> str:
    """The claims of `token`, some changed, some taken away (None), signed again by the desk's own key."""
    key = ECKey.import_key(json.loads((here.gate.data_dir / "keys" / "desk-signing.jwk").read_bytes()))
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")) | changed
    head = {"alg": "ES256", "typ": "at+jwt", "kid": key.thumbprint()} | header
    kept = [{name: value for name, value in each.items() if value is not None} for each in (head, claims)]
    return jws.serialize_compact(kept[0], json.dumps(kept[1]), key, algorithms=["ES256"])


BOUND = {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}
OF_OUR_KEY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no typ": ({"typ": None}, {}),
    "typ JWT": ({"typ": "JWT"}, {}),
    "an ID-JAG": ({"typ": "oauth-id-jag+jwt"}, {}),
    "a DPoP proof": ({"typ": "dpop+jwt"}, {}),
    "a logout token": ({"typ": "logout+jwt"}, {}),
    "an ID token": ({"typ": "JWT"}, {"nonce": "n", "at_hash": "x"}),
    "bound to a key": ({}, BOUND),
    "bound to a certificate": ({}, {"cnf": {"x5t#S256": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
    "bound to nothing": ({}, {"cnf": {}}),
}


@pytest.mark.parametrize(("header", "changed"), OF_OUR_KEY.values(), ids=OF_OUR_KEY.keys())
def test_what_our_own_key_signed_for_another_purpose_is_no_access_token(
    here: Place, tokens: dict[str, Any], header: dict[str, Any], changed: dict[str, Any]
) -> None:
    """11 and 41, at the gate. The same claims as an access token are good: what differs is refused, not the signature."""
    fresh = here.log_in(here.browser(ALICE))["access_token"]
    assert at_the_gate(here, "Bearer", as_the_desk(here, fresh, {}))[0] == 200
    status, told = at_the_gate(here, "Bearer", as_the_desk(here, fresh, header, **changed))
    assert (status, 'error="invalid_token"' in told) == (401, True)
    refused_at_the_gate(here, {"token_type"})


# 41: proofs of possession


def proof(here: Place, key: Any, token: str, **changed: Any) -> str:
    """RFC 9449 §4.2, well-formed unless changed."""
    import hashlib

    claims = {
        "htm": "POST", "htu": here.gate.url("payments"), "iat": int(time.time()), "jti": str(uuid.uuid4()),
        "ath": base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode(),
    }  # fmt: skip
    jwk = changed.pop("jwk", public_jwk(key, "x"))
    return compact({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk}, {**claims, **changed}, key, "ES256")


PROOFS: dict[str, dict[str, Any]] = {
    "sound": {},
    "another address": {"htu": "https://evil.example/mcp"},
    "another method": {"htm": "GET"},
    "an hour old": {"iat": 1},
    "of another token": {"ath": "AAAA"},
    "with a private key": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}},
    "of no key": {"jwk": {}},
}


@pytest.mark.parametrize("changed", PROOFS.values(), ids=PROOFS.keys())
def test_a_proof_of_possession_adds_nothing_and_its_scheme_opens_nothing(here: Place, changed: dict[str, Any]) -> None:
    key = private_key("ES256", "dpop")
    held = here.log_in(here.browser(ALICE))["access_token"]
    made = proof(here, key, held, **changed)
    status, told = at_the_gate(here, "DPoP", held, dpop=made)
    assert status == 401 and told.startswith("Bearer "), "what is offered is Bearer alone"
    assert at_the_gate(here, "Bearer", made)[0] == 401, "a proof is no token"
    bound = as_the_desk(here, held, {}, **BOUND)
    assert at_the_gate(here, "Bearer", bound, dpop=made)[0] == 401, "nor does it open a bound token"
    assert at_the_gate(here, "Bearer", held, dpop=made)[0] == 200, "beside a good token it is not read"
    refused_at_the_gate(here, {"credential_missing", "token_type"})


@pytest.mark.parametrize("dpop", ["x", "a.b.c", "sound"])
def test_a_proof_at_the_desk_binds_nothing(here: Place, dpop: str) -> None:
    """Metadata offer no DPoP; a client that sends a proof gets what it would have got, and is told that it is a Bearer token."""
    assert (
        "dpop_signing_alg_values_supported"
        not in here.http.get(f"{here.issuer}/.well-known/oauth-authorization-server").json()
    )
    verifier = secrets.token_urlsafe(48)
    page = here.browser(ALICE).visit(here.request(verifier=verifier, dpop_jkt=BOUND["cnf"]["jkt"]))
    made = proof(here, private_key("ES256", "dpop"), "") if dpop == "sound" else dpop
    form = {
        "grant_type": "authorization_code", "client_id": CLIENT_ID, "code": page.answer["code"], "redirect_uri": CALLBACK,
        "code_verifier": verifier,
    }  # fmt: skip
    answer = here.http.post(f"{here.issuer}/oauth/token", data=form, headers={"dpop": made}).json()
    assert answer["token_type"] == "Bearer"
    claims = json.loads(base64.urlsafe_b64decode(answer["access_token"].split(".")[1] + "=="))
    assert "cnf" not in claims and here.call(answer["access_token"]) == 200


# 40: identity assertions of another organisation's provider (ID-JAG)


def id_jag(here: Place, header: dict[str, Any], changed: dict[str, Any]) -> str:
    now = int(time.time())
    claims = {
        "iss": here.idp.url, "sub": "00u1alice", "aud": here.issuer, "client_id": CLIENT_ID, "resource": here.resource("payments"),
        "jti": "one-and-the-same", "iat": now, "exp": now + 300, "scope": "mcp:payments",
    }  # fmt: skip
    return compact(
        {"alg": "ES256", "typ": "oauth-id-jag+jwt", "kid": "k"} | header,
        claims | changed,
        private_key("ES256", "jag"),
        "ES256",
    )


ID_JAGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sound": ({}, {}),
    "the same again": ({}, {}),
    "another typ": ({"typ": "JWT"}, {}),
    "another client": ({}, {"client_id": OTHER_CLIENT}),
    "another resource": ({}, {"resource": "https://evil.example/mcp"}),
    "a day long": ({}, {"exp": int(time.time()) + 86_400}),
    "an issuer that is not listed": ({}, {"iss": "https://evil.example"}),
    "unsigned": ({"alg": "none"}, {}),
}


@pytest.mark.parametrize(("header", "changed"), ID_JAGS.values(), ids=ID_JAGS.keys())
def test_an_identity_assertion_gives_no_token_by_any_grant(
    here: Place, header: dict[str, Any], changed: dict[str, Any]
) -> None:
    """This release takes none: each is refused for its kind, before anything in it is believed."""
    made = id_jag(here, header, changed)
    resource = here.resource("payments")
    bearer = here.token(grant_type=BEARER_GRANT, assertion=made, resource=resource)
    assert (bearer.status_code, bearer.json()["error"]) == (400, "unsupported_grant_type")
    here.caused("request_invalid")
    subject = here.token(grant_type=EXCHANGE, subject_token=made, subject_token_type=ID_JAG, resource=resource)
    assert (subject.status_code, subject.json()["error"]) == (400, "invalid_request")
    here.caused("subject_token_type")
    for kind in ("jwt", "id_token"):
        kind = f"urn:ietf:params:oauth:token-type:{kind}"
        disguised = here.token(grant_type=EXCHANGE, subject_token=made, subject_token_type=kind, resource=resource)
        assert (disguised.status_code, disguised.json()["error"]) == (400, "invalid_request")
    here.caused("job_token_invalid")
    assert at_the_gate(here, "Bearer", made)[0] == 401
    asked = here.token(grant_type=EXCHANGE, requested_token_type=ID_JAG, subject_token=made, subject_token_type=kind)
    assert asked.json()["error"] == "invalid_request", "nor are any given"
    offered = here.http.get(f"{here.issuer}/.well-known/oauth-authorization-server").json()
    assert BEARER_GRANT not in offered["grant_types_supported"]


# 37: what a guess is told


def told(answer: httpx2.Response) -> tuple[int, str, tuple[str, ...]]:
    """Status, body and the names of the headers: all that a guess is told."""
    return answer.status_code, answer.text, tuple(sorted(answer.headers))


def test_a_code_that_never_was_is_told_what_anothers_is(here: Place) -> None:
    code, verifier = a_code(here)
    spent, its_verifier = a_code(here)
    assert redeem(here, spent, its_verifier).status_code == 200
    guesses = [
        secrets.token_urlsafe(32),
        code[:-1] + ("A" if code[-1] != "A" else "B"),
        code + "A",
        code[:-1],
        "x",
        "é" * 43,
    ]
    answers = {told(redeem(here, guess, verifier)) for guess in guesses}
    answers.add(told(redeem(here, code, verifier, client_id=OTHER_CLIENT)))
    answers.add(told(redeem(here, spent, its_verifier)))
    here.sql("UPDATE codes SET expires_at = expires_at - 120 WHERE grant_sid IS NULL")
    answers.add(told(redeem(here, code, verifier)))
    assert len(answers) == 1, [text for _, text, _ in answers]
    here.caused("code_unknown", "code_mismatch", "code_reused", "code_expired")


def test_a_refresh_token_that_never_was_is_told_what_anothers_is(here: Place) -> None:
    refresh = here.log_in(here.browser(ALICE))["refresh_token"]
    _, sid, number, code = refresh.split(".")
    guesses = [
        f"gbr1.{sid}.{number}.{'A' * 43}", f"gbr1.{'0' * 32}.{number}.{code}", f"gbr1.{sid}.9.{code}", refresh[:-1], refresh + "A", "x",
        refresh.upper(), "é",
    ]  # fmt: skip
    answers = {told(here.refresh(guess)) for guess in guesses}
    answers.add(told(here.refresh(refresh, client_id=OTHER_CLIENT)))
    assert len(answers) == 1, answers
    here.caused("refresh_unknown", "grant_mismatch")
    assert here.refresh(refresh).status_code == 200


def test_an_unknown_client_is_told_the_same_at_every_door(here: Place) -> None:
    names = ["nobody", "dyn-" + "0" * 32, "gatebook", "ci", "'; DROP TABLE clients;--", "x" * 300]
    at_token = {told(here.token(client_id=name, grant_type="refresh_token", refresh_token="x")) for name in names}
    assert len(at_token) == 1 and "invalid_client" in next(iter(at_token))[1]
    at_revoke = {
        told(here.http.post(f"{here.issuer}/oauth/revoke", data={"client_id": name, "token": "x"})) for name in names
    }
    assert len(at_revoke) == 1
    here.caused("client_unknown")


def test_to_give_up_a_token_says_nothing_of_whether_it_was_one(here: Place) -> None:
    """RFC 7009 §2.2: the answer is the same for a token that is over, that is another client's, and that never was."""
    refresh = here.log_in(here.browser(ALICE))["refresh_token"]
    revoke = f"{here.issuer}/oauth/revoke"
    guesses = ["x", refresh[:-1] + ("A" if refresh[-1] != "A" else "B"), f"gbr1.{'0' * 32}.0.{'A' * 43}"]
    answers = {told(here.http.post(revoke, data={"client_id": CLIENT_ID, "token": guess})) for guess in guesses}
    assert here.refresh(refresh).status_code == 200, "none of these ended it"
    answers.add(told(here.http.post(revoke, data={"client_id": CLIENT_ID, "token": refresh})))
    answers.add(told(here.http.post(revoke, data={"client_id": CLIENT_ID, "token": refresh})))
    assert len(answers) == 1, answers


def test_a_parameter_of_a_token_request_given_twice_is_refused(here: Place) -> None:
    form = urlencode({"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": "x"})
    headers = {"content-type": "application/x-www-form-urlencoded"}
    for more in ("&client_id=other", "&grant_type=password", "&refresh%5Ftoken=y", "&%72efresh_token=y"):
        answer = here.http.post(f"{here.issuer}/oauth/token", content=(form + more).encode(), headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    here.caused("request_invalid")
