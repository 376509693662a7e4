"""Logging in by SAML with a real provider, and what follows from it: consent, tokens, calls, revocation."""

import json
import time
from urllib.parse import quote

import pytest
from lxml import etree

from gatebook.federation.saml import names as n
from tests.asserting import key_pair
from tests.e2e.desk import CLIENT_ID
from tests.e2e.desk.test_login import claims_of
from tests.e2e.saml.conftest import PASSWORD, SamlPlace
from tests.e2e.saml.simplesaml import missing

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]


async def test_the_python_sdk_logs_in_by_saml_calls_a_tool_is_revoked_and_then_refused(ground: SamlPlace) -> None:
    ground.introduce()
    browser = ground.browser("alice")
    client = ground.here.client(browser)
    began = time.monotonic()
    result = await client.call("payments", "get_order", order_id="ord_5001")
    assert "ord_5001" in json.dumps(result)
    assert (browser.logins, browser.clicks) == (1, 1)
    tokens = client.kept["payments"].tokens
    assert tokens is not None
    claims = claims_of(tokens.access_token)
    assert ground.sso is not None
    assert claims["idp"] == {"iss": ground.sso.entity, "sub": "00u1alice"}
    assert (claims["groups"], claims["mfa"], claims["acr"]) == (["support"], "proven", PASSWORD)
    called_s = time.monotonic() - began
    revoke = {"client_id": CLIENT_ID, "token": tokens.refresh_token}
    assert ground.here.http.post(f"{ground.here.issuer}/oauth/revoke", data=revoke).status_code == 200
    assert [ground.here.call(tokens.access_token) for _ in range(4)] == [401] * 4
    print(f"logged in and called after {called_s:.1f} s, refused after {time.monotonic() - began:.1f} s")
    entries = ground.here.entries()
    [login] = [
        each
        for each in entries
        if each["ev"] == "login.completed" and each["x"]["login"] == claims_login(entries, claims["sid"])
    ]
    assert login["who"]["iss"] == ground.sso.entity and login["who"]["sub"] == "00u1alice"
    assert login["res"]["name"] == "sso" and len(login["x"]["certificate"]) == 64


def claims_login(entries: list[dict[str, object]], sid: str) -> object:
    """The login behind the grant, by the entry that ties the two."""
    found = [each for each in entries if each["ev"] == "token.issued" and each["who"].get("login") == f"sid:{sid}"]  # type: ignore[attr-defined]
    return found[0]["x"]["login"]  # type: ignore[index]


@pytest.mark.parametrize(
    "options",
    [
        {"saml20.sign.response": False},
        {"saml20.sign.assertion": False},
        {"assertion.encryption": True, "sharedkey_algorithm": f"{n.XENC11}aes128-gcm", "certificate": "sp.crt"},
        {"assertion.encryption": True, "certificate": "sp.crt"},
    ],
    ids=["assertion signed", "response signed", "encrypted with GCM", "encrypted with CBC, response signed"],
)
def test_however_the_provider_signs_and_encrypts(ground: SamlPlace, options: dict[str, object]) -> None:
    assert ground.sso is not None
    (ground.sso.folder / "cert" / "sp.crt").write_bytes(key_pair("gatebook")[1])
    ground.introduce(**options)
    tokens = ground.here.log_in(ground.browser("alice"))
    assert ground.here.call(tokens["access_token"]) == 200


def test_the_provider_may_demand_signed_requests_and_ours_are(ground: SamlPlace) -> None:
    ground.introduce(key_pair("gatebook")[1])
    tokens = ground.here.log_in(ground.browser("alice"))
    assert ground.here.call(tokens["access_token"]) == 200
    ground.introduce(key_pair("another")[1])
    browser = ground.browser("alice")
    page = browser.visit(ground.here.request())
    assert page.location is None and "/simplesaml/" in page.url
    assert (browser.logins, browser.answers) == (0, []), "a provider that knows another key does not take our request"
    ground.introduce()


def test_the_same_address_is_no_other_person(ground: SamlPlace) -> None:
    """Mallory has alice's e-mail address: she is another person, without her roles."""
    ground.introduce()
    tokens = ground.here.log_in(ground.browser("mallory"))
    claims = claims_of(tokens["access_token"])
    assert claims["idp"]["sub"] == "00u9mallory" and claims["groups"] == []
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_order", "arguments": {}}}
    _, _, body = ground.here.gate.post("payments", message, token=tokens["access_token"])
    assert json.loads(body)["error"]["data"]["reason"] == "denied"


def test_an_answer_of_the_provider_is_good_once_and_in_one_browser(ground: SamlPlace) -> None:
    ground.introduce()
    browser, other = ground.browser("alice"), ground.browser("mallory")
    browser.visit(ground.here.request(), pause_at="acs")
    url, fields = browser.answers[-1]
    # The thief of an answer posts it from his own browser: it is verified, and is nobody's there.
    stolen = other.page_after(other.post_from_elsewhere(url, fields))
    assert "browser_other" in stolen.text and stolen.status == 400
    page = browser.page_after(browser.post_from_elsewhere(url, fields))
    assert "saml_replayed" in page.text and page.status == 400
    ground.here.caused("browser_other", "saml_replayed")


def test_a_login_that_begins_at_the_provider_is_refused(ground: SamlPlace) -> None:
    assert ground.sso is not None
    ground.introduce()
    browser = ground.browser("alice")
    begun = f"{ground.sso.base}/saml2/idp/SSOService.php?spentityid={quote(ground.here.issuer, safe='')}/login/saml/sso/metadata"
    page = browser.visit(begun + "&RelayState=https://evil.example/")
    assert browser.logins == 1 and "saml_unasked" in page.text and page.status == 400
    assert "evil.example" not in page.text and "location" not in page.headers
    ground.here.caused("saml_unasked")


def test_our_metadata_are_valid_and_name_our_acs_and_certificate(ground: SamlPlace) -> None:
    answer = ground.here.http.get(f"{ground.here.issuer}/login/saml/sso/metadata")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/samlmetadata+xml")
    root = etree.fromstring(answer.content)
    assert root.get("entityID") == f"{ground.here.issuer}/login/saml/sso/metadata"
    [service] = root.iter(f"{{{n.MD}}}AssertionConsumerService")
    assert (service.get("Location"), service.get("Binding")) == (
        f"{ground.here.issuer}/login/saml/sso/acs",
        n.HTTP_POST,
    )
    assert len(list(root.iter(f"{{{n.DS}}}X509Certificate"))) == 2
    assert ground.here.http.get(f"{ground.here.issuer}/login/saml/corp/metadata").status_code == 400


def test_no_answer_and_no_person_stands_in_the_database_or_in_the_book_in_clear(ground: SamlPlace) -> None:
    ground.introduce()
    browser = ground.browser("alice")
    ground.here.log_in(browser)
    _, fields = browser.answers[-1]
    stored = b"".join(path.read_bytes() for path in sorted((ground.here.gate.data_dir / "desk").iterdir()))
    text = json.dumps(ground.here.entries()).encode()
    for secret in (fields["SAMLResponse"], fields["SAMLResponse"][200:260], fields["RelayState"]):
        assert secret.encode() not in stored and secret.encode() not in text
