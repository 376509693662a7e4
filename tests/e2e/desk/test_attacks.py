"""Attacks on the login, each with its refusal and its entry. Numbers are those of the attack list in docs/attacks.md."""

import json
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from tests.e2e.desk import CALLBACK, CLIENT_ID, Browser, Page, Place, place
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import Person
from tests.issuing import Issuer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

ALICE = Person(sub="00u1alice", groups=("support",), amr=("pwd", "otp"))
MALLORY = Person(sub="00u9mallory", groups=("support",), amr=("pwd",))
PAUSE = "/login/oidc/corp/callback"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    more = """[[idp]]
name = "other"
url = "http://localhost:1/other"
client_id = "gatebook"
"""
    with place(tmp_path_factory.mktemp("attacked"), more) as here:
        yield here


def start(here: Place, browser: Browser, **changed: str | None) -> Page:
    """The browser at the point where the provider sends it back to the desk: the next address is the callback with code and state."""
    page = browser.visit(here.request(**changed), pause_at="nowhere")
    handle = parse_qs(urlsplit(page.url).query)["request"][0]
    return browser.visit(f"{here.issuer}/login?request={handle}&idp=corp", pause_at=PAUSE)


def refused(here: Place, page: Page, cause: str) -> None:
    """A page that says no, in words of ours, and an entry that says why."""
    assert page.location is None, f"sent on to {page.location}"
    assert page.status in (400, 429, 502), page.text[:400]
    assert cause in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    here.caused(cause)


# 25: redirect URIs

EVIL_REDIRECTS = {
    "another host": "http://evil.example/callback",
    "userinfo": "http://127.0.0.1:1@evil.example/callback",
    "fragment": "http://127.0.0.1:7777/callback#x",
    "javascript": "javascript:alert(1)",
    "data": "data:text/html,x",
    "no scheme": "//evil.example/callback",
    "backslash": "http://127.0.0.1:7777\\@evil.example/callback",
    "dot segment": "http://127.0.0.1:7777/callback/../evil",
    "encoded dot": "http://127.0.0.1:7777/%2e%2e/callback",
    "sub-path": "http://127.0.0.1:7777/callback/more",
    "subdomain": "http://127.0.0.1.evil.example/callback",
    "idn": "http://127.0.0.1․evil.example/callback",
    "ipv6 zone": "http://[::1%25eth0]:7777/callback",
    "another loopback": "http://[::1]:7777/callback",
    "query added": "http://127.0.0.1:7777/callback?next=http://evil.example",
    "https": "https://127.0.0.1:7777/callback",
    "decimal host": "http://2130706433/callback",
    "port zero": "http://127.0.0.1:0/callback",
    "empty": "",
    "a newline": "http://127.0.0.1:7777/callback\r\nSet-Cookie: a=b",
}


@pytest.mark.parametrize("uri", EVIL_REDIRECTS.values(), ids=EVIL_REDIRECTS.keys())
def test_a_redirect_to_elsewhere_is_told_to_the_person_and_never_followed(here: Place, uri: str) -> None:
    page = here.browser(ALICE).visit(here.request(redirect_uri=uri), stop_at="never")
    refused(here, page, "redirect_mismatch")


def test_any_port_of_loopback_will_do_and_nothing_else_may_differ(here: Place) -> None:
    page = here.browser(ALICE).visit(here.request(redirect_uri="http://127.0.0.1:51234/callback"), pause_at="nowhere")
    assert page.status == 200


@pytest.mark.parametrize(
    "name", ["client_id", "redirect_uri", "state", "scope", "resource", "code_challenge", "response_type"]
)
def test_a_parameter_given_twice_is_refused(here: Place, name: str) -> None:
    url = here.request(scope="mcp:payments") + "&" + urlencode({name: "http://evil.example/"})
    refused(here, here.browser(ALICE).visit(url, stop_at="never"), "request_invalid")


# 26: PKCE


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge": "short"},
        {"code_challenge": "x" * 44},
        {"code_challenge": "x" * 128},
        {"code_challenge": "é" * 43},
    ],
    ids=str,
)
def test_without_a_challenge_by_s256_there_is_no_code(here: Place, changed: dict[str, str | None]) -> None:
    page = here.browser(ALICE).visit(here.request(**changed))
    assert page.answer["error"] == "invalid_request"
    assert page.answer["iss"] == here.issuer
    here.caused("pkce_required")


def test_a_code_with_a_wrong_verifier_gives_nothing(here: Place) -> None:
    code, _ = a_code(here)
    for verifier in (secrets.token_urlsafe(48), "", "short"):
        answer = redeem(here, code, verifier)
        assert answer.status_code == 400 and answer.json()["error"] in ("invalid_grant", "invalid_request")


def a_code(here: Place, server: str = "payments") -> tuple[str, str]:
    """A code, and its verifier."""
    verifier = secrets.token_urlsafe(48)
    browser = here.browser(ALICE)
    start_page = start(here, browser, resource=here.resource(server), **challenge(verifier))
    assert start_page.location is not None
    return browser.visit(start_page.location).answer["code"], verifier


def challenge(verifier: str) -> dict[str, str | None]:
    import base64
    import hashlib

    digest = hashlib.sha256(verifier.encode()).digest()
    return {"code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()}


def redeem(here: Place, code: str, verifier: str, **form: str) -> httpx2.Response:
    base = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
    return here.token(**{**base, **form})


# 27: codes


def test_a_code_used_twice_ends_what_it_gave(here: Place) -> None:
    code, verifier = a_code(here)
    first = redeem(here, code, verifier).json()
    assert here.call(first["access_token"]) == 200
    again = redeem(here, code, verifier)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert here.call(first["access_token"]) == 401
    assert here.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    here.caused("code_reused")


def test_of_many_that_redeem_one_code_at_once_at_most_one_gets_something(here: Place) -> None:
    code, verifier = a_code(here)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: redeem(here, code, verifier), range(10)))
    good = [answer for answer in answers if answer.status_code == 200]
    assert len(good) == 1
    assert here.call(good[0].json()["access_token"]) == 401, "it came twice, so what it gave is over"


def test_a_code_is_good_for_its_own_client_redirect_and_server_alone(here: Place) -> None:
    code, verifier = a_code(here)
    stranger = redeem(here, code, verifier, client_id="https://claude.ai/oauth/claude-code-client-metadata")
    elsewhere = redeem(here, code, verifier, redirect_uri="http://127.0.0.1:7778/callback")
    server = redeem(here, code, verifier, resource=here.resource("orders"))
    assert [answer.json()["error"] for answer in (stranger, elsewhere, server)] == [
        "invalid_grant",
        "invalid_grant",
        "invalid_target",
    ]
    assert redeem(here, code, verifier).status_code == 200, "none of these used it up"
    here.caused("code_mismatch", "grant_mismatch", "resource_invalid")


def test_a_code_expires_and_a_guessed_one_is_unknown(here: Place) -> None:
    code, verifier = a_code(here)
    here.sql("UPDATE codes SET expires_at = expires_at - 120 WHERE grant_sid IS NULL")
    assert redeem(here, code, verifier).json()["error"] == "invalid_grant"
    assert redeem(here, secrets.token_urlsafe(32), verifier).json()["error"] == "invalid_grant"
    here.caused("code_expired", "code_unknown")


# 28: refresh


def test_a_refresh_asks_for_no_more_than_was_granted_and_by_its_own_client(here: Place) -> None:
    code, verifier = a_code(here)
    tokens = redeem(here, code, verifier).json()
    refresh = tokens["refresh_token"]
    answers = [
        here.refresh(refresh, client_id="https://claude.ai/oauth/claude-code-client-metadata"),
        here.refresh(refresh, scope="mcp:orders"),
        here.refresh(refresh, resource=here.resource("orders")),
        here.refresh(refresh[:-2] + "AA"),
        here.refresh(refresh.replace(".0.", ".1.")),
        here.refresh(tokens["access_token"]),
    ]
    assert [answer.json()["error"] for answer in answers] == [
        "invalid_grant",
        "invalid_scope",
        "invalid_target",
        "invalid_grant",
        "invalid_grant",
        "invalid_grant",
    ]
    assert here.refresh(refresh, scope="mcp:payments", resource=here.resource("payments")).status_code == 200


# 29: registration

BAD_REGISTRATIONS: dict[str, Any] = {
    "javascript": {"redirect_uris": ["javascript:alert(1)"]},
    "http elsewhere": {"redirect_uris": ["http://evil.example/callback"]},
    "https elsewhere": {"redirect_uris": ["https://evil.example/callback"]},
    "userinfo": {"redirect_uris": ["http://127.0.0.1@evil.example/"]},
    "fragment": {"redirect_uris": ["http://127.0.0.1/cb#x"]},
    "unknown scheme": {"redirect_uris": ["evil://callback"]},
    "none": {"redirect_uris": []},
    "no list": {"redirect_uris": "http://127.0.0.1/cb"},
    "a secret": {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic"},
    "implicit": {"redirect_uris": [CALLBACK], "grant_types": ["implicit"]},
    "many": {"redirect_uris": [f"http://127.0.0.1/{n}" for n in range(50)]},
    "no object": ["x"],
}


@pytest.mark.parametrize("body", BAD_REGISTRATIONS.values(), ids=BAD_REGISTRATIONS.keys())
def test_a_registration_that_could_send_a_code_elsewhere_is_refused(here: Place, body: Any) -> None:
    answer = here.http.post(f"{here.issuer}/oauth/register", json=body)
    assert answer.status_code == 400, answer.text
    here.caused("registration_invalid")


def test_a_megabyte_of_metadata_is_refused(here: Place) -> None:
    answer = here.http.post(
        f"{here.issuer}/oauth/register", json={"redirect_uris": [CALLBACK], "client_name": "x" * (1 << 20)}
    )
    assert answer.status_code == 413


def test_html_in_a_clients_name_is_text_on_the_page(here: Place) -> None:
    name = "<img src=x onerror=alert(1)>"
    body = {"redirect_uris": [CALLBACK], "client_name": name, "logo_uri": "http://127.0.0.1:1/logo"}
    client_id = here.http.post(f"{here.issuer}/oauth/register", json=body).json()["client_id"]
    browser = here.browser(ALICE)
    page = start(here, browser, client_id=client_id)
    assert page.location is not None
    shown = browser.visit(page.location, pause_at="consent")
    shown = browser.visit(shown.location or "", pause_at="consent")
    assert "&lt;img" in shown.text and "<img" not in shown.text
    assert "not verified" in shown.text
    assert "127.0.0.1:7777" in shown.text


# 31, 33, 34: the callback


def test_a_callback_in_another_browser_opens_nothing(here: Place) -> None:
    """The confused deputy, and login CSRF: the attacker's own callback in the victim's browser, with and without a login begun there."""
    attack = start(here, here.browser(MALLORY))
    assert attack.location is not None
    victim = here.browser(ALICE)
    refused(here, victim.visit(attack.location), "browser_other")
    victim.visit(here.request(), pause_at="nowhere")
    refused(here, victim.visit(attack.location), "browser_other")


def test_the_consent_page_of_another_browser_cannot_be_used(here: Place) -> None:
    browser = here.browser(ALICE)
    page = start(here, browser)
    shown = browser.visit(page.location or "", pause_at="consent")
    refused(here, here.browser(MALLORY).visit(shown.location or ""), "browser_other")


def test_a_callback_counts_once(here: Place) -> None:
    browser = here.browser(ALICE)
    page = start(here, browser)
    assert "code" in browser.visit(page.location or "").answer
    refused(here, browser.visit(page.location or ""), "state_unknown")


def test_a_callback_of_another_provider_is_refused(here: Place) -> None:
    browser = here.browser(ALICE)
    page = start(here, browser)
    assert page.location is not None
    refused(here, browser.visit(page.location.replace("/oidc/corp/", "/oidc/other/")), "provider_mixed_up")


def test_an_answer_that_names_another_issuer_is_refused(here: Place) -> None:
    browser = here.browser(ALICE)
    page = start(here, browser)
    query = {name: values[0] for name, values in parse_qs(urlsplit(page.location or "").query).items()}
    wrong = f"{here.issuer}{PAUSE}?{urlencode({**query, 'iss': 'http://localhost:1/other'})}"
    refused(here, browser.visit(wrong), "provider_mixed_up")


@pytest.mark.parametrize("state", [None, "", "x", "a.b", "é"])
def test_a_callback_without_a_state_of_ours_is_refused(here: Place, state: str | None) -> None:
    query = {"code": "abc"} | ({"state": state} if state is not None else {})
    refused(here, here.browser(ALICE).visit(f"{here.issuer}{PAUSE}?{urlencode(query)}"), "state_unknown")


def test_a_state_with_another_ending_is_refused(here: Place) -> None:
    browser = here.browser(ALICE)
    page = start(here, browser)
    query = {name: values[0] for name, values in parse_qs(urlsplit(page.location or "").query).items()}
    forged = query["state"].partition(".")[0] + "." + "A" * 43
    refused(here, browser.visit(f"{here.issuer}{PAUSE}?{urlencode({**query, 'state': forged})}"), "provider_mixed_up")


def test_a_code_that_the_provider_does_not_know_logs_nobody_in(here: Place) -> None:
    browser = here.browser(ALICE)
    page = start(here, browser)
    query = {name: values[0] for name, values in parse_qs(urlsplit(page.location or "").query).items()}
    refused(here, browser.visit(f"{here.issuer}{PAUSE}?{urlencode({**query, 'code': 'guessed'})}"), "provider_refused")


def test_a_providers_error_text_reaches_no_page(here: Place) -> None:
    browser = here.browser(ALICE)
    page = start(here, browser)
    state = parse_qs(urlsplit(page.location or "").query)["state"][0]
    evil = {
        "state": state,
        "error": "access_denied",
        "error_description": "<script>alert(1)</script>",
        "iss": here.idp.url,
    }
    shown = browser.visit(f"{here.issuer}{PAUSE}?{urlencode(evil)}")
    refused(here, shown, "provider_refused")
    assert "alert" not in shown.text


def test_the_session_is_new_at_each_login(here: Place) -> None:
    browser = here.browser(ALICE)
    browser.visit(start(here, browser).location or "")
    first = browser.http.cookies["gatebook-session"]
    page = browser.visit(here.request(prompt="login"), pause_at="nowhere")
    handle = parse_qs(urlsplit(page.url).query)["request"][0]
    browser.visit(browser.visit(f"{here.issuer}/login?request={handle}&idp=corp", pause_at=PAUSE).location or "")
    assert browser.http.cookies["gatebook-session"] != first


# 32: consent


def test_a_consent_that_our_page_did_not_send_is_refused(here: Place) -> None:
    browser = here.browser(Person(sub="00u3carol", groups=("support",)))
    page = start(here, browser)
    shown = browser.visit(browser.visit(page.location or "", pause_at="consent").location or "", pause_at="consent")
    for changed in ({"token": ""}, {"token": "A" * 43}):
        answer = browser.submit(shown, **changed)
        assert answer.status_code == 400 and "consent_forged" in answer.text
    here.caused("consent_forged")


def test_a_consent_sent_from_another_origin_is_refused(here: Place) -> None:
    browser = here.browser(Person(sub="00u3carol", groups=("support",)))
    page = start(here, browser)
    shown = browser.visit(browser.visit(page.location or "", pause_at="consent").location or "", pause_at="consent")
    browser.http.headers["origin"] = "https://evil.example"
    assert "consent_forged" in browser.submit(shown).text


def test_the_consent_page_lets_itself_be_framed_by_nobody_and_ends_at_the_client_alone(here: Place) -> None:
    browser = here.browser(Person(sub="00u3carol", groups=("support",)))
    page = start(here, browser)
    shown = browser.visit(browser.visit(page.location or "", pause_at="consent").location or "", pause_at="consent")
    policy = shown.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy and "form-action 'self' http://127.0.0.1:7777;" in policy
    assert "script" not in policy and "default-src 'none'" in policy
    assert shown.headers["x-frame-options"] == "DENY"


def test_who_says_no_gives_the_client_an_error_and_nothing_else(here: Place) -> None:
    browser = here.browser(Person(sub="00u4dan", groups=("support",)), allow=False)
    page = browser.visit(start(here, browser).location or "")
    assert (page.answer["error"], page.answer["iss"]) == ("access_denied", here.issuer)
    assert "code" not in page.answer
    here.caused("consent_denied")


def test_consent_is_asked_again_when_the_redirect_host_changes(here: Place) -> None:
    browser = here.browser(Person(sub="00u5eve", groups=("support",)))
    browser.visit(start(here, browser).location or "")
    assert browser.clicks == 1
    browser.visit(here.request(redirect_uri="http://127.0.0.1:9999/callback"), stop_at="http://127.0.0.1:9999/")
    assert browser.clicks == 2


# 35, 36, 37


@pytest.mark.parametrize(
    "resource",
    [
        "http://evil.example/mcp",
        "",
        None,
        "{base}/payments/mcp/",
        "{base}/PAYMENTS/mcp",
        "{base}/payments",
        "{base}/none/mcp",
    ],
)
def test_a_resource_that_is_no_server_of_ours_gets_no_code(here: Place, resource: str | None) -> None:
    asked = None if resource is None else resource.format(base=here.gate.public_url)
    page = here.browser(ALICE).visit(here.request(resource=asked))
    assert page.answer["error"] == "invalid_target"
    here.caused("resource_invalid")


@pytest.mark.parametrize("scope", ["admin", "mcp:orders", "mcp:*", "mcp"])
def test_a_scope_of_another_server_is_refused(here: Place, scope: str) -> None:
    page = here.browser(ALICE).visit(here.request(scope=scope))
    assert page.answer["error"] == "invalid_scope"


def test_an_unknown_client_is_told_nothing_about_others(here: Place) -> None:
    pages = [
        here.browser(ALICE).visit(here.request(client_id=name))
        for name in ("nobody", "dyn-" + "0" * 32, "'; DROP TABLE clients;--")
    ]
    # The id on each page is chance; everything else must be the same.
    assert len({re.sub(r"[0-9a-f]{32}", "ID", page.text) for page in pages}) == 1
    refused(here, pages[0], "client_unknown")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/oauth/token"), ("PUT", "/oauth/token"), ("POST", "/oauth/authorize"), ("DELETE", "/consent"), ("GET", "/oauth/register"),
     ("GET", "/admin"), ("POST", "/oauth/token/"), ("GET", "/../etc/passwd"), ("GET", "/docs"), ("GET", "/openapi.json")],
)  # fmt: skip
def test_what_is_no_route_is_refused(here: Place, method: str, path: str) -> None:
    assert here.http.request(method, here.issuer + path).status_code in (404, 405)


def test_another_host_name_is_not_served(here: Place) -> None:
    answer = here.http.get(f"{here.issuer}/oauth/jwks", headers={"host": "evil.example"})
    assert answer.status_code == 403


def test_a_token_request_must_be_a_form(here: Place) -> None:
    answer = here.http.post(
        f"{here.issuer}/oauth/token", json={"grant_type": "authorization_code", "client_id": CLIENT_ID}
    )
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize(
    "grant", ["password", "client_credentials", "implicit", "urn:ietf:params:oauth:grant-type:device_code", ""]
)
def test_other_grants_do_not_exist(here: Place, grant: str) -> None:
    assert here.token(grant_type=grant, username="a", password="b").json()["error"] == "unsupported_grant_type"


# Tokens that pretend to be of the desk


def test_a_token_of_the_desk_signed_by_somebody_else_is_refused(here: Place) -> None:
    forger = Issuer(here.issuer, name="gatebook", token_type="at+jwt", algorithm="ES256")
    claims = {
        "aud": here.resource("payments"), "sub": "x", "sid": "0" * 32, "principal_type": "person",
        "idp": {"iss": here.idp.url, "sub": "00u1alice"}, "groups": ["support"], "client_id": CLIENT_ID,
    }  # fmt: skip
    assert here.call(forger.token(**claims)) == 401


def test_tokens_of_the_provider_itself_open_nothing_here(here: Place) -> None:
    theirs = here.idp.log_in(ALICE, audience=here.resource("payments"))
    assert here.call(theirs.access_token) == 401
    assert here.call(theirs.id_token) == 401


def test_no_secret_of_a_login_stands_in_the_log_or_in_the_database(here: Place) -> None:
    browser = here.browser(ALICE)
    page = start(here, browser)
    answer = browser.visit(page.location or "").answer
    kept = browser.http.cookies
    hidden = [
        answer["code"],
        kept["gatebook-session"],
        kept["gatebook-login"],
        parse_qs(urlsplit(page.location or "").query)["state"][0],
    ]
    stored = b"".join(path.read_bytes() for path in sorted((here.gate.data_dir / "desk").iterdir()))
    log = json.dumps(here.entries())
    diagnostics = (here.gate.directory / "gate.log").read_text()
    assert all(secret.encode() not in stored and secret not in log and secret not in diagnostics for secret in hidden)


# Last, because it uses up what one address may do in a minute.


def test_a_flood_of_registrations_is_stopped(here: Place) -> None:
    body = {"redirect_uris": [CALLBACK], "client_name": "flood"}
    answers = [here.http.post(f"{here.issuer}/oauth/register", json=body) for _ in range(70)]
    made = [answer for answer in answers if answer.status_code == 201]
    assert 0 < len(made) <= 50
    assert {answer.status_code for answer in answers} == {201, 429}
    here.caused("too_many")
