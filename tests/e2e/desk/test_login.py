"""People log in through the desk with a real MCP client and a real identity provider, and call tools of a real MCP server."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.desk import CLIENT_ID, Place, place
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import Person

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

ALICE = Person(sub="00u1alice", groups=("support", "/staff"), amr=("pwd", "otp"))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("desk")) as here:
        yield here


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


async def test_the_python_sdk_logs_in_and_calls_a_tool(here: Place) -> None:
    browser = here.browser(ALICE)
    result = await here.client(browser).call("payments", "get_order", order_id="ord_5001")
    assert "ord_5001" in json.dumps(result)
    assert browser.logins == 1


async def test_a_second_server_costs_one_click_and_no_login_and_later_visits_cost_none(here: Place) -> None:
    browser = here.browser(Person(sub="00u2bob", groups=("support",), amr=("pwd",)))
    client = here.client(browser)
    await client.call("payments", "get_order", order_id="ord_5001")
    assert (browser.logins, browser.clicks) == (1, 1)
    await client.call("orders", "get_order", order_id="ord_5001")
    assert (browser.logins, browser.clicks) == (1, 2)
    await here.client(browser).call("payments", "get_order", order_id="ord_5001")
    await here.client(browser).call("orders", "get_order", order_id="ord_5001")
    assert (browser.logins, browser.clicks) == (1, 2)


async def test_a_client_that_nobody_knows_registers_itself_in_dev(here: Place) -> None:
    browser = here.browser(ALICE)
    client = here.client(browser, client_id=None)
    result = await client.call("payments", "get_order", order_id="ord_5001")
    assert "ord_5001" in json.dumps(result)
    known = client.kept["payments"].client
    assert known is not None and known.client_id.startswith("dyn-") and known.client_secret is None


def test_the_token_is_for_one_server_and_five_minutes_and_names_the_provider(here: Place) -> None:
    browser = here.browser(ALICE)
    tokens = here.log_in(browser)
    claims = claims_of(tokens["access_token"])
    header = json.loads(base64.urlsafe_b64decode(tokens["access_token"].split(".")[0] + "=="))
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert claims["iss"] == here.issuer
    assert claims["aud"] == here.resource("payments")
    assert claims["exp"] - claims["iat"] == 300 == tokens["expires_in"]
    assert claims["idp"] == {"iss": here.idp.url, "sub": "00u1alice"}
    assert claims["groups"] == ["support"], "only groups that some role matches on travel"
    assert (claims["amr"], claims["mfa"], claims["client_id"]) == (["pwd", "otp"], "proven", CLIENT_ID)
    assert here.call(tokens["access_token"]) == 200
    assert here.call(tokens["access_token"], "orders") == 401


def test_who_holds_no_role_logs_in_and_is_denied_at_the_call(here: Place) -> None:
    tokens = here.log_in(here.browser(Person(sub="00u9mallory", groups=("marketing",), amr=("pwd",))))
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_order", "arguments": {}}}
    _, _, body = here.gate.post("payments", message, token=tokens["access_token"])
    assert json.loads(body)["error"]["data"]["reason"] == "denied"


def test_groups_that_the_provider_left_out_give_no_role(here: Place) -> None:
    overage = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}
    tokens = here.log_in(here.browser(Person(sub="00u5erin", groups=("support",), claims=overage)))
    claims = claims_of(tokens["access_token"])
    assert (claims["groups"], claims["groups_left_out"]) == ([], True)


def test_metadata_says_the_same_issuer_to_the_byte_everywhere(here: Place) -> None:
    document = here.http.get(f"{here.issuer}/.well-known/oauth-authorization-server").json()
    resource = here.http.get(f"{here.gate.base}/.well-known/oauth-protected-resource/payments/mcp").json()
    page = here.browser(ALICE).visit(here.request())
    assert document["issuer"] == here.issuer == page.answer["iss"]
    assert resource["authorization_servers"] == [here.issuer]
    assert document["code_challenge_methods_supported"] == ["S256"]
    keys = here.http.get(document["jwks_uri"]).json()["keys"]
    assert [set(key) for key in keys] == [{"kty", "crv", "x", "y", "kid", "use", "alg"}]


def test_a_challenge_names_the_metadata_of_the_server(here: Place) -> None:
    status, headers, _ = here.gate.post("payments", {"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert status == 401
    assert "oauth-protected-resource/payments/mcp" in headers["www-authenticate"]


# Refresh


def test_a_refresh_token_is_rotated_and_a_repeat_gets_the_same_successor(here: Place) -> None:
    first = here.log_in(here.browser(ALICE))
    second = here.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    again = here.refresh(first["refresh_token"]).json()
    assert again["refresh_token"] == second["refresh_token"]
    assert here.call(again["access_token"]) == 200
    third = here.refresh(second["refresh_token"])
    assert third.status_code == 200


def test_a_refresh_token_used_two_turns_later_ends_the_grant(here: Place) -> None:
    first = here.log_in(here.browser(ALICE))
    tokens = [first]
    for _ in range(2):
        tokens.append(here.refresh(tokens[-1]["refresh_token"]).json())
    here.age_turns(claims_of(first["access_token"])["sid"], 31)
    refused = here.refresh(first["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert here.refresh(tokens[-1]["refresh_token"]).json()["error"] == "invalid_grant", "the whole family is revoked"
    assert here.call(tokens[-1]["access_token"]) == 401
    sid = claims_of(first["access_token"])["sid"]
    here.caused("refresh_reused", "grant_revoked")
    revoked = [entry for entry in here.entries() if entry["ev"] == "grant.revoked" and entry["res"]["name"] == sid]
    assert [entry["x"]["why"] for entry in revoked] == ["refresh_reused"]
    assert revoked[0]["who"]["sub"] == "00u1alice"


def test_twenty_refreshes_at_once_all_succeed_and_so_does_each_of_them_five_minutes_later(here: Place) -> None:
    first = here.log_in(here.browser(ALICE))
    with ThreadPoolExecutor(20) as pool:
        at_once = list(pool.map(lambda _: here.refresh(first["refresh_token"]), range(20)))
        assert [response.status_code for response in at_once] == [200] * 20
        assert len({response.json()["refresh_token"] for response in at_once}) == 1
        here.age_turns(claims_of(first["access_token"])["sid"], 300)
        later = list(pool.map(lambda response: here.refresh(response.json()["refresh_token"]), at_once))
        assert [response.status_code for response in later] == [200] * 20
        assert len({response.json()["refresh_token"] for response in later}) == 1


def test_a_client_whose_answer_was_lost_goes_on_with_the_token_it_has(here: Place) -> None:
    first = here.log_in(here.browser(ALICE))
    lost = here.refresh(first["refresh_token"]).json()
    here.age_turns(claims_of(first["access_token"])["sid"], 3600)
    found = here.refresh(first["refresh_token"])
    assert found.status_code == 200
    assert found.json()["refresh_token"] == lost["refresh_token"]


# Revocation


def test_a_revoked_login_is_refused_at_its_next_call_and_no_other_is(here: Place) -> None:
    browser = here.browser(ALICE)
    mine, other = here.log_in(browser), here.log_in(browser, "orders")
    assert here.call(mine["access_token"]) == 200
    began = time.monotonic()
    answer = here.http.post(
        f"{here.issuer}/oauth/revoke", data={"client_id": CLIENT_ID, "token": mine["refresh_token"]}
    )
    assert answer.status_code == 200
    assert [here.call(mine["access_token"]) for _ in range(8)] == [401] * 8, "every worker knows when it is answered"
    took_s = time.monotonic() - began
    assert took_s < 5
    assert here.call(other["access_token"], "orders") == 200
    assert here.refresh(mine["refresh_token"]).json()["error"] == "invalid_grant"
    _, headers, _ = here.gate.post(
        "payments", {"jsonrpc": "2.0", "id": 1, "method": "ping"}, token=mine["access_token"]
    )
    assert 'error="invalid_token"' in headers["www-authenticate"]
    loads = [entry for entry in here.entries() if entry["ev"] == "config.load"]
    assert len(loads) == 1, "a revocation is no change of the configuration"


def test_an_access_token_can_be_given_up_too_and_only_by_its_client(here: Place) -> None:
    tokens = here.log_in(here.browser(ALICE))
    stranger = {"client_id": "https://vscode.dev/oauth/client-metadata.json", "token": tokens["access_token"]}
    refused = here.http.post(f"{here.issuer}/oauth/revoke", data=stranger)
    assert refused.json()["error"] == "invalid_grant"
    assert here.call(tokens["access_token"]) == 200
    own = {"client_id": CLIENT_ID, "token": tokens["access_token"]}
    assert here.http.post(f"{here.issuer}/oauth/revoke", data=own).status_code == 200
    assert here.call(tokens["access_token"]) == 401


def test_every_step_is_in_the_book_with_the_person_and_no_secret(here: Place) -> None:
    tokens = here.log_in(here.browser(ALICE))
    sid = claims_of(tokens["access_token"])["sid"]
    entries = here.entries()
    events = [entry["ev"] for entry in entries]
    assert {"login.completed", "consent.given", "token.issued"} <= set(events)
    [issued] = [
        entry for entry in entries if entry["ev"] == "token.issued" and entry["who"].get("login") == f"sid:{sid}"
    ]
    assert (issued["who"]["iss"], issued["who"]["sub"]) == (here.idp.url, "00u1alice")
    assert issued["x"]["how"] == "code" and issued["x"]["mfa"] == "proven"
    text = json.dumps(entries)
    assert tokens["refresh_token"] not in text and tokens["access_token"] not in text
    stored = b"".join(path.read_bytes() for path in sorted((here.gate.data_dir / "desk").iterdir()))
    assert (
        tokens["refresh_token"].encode() not in stored and tokens["refresh_token"].split(".")[-1].encode() not in stored
    )


def test_the_desk_that_is_killed_comes_back_and_remembers(here: Place) -> None:
    tokens = here.log_in(here.browser(ALICE))
    here.kill_desk()
    assert here.call(tokens["access_token"]) == 200, "the gate goes on without the desk"
    here.until_the_desk_answers()
    assert here.refresh(tokens["refresh_token"]).status_code == 200


def test_an_open_stream_of_a_revoked_login_ends_and_another_goes_on(here: Place) -> None:
    browser = here.browser(ALICE)
    mine, other = here.log_in(browser), here.log_in(browser, "orders")
    with (
        here.stream(mine["access_token"], "payments") as ending,
        here.stream(other["access_token"], "orders") as staying,
    ):
        began = time.monotonic()
        revoke = {"client_id": CLIENT_ID, "token": mine["refresh_token"]}
        assert here.http.post(f"{here.issuer}/oauth/revoke", data=revoke).status_code == 200
        list(ending.iter_raw())  # raises ReadTimeout where it does not end by itself
        assert time.monotonic() - began < 10
        with pytest.raises(httpx2.ReadTimeout):
            next(staying.iter_raw())
    sid = claims_of(mine["access_token"])["sid"]
    closed = [
        entry for entry in here.entries() if entry["ev"] == "stream.close" and entry["who"].get("login") == f"sid:{sid}"
    ]
    assert [entry["out"]["reason"] for entry in closed] == ["login_revoked"]


def test_a_flood_of_refusals_of_one_source_is_counted_and_does_not_fill_the_book(here: Place) -> None:
    before = len(here.entries())
    for _ in range(200):
        here.token(grant_type="refresh_token", refresh_token="x", client_id="nobody")
    written = len(here.entries()) - before
    assert 0 < written <= 130, "the rest is counted when the window ends"


def test_what_was_revoked_stays_revoked_when_the_desk_is_killed(here: Place) -> None:
    tokens = here.log_in(here.browser(ALICE))
    revoke = {"client_id": CLIENT_ID, "token": tokens["refresh_token"]}
    assert here.http.post(f"{here.issuer}/oauth/revoke", data=revoke).status_code == 200
    here.kill_desk()
    here.until_the_desk_answers()
    assert [here.call(tokens["access_token"]) for _ in range(8)] == [401] * 8
    assert here.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


async def test_the_python_sdk_refreshes_by_itself_and_nobody_is_asked(here: Place) -> None:
    browser = here.browser(ALICE)
    client = here.client(browser)
    before, after = await client.call_again_later("payments", "get_order", order_id="ord_5001")
    assert browser.logins == 1
    assert before is not None and after is not None
    assert after.refresh_token not in (None, before.refresh_token)
    assert after.access_token != before.access_token


def test_over_https_the_cookies_are_the_hosts_alone(tmp_path: Path) -> None:
    with place(tmp_path / "secure", secure=True) as here:
        browser = here.browser(ALICE)
        tokens = here.log_in(browser)
        assert here.call(tokens["access_token"]) == 200
        cookies = {cookie.name: cookie for cookie in browser.http.cookies.jar if cookie.name.startswith("__Host-")}
        assert set(cookies) == {"__Host-gatebook-login", "__Host-gatebook-session"}
        for cookie in cookies.values():
            assert cookie.secure and cookie.path == "/" and not cookie.domain_specified
            assert cookie.has_nonstandard_attr("HttpOnly")


@pytest.mark.parametrize(
    ("client_id", "redirect"),
    [
        ("https://claude.ai/oauth/claude-code-client-metadata", "http://localhost:53682/callback"),
        ("https://vscode.dev/oauth/client-metadata.json", "http://127.0.0.1:33418/"),
        ("https://vscode.dev/oauth/client-metadata.json", "https://vscode.dev/redirect"),
    ],
)
def test_known_clients_log_in_in_the_shape_that_they_have_and_nothing_is_fetched(
    here: Place, client_id: str, redirect: str
) -> None:
    """Claude Code and Visual Studio Code cannot run here: their registration and redirect shapes are replayed."""
    verifier = "v" * 64
    browser = here.browser(ALICE)
    asked = here.request(client_id=client_id, redirect_uri=redirect, scope="openid offline_access", verifier=verifier)
    page = browser.visit(asked, stop_at=redirect)
    form = {
        "grant_type": "authorization_code",
        "code": page.answer["code"],
        "redirect_uri": redirect,
        "code_verifier": verifier,
    }
    tokens = here.token(**form, client_id=client_id)
    assert tokens.status_code == 200, tokens.text
    assert here.call(tokens.json()["access_token"]) == 200


def test_one_login_after_everything_expired_revives_every_server(here: Place) -> None:
    browser = here.browser(Person(sub="00u6fay", groups=("support",)))
    old = [here.log_in(browser), here.log_in(browser, "orders")]
    assert (browser.logins, browser.clicks) == (1, 2)
    for table in ("logins", "grants"):
        here.sql(f"UPDATE {table} SET expires_at = created_at + 1, created_at = created_at - 10")
    time.sleep(1)
    assert {here.refresh(tokens["refresh_token"]).json()["error"] for tokens in old} == {"invalid_grant"}
    new = [here.log_in(browser), here.log_in(browser, "orders")]
    assert browser.clicks == 2, "no click"
    logins = [
        entry for entry in here.entries() if entry["ev"] == "login.completed" and entry["who"]["sub"] == "00u6fay"
    ]
    assert len(logins) == 2, "the provider was asked once more, for both"
    assert [here.call(new[0]["access_token"]), here.call(new[1]["access_token"], "orders")] == [200, 200]


def test_a_client_that_is_a_web_page_may_ask(here: Place) -> None:
    """The MCP Inspector is one: metadata, registration and tokens by CORS; nothing there rests on a cookie."""
    for path in ("/oauth/token", "/oauth/register", "/.well-known/oauth-authorization-server"):
        answer = here.http.request("OPTIONS", here.issuer + path, headers={"origin": "http://localhost:6274"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
        assert "access-control-allow-credentials" not in answer.headers
    assert here.http.request("OPTIONS", here.issuer + "/consent").status_code == 405
    answer = here.token(grant_type="refresh_token", refresh_token="x")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"
