"""A session put together again from its entries."""

import pytest

from gatebook.ledger.reading import Opened
from gatebook.reading.playback import Playback, play
from tests.unit.cli.fabricated import SESSION, FabricatedBook, story


@pytest.fixture
def playback() -> Playback:
    book = story()
    return play(SESSION, book.located, book.opener)


def test_intent_and_result_are_one_step_with_both_bodies(playback: Playback) -> None:
    first = playback.steps[0]
    assert (first.method, first.name, first.tone, first.reason) == ("tools/call", "get_order", "passed", "completed")
    assert [body.part for body in first.bodies] == ["request", "response"]
    assert first.took_s == pytest.approx(0.009)
    assert first.offset_s == pytest.approx(0.004)
    assert [place.index for place in first.places] == [1, 2]


def test_calls_refusals_and_findings_are_counted(playback: Playback) -> None:
    assert (playback.calls, playback.refusals, playback.findings) == (3, 2, {"pan:masked": 4})


def test_an_open_session_and_a_call_without_outcome_are_named(playback: Playback) -> None:
    assert playback.steps[-1].tone == "open"
    assert any("still open" in gap for gap in playback.gaps)
    assert any("list_orders: no outcome" in gap for gap in playback.gaps)


def test_bodies_that_do_not_open_are_named_and_not_guessed() -> None:
    book = story()
    book.lose_bodies()
    playback = play(SESSION, book.located, book.opener)
    assert all(body.text is None for step in playback.steps for body in step.bodies)
    assert any("get_customer: the response" in gap and "could not be opened" in gap for gap in playback.gaps)


def test_what_must_be_said_of_a_body_is_no_gap_and_is_not_overlooked() -> None:
    book = FabricatedBook()
    book.add("session.open", at_s=0)
    book.add("message.client", at_s=1, method="ping", bodies={"message": {"a": 1}})
    book.add("session.close", at_s=2)
    [step] = play(SESSION, book.located, lambda entry, pay: Opened(b"{}", "another lies beside it")).steps
    assert step.bodies[0].text == "{}" and not step.quiet
    playback = play(SESSION, book.located, lambda entry, pay: Opened(b"{}", "another lies beside it"))
    assert (playback.remarks, playback.gaps) == (("ping: the message: another lies beside it",), ())
    [gap] = play(SESSION, book.located, lambda entry, pay: Opened(None, "it is not there")).gaps
    assert gap.endswith("could not be opened: it is not there")


def test_a_call_recorded_by_shape_says_that_its_values_are_not_there() -> None:
    book = FabricatedBook()
    book.add("call.intent", at_s=0, name="get_order", call="c")
    book.add("call.result", at_s=1, name="get_order", call="c", reason="completed")
    [gap] = [gap for gap in play(SESSION, book.located, book.opener).gaps if "get_order" in gap]
    assert "the request's values are not recorded" in gap


def test_a_number_missing_in_a_writers_count_is_a_gap() -> None:
    book = FabricatedBook()
    book.add("session.open", at_s=0, count=1)
    book.add("message.client", at_s=1, method="ping", count=2)
    book.add("message.client", at_s=2, method="ping", count=4)
    assert any("missing: [3]" in gap for gap in play(SESSION, book.located, book.opener).gaps)


def test_a_closed_complete_session_has_no_gap() -> None:
    book = FabricatedBook()
    book.add("session.open", at_s=0)
    book.add("call.refused", at_s=1, ok=False, reason="denied", name="x", call="c", bodies={"request": {"a": 1}})
    book.add("session.close", at_s=2)
    playback = play(SESSION, book.located, book.opener)
    assert playback.gaps == ()
    assert playback.closed is not None


def test_another_sessions_entries_are_left_out() -> None:
    book = story()
    book.add("call.refused", at_s=3, ok=False, reason="denied", name="foreign", call="z", session="0" * 32)
    playback = play(SESSION, book.located, book.opener)
    assert all(step.name != "foreign" for step in playback.steps)


def test_an_unknown_session_is_said_to_be_unknown() -> None:
    with pytest.raises(LookupError):
        play("0" * 32, story().located, story().opener)


def test_numbers_in_bodies_stand_as_they_were_written() -> None:
    book = FabricatedBook()
    book.add(
        "call.refused",
        at_s=0,
        ok=False,
        name="t",
        call="c",
        bodies={"request": b'{"a":1.0,"b":41111100000111119999,"c":1e5}'},
    )
    [body] = play(SESSION, book.located, book.opener).steps[0].bodies
    assert body.text == '{\n  "a": 1.0,\n  "b": 41111100000111119999,\n  "c": 1e5\n}'


def test_a_body_that_is_no_json_is_shown_as_text() -> None:
    book = FabricatedBook()
    book.add("call.refused", at_s=0, ok=False, name="t", call="c", bodies={"request": b"plain \xff words"})
    [body] = play(SESSION, book.located, book.opener).steps[0].bodies
    assert body.text == "plain \ufffd words"
