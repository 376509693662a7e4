"""[73] The desk's API takes a proof of several factors where a role there demands it, and lets everybody else in with what they have."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import msgspec
import pytest

from gatebook.federation.own_client import COMMAND_LINE
from gatebook.model.deployment import DESK_ISSUER, DeskRole, Evidences, Issuer, Match
from tests.desk_world import CALLBACK, DESK, VERIFIER, DeskPlay, claims_of, deployment

FRESH = "mcp:desk mcp:desk:mfa"
BOB = "bob"


def play(folder: Path, **idp: Any) -> DeskPlay:
    """Of `corp`, admins are so only by several factors, and auditors by any login."""
    made = msgspec.structs.replace(
        deployment(str(folder), idp=idp),
        issuers=(Issuer(name=DESK_ISSUER, url=DESK, kind="desk", token_type="at+jwt", algorithms=("ES256",)),),
        desk_roles=(
            DeskRole(role="admin", match=(Match(issuer="corp", group="admins"),), mfa="proven"),
            DeskRole(role="auditor", match=(Match(issuer="corp", group="audit"),)),
        ),
    )
    desk = DeskPlay(folder, made)
    desk.provider.people["alice"]["groups"] = ["admins"]
    desk.provider.people[BOB] = {"groups": ["audit"], "amr": ["pwd"]}
    return desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskPlay]:
    desk = play(tmp_path)
    yield desk
    await desk.close()


async def came(desk: DeskPlay, subject: str, asked: list[dict[str, str]], **changed: str) -> httpx2.Response:
    """Where `gatebook login` ends, in the browser as it is."""
    began = await desk.authorize(
        client_id=COMMAND_LINE.client_id, resource=f"{DESK}/api", redirect_uri=CALLBACK, **changed
    )
    return await desk.browse(began, subject, at_provider=asked.append)


async def token_of(desk: DeskPlay, page: httpx2.Response) -> str:
    code = parse_qs(urlsplit(page.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    answer = await desk.post("/oauth/token", client_id=COMMAND_LINE.client_id, **form)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


async def ask(desk: DeskPlay, token: str, route: str) -> httpx2.Response:
    return await desk.http.get(f"/api/{route}", headers={"authorization": f"Bearer {token}"})


async def test_an_admins_login_is_asked_to_prove_it_and_then_holds_the_role(desk: DeskPlay) -> None:
    asked: list[dict[str, str]] = []
    token = await token_of(desk, await came(desk, "alice", asked))
    [parameters] = asked
    assert (parameters["prompt"].split(" ")[0], parameters["acr_values"]) == ("login", "loa3")
    assert claims_of(token)["scope"] == "mcp:desk", "nobody need know of the scope"
    assert (await ask(desk, token, "grants")).status_code == 200
    assert (await ask(desk, token, "me")).json()["roles"] == ["admin"]


async def test_an_admin_who_did_not_prove_it_is_refused_with_the_words_to_type(desk: DeskPlay) -> None:
    desk.provider.people["alice"]["amr"] = ["pwd"]
    page = await came(desk, "alice", [])
    assert page.status_code == 400 and "gatebook login --fresh" in page.text
    assert desk.causes() == ["mfa_missing"]
    assert desk.events("login.completed", "token.issued") == []


async def test_an_old_login_of_one_factor_is_made_anew_for_an_admin_alone(desk: DeskPlay) -> None:
    desk.provider.people["alice"]["amr"] = ["pwd"]
    await desk.log_in("alice")
    desk.provider.people["alice"]["amr"] = ["pwd", "otp"]
    asked: list[dict[str, str]] = []
    token = await token_of(desk, await came(desk, "alice", asked))
    assert (len(asked), (await ask(desk, token, "grants")).status_code) == (1, 200)
    desk.http.cookies.clear()
    await token_of(desk, await came(desk, BOB, []))
    asked = []
    await token_of(desk, await came(desk, BOB, asked))
    assert asked == [], "who holds no such role is not asked again"


async def test_who_holds_no_such_role_logs_in_with_what_they_have(desk: DeskPlay) -> None:
    token = await token_of(desk, await came(desk, BOB, []))
    seen = (await ask(desk, token, "me")).json()
    assert (seen["mfa"], seen["roles"]) == ("none", ["auditor"])
    refused = await ask(desk, token, "grants")
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")


@pytest.mark.parametrize(("amr", "causes"), [(["pwd"], ["mfa_missing"]), (["pwd", "otp"], [])])
async def test_a_fresh_login_must_prove_it_whoever_it_is(desk: DeskPlay, amr: list[str], causes: list[str]) -> None:
    await token_of(desk, await came(desk, BOB, []))
    desk.provider.people[BOB]["amr"] = amr
    asked: list[dict[str, str]] = []
    await came(desk, BOB, asked, scope=FRESH, prompt="login")
    assert (len(asked), desk.causes()) == (1, causes)


async def test_a_group_that_comes_at_a_refresh_gives_no_role_without_the_proof(desk: DeskPlay) -> None:
    """The login was let in, because no role rested on it; then the person is made an admin."""
    token = await token_of(desk, await came(desk, BOB, []))
    desk.provider.people[BOB]["groups"] = ["admins"]
    desk.pass_time(400)
    asked: list[dict[str, str]] = []
    page = await came(desk, BOB, asked)
    assert (len(asked), page.status_code, desk.causes()) == (1, 400, ["mfa_missing"])
    assert (await ask(desk, token, "grants")).status_code in (401, 403)


async def test_where_a_provider_can_prove_nothing_people_come_in_and_hold_no_such_role(tmp_path: Path) -> None:
    desk = play(tmp_path, mfa=Evidences(declared=True))
    try:
        asked: list[dict[str, str]] = []
        token = await token_of(desk, await came(desk, "alice", asked))
        assert not {"max_age", "acr_values"} & asked[0].keys()
        assert (await ask(desk, token, "me")).json()["roles"] == []
        refused = await ask(desk, token, "grants")
        assert (refused.status_code, refused.json()["error"], refused.json()["scope"]) == (
            403,
            "insufficient_scope",
            FRESH,
        )
        assert "gatebook login --fresh" in refused.json()["error_description"]
        assert refused.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{FRESH}"'
        [entry] = desk.events("api.refused")
        assert entry.reason == "insufficient_scope"
        assert entry.detail == {"role": "admin", "why": "mfa is declared"}
    finally:
        await desk.close()
