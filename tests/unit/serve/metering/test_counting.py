"""Counters are those of the book, survive restarts, and are shown as Prometheus reads them."""

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gatebook.model.counting import BOUNDS_S, Durations, Entries, Report, Sample, Spread
from gatebook.model.finding import Finding
from gatebook.model.record import Draft, Event, Origin, Resource, Who
from gatebook.serve.metering import reporting
from gatebook.serve.metering.catalogue import ALL, BY_NAME, exported
from gatebook.serve.metering.gathering import added
from gatebook.serve.metering.rendering import render

PAN = Finding(detector="pan", action="masked", pointer="/params/arguments/card")


def draft(event: Event, reason: str, *, findings: tuple[Finding, ...] = (), attempts: int | None = None) -> Draft:
    return Draft(
        event=event,
        ok=True,
        reason=reason,
        who=Who(kind="person", iss="corp", sub="alice"),
        origin=Origin(ip="192.0.2.1"),
        resource=Resource(kind="tool", server="payments", method="tools/call", name="refund"),
        findings=findings,
        detail={} if attempts is None else {"attempts": attempts},
    )


def counted(*drafts: Draft) -> dict[tuple[str, ...], float]:
    entries = Entries()
    for each in drafts:
        entries.add(each)
    return {(sample.name, *sample.labels): sample.value for sample in reporting.entries(entries)}


def test_an_entry_counts_under_its_event_its_server_and_its_reason() -> None:
    found = counted(
        draft("call.intent", "permitted", findings=(PAN,)),
        draft("call.result", "completed", findings=(PAN, PAN)),
        draft("call.result", "tool_error"),
        draft("call.refused", "denied"),
        draft("message.client", "permitted"),
        draft("message.client", "upstream_broken"),
        draft("auth.failed", "token_expired", attempts=1),
        draft("auth.failed", "token_expired", attempts=41),
        draft("login.refused", "login_refused"),
        draft("token.issued", "issued"),
    )
    assert found["gatebook_receipts", "payments"] == 2, "a message that was not delivered is no second receipt"
    assert found["gatebook_calls", "payments", "completed"] == found["gatebook_calls", "payments", "tool_error"] == 1
    assert found["gatebook_refusals", "payments", "denied"] == 1
    assert found["gatebook_authentication_failures", "payments", "token_expired"] == 42
    assert found["gatebook_findings", "payments", "request", "pan"] == 1
    assert found["gatebook_findings", "payments", "answer", "pan"] == 2
    assert found["gatebook_logins", "login.refused", "login_refused"] == 1
    assert found["gatebook_tokens", "token.issued", "issued"] == 1
    assert found["gatebook_entries", "auth.failed"] == 2
    assert not {"alice", "refund", "192.0.2.1", "/params/arguments/card"} & {label for key in found for label in key}


def test_a_reason_that_is_none_of_ours_is_not_shown() -> None:
    assert counted(draft("call.refused", "4111111111111111"))["gatebook_refusals", "payments", "other"] == 1


def test_a_duration_counts_in_the_class_whose_bound_it_does_not_exceed() -> None:
    durations = Durations()
    for seconds in (BOUNDS_S[0], BOUNDS_S[0] * 1.01, BOUNDS_S[-1], BOUNDS_S[-1] + 1):
        durations.add(seconds)
    assert durations.counts == [1, 1, *[0] * (len(BOUNDS_S) - 3), 1, 1]


def test_after_a_restart_counters_go_on_and_gauges_are_those_of_now() -> None:
    counts = (1,) * (len(BOUNDS_S) + 1)
    before = Report(
        (Sample("gatebook_calls", ("a", "completed"), 5), Sample("gatebook_connections", (), 7)),
        (Spread("gatebook_own_seconds", ("a",), counts, 2.0),),
    )
    now = Report(
        (Sample("gatebook_calls", ("a", "completed"), 2), Sample("gatebook_connections", (), 1)),
        (Spread("gatebook_own_seconds", ("a",), counts, 1.0),),
    )
    both = added(before, now)
    assert {(each.name, each.value) for each in both.samples} == {("gatebook_calls", 7), ("gatebook_connections", 1)}
    assert both.spreads[0].counts == (2,) * len(counts) and both.spreads[0].total_s == 3.0
    assert added(None, now) == now


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_the_rooms_numbers_are_added_up_or_told_apart(accept: str) -> None:
    spread = Spread("gatebook_own_seconds", ("a",), (1, 2, *[0] * (len(BOUNDS_S) - 1)), 0.5)
    report = Report((Sample("gatebook_calls", ("a", "completed"), 3), Sample("gatebook_connections", (), 2)), (spread,))
    content_type, body = render({"gate-0": report, "gate-1": report}, accept)
    text = body.decode()
    assert content_type.startswith("application/openmetrics-text" if accept else "text/plain")
    assert 'gatebook_calls_total{reason="completed",server="a"} 6.0' in text
    assert 'gatebook_connections{room="gate-0"} 2.0' in text and 'gatebook_connections{room="gate-1"} 2.0' in text
    assert 'gatebook_own_seconds_bucket{le="0.00025",server="a"} 6.0' in text
    assert 'gatebook_own_seconds_count{server="a"} 6.0' in text
    if not accept:
        assert {each.name for each in text_string_to_metric_families(text)} == {family.name for family in ALL}


def test_a_report_survives_the_way_between_rooms() -> None:
    report = Report(
        (Sample("gatebook_calls", ("a", "completed"), 3),), (Spread("gatebook_own_seconds", ("a",), (1,), 0.5),)
    )
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_every_metric_has_one_name_and_a_sentence() -> None:
    assert len(BY_NAME) == len(ALL)
    assert all(family.name.startswith("gatebook_") and family.help.endswith((".", "…")) for family in ALL)
    assert len({name for family in ALL for name in exported(family)}) >= len(ALL)
