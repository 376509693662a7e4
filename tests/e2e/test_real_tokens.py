"""Tokens of a provider that is not ours, with keys fetched as the desk fetches them, judged as a worker judges them."""

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest

from gatebook.adapters.keys_oidc import fetch
from gatebook.identity.errors import TokenRefused
from gatebook.identity.tokens import Verifier
from gatebook.model.deployment import KeySet, Server
from gatebook.model.errors import Reason
from tests import issuing
from tests.e2e.nodejs import HOW_TO_INSTALL, npm_packages_installed
from tests.e2e.oidc_provider import CLIENT_ID, OidcProvider, Person, oidc_provider
from tests.issuing import Issuer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not npm_packages_installed(), reason=HOW_TO_INSTALL),
]

ALICE = Person(sub="00u1alice", groups=("pay-readers", "/staff"), amr=("pwd", "otp"), acr="urn:example:loa-2")
PAYMENTS, LEDGER = issuing.server("payments"), issuing.server("ledger")


class World(NamedTuple):
    idp: OidcProvider
    verifier: Verifier

    def refusal(self, token: str, server: Server = PAYMENTS, now_s: float | None = None) -> Reason:
        with pytest.raises(TokenRefused) as refused:
            self.verifier.verify(token, server, now_s or time.time())
        return refused.value.reason


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with oidc_provider() as idp:
        issuer = Issuer(idp.url, token_type="at+jwt")
        jwks = asyncio.run(fetch(issuer.model, "dev"))
        snapshot = msgspec.structs.replace(
            issuing.snapshot((issuer,), (PAYMENTS, LEDGER)),
            key_sets={"corp": KeySet(jwks=jwks.decode(), fetched_at=time.time())},
        )
        yield World(idp, Verifier(snapshot))


def test_a_person_who_logged_in_is_known_with_groups_and_evidence(world: World) -> None:
    token = world.idp.log_in(ALICE, audience=PAYMENTS.resource).access_token
    alice = world.verifier.verify(token, PAYMENTS, time.time())
    assert (alice.issuer, alice.subject, alice.agent) == (world.idp.url, "00u1alice", CLIENT_ID)
    assert alice.groups == {"pay-readers", "/staff"}
    assert (alice.evidence.amr, alice.evidence.acr) == (("pwd", "otp"), "urn:example:loa-2")
    assert alice.evidence.auth_time is not None
    assert alice.login.startswith("sid:")
    assert "mcp" in alice.scopes


def test_a_token_for_one_endpoint_opens_no_other(world: World) -> None:
    token = world.idp.log_in(ALICE, audience=PAYMENTS.resource).access_token
    assert world.refusal(token, LEDGER) is Reason.TOKEN_AUDIENCE


def test_a_token_that_has_run_out_is_refused(world: World) -> None:
    token = world.idp.log_in(ALICE, audience=PAYMENTS.resource).access_token
    assert world.refusal(token, now_s=time.time() + 400) is Reason.TOKEN_EXPIRED


def test_the_id_token_and_the_refresh_token_of_the_login_are_no_access_tokens(world: World) -> None:
    tokens = world.idp.log_in(ALICE, audience=PAYMENTS.resource)
    assert world.refusal(tokens.id_token) in (Reason.TOKEN_TYPE, Reason.TOKEN_ALGORITHM)
    assert tokens.refresh_token
    assert world.refusal(tokens.refresh_token) is Reason.TOKEN_INVALID


def test_an_application_is_no_person(world: World) -> None:
    assert world.refusal(world.idp.token_of_application(audience=PAYMENTS.resource)) is Reason.TOKEN_CLAIMS


def test_groups_that_the_provider_left_out_are_no_groups(world: World) -> None:
    overage = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}
    token = world.idp.log_in(Person(sub="00u5erin", claims=overage), audience=PAYMENTS.resource).access_token
    found = world.verifier.verify(token, PAYMENTS, time.time())
    assert (found.groups, found.claims["groups_overage"]) == (frozenset(), "true")


def test_a_token_of_another_provider_is_refused(world: World) -> None:
    with oidc_provider() as stranger:
        token = stranger.log_in(ALICE, audience=PAYMENTS.resource).access_token
        assert world.refusal(token) is Reason.TOKEN_ISSUER
