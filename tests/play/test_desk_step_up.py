"""[73] The desk's half of a step-up: an old login will not do, the provider is asked for a new one, and what comes back must prove it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.desk_world import CALLBACK, DeskPlay, claims_of

MFA = "mcp:payments mcp:payments:mfa"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskPlay]:
    play = DeskPlay(tmp_path)
    yield play
    await play.close()


async def test_who_logged_in_a_moment_ago_by_two_factors_is_not_asked_again(desk: DeskPlay) -> None:
    await desk.log_in()
    tokens = await desk.again(scope=MFA)
    assert (desk.provider.asked.count("redeem"), tokens["scope"]) == (1, MFA)


async def test_an_old_login_is_made_anew_with_what_the_rule_demands(desk: DeskPlay) -> None:
    first = claims_of((await desk.log_in())["access_token"])
    desk.pass_time(400)
    asked: list[dict[str, str]] = []
    came = await desk.browse(await desk.authorize(scope=MFA), "alice", at_provider=asked.append)
    assert came.headers["location"].startswith("http://127.0.0.1:7777/callback?code=")
    [parameters] = asked
    assert parameters["prompt"].split(" ")[0] == "login"
    assert (parameters["max_age"], parameters["acr_values"]) == ("300", "loa3")
    tokens = await desk.again(scope=MFA)
    claims = claims_of(tokens["access_token"])
    assert claims["auth_time"] == first["auth_time"] + 400
    assert claims["mfa"] == "proven"


async def test_an_ordinary_login_asks_for_none_of_it(desk: DeskPlay) -> None:
    asked: list[dict[str, str]] = []
    await desk.browse(await desk.authorize(), "alice", at_provider=asked.append)
    assert not {"max_age", "acr_values"} & asked[0].keys()
    assert asked[0].get("prompt") == "consent", "OIDC Core §11, for offline_access"


@pytest.mark.parametrize(
    "told",
    [
        {"amr": ["pwd"]},
        {"amr": "otp"},
        {"amr": ["pwd", "otp"], "auth_time": None},
        {"amr": ["otp"], "auth_time": 1_794_000_000},
    ],
    ids=["one factor", "amr as text", "no auth_time", "an old auth_time"],
)
async def test_a_login_that_does_not_prove_it_gives_nothing_and_says_why(desk: DeskPlay, told: dict[str, Any]) -> None:
    desk.provider.people["alice"].update(told)
    page = await desk.browse(await desk.authorize(scope=MFA), "alice")
    assert page.status_code == 400 and "mfa_missing" in page.text
    assert desk.causes() == ["mfa_missing"]
    assert desk.events("login.completed", "token.issued") == []


async def test_no_tab_gets_round_it_with_the_old_login(desk: DeskPlay) -> None:
    """The request is for a fresh login; going to the consent page by hand with the old one leads back to the provider."""
    desk.provider.people["alice"]["amr"] = ["pwd"]
    await desk.log_in()
    began = await desk.authorize(scope=MFA)
    handle = began.headers["location"].split("request=")[1]
    page = await desk.http.get(f"/consent?request={handle}")
    assert page.headers["location"] == f"/login?request={handle}"
    forged = await desk.http.post("/consent", data={"request": handle, "token": "x", "answer": "allow"})
    assert forged.status_code == 400


async def test_the_scope_is_one_of_servers_that_demand_it_alone(desk: DeskPlay) -> None:
    tokens = await desk.log_in(server="orders", scope="mcp:orders mcp:orders:mfa")
    assert tokens["scope"] == "mcp:orders"
    refused = await desk.authorize(server="orders", scope="mcp:orders:mfa")
    assert "error=invalid_scope" in refused.headers["location"]
    tokens = await desk.log_in(scope="mcp:payments:mfa")
    assert tokens["scope"] == MFA


async def test_a_refresh_keeps_the_scope_and_makes_the_proof_no_younger(desk: DeskPlay) -> None:
    tokens = await desk.log_in(scope=MFA)
    before = claims_of(tokens["access_token"])
    desk.pass_time(301)
    after = claims_of((await desk.refresh(tokens["refresh_token"]))["access_token"])
    assert (after["scope"], after["auth_time"]) == (MFA, before["auth_time"])


async def test_who_asks_for_a_new_login_gets_one_wherever_the_browser_goes_next(desk: DeskPlay) -> None:
    """`prompt=login` of a client: also at the provider, and for whoever leaves out the login page."""
    await desk.log_in()
    desk.pass_time(30)
    sent = await desk.authorize(prompt="login")
    handle = parse_qs(urlsplit(sent.headers["location"]).query)["request"][0]
    skipped = await desk.http.get(f"/consent?request={handle}")
    assert not skipped.headers.get("location", "").startswith(CALLBACK) and 'name="answer"' not in skipped.text
    asked: list[dict[str, str]] = []
    came = await desk.browse(await desk.authorize(prompt="login"), "alice", at_provider=asked.append)
    assert came.headers["location"].startswith(f"{CALLBACK}?code=")
    assert asked[0]["prompt"].split(" ")[0] == "login"
    assert desk.provider.asked.count("redeem") == 2
    # That login serves whoever does not ask for another one.
    await desk.again()
    assert desk.provider.asked.count("redeem") == 2
