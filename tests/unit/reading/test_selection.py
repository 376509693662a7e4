"""What `gatebook log` finds."""

import datetime

import pytest

from gatebook.ledger.entry import Entry
from gatebook.model.record import Who
from gatebook.reading.selection import Selection, instant
from tests.unit.cli.fabricated import SESSION, FabricatedBook

JOB = Who(
    kind="job", iss="https://ci.example", sub="repo:bank/model:ref:refs/heads/main", agent="nightly", acting_for="58412"
)
NOW = datetime.datetime(2026, 11, 22, 17, 0, tzinfo=datetime.UTC)


def an_entry() -> Entry:
    return FabricatedBook().add(
        "call.result",
        at_s=1.5,
        reason="completed",
        who=JOB,
        name="run_model_inference",
        call="019a-call",
        found={"pan:masked": 2},
    )


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(call="019a-call"),
        Selection(call="019a"),
        Selection(session=SESSION),
        Selection(session=SESSION[:8]),
        Selection(person="repo:bank/model:ref:refs/heads/main"),
        Selection(person="repo:bank/*"),
        Selection(person="58412"),
        Selection(person="nightly"),
        Selection(tool="run_model_inference"),
        Selection(event="call.result"),
        Selection(event="call"),
        Selection(reason="completed"),
        Selection(finding="pan"),
        Selection(finding="pan:masked"),
        Selection(finding="any"),
        Selection(since="2026-11-22T16:31:29.500000Z"),
        Selection(until="2026-11-22T16:31:29.500001Z"),
        Selection(tool="run_model_inference", finding="pan", person="58412"),
    ],
)
def test_an_entry_is_found_by_each_of_its_properties(selection: Selection) -> None:
    assert selection.wants(an_entry())


@pytest.mark.parametrize(
    "selection",
    [
        Selection(call="019b"),
        Selection(session="00"),
        Selection(person="repo:bank"),
        Selection(person="alice"),
        Selection(tool="run_model"),
        Selection(event="call.intent"),
        Selection(event="cal"),
        Selection(reason="denied"),
        Selection(finding="track"),
        Selection(finding="pa"),
        Selection(since="2026-11-22T16:31:29.500001Z"),
        Selection(until="2026-11-22T16:31:29.500000Z"),
        Selection(failed=True),
        Selection(tool="run_model_inference", finding="track"),
    ],
)
def test_one_condition_that_does_not_hold_leaves_it_out(selection: Selection) -> None:
    assert not selection.wants(an_entry())


def test_an_entry_without_call_or_session_is_not_found_by_them() -> None:
    entry = FabricatedBook().add("log.heartbeat", at_s=0, session=None, method=None)
    assert not Selection(call="c").wants(entry)
    assert not Selection(session="s").wants(entry)


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("2026-11-22", "2026-11-22T00:00:00.000000Z"),
        ("2026-11-22T16:30", "2026-11-22T16:30:00.000000Z"),
        ("2026-11-22T16:30:00.5+02:00", "2026-11-22T14:30:00.500000Z"),
        ("2026-11-22T16:30:00Z", "2026-11-22T16:30:00.000000Z"),
        ("15m", "2026-11-22T16:45:00.000000Z"),
        ("2h", "2026-11-22T15:00:00.000000Z"),
        ("1d", "2026-11-21T17:00:00.000000Z"),
    ],
)
def test_times_are_read_as_people_write_them(text: str, stamp: str) -> None:
    assert instant(text, NOW) == stamp


@pytest.mark.parametrize("text", ["", "yesterday", "15", "2026-13-01"])
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        instant(text, NOW)


@pytest.mark.parametrize(
    "text", ["999999999999d", "999999999999999999h", "0001-01-01T00:00+05:00", "9999-12-31T23:59-05:00"]
)
def test_a_time_that_no_calendar_has_is_told_and_no_fault_of_ours(text: str) -> None:
    with pytest.raises(ValueError, match="no entry is of that time"):
        instant(text, NOW)


def test_an_early_year_is_written_as_entries_are_ordered() -> None:
    assert instant("0999-02-03", NOW) == "0999-02-03T00:00:00.000000Z"
    with pytest.raises(ValueError, match="is no time"):
        instant("9" * 5000 + "d", NOW)
