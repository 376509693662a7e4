"""A remembered verification is the same answer, and never an older truth."""

import msgspec
import pytest

from gatebook.identity.cache import CachedVerifier
from gatebook.identity.errors import TokenRefused
from gatebook.identity.keysets import MAX_STALE_S
from gatebook.identity.tokens import Judged, Verifier
from gatebook.model.deployment import Server
from gatebook.model.errors import Reason
from tests import issuing
from tests.issuing import NOW_S, Issuer

CORP = Issuer()
SERVER = issuing.server()


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signature was really checked, in order."""
    tokens: list[str] = []
    judge = Verifier.judge

    def counting(self: Verifier, token: str, server: Server, now_s: float) -> Judged:
        tokens.append(token)
        return judge(self, token, server, now_s)

    monkeypatch.setattr(Verifier, "judge", counting)
    return tokens


def test_a_token_is_verified_once(verified: list[str]) -> None:
    cache = CachedVerifier(issuing.snapshot((CORP,)))
    token = CORP.token()
    assert cache.verify(token, SERVER, NOW_S) == cache.verify(token, SERVER, NOW_S + 299)
    assert verified == [token]


def test_past_its_exp_a_token_is_verified_each_time(verified: list[str]) -> None:
    cache = CachedVerifier(issuing.snapshot((CORP,)))
    token = CORP.token()
    for now_s in (NOW_S, NOW_S + 300, NOW_S + 301):
        cache.verify(token, SERVER, now_s)
    assert verified == [token] * 3
    with pytest.raises(TokenRefused) as refused:
        cache.verify(token, SERVER, NOW_S + 360)
    assert refused.value.reason is Reason.TOKEN_EXPIRED


def test_what_was_verified_at_one_server_is_not_believed_at_another() -> None:
    ledger = issuing.server("ledger")
    cache = CachedVerifier(issuing.snapshot((CORP,), (SERVER, ledger)))
    cache.verify(CORP.token(), SERVER, NOW_S)
    with pytest.raises(TokenRefused) as refused:
        cache.verify(CORP.token(), ledger, NOW_S)
    assert refused.value.reason is Reason.TOKEN_AUDIENCE


def test_an_answer_does_not_outlive_its_keys() -> None:
    cache = CachedVerifier(issuing.snapshot((CORP,), fetched_at=NOW_S - MAX_STALE_S + 10))
    cache.verify(CORP.token(), SERVER, NOW_S + 9)
    with pytest.raises(TokenRefused) as refused:
        cache.verify(CORP.token(), SERVER, NOW_S + 10)
    assert refused.value.reason is Reason.KEYS_UNAVAILABLE


def test_a_new_snapshot_forgets_what_the_old_keys_verified() -> None:
    token = CORP.token()
    snapshot = issuing.snapshot((CORP,))
    CachedVerifier(snapshot).verify(token, SERVER, NOW_S)
    without = msgspec.structs.replace(snapshot, key_sets={})
    with pytest.raises(TokenRefused):
        CachedVerifier(without).verify(token, SERVER, NOW_S)


def test_refusals_are_not_remembered_and_push_nothing_out(verified: list[str]) -> None:
    cache = CachedVerifier(issuing.snapshot((CORP,)), capacity=2)
    good = CORP.token()
    cache.verify(good, SERVER, NOW_S)
    for number in range(10):
        with pytest.raises(TokenRefused):
            cache.verify(CORP.token(aud="elsewhere", jti=str(number)), SERVER, NOW_S)
    cache.verify(good, SERVER, NOW_S)
    assert verified.count(good) == 1


def test_the_oldest_answer_goes_when_there_are_too_many(verified: list[str]) -> None:
    cache = CachedVerifier(issuing.snapshot((CORP,)), capacity=2)
    first, second, third = (CORP.token(jti=name) for name in ("1", "2", "3"))
    for token in (first, second, third, second, first):
        cache.verify(token, SERVER, NOW_S)
    assert verified == [first, second, third, first]


def test_a_token_with_a_lone_surrogate_is_refused_and_not_an_accident() -> None:
    with pytest.raises(TokenRefused):
        CachedVerifier(issuing.snapshot((CORP,))).verify("\ud800.x.y", SERVER, NOW_S)
