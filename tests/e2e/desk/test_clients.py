"""Clients that are not ours log in end to end, with nothing pasted; those that cannot run here are replayed in their documented shapes."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import logins
from tests.e2e.clients.visits import Visit
from tests.e2e.desk import CLIENT_ID, Browser, Place, place
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import Person

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

ALICE = Person(sub="00u1alice", groups=("support",), amr=("pwd", "otp"))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("desk")) as here:
        yield here


def by(browser: Browser) -> logins.Browse:
    def browse(url: str, stop_at: str | None) -> str:
        page = browser.visit(url, stop_at=stop_at or "nowhere:")
        assert stop_at is None or page.location is not None, page.text[:600]
        return page.location or page.url

    return browse


@pytest.mark.parametrize("client_id", [None, CLIENT_ID], ids=["registers itself", "is configured"])
@pytest.mark.parametrize("log_in", [logins.typescript_v1, logins.typescript_v2])
def test_a_typescript_client_logs_in_and_calls_a_tool(
    here: Place, log_in: Callable[..., Visit], client_id: str | None
) -> None:
    browser = here.browser(Person(sub=f"00u-{log_in.__name__}", groups=("support",)))
    seen = log_in(here.gate.url("payments"), by(browser), "get_order", client_id=client_id, order_id="ord_5001")
    assert seen.error is None
    assert "get_order" in seen.tools and "ord_5001" in json.dumps(seen.result)
    assert (browser.logins, browser.clicks) == (1, 1)


def test_mcp_remote_logs_in_for_a_client_that_speaks_stdio_only_and_keeps_its_login(
    here: Place, tmp_path: Path
) -> None:
    browser = here.browser(ALICE)
    for _ in range(2):
        said = logins.mcp_remote(
            [here.gate.url("payments")], by(browser), "get_order", {"order_id": "ord_5001"}, home=tmp_path
        )
        assert "ord_5001" in said
        assert (browser.logins, browser.clicks) == (1, 1), "the second time it goes on with what it kept"


def test_the_inspector_logs_in_without_a_window(here: Place, tmp_path: Path) -> None:
    browser = here.browser(ALICE)
    words = ["--cli", here.gate.url("payments"), "--transport", "http", "--method", "tools/list"]
    done = logins.inspector(words, by(browser), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "get_order" in {tool["name"] for tool in json.loads(done.stdout)["tools"]}
    assert (browser.logins, browser.clicks) == (1, 1)


# Replayed: what these register, and where they return to, as their makers and their bug trackers document it

VS_CODE = {
    "client_name": "Visual Studio Code",
    "client_uri": "https://code.visualstudio.com",
    "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    "response_types": ["code"],
    "redirect_uris": [
        "https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/",
    ],
    "token_endpoint_auth_method": "none",
    "application_type": "native",
}  # fmt: skip
CURSOR = {
    "client_name": "Cursor",
    "redirect_uris": [
        "cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback",
    ],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}  # fmt: skip
CLAUDE_CODE = {
    "client_name": "Claude Code (payments)",
    "redirect_uris": ["http://localhost:3118/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}


@pytest.mark.parametrize(
    ("registration", "redirect"),
    [
        (VS_CODE, "http://127.0.0.1:33418/"),
        (VS_CODE, "http://127.0.0.1:59656/"),  # where 33418 is taken
        (VS_CODE, "https://vscode.dev/redirect"),
        (CURSOR, "cursor://anysphere.cursor-mcp/oauth/callback"),
        (CURSOR, "http://localhost:8787/callback"),
        (CLAUDE_CODE, "http://localhost:41873/callback"),
    ],
)
def test_a_client_that_registers_in_its_own_shape_logs_in(
    here: Place, registration: dict[str, Any], redirect: str
) -> None:
    answer = here.http.post(f"{here.issuer}/oauth/register", json=registration)
    assert answer.status_code == 201, answer.text
    client_id = answer.json()["client_id"]
    assert answer.json()["redirect_uris"] == registration["redirect_uris"]
    verifier = "v" * 64
    browser = here.browser(ALICE)
    page = browser.visit(here.request(client_id=client_id, redirect_uri=redirect, verifier=verifier), stop_at=redirect)
    form = {"grant_type": "authorization_code", "code": page.answer["code"], "redirect_uri": redirect}
    tokens = here.token(**form, code_verifier=verifier, client_id=client_id)
    assert tokens.status_code == 200, tokens.text
    assert here.call(tokens.json()["access_token"]) == 200


@pytest.mark.parametrize(
    "uri",
    [
        "cursor://anysphere.cursor-mcp/oauth/callback/x",
        "cursor://evil.example/oauth/callback",
        "cursor://anysphere.cursor-mcp/oauth/callback?next=x",
        "https://www.cursor.com/agents/mcp/oauth/callback/",
        "vscode://evil.example/x",
    ],
)
def test_a_scheme_of_a_known_client_opens_nothing_but_its_exact_address(here: Place, uri: str) -> None:
    answer = here.http.post(f"{here.issuer}/oauth/register", json={**CURSOR, "redirect_uris": [uri]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


def test_the_consent_page_of_a_private_scheme_lets_its_form_end_there(here: Place) -> None:
    client_id = here.http.post(f"{here.issuer}/oauth/register", json=CURSOR).json()["client_id"]
    redirect = CURSOR["redirect_uris"][0]
    assert isinstance(redirect, str)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 64).digest()).rstrip(b"=").decode()
    asked = here.request(client_id=client_id, redirect_uri=redirect, code_challenge=challenge)
    browser = here.browser(ALICE)
    page = browser.visit(asked, stop_at=redirect, pause_at="/consent")
    assert page.location is not None
    policy = browser.http.get(page.location).headers["content-security-policy"]
    assert "form-action 'self' cursor:;" in policy
