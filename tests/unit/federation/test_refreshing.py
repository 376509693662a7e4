"""The rule of rotation, and the form of refresh tokens."""

from hypothesis import given
from hypothesis import strategies as st

from gatebook.federation.records import Turn
from gatebook.federation.refreshing import GRACE_S, Repeat, Replayed, Rotate, judge, read, token_of

NOW = 1_795_000_000.0
SID = "0123456789abcdef" * 2
KEY = b"k" * 32


def turns(*used_at: float | None) -> dict[int, Turn]:
    return {number: Turn(sid=SID, number=number, token_hash="", used_at=at) for number, at in enumerate(used_at)}


def test_the_newest_token_moves_on() -> None:
    assert judge(0, turns(None), NOW) == Rotate(1)
    assert judge(2, turns(NOW - 9, NOW - 5, None), NOW) == Rotate(3)


def test_a_repeat_gets_the_same_successor_while_that_was_never_used() -> None:
    assert judge(0, turns(NOW - 28_000, None), NOW) == Repeat(1)


def test_a_repeat_gets_the_same_successor_within_the_grace_although_that_was_used() -> None:
    assert judge(0, turns(NOW - GRACE_S, NOW - 1, None), NOW) == Repeat(1)


def test_a_repeat_after_the_grace_whose_successor_was_used_is_a_replay() -> None:
    assert judge(0, turns(NOW - GRACE_S - 0.001, NOW - 1, None), NOW) == Replayed()


def test_a_turn_that_nobody_remembers_is_a_replay() -> None:
    assert judge(0, {5: Turn(sid=SID, number=5, token_hash="", used_at=None)}, NOW) == Replayed()


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 400)), max_size=30))
def test_whoever_keeps_what_it_was_given_is_never_refused(steps: list[tuple[int, float]]) -> None:
    """Four processes share one token. Each keeps what it gets, and no two steps lie further apart than the grace while one lags behind."""
    held, known, now = [0, 0, 0, 0], turns(None), NOW
    for process, pause in steps:
        now += pause if len(set(held)) == 1 else min(pause, GRACE_S / 8)
        match judge(held[process], known, now):
            case Rotate(number=number):
                known[number - 1] = Turn(sid=SID, number=number - 1, token_hash="", used_at=now)
                known[number] = Turn(sid=SID, number=number, token_hash="")
                held[process] = number
            case Repeat(number=number):
                held[process] = number
            case Replayed():
                behind = max(held) - held[process]
                assert behind >= 2, "only who is two turns behind, and late, is taken for somebody else"
                return


def test_a_token_is_read_back_and_nothing_else_is() -> None:
    token = token_of(KEY, SID, 3)
    assert read(KEY, token) == (SID, 3)
    assert token_of(KEY, SID, 3) == token, "the same one can be given again"
    assert read(b"l" * 32, token) is None
    for wrong in (
        token + "A",
        token[:-1],
        token.replace(".3.", ".4."),
        token.replace(".3.", ".03."),
        token.upper(),
        "",
        "x",
        f" {token}",
        token + "\n",
    ):
        assert read(KEY, wrong) is None


@given(st.text())
def test_no_text_is_a_token_by_chance(text: str) -> None:
    assert read(KEY, text) is None
