"""The identity providers of the demonstration: shaped like real ones, and loopback only."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwk, jwt
from starlette.testclient import TestClient

from gatebook.demo.idp import application

BASE = "http://127.0.0.1:9002"
AUDIENCE = "http://127.0.0.1:8080/payments/mcp"
RETURN = "http://127.0.0.1:8081/login/oidc/people/callback"
VERIFIER = "v" * 43


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(application(9002, RETURN), base_url=BASE)


@pytest.mark.parametrize(
    ("path", "query", "algorithm"),
    [("/people", "person=alice", "ES256"), ("/ci", "job=fraud-model", "RS256")],
)
def test_a_token_verifies_with_the_keys_that_discovery_names(
    client: TestClient, path: str, query: str, algorithm: str
) -> None:
    discovery = client.get(f"{path}/.well-known/openid-configuration").json()
    assert discovery["issuer"] == BASE + path
    keys = jwk.KeySet.import_key_set(client.get(discovery["jwks_uri"]).json())
    issued = client.get(f"{path}/token?{query}&audience={AUDIENCE}").json()
    token = jwt.decode(issued["access_token"], keys, algorithms=[algorithm])
    assert token.header["alg"] == algorithm
    assert (token.claims["iss"], token.claims["aud"]) == (BASE + path, AUDIENCE)
    assert token.claims["exp"] - token.claims["iat"] == issued["expires_in"]
    assert "DEMO ONLY" in issued["demo"]


def test_no_private_key_is_published(client: TestClient) -> None:
    for path in ("/people", "/ci"):
        [key] = client.get(f"{path}/jwks").json()["keys"]
        assert not {"d", "p", "q"} & set(key)


def test_a_form_and_a_bare_token_work_too(client: TestClient) -> None:
    form = {"person": "bob", "audience": AUDIENCE, "format": "text"}
    assert client.post("/people/token", data=form).text.count(".") == 2


@pytest.mark.parametrize(
    "path", ["/people/token", "/people/token?person=nobody&audience=x", "/ci/token?job=fraud-model"]
)
def test_what_is_missing_is_said(client: TestClient, path: str) -> None:
    refused = client.get(path)
    assert refused.status_code == 400
    assert "give " in refused.json()["error_description"]


def test_another_host_name_is_not_answered(client: TestClient) -> None:
    assert client.get("/people/jwks", headers={"Host": "rebound.example"}).status_code == 400


# Logging in with a browser


def asked(**changed: str) -> dict[str, str]:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    base = {
        "client_id": "gatebook", "redirect_uri": RETURN, "response_type": "code", "state": "s", "nonce": "n",
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    return {**base, **changed}


def logged_in(client: TestClient, person: str = "alice") -> str:
    """The code that comes back."""
    answer = client.post("/people/authorize", data={**asked(), "person": person}, follow_redirects=False)
    assert answer.status_code == 303
    came = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (came["state"], came["iss"]) == (["s"], [f"{BASE}/people"])
    return came["code"][0]


def exchange(client: TestClient, code: str, **changed: str) -> dict[str, str]:
    form = {
        "grant_type": "authorization_code", "code": code, "client_id": "gatebook", "redirect_uri": RETURN, "code_verifier": VERIFIER,
    }  # fmt: skip
    found: dict[str, str] = client.post("/people/token", data={**form, **changed}).json()
    return found


def test_the_page_says_what_it_is_and_has_a_button_for_each_person(client: TestClient) -> None:
    page = client.get("/people/authorize", params=asked())
    assert "DEMONSTRATION ONLY" in page.text
    assert page.text.count("<button") == 3
    assert "<script" not in page.text


def test_a_login_gives_an_id_token_for_gatebook_with_what_the_person_proved(client: TestClient) -> None:
    answer = exchange(client, logged_in(client))
    keys = jwk.KeySet.import_key_set(client.get("/people/jwks").json())
    claims = jwt.decode(answer["id_token"], keys, algorithms=["ES256"]).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (f"{BASE}/people", "gatebook", "n")
    assert (claims["sub"], claims["groups"], "mfa" in claims["amr"]) == ("alice", ["support"], True)


def test_a_code_counts_once_and_for_whoever_began(client: TestClient) -> None:
    code = logged_in(client, "bob")
    assert "id_token" in exchange(client, code)
    assert exchange(client, code) == {"error": "invalid_grant"}
    for changed in ({"code_verifier": "w" * 43}, {"client_id": "another"}, {"redirect_uri": f"{RETURN}/x"}):
        assert exchange(client, logged_in(client), **changed) == {"error": "invalid_grant"}


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uri": "http://127.0.0.1:8081/"},
        {"client_id": "x"},
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
    ],
)
def test_nobody_is_sent_anywhere_else(client: TestClient, changed: dict[str, str]) -> None:
    assert client.get("/people/authorize", params=asked(**changed)).status_code == 400
    answer = client.post("/people/authorize", data={**asked(**changed), "person": "alice"}, follow_redirects=False)
    assert answer.status_code == 400
