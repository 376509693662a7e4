"""An access token of the desk, as the gate judges it."""

import json
from typing import Any

import msgspec
import pytest

from gatebook.config.desk import desk_issuer
from gatebook.federation.minting import KEPT_S, UNTIL, Minter, claims_of, new_key, published, verifies
from gatebook.federation.records import Grant, LoggedIn, Login, Person
from gatebook.identity.errors import TokenRefused
from gatebook.identity.keysets import acceptable_key_set
from gatebook.identity.tokens import Verifier
from gatebook.model.deployment import DESK_ISSUER, Desk, IdentityProvider, KeySet, Snapshot
from gatebook.model.errors import Reason
from gatebook.model.principal import Evidence
from tests import issuing
from tests.issuing import NOW_S

DESK = Desk(listen=(), public_url="https://login.example", signing_key="", public_keys="")
IDP = IdentityProvider(name="corp", url="https://idp.example", client_id="gatebook")
SERVER = issuing.server("payments", DESK_ISSUER)
MINTER = Minter.of(new_key())


def snapshot(idps: tuple[IdentityProvider, ...] = (IDP,)) -> Snapshot:
    base = issuing.snapshot((), (SERVER, issuing.server("orders", DESK_ISSUER)))
    deployment = msgspec.structs.replace(base.deployment, issuers=(desk_issuer(DESK),), desk=DESK, idps=idps)
    keys = {DESK_ISSUER: KeySet(jwks=MINTER.public_keys().decode(), fetched_at=NOW_S)}
    return msgspec.structs.replace(base, deployment=deployment, key_sets=keys)


def claims(**changed: Any) -> dict[str, object]:
    login = Login(
        id="1" * 32,
        seen=LoggedIn(
            person=Person(issuer=IDP.url, subject="00u1alice", label="Alice"),
            idp="corp",
            evidence=Evidence(amr=("pwd", "otp"), acr="loa2", auth_time=NOW_S - 60),
            mfa="proven",
        ),
        browser_hash="",
        created_at=NOW_S,
        expires_at=NOW_S + 28_800,
    )
    grant = Grant(
        sid="a" * 32, login_id=login.id, client_id="claude", client_name="C", server="payments", resource=SERVER.resource,
        scope="mcp:payments", created_at=NOW_S, expires_at=NOW_S + 28_800,
    )  # fmt: skip
    made = claims_of(grant, login, issuer=DESK.public_url, groups=("support",), now_s=NOW_S, jti="j" * 32)
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


def refusal(token: str, *, idps: tuple[IdentityProvider, ...] = (IDP,), now_s: float = NOW_S) -> Reason:
    with pytest.raises(TokenRefused) as refused:
        Verifier(snapshot(idps)).verify(token, SERVER, now_s)
    return refused.value.reason


def test_the_gate_sees_the_person_at_the_provider_and_the_grant() -> None:
    seen = Verifier(snapshot()).verify(MINTER.sign(claims()), SERVER, NOW_S)
    assert (seen.issuer, seen.issuer_name, seen.subject) == (IDP.url, "corp", "00u1alice")
    assert (seen.groups, seen.agent, seen.sid, seen.login) == ({"support"}, "claude", "a" * 32, f"sid:{'a' * 32}")
    assert (seen.evidence.amr, seen.evidence.acr, seen.evidence.auth_time) == (("pwd", "otp"), "loa2", NOW_S - 60)
    assert (seen.claims["mfa"], seen.scopes) == ("proven", {"mcp:payments"})


def test_a_provider_that_was_taken_away_vouches_for_nobody() -> None:
    token = MINTER.sign(claims())
    other = msgspec.structs.replace(IDP, url="https://idp.example/")
    assert refusal(token, idps=()) is Reason.TOKEN_ISSUER
    assert refusal(token, idps=(other,)) is Reason.TOKEN_ISSUER


def test_it_is_over_after_five_minutes() -> None:
    assert refusal(MINTER.sign(claims()), now_s=NOW_S + 306) is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"principal_type": None}, Reason.TOKEN_CLAIMS),
        ({"principal_type": "job"}, Reason.TOKEN_CLAIMS),
        ({"idp": None}, Reason.TOKEN_CLAIMS),
        ({"idp": "https://idp.example"}, Reason.TOKEN_CLAIMS),
        ({"idp": {"iss": "https://idp.example"}}, Reason.TOKEN_CLAIMS),
        ({"idp": {"iss": ["https://idp.example"], "sub": "x"}}, Reason.TOKEN_ISSUER),
        ({"sid": None}, Reason.TOKEN_CLAIMS),
        ({"sid": "short"}, Reason.TOKEN_CLAIMS),
        ({"groups": "support"}, Reason.TOKEN_CLAIMS),
        ({"aud": "https://gate.example/orders/mcp"}, Reason.TOKEN_AUDIENCE),
        ({"exp": None}, Reason.TOKEN_CLAIMS),
    ],
)
def test_a_claim_of_another_shape_is_refused(changed: dict[str, Any], reason: Reason) -> None:
    assert refusal(MINTER.sign(claims(**changed))) is reason


def test_a_token_of_another_key_is_refused() -> None:
    assert refusal(Minter.of(new_key()).sign(claims())) is Reason.TOKEN_KEY_UNKNOWN


def test_the_public_half_holds_nothing_of_the_private_one() -> None:
    private = new_key()
    [public] = json.loads(Minter.of(private).public_keys())["keys"]
    assert "d" not in public and json.loads(private)["d"] not in json.dumps(public)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"kty":"RSA"}',
        b"x" * 100,
        json.dumps({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}).encode(),
    ],
)
def test_what_is_no_signing_key_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="private key"):
        Minter.of(raw)


def test_a_public_key_cannot_sign() -> None:
    [public] = json.loads(MINTER.public_keys())["keys"]
    with pytest.raises(ValueError, match="private key"):
        Minter.of(json.dumps(public).encode())


def kept(raw: bytes) -> dict[str, object]:
    """Key id → when it ends."""
    return {key["kid"]: key.get(UNTIL) for key in json.loads(raw)["keys"]}


def test_a_key_that_signs_no_more_verifies_until_its_tokens_are_over() -> None:
    old, new = Minter.of(new_key()), Minter.of(new_key())
    first = published(None, old, NOW_S)
    assert kept(first) == {old.kid: None}
    both = published(first, new, NOW_S)
    assert kept(both) == {new.kid: None, old.kid: NOW_S + KEPT_S}
    assert published(both, new, NOW_S + 60) == both, "its end does not move"
    assert len(json.loads(acceptable_key_set(both))["keys"]) == 2
    assert verifies(both, old.kid) and verifies(both, new.kid)
    assert kept(published(both, new, NOW_S + KEPT_S)) == {new.kid: None}
    assert kept(published(both, old, NOW_S)) == {old.kid: None, new.kid: NOW_S + KEPT_S}, "and back"


@pytest.mark.parametrize("before", [b"", b"no JSON", b"[]", b'{"keys": 7}', b'{"keys": [7]}'])
def test_a_set_that_cannot_be_read_holds_no_key(before: bytes) -> None:
    assert published(before, MINTER, NOW_S) == MINTER.public_keys()
