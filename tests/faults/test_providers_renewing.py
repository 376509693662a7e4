"""A provider that is asked again at a refresh, over the network: what it may answer, what that means, and its keys through outages and floods."""

import asyncio
import base64
import json
import time
from typing import Any

import msgspec
import pytest

from gatebook.adapters.providers_oidc import OidcProviders
from gatebook.federation.errors import LoginRefused, PersonGone, ProviderFailed
from gatebook.federation.ports import Renewed, Tokens
from gatebook.identity.errors import TokenRefused
from gatebook.identity.keysets import MIN_INTERVAL_S, TTL_S
from gatebook.identity.tokens import Verifier
from gatebook.model.deployment import IdentityProvider, Server
from gatebook.model.errors import Reason
from gatebook.model.secret import Secret
from gatebook.serve.desk_http.provider_keys import ProviderKeys
from tests import issuing
from tests.faults.test_keys_keeper import World, running
from tests.faults.test_providers_oidc import NONCE, Provider, provider
from tests.issuing import NOW_S, RESOURCE, Issuer

__all__ = ["provider"]
HOUR_S = 3600
OLD = Secret("old-refresh-token")


def renewed(provider: Provider, secret: Secret[bytes] | None = None) -> Renewed:
    return asyncio.run(provider.adapter().renew(provider.idp, refresh_token=OLD, secret=secret))


def who(provider: Provider, **answer: Any) -> Tokens:
    made = Renewed(refresh_token=OLD, answer={"access_token": "opaque", **answer})
    return asyncio.run(provider.adapter().who(provider.idp, made, now_s=time.time()))


def test_it_is_asked_as_our_client_and_what_it_gives_next_is_kept(provider: Provider) -> None:
    provider.more = {"refresh_token": "new-one"}
    provider.id_token = provider.token(nonce=None)
    found = renewed(provider, Secret(b"secret"))
    form, headers = provider.asked[0]
    assert form == {"grant_type": ["refresh_token"], "refresh_token": ["old-refresh-token"]}
    assert headers["authorization"] == "Basic " + base64.b64encode(b"gatebook:secret").decode()
    assert found.refresh_token.reveal() == "new-one"
    provider.more = {}
    assert renewed(provider).refresh_token.reveal() == "old-refresh-token", "one that rotates nothing"


@pytest.mark.parametrize("error", ["invalid_grant", "interaction_required", "login_required", "consent_required"])
def test_a_person_who_counts_no_more_is_gone(provider: Provider, error: str) -> None:
    provider.status, provider.error = 400, error
    with pytest.raises(PersonGone, match=error):
        renewed(provider)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, "invalid_client"),
        (400, "invalid_client"),
        (400, "temporarily_unavailable"),
        (429, ""),
        (403, "invalid_grant"),
        (500, ""),
        (302, ""),
    ],
)
def test_what_is_about_us_or_about_it_says_nothing_of_the_person(provider: Provider, status: int, error: str) -> None:
    provider.status, provider.error = status, error
    with pytest.raises(ProviderFailed, match=str(status)):
        renewed(provider)


def test_what_it_says_now_is_verified_and_has_no_nonce(provider: Provider) -> None:
    found = who(provider, id_token=provider.token(nonce=None, groups=["staff"]))
    assert found.claims["groups"] == ["staff"]
    assert who(provider, id_token=provider.token(groups=["staff"])).claims["nonce"] == NONCE, "one that repeats it"


@pytest.mark.parametrize(
    "claims", [{"aud": "another"}, {"iss": "http://127.0.0.1:1"}, {"exp": 1}, {"exp": None}], ids=str
)
def test_an_id_token_that_does_not_verify_is_no_answer_and_ends_nothing(
    provider: Provider, claims: dict[str, Any]
) -> None:
    with pytest.raises(ProviderFailed, match="ID token of a refresh"):
        who(provider, id_token=provider.token(nonce=None, **claims))
    for token in ("", "x", 7, provider.token({"alg": "none"}, nonce=None)):
        with pytest.raises(ProviderFailed):
            who(provider, id_token=token)


def test_without_an_id_token_userinfo_says_who_it_is(provider: Provider) -> None:
    provider.userinfo = {"sub": "00u1alice", "groups": ["staff"]}
    found = who(provider)
    assert (found.claims, found.userinfo) == (provider.userinfo, None)
    with pytest.raises(ProviderFailed, match="neither"):
        who(provider, access_token=None)


def test_a_provider_that_is_not_there_is_silent(provider: Provider) -> None:
    idp = IdentityProvider(name="corp", url="http://127.0.0.1:1", client_id="gatebook")
    with pytest.raises(ProviderFailed):
        asyncio.run(provider.adapter().renew(idp, refresh_token=OLD, secret=None))


# [18] to [24]: the keys of the providers where people log in are kept by the same keeper, from start to login


class Desk:
    """The keeper, the keys that it publishes to the desk, and logins at the provider, by a clock that is moved."""

    def __init__(self, provider: Provider, world: World) -> None:
        self.provider = provider
        self.world = world
        self.keys = ProviderKeys()
        self.keys.ask_again = world.keeper.asked_again
        self.adapter = OidcProviders("dev", self.keys.of, self.keys.key_unknown, total_s=2.0)

    async def logs_in(self, issuer: Issuer | None = None) -> bool:
        now = int(self.world.now_s)
        self.keys.publish(self.world.published[-1] if self.world.published else {})
        signer = issuer or self.provider.issuer
        self.provider.id_token = signer.token(
            aud="gatebook", azp=None, nonce=NONCE, iat=now, nbf=None, exp=now + 300, jti=None, groups=[]
        )
        try:
            await self.adapter.redeem(
                self.provider.idp,
                code="c",
                redirect_uri="r",
                verifier="v",
                nonce=NONCE,
                secret=None,
                now_s=self.world.now_s,
            )
        except LoginRefused:
            return False
        return True


@pytest.mark.slow
async def test_an_outage_of_the_keys_of_an_hour_is_unnoticed_and_of_25_hours_closed_and_over_when_it_is_over(
    provider: Provider,
) -> None:
    world = World(provider.issuer)
    desk = Desk(provider, world)
    server = Server(name="payments", url="https://s/mcp", resource=RESOURCE, audiences={"corp": RESOURCE})

    def calls() -> bool:
        """A caller with a token of this issuer, at the gate."""
        keys = world.published[-1].get("corp")
        snapshot = msgspec.structs.replace(
            issuing.snapshot((provider.issuer,), (server,)), key_sets={"corp": keys} if keys else {}
        )
        now = int(world.now_s)
        token = provider.issuer.token(aud=RESOURCE, iat=now, nbf=now, exp=now + 300)
        try:
            Verifier(snapshot).judge(token, server, world.now_s)
        except TokenRefused as refused:
            return refused.reason is not Reason.KEYS_UNAVAILABLE
        return True

    async with running(world.keeper):
        await world.until(lambda: len(world.published) == 1)
        good, world.says["corp"] = world.says["corp"], OSError("unreachable")
        for minutes in range(0, 61, 5):
            world.now_s = NOW_S + minutes * 60
            assert (await desk.logs_in(), calls()) == (True, True), f"after {minutes} minutes"
        world.now_s = NOW_S + 25 * HOUR_S
        await world.until(lambda: world.published[-1] == {})
        assert (await desk.logs_in(), calls()) == (False, False)
        world.says["corp"] = good
        world.now_s += TTL_S
        await world.until(lambda: "corp" in world.published[-1])
        assert (await desk.logs_in(), calls()) == (True, True)


@pytest.mark.slow
async def test_a_new_key_logs_people_in_at_once_and_a_flood_of_unknown_ones_asks_once(provider: Provider) -> None:
    world = World(provider.issuer)
    desk = Desk(provider, world)
    rotated = Issuer(provider.issuer.url, name="rotated", algorithm="RS256")
    async with running(world.keeper):
        await world.until(lambda: len(world.published) == 1)
        world.now_s += MIN_INTERVAL_S
        fetched = len(world.fetches)
        for _ in range(200):
            world.keeper.unknown_kid("corp")
        await world.fetched_again()
        assert len(world.fetches) == fetched + 1
        assert await desk.logs_in(), "and no key was lost to it"
        world.says["corp"] = json.dumps(rotated.jwks()).encode()
        world.now_s += MIN_INTERVAL_S
        world.keeper.unknown_kid("corp")
        await world.until(lambda: len(world.published) == 2)
        assert await desk.logs_in(rotated)
        assert not await desk.logs_in(), "the key that was withdrawn"
