"""Idle time is counted in calls and never in refreshes, a token ends no later than the login or the idle time would, and logins are ended from outside."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatebook.adapters.sessions_shared import SharedSessions
from gatebook.model.deployment import Limits
from gatebook.model.errors import LedgerUnavailable
from gatebook.model.record import Draft, Origin, Who
from gatebook.serve.desk_http.ending import Where, end
from tests.desk_world import DeskPlay, claims_of
from tests.world import JournalLedger

ADMIN = Who(kind="person", iss="https://idp.example", sub="root-admin")
HERE = Origin(ip="198.51.100.4")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskPlay]:
    play = DeskPlay(tmp_path)
    yield play
    await play.close()


def lives_s(tokens: dict[str, str]) -> int:
    claims = claims_of(tokens["access_token"])
    return int(claims["exp"] - claims["iat"])


async def test_a_program_that_only_refreshes_keeps_nobody_logged_in(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    lives = []
    for _ in range(2):
        desk.pass_time(299)
        tokens = await desk.refresh(tokens["refresh_token"])
        lives.append(lives_s(tokens))
    desk.pass_time(297)
    tokens = await desk.refresh(tokens["refresh_token"])
    assert (lives, lives_s(tokens), tokens["expires_in"]) == ([300, 300], 5, 5), "no token outlives the idle time"
    desk.pass_time(5)
    refused = await desk.refreshed(tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert desk.causes() == ["grant_idle"]
    [ended] = desk.events("grant.revoked")
    assert (ended.detail["why"], ended.who.sub) == ("idle", "alice")
    assert desk.revocations == 1
    assert "login" in (await desk.authorize()).headers["location"], "nor does its browser go on without the provider"


@pytest.mark.slow
async def test_whoever_calls_goes_on_to_the_end_of_the_login_and_no_further(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    began_s = desk.clock.now_s
    while desk.clock.now_s - began_s < 28_800 - 100:
        desk.pass_time(min(290, 28_700 - (desk.clock.now_s - began_s)))
        desk.called(tokens["access_token"])
        tokens = await desk.refresh(tokens["refresh_token"])
    assert lives_s(tokens) == 100, "nor does a token outlive the login"
    desk.pass_time(100)
    desk.called(tokens["access_token"])
    assert (await desk.refreshed(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert desk.causes() == ["grant_expired"]


async def test_calls_of_another_client_or_server_are_no_calls_of_this_grant(desk: DeskPlay) -> None:
    mine = await desk.log_in()
    other = await desk.again(server="orders")
    desk.pass_time(600)
    desk.called(other["access_token"])
    desk.pass_time(300)
    assert (await desk.refreshed(mine["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await desk.refreshed(other["refresh_token"])).status_code == 200
    assert "/consent" in (await desk.authorize()).headers["location"], "the person is there, so one click revives it"


async def test_the_workers_map_says_when_a_call_came(tmp_path: Path) -> None:
    """The very map that the gate touches at every call, in two processes' hands."""
    gate = SharedSessions(tmp_path / "sessions.map", Limits(), slots=64)
    desk = SharedSessions(tmp_path / "sessions.map", Limits(), slots=64)
    assert desk.last_seen_us(b"k" * 16) is None
    gate.touch(b"k" * 16, 1_000_000)
    gate.touch(b"k" * 16, 7_000_000)
    assert desk.last_seen_us(b"k" * 16) == 7_000_000
    assert desk.last_seen_us(b"o" * 16) is None
    late_us = 7_000_000 + int(Limits().session_idle_s * 1_000_000) * 3
    assert desk.last_seen_us(b"k" * 16) == 7_000_000 < late_us, "also when its recording session is over"
    gate.close()
    desk.close()


async def test_twenty_clients_keep_what_they_got_and_refresh_again_five_minutes_later(desk: DeskPlay) -> None:
    first = await desk.log_in()
    at_once = await asyncio.gather(*(desk.refreshed(first["refresh_token"]) for _ in range(20)))
    assert [answer.status_code for answer in at_once] == [200] * 20
    lost = at_once[0].json()["refresh_token"]
    desk.pass_time(300)
    desk.called(first["access_token"])
    later = await asyncio.gather(*(desk.refreshed(answer.json()["refresh_token"]) for answer in at_once))
    assert [answer.status_code for answer in later] == [200] * 20
    newest = {answer.json()["refresh_token"] for answer in later}
    assert len(newest) == 1
    desk.pass_time(300)
    desk.called(first["access_token"])
    # One whose answer was lost comes with the token before: its successor was never used.
    again = await desk.refresh(lost)
    assert again["refresh_token"] in newest
    assert desk.events("grant.revoked") == []
    desk.pass_time(31)
    await desk.refresh(again["refresh_token"])
    desk.pass_time(31)
    assert (await desk.refreshed(lost)).json()["error"] == "invalid_grant", "now two parties hold it"
    assert [draft.detail["why"] for draft in desk.events("grant.revoked")] == ["refresh_reused"]


# The end, from outside


async def grants(desk: DeskPlay) -> dict[str, dict[str, str]]:
    desk.provider.people["bob"] = {"groups": ["support"], "amr": ["pwd"]}
    found = {"bob/payments": await desk.log_in("bob"), "alice/payments": await desk.log_in()}
    return found | {"alice/orders": await desk.again(server="orders")}


@pytest.mark.parametrize(
    ("where", "ends", "browser_too"),
    [
        (Where(person=("https://idp.example", "alice")), {"alice/payments", "alice/orders"}, True),
        (Where(server="payments"), {"alice/payments", "bob/payments"}, False),
        (Where(client_id="test-program"), {"alice/payments", "alice/orders", "bob/payments"}, False),
        (Where(person=("https://idp.example", "alice"), server="orders"), {"alice/orders"}, False),
        (Where(person=("https://other.example", "alice")), set(), False),
        (Where(client_id="another"), set(), False),
    ],
)
async def test_what_ends_is_what_was_named_and_each_is_an_entry_of_whoever_did_it(
    desk: DeskPlay, where: Where, ends: set[str], browser_too: bool
) -> None:
    held = await grants(desk)
    ended = await end(desk.world, where, "by_admin", HERE, who=ADMIN)
    sids = {claims_of(tokens["access_token"])["sid"]: name for name, tokens in held.items()}
    assert {sids[grant.sid] for grant in ended} == ends
    entries = desk.events("grant.revoked")
    assert {sids[str(draft.resource.name)] for draft in entries} == ends
    assert {(draft.who.sub, draft.origin.ip, draft.detail["why"]) for draft in entries} <= {
        ("root-admin", "198.51.100.4", "by_admin")
    }
    for name, tokens in held.items():
        assert (await desk.refreshed(tokens["refresh_token"])).status_code == (400 if name in ends else 200), name
    assert desk.revocations == (1 if ends else 0)
    assert await end(desk.world, where, "by_admin", HERE, who=ADMIN) == ()
    if browser_too:
        await desk.again("alice")
        assert desk.provider.asked.count("redeem") == 3, "the browser that was logged in is so no more"


async def test_what_is_ended_is_out_of_force_before_it_is_in_the_book_and_also_where_that_fails(desk: DeskPlay) -> None:
    await grants(desk)
    await end(desk.world, Where(server="orders"), "by_admin", HERE, who=ADMIN)
    order = [draft.event if isinstance(draft, Draft) else kind for kind, draft in desk.journal]
    assert order[-2:] == ["in force", "grant.revoked"]
    assert isinstance(desk.world.ledger, JournalLedger)
    desk.world.ledger.fails_on = lambda draft: True
    with pytest.raises(LedgerUnavailable):
        await end(desk.world, Where(server="payments"), "by_admin", HERE, who=ADMIN)
    assert desk.revocations == 2
    assert len(desk.store.revoked_since(0.0)) == 3


async def test_that_nothing_is_named_is_a_mistake(desk: DeskPlay) -> None:
    with pytest.raises(ValueError, match="nothing says"):
        await end(desk.world, Where(), "by_admin", HERE, who=ADMIN)
