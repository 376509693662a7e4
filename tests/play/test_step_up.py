"""[73] A tool that demands a fresh login by several factors: refused with the challenge that makes clients log in again, and its entry."""

import json

import msgspec
import pytest

from gatebook.model.deployment import ToolRule
from gatebook.model.http import Reply
from gatebook.model.principal import Evidence, Principal
from gatebook.policy.stepping_up import unproven
from tests.play.test_one_call import CALL, RESULT
from tests.world import Play, deployment

SID = "5" * 32
RULE = ToolRule(tools=("get_*",), mfa="proven", mfa_max_age_s=300)


def play_of(rule: ToolRule = RULE) -> Play:
    base = deployment()
    play = Play(servers=(msgspec.structs.replace(base.servers[0], tool_rules=(rule,)),))
    play.tokens.sids["alice"] = SID
    return play


async def refused(play: Play, body: bytes = CALL) -> Reply:
    answer = await play.ask(body)
    assert isinstance(answer, Reply) and "sent" not in play.events
    return answer


def now_s(play: Play) -> int:
    return play.clock.unix_us // 1_000_000


async def test_without_the_proof_the_client_is_told_what_to_ask_for() -> None:
    play = play_of()
    play.tokens.proofs["alice"] = ("none", now_s(play))
    answer = await refused(play)
    assert answer.status == 403
    assert json.loads(answer.body)["error"]["data"]["reason"] == "insufficient_scope"
    assert json.loads(answer.body)["id"] == json.loads(CALL)["id"]
    told = dict(answer.headers)[b"www-authenticate"].decode()
    assert told.startswith('Bearer error="insufficient_scope", error_description="')
    assert 'scope="mcp:payments mcp:payments:mfa", max_age="300", resource_metadata="https://gate.example.com/' in told
    [entry] = play.drafts
    assert (entry.event, entry.reason) == ("call.refused", "insufficient_scope")
    assert entry.policy is not None and entry.policy.rule == "server:payments/tool[0]/mfa"
    assert entry.who.sub == "alice"


@pytest.mark.parametrize("mfa", ["declared", "none", ""])
async def test_what_is_only_declared_is_no_proof(mfa: str) -> None:
    play = play_of()
    play.tokens.proofs["alice"] = (mfa, now_s(play))
    assert (await refused(play)).status == 403


@pytest.mark.parametrize(("age_s", "passes"), [(0, True), (299, True), (302, False), (-59, True), (-120, False)])
async def test_the_login_is_fresh_for_as_long_as_the_rule_says(age_s: int, passes: bool) -> None:
    play = play_of()
    play.tokens.proofs["alice"] = ("proven", now_s(play) - age_s)
    play.answers(RESULT)
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == (200 if passes else 403)


async def test_a_login_without_an_instant_is_as_old_as_can_be() -> None:
    play = play_of()
    play.tokens.proofs["alice"] = ("proven", None)
    assert (await refused(play)).status == 403


async def test_without_an_age_a_proven_login_is_enough_for_its_whole_life() -> None:
    play = play_of(ToolRule(tools=("get_*",), mfa="proven"))
    play.tokens.proofs["alice"] = ("proven", None)
    play.answers(RESULT)
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 200


async def test_another_issuers_token_proves_nothing_whatever_it_claims() -> None:
    """Evidence is judged by the desk alone: a claim `mfa` in a token of somebody else is a word."""
    play = play_of()
    del play.tokens.sids["alice"]
    play.tokens.proofs["alice"] = ("proven", now_s(play))
    assert (await refused(play)).status == 403


async def test_who_may_not_call_at_all_is_denied_and_not_sent_to_log_in() -> None:
    play = play_of(ToolRule(tools=("**",), mfa="proven"))
    denied = CALL.replace(b"get_order", b"delete_customer")
    answer = await refused(play, denied)
    assert answer.status == 200
    assert b"www-authenticate" not in dict(answer.headers)
    assert json.loads(answer.body)["error"]["data"]["reason"] == "denied"


async def test_other_tools_ask_for_nothing() -> None:
    play = play_of(ToolRule(tools=("refund",), mfa="proven"))
    play.answers(RESULT)
    answer = await play.ask(CALL)
    assert isinstance(answer, Reply) and answer.status == 200


def test_the_decision_is_pure_and_says_what_is_missing() -> None:
    principal = Principal(
        kind="person", issuer="i", issuer_name="corp", subject="s", agent=None, login="l", groups=frozenset(), claims={"mfa": "proven"},
        evidence=Evidence(auth_time=1000), expires_at=2000, sid=SID,
    )  # fmt: skip
    assert unproven(RULE, principal, 1200.0) is None
    assert unproven(RULE, principal, 1301.0) == "the login is older than 300 s"
    assert unproven(ToolRule(tools=("x",)), principal, 1301.0) is None
    job = msgspec.structs.replace(principal, kind="job")
    assert unproven(RULE, job, 1200.0) is not None, "a CI system's own claim `mfa` is no proof of ours"
