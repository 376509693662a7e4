"""At a refresh the provider is asked again: groups that are gone are gone, people who are gone are out, and its silence is borne for a while."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gatebook.federation import envelope
from tests.desk_world import IDP, DeskPlay, claims_of, deployment


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[DeskPlay]:
    play = DeskPlay(tmp_path)
    yield play
    await play.close()


async def turn(desk: DeskPlay, tokens: dict[str, str]) -> dict[str, str]:
    """Five minutes later, in which there was a call."""
    desk.pass_time(300)
    desk.called(tokens["access_token"])
    return await desk.refresh(tokens["refresh_token"])


async def test_a_removed_group_bites_at_the_next_refresh_and_is_an_entry_first(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    assert claims_of(tokens["access_token"])["groups"] == ["support"]
    desk.provider.people["alice"]["groups"] = ["staff"]
    tokens = await turn(desk, tokens)
    assert claims_of(tokens["access_token"])["groups"] == []
    changed, issued = desk.drafts[-2:]
    assert (changed.event, changed.detail["lost"], changed.who.sub) == ("login.changed", "support", "alice")
    assert (issued.event, issued.detail["standing"]) == ("token.issued", "read")
    desk.provider.people["alice"]["groups"] = ["support"]
    tokens = await turn(desk, tokens)
    assert claims_of(tokens["access_token"])["groups"] == ["support"]
    assert desk.events("login.changed")[-1].detail["gained"] == "support"


async def test_groups_that_are_now_left_out_are_no_groups(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    desk.provider.people["alice"]["_claim_names"] = {"groups": "src1"}
    claims = claims_of((await turn(desk, tokens))["access_token"])
    assert (claims["groups"], claims["groups_left_out"]) == ([], True)


async def test_evidence_is_that_of_the_login_although_the_provider_says_none_at_a_refresh(desk: DeskPlay) -> None:
    first = claims_of((await desk.log_in())["access_token"])
    tokens = await desk.log_in()
    later = claims_of((await turn(desk, tokens))["access_token"])
    assert (later["amr"], later["mfa"]) == (["pwd", "otp"], "proven")
    assert later["auth_time"] == first["auth_time"], "a refresh is no login"


async def test_a_disabled_person_is_out_with_every_grant_of_the_login(desk: DeskPlay) -> None:
    mine = await desk.log_in()
    other = await desk.again(server="orders")
    desk.provider.gone.add("alice")
    desk.pass_time(300)
    desk.called(mine["access_token"])
    refused = await desk.refreshed(mine["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    kinds = [kind for kind, _ in desk.journal]
    ended = desk.events("grant.revoked")
    assert {draft.resource.server for draft in ended} == {"payments", "orders"}
    assert {(draft.detail["why"], draft.who.sub) for draft in ended} == {("provider_ended", "alice")}
    assert kinds.index("in force") < next(index for index, (_, draft) in enumerate(desk.journal) if draft in ended)
    assert desk.causes() == ["provider_ended"]
    [over] = desk.events("login.ended")
    assert (over.detail["why"], over.detail["grants"], over.who.sub) == ("provider_ended", 2, "alice")
    assert (await desk.refreshed(other["refresh_token"])).json()["error"] == "invalid_grant"
    sids = {claims_of(tokens["access_token"])["sid"] for tokens in (mine, other)}
    assert desk.store.revoked_since(0.0) == sids
    assert (await desk.authorize()).headers["location"].startswith("/login"), "its browser is logged in no more"


async def test_a_disabled_person_gets_no_further_grant_by_a_browser_that_is_logged_in(desk: DeskPlay) -> None:
    """Consent was given and the desk's cookie is good: without asking, each request for a code would give a grant without a refresh."""
    tokens = await desk.log_in()
    desk.pass_time(200)
    await desk.again()
    assert desk.provider.asked == ["redeem"]
    desk.provider.gone.add("alice")
    desk.pass_time(100)
    answer = await desk.authorize()
    assert answer.headers["location"].startswith("/login"), "on to the provider, which does not let her in"
    assert {draft.detail["why"] for draft in desk.events("grant.revoked")} == {"provider_ended"}
    assert len(desk.store.revoked_since(0.0)) == 2
    assert (await desk.refreshed(tokens["refresh_token"])).status_code == 400


async def test_a_browser_goes_on_with_the_groups_of_now(desk: DeskPlay) -> None:
    await desk.log_in()
    desk.provider.people["alice"]["groups"] = ["staff"]
    desk.pass_time(300)
    tokens = await desk.again(server="orders")
    assert desk.provider.asked == ["redeem", "renew"]
    assert claims_of(tokens["access_token"])["groups"] == []


async def test_the_provider_is_asked_once_however_many_refresh_and_once_per_token_lifetime(desk: DeskPlay) -> None:
    mine = await desk.log_in()
    other = await desk.again(server="orders")
    await desk.refresh(mine["refresh_token"])
    assert desk.provider.asked == ["redeem"], "the login was a moment ago"
    desk.pass_time(300)
    answers = await asyncio.gather(*(desk.refreshed(each["refresh_token"]) for each in [mine, other] * 10))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert desk.provider.asked == ["redeem", "renew"]
    desk.pass_time(299)
    await desk.refresh(answers[1].json()["refresh_token"])
    assert desk.provider.asked == ["redeem", "renew"]
    desk.pass_time(1)
    await desk.refresh(answers[0].json()["refresh_token"])
    assert desk.provider.asked == ["redeem", "renew", "renew"]


async def test_a_client_that_hangs_up_loses_neither_the_answer_nor_the_providers_next_token(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    desk.pass_time(300)
    came, go = asyncio.Event(), asyncio.Event()
    renew = desk.provider.renew

    async def slowly(*args: object, **options: object) -> object:
        answer = await renew(*args, **options)  # type: ignore[arg-type]
        came.set()
        await go.wait()  # its token counts no more from here on, and the answer is under way
        return answer

    desk.provider.renew = slowly  # type: ignore[method-assign, assignment]
    first = asyncio.ensure_future(desk.refreshed(tokens["refresh_token"]))
    await came.wait()
    second = asyncio.ensure_future(desk.refreshed(tokens["refresh_token"]))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert (await second).status_code == 200
    desk.provider.renew = renew  # type: ignore[method-assign]
    desk.pass_time(300)
    assert (await desk.refreshed((await second).json()["refresh_token"])).status_code == 200


@pytest.mark.parametrize("kind", ["down", "no_keys"])
async def test_an_outage_of_an_hour_is_unnoticed_and_then_nothing_is_given(desk: DeskPlay, kind: str) -> None:
    tokens = await desk.log_in()
    setattr(desk.provider, kind, True)
    began_s = desk.clock.now_s
    while desk.clock.now_s - began_s < 3600:
        tokens = await turn(desk, tokens)
    assert desk.drafts[-1].detail["standing"] == "unreachable"
    assert claims_of(tokens["access_token"])["groups"] == ["support"]
    setattr(desk.provider, kind, False)
    tokens = await turn(desk, tokens)
    assert desk.drafts[-1].detail["standing"] == "read"
    setattr(desk.provider, kind, True)
    for _ in range(13):
        tokens = await turn(desk, tokens)
    desk.pass_time(300)
    desk.called(tokens["access_token"])
    refused = await desk.refreshed(tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    assert desk.causes() == ["provider_unreachable"]
    assert desk.events("grant.revoked") == [], "its silence ends nothing"
    setattr(desk.provider, kind, False)
    desk.pass_time(30)
    assert (await desk.refreshed(tokens["refresh_token"])).status_code == 200


@pytest.mark.slow
async def test_an_outage_of_a_day_is_closed(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    desk.provider.down = True
    given = 0
    for _ in range(25 * 12):
        desk.pass_time(300)
        desk.called(tokens["access_token"])
        answer = await desk.refreshed(tokens["refresh_token"])
        given += answer.status_code == 200
        tokens = answer.json() if answer.status_code == 200 else tokens
    assert given == 13, "the grace, and nothing after it"


async def test_without_grace_a_silent_provider_refuses_at_once(desk: DeskPlay) -> None:
    desk.change(provider_grace_s=0.0)
    tokens = await desk.log_in()
    desk.provider.down = True
    desk.pass_time(301)
    assert (await desk.refreshed(tokens["refresh_token"])).status_code == 503


async def test_a_silent_provider_is_not_asked_at_every_refresh(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    desk.provider.down = True
    desk.pass_time(300)
    for _ in range(5):
        tokens = await desk.refresh(tokens["refresh_token"])
    assert desk.provider.asked.count("renew") == 1
    desk.pass_time(30)
    await desk.refresh(tokens["refresh_token"])
    assert desk.provider.asked.count("renew") == 2


async def test_another_person_for_the_same_token_ends_the_login(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    desk.provider.people["alice"] = {"sub": "mallory", "groups": ["support"]}
    desk.pass_time(300)
    assert (await desk.refreshed(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    [ended] = desk.events("grant.revoked")
    assert (ended.who.sub, ended.detail["why"]) == ("alice", "provider_ended")


async def test_a_malformed_list_of_groups_is_no_answer(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    desk.provider.people["alice"]["groups"] = "support,admin"
    await turn(desk, tokens)
    assert desk.drafts[-1].detail["standing"] == "unreachable"


async def test_where_the_provider_gives_no_refresh_token_the_entries_say_so(desk: DeskPlay) -> None:
    desk.provider.gives_refresh_tokens = False
    tokens = await desk.log_in()
    assert [draft.detail["rereadable"] for draft in desk.events("login.completed")] == [False]
    await turn(desk, tokens)
    assert desk.provider.asked == ["redeem"]
    assert desk.drafts[-1].detail["standing"] == "as_at_login"


async def test_what_asks_the_provider_lies_sealed_in_its_own_row_and_goes_with_the_login(desk: DeskPlay) -> None:
    await desk.log_in()
    tokens = await desk.log_in()
    grant = desk.store.grant(claims_of(tokens["access_token"])["sid"])
    assert grant is not None
    sealed = desk.store.upstream(grant.login_id)
    assert sealed is not None and b"upstream-" not in sealed
    plain = envelope.unseal(desk.world.keys.upstream, "logins", grant.login_id, sealed)
    assert plain is not None and plain.startswith(b"upstream-")
    assert envelope.unseal(desk.world.keys.upstream, "logins", "another", sealed) is None
    stored = b"".join(path.read_bytes() for path in sorted((desk.folder / "desk").iterdir()))
    assert plain not in stored
    desk.store.revoke("test", desk.clock.now_s, login_id=grant.login_id)
    assert desk.store.upstream(grant.login_id) is None


async def test_a_key_that_was_replaced_sends_people_to_log_in_again(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    desk.world.keys = msgspec.structs.replace(desk.world.keys, upstream=b"x" * 32)
    desk.pass_time(300)
    assert (await desk.refreshed(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_stranger_makes_nobody_ask(desk: DeskPlay) -> None:
    tokens = await desk.log_in()
    desk.pass_time(300)
    for token in ("x", tokens["refresh_token"][:-1] + ("A" if tokens["refresh_token"][-1] != "A" else "B")):
        assert (await desk.refreshed(token)).status_code == 400
    other = await desk.post(
        "/oauth/token",
        grant_type="refresh_token",
        refresh_token=tokens["refresh_token"],
        client_id="https://vscode.dev/oauth/client-metadata.json",
    )
    assert other.status_code == 400
    assert desk.provider.asked == ["redeem"]


# An account that is not one person's


async def test_a_shared_account_does_not_log_in_where_such_are_refused(desk: DeskPlay) -> None:
    desk.provider.people["ops"] = {"groups": ["support"], "email": "Ops@example.com"}
    page = await desk.browse(await desk.authorize(), "ops")
    assert page.status_code == 400 and "shared_account" in page.text
    [refused] = desk.events("login.refused")
    assert refused.detail["cause"] == "shared_account" and "email" in str(refused.detail["hint"])
    assert refused.who.kind == "person" and refused.who.iss == IDP, (
        "the provider proved who it is: the entry is no stranger's"
    )
    desk.change(shared="mark")
    await desk.log_in("ops")
    assert "shared" in desk.events("login.completed")[-1].detail


async def test_an_account_that_becomes_shared_is_out_at_the_next_refresh(tmp_path: Path) -> None:
    from gatebook.model.deployment import SharedMarks

    desk = DeskPlay(tmp_path, deployment(idp={"shared": SharedMarks(groups=("mailboxes",))}))
    tokens = await desk.log_in()
    desk.provider.people["alice"]["groups"] = ["support", "mailboxes"]
    desk.pass_time(300)
    assert (await desk.refreshed(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert desk.causes() == ["shared_account"]
    await desk.close()
