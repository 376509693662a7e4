"""When a provider is asked again, how long its silence is borne, when a grant is idle, and when a token ends: rules over instants."""

from typing import Any

import msgspec
import pytest

from gatebook.federation import envelope
from gatebook.federation.records import Grant, LoggedIn, Login, Person
from gatebook.federation.standing import is_believed, is_due, is_idle, last_act_s, token_ends_at

NOW = 1_795_000_000.0
KEY = b"k" * 32


def login(read_at: float | None = None) -> Login:
    seen = LoggedIn(person=Person(issuer="https://idp.example", subject="alice"), idp="corp", read_at=read_at)
    return Login(id="1" * 32, seen=seen, browser_hash="", created_at=NOW, expires_at=NOW + 28_800)


def grant(**changed: Any) -> Grant:
    base = Grant(
        sid="a" * 32, login_id="1" * 32, client_id="c", client_name="C", server="payments", resource="r", scope="s", created_at=NOW,
        expires_at=NOW + 28_800,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changed)


@pytest.mark.parametrize(
    ("read_at", "now", "due"),
    [
        (None, NOW, False),
        (None, NOW + 299.9, False),
        (None, NOW + 300, True),
        (NOW + 300, NOW + 599, False),
        (NOW + 300, NOW + 600, True),
    ],
)
def test_once_in_a_tokens_life(read_at: float | None, now: float, due: bool) -> None:
    assert is_due(login(read_at), now) is due


def test_a_clock_that_was_set_back_asks_too_early_and_never_too_late() -> None:
    assert is_due(login(NOW + 3600), NOW)


@pytest.mark.parametrize("due_at", [0.0, 100.0, 300.0])
def test_an_outage_as_long_as_the_grace_is_survived_whenever_it_began(due_at: float) -> None:
    """The provider was asked `due_at` seconds before it fell silent; an hour later it is asked in vain for the last time."""
    assert is_believed(login(), 3600, NOW + due_at + 3600)
    assert not is_believed(login(), 3600, NOW + 300 + 3600.1)


def test_without_grace_a_token_of_the_last_answer_may_still_be_renewed_within_its_life() -> None:
    assert is_believed(login(), 0, NOW + 300) and not is_believed(login(), 0, NOW + 300.1)


def test_getting_a_grant_is_an_act_and_so_is_a_call_and_nothing_else() -> None:
    assert (last_act_s(NOW, None), last_act_s(NOW, NOW + 7), last_act_s(NOW, NOW - 7)) == (NOW, NOW + 7, NOW)
    assert not is_idle(NOW, 900, NOW + 899.9) and is_idle(NOW, 900, NOW + 900)


@pytest.mark.parametrize(
    ("expires_at", "last_act", "idle_s", "lives_s"),
    [(28_800, 0, 900, 300), (120, 0, 900, 120), (28_800, -880, 900, 20), (28_800, -100, 900, 300)],
)
def test_a_token_ends_with_the_first_of_its_life_the_login_and_the_idle_time(
    expires_at: float, last_act: float, idle_s: float, lives_s: float
) -> None:
    assert token_ends_at(grant(expires_at=NOW + expires_at), NOW + last_act, idle_s, NOW) == NOW + lives_s


def test_an_envelope_opens_in_its_row_with_its_key_and_nowhere_else() -> None:
    sealed = envelope.seal(KEY, "logins", "1", b"upstream token", b"n" * 12)
    assert b"upstream" not in sealed
    assert envelope.unseal(KEY, "logins", "1", sealed) == b"upstream token"
    for key, table, row in ((KEY, "logins", "2"), (KEY, "grants", "1"), (b"x" * 32, "logins", "1")):
        assert envelope.unseal(key, table, row, sealed) is None


def test_of_an_envelope_no_byte_can_be_changed_and_none_be_missing() -> None:
    sealed = envelope.seal(KEY, "logins", "1", b"t", b"n" * 12)
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        assert envelope.unseal(KEY, "logins", "1", changed) is None, f"byte {place}, the version's among them"
    for length in range(len(sealed)):
        assert envelope.unseal(KEY, "logins", "1", sealed[:length]) is None


def test_a_nonce_of_another_length_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        envelope.seal(KEY, "logins", "1", b"t", b"n")
