"""The life of logins at a running desk with a certified provider: a group taken away there, a person disabled there, its silence, a role
taken away here, and a tool that wants a fresh login."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.desk import CLIENT_ID, Place, place
from tests.e2e.desk.test_login import claims_of
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import Person

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

READ_AGAIN_S = 301
RULES = """
[[server.tool]]
match = ["list_orders"]
mfa = "proven"
mfa_max_age_s = 600
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("life"), rules=RULES) as here:
        yield here


def person(name: str, *amr: str, groups: tuple[str, ...] = ("support",)) -> Person:
    return Person(sub=name, groups=groups, amr=amr or ("pwd", "otp"))


def denied(here: Place, token: str) -> bool:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "get_order", "arguments": {"order_id": "ord_5001"}},
    }
    status, _, body = here.gate.post("payments", message, token=token)
    return status == 200 and json.loads(body).get("error", {}).get("data", {}).get("reason") == "denied"


def test_a_group_taken_away_at_the_provider_is_gone_with_the_next_token(here: Place) -> None:
    tokens = here.log_in(here.browser(person("gil")))
    assert not denied(here, tokens["access_token"])
    here.idp.administer(sub="gil", groups=["staff"])
    tokens = here.refresh(tokens["refresh_token"]).json()
    assert not denied(here, tokens["access_token"]), "the provider was asked a moment ago"
    here.age_reading("gil", READ_AGAIN_S)
    tokens = here.refresh(tokens["refresh_token"]).json()
    assert claims_of(tokens["access_token"])["groups"] == []
    assert denied(here, tokens["access_token"])
    changed = [entry for entry in here.entries() if entry["ev"] == "login.changed"]
    assert [(entry["who"]["sub"], entry["x"]["lost"]) for entry in changed] == [("gil", "support")]


def test_a_person_disabled_at_the_provider_is_out_at_the_next_refresh_with_every_grant(here: Place) -> None:
    browser = here.browser(person("dave"))
    mine, other = here.log_in(browser), here.log_in(browser, "orders")
    here.idp.administer(sub="dave", disabled=True)
    here.age_reading("dave", READ_AGAIN_S)
    began = time.monotonic()
    with here.stream(other["access_token"], "orders") as open_stream:
        refused = here.refresh(mine["refresh_token"])
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        assert [here.call(mine["access_token"]), here.call(other["access_token"], "orders")] == [401, 401]
        list(open_stream.iter_raw())  # raises ReadTimeout where it does not end by itself
    assert time.monotonic() - began < 10
    assert here.refresh(other["refresh_token"]).json()["error"] == "invalid_grant"
    here.caused("provider_ended")
    ended = [entry for entry in here.entries() if entry["ev"] == "grant.revoked" and entry["who"].get("sub") == "dave"]
    assert [entry["x"]["why"] for entry in ended] == ["provider_ended"] * 2
    assert here.http.get(f"{here.issuer}/healthz").status_code == 200


def test_an_outage_of_the_provider_is_borne_and_then_over(here: Place) -> None:
    tokens = here.log_in(here.browser(person("ora")))
    here.idp.administer(out=True)
    try:
        here.age_reading("ora", READ_AGAIN_S)
        tokens = here.refresh(tokens["refresh_token"]).json()
        assert here.call(tokens["access_token"]) == 200
        here.age_reading("ora", 3700)
        silent = here.refresh(tokens["refresh_token"])
        assert (silent.status_code, silent.json()["error"]) == (503, "temporarily_unavailable")
    finally:
        here.idp.administer(out=False)
    here.caused("provider_unreachable")
    issued = [
        entry["x"]["standing"]
        for entry in here.entries()
        if entry["ev"] == "token.issued" and entry["who"]["sub"] == "ora"
    ]
    assert issued == ["read", "unreachable"]


def test_what_asks_the_provider_lies_nowhere_in_clear(here: Place) -> None:
    tokens = here.log_in(here.browser(person("sam")))
    here.age_reading("sam", READ_AGAIN_S)
    assert here.refresh(tokens["refresh_token"]).status_code == 200
    [login] = [entry for entry in here.entries() if entry["ev"] == "login.completed" and entry["who"]["sub"] == "sam"]
    assert login["x"]["rereadable"] is True
    key = here.gate.data_dir / "keys" / "upstream.key"
    assert (key.stat().st_size, key.stat().st_mode & 0o077) == (32, 0)


def test_an_idle_grant_is_over_and_a_call_keeps_it(here: Place) -> None:
    browser = here.browser(person("ida"))
    idle, busy = here.log_in(browser), here.log_in(browser, "orders")
    here.sql(
        "UPDATE grants SET created_at = created_at - 901 WHERE login_id IN (SELECT id FROM logins WHERE subject = 'ida')"
    )
    assert here.call(busy["access_token"], "orders") == 200
    assert here.refresh(busy["refresh_token"]).status_code == 200, (
        "the workers know of the call, and the desk asks them"
    )
    refused = here.refresh(idle["refresh_token"])
    assert refused.json()["error"] == "invalid_grant"
    here.caused("grant_idle")
    assert here.call(idle["access_token"]) == 401


# A tool that demands a fresh login by several factors, with a real client


async def call_listing(here: Place, client: Any) -> str:
    result = await client.call("payments", "list_orders", customer_id="cus_1001")
    return json.dumps(result)


def test_the_python_sdk_steps_up_by_itself(here: Place) -> None:
    browser = here.browser(person("mia", "pwd"))
    client = here.client(browser)
    asyncio.run(client.call("payments", "get_order", order_id="ord_5001"))
    assert browser.logins == 1
    browser.person = person("mia", "pwd", "otp")
    asyncio.run(call_listing(here, client))
    assert browser.logins == 2, "the provider asked again, although its own session was fresh"
    tokens = client.kept["payments"].tokens
    assert tokens is not None and set(str(tokens.scope).split()) == {"mcp:payments", "mcp:payments:mfa"}
    claims = claims_of(tokens.access_token)
    assert (claims["mfa"], claims["amr"]) == ("proven", ["pwd", "otp"])
    assert abs(time.time() - claims["auth_time"]) < 60
    asyncio.run(call_listing(here, client))
    assert browser.logins == 2, "and not again while it is fresh"
    refused = [entry for entry in here.entries() if entry["ev"] == "call.refused" and entry["who"]["sub"] == "mia"]
    assert [entry["pol"]["rule"] for entry in refused] == ["server:payments/tool[0]/mfa"]


def test_a_login_by_one_factor_does_not_get_there(here: Place) -> None:
    browser = here.browser(person("noa", "pwd"))
    page = browser.visit(here.request(scope="mcp:payments mcp:payments:mfa"))
    assert page.status == 400 and "mfa_missing" in page.text
    here.caused("mfa_missing")


def test_a_role_taken_away_cuts_an_open_stream(tmp_path: Path) -> None:
    with place(tmp_path / "roles") as own:
        tokens = own.log_in(own.browser(person("rita")))
        with own.stream(tokens["access_token"], "payments") as response:
            config = own.gate.config
            config.write_text(config.read_text().replace('group = "support"', 'group = "nobody"'))
            began = time.monotonic()
            own.gate.process.send_signal(signal.SIGHUP)
            while not denied(own, tokens["access_token"]):
                assert time.monotonic() - began < 20
                time.sleep(0.1)
            list(response.iter_raw())  # raises ReadTimeout where it does not end by itself
            assert time.monotonic() - began < 20
        closed = [entry for entry in own.entries() if entry["ev"] == "stream.close"]
        assert [entry["out"]["reason"] for entry in closed] == ["denied"]


@contextlib.contextmanager
def listening(here: Place, token: str, server: str = "payments") -> Iterator[Iterator[bytes]]:
    """A subscription (MCP 2026-07-28), acknowledged and open; reading waits 30 s at most."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    headers = {
        "authorization": f"Bearer {token}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "subscriptions/listen",
    }
    with (
        httpx2.Client(trust_env=False, timeout=httpx2.Timeout(10, read=30)) as http,
        http.stream("POST", here.gate.url(server), json=message, headers=headers) as response,
    ):
        pieces = response.iter_raw()
        assert b"notifications/subscriptions/acknowledged" in next(pieces)
        yield pieces


def test_a_subscription_ends_when_its_login_is_ended(here: Place) -> None:
    tokens = here.log_in(here.browser(person("lea")))
    with listening(here, tokens["access_token"]) as pieces:
        began = time.monotonic()
        revoke = {"client_id": CLIENT_ID, "token": tokens["refresh_token"]}
        assert here.http.post(f"{here.issuer}/oauth/revoke", data=revoke).status_code == 200
        last = b"".join(pieces)
        assert time.monotonic() - began < 10
    assert b'"reason":"login_revoked"' in last


def test_a_subscription_ends_with_its_token(here: Place) -> None:
    """A token that ends in some seconds, because the grant is nearly idle; opening the stream is a call, and does not lengthen that token."""
    tokens = here.log_in(here.browser(person("lou")))
    here.sql(
        "UPDATE grants SET created_at = created_at - 890 WHERE login_id IN (SELECT id FROM logins WHERE subject = 'lou')"
    )
    tokens = here.refresh(tokens["refresh_token"]).json()
    assert 0 < tokens["expires_in"] <= 10
    with listening(here, tokens["access_token"]) as pieces:
        last = b"".join(pieces)
    ended_after_s = time.time() - claims_of(tokens["access_token"])["exp"]
    assert 0 <= ended_after_s < 60
    assert b'"reason":"token_expired"' in last
    assert here.call(tokens["access_token"]) == 401
    assert here.refresh(tokens["refresh_token"]).json()["expires_in"] == 300, "the person is there, so it goes on"
