"""The identity providers of the demonstration: shaped like real ones, and loopback only."""

import pytest
from joserfc import jwk, jwt
from starlette.testclient import TestClient

from gatebook.demo.idp import application

BASE = "http://127.0.0.1:9002"
AUDIENCE = "http://127.0.0.1:8080/payments/mcp"


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(application(9002), base_url=BASE)


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
