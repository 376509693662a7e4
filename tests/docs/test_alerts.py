"""What the alert rules name is there: runbooks, lines of diagnostics, reasons, metrics."""

import re

from gatebook.cli.alert_rules import rules
from gatebook.model.errors import Reason
from gatebook.serve.metering import reporting
from gatebook.serve.metering.catalogue import ALL, exported
from tests.docs import pages

ALERTS = re.findall(r"- alert: (\w+)", rules())
RUNBOOKS = pages.ROOT / "docs/howto/runbooks.md"
OF_VERIFY = {"gatebook_verification_intact", "gatebook_verification_timestamp_seconds"}


def test_every_alert_has_a_summary_and_a_runbook_that_is_there() -> None:
    found = re.findall(r"runbook: runbooks\.md#([\w-]+)", rules())
    assert len(found) == len(re.findall("summary: ", rules())) == len(ALERTS) == len(set(ALERTS)) > 20
    assert set(found) <= pages.anchors(RUNBOOKS)


def test_every_alert_stands_in_its_runbook_or_beside_it() -> None:
    text = RUNBOOKS.read_text(encoding="utf-8")
    assert [alert for alert in ALERTS if f"`{alert}`" not in text and alert != "GatebookWorkerRefusing"] == []
    assert [name for name in re.findall(r"`(Gatebook[A-Z]\w+)`", text) if name not in ALERTS] == []


def test_every_alert_is_tested_by_promtool() -> None:
    tested = "".join(file.read_text() for file in (pages.ROOT / "tests/e2e/metrics").glob("*_test.yml"))
    assert [alert for alert in ALERTS if f'alertname="{alert}"' not in tested] == []


def test_rules_ask_for_metrics_and_words_that_exist() -> None:
    names = {name for family in ALL for name in exported(family)} | OF_VERIFY
    assert set(re.findall(r"\bgatebook_\w+", rules())) <= names
    assert set(re.findall(r'reason="(\w+)"', rules())) <= {str(reason) for reason in Reason}
    events = {event for found in re.findall(r'event=~?"([\w.|]+)"', rules()) for event in found.split("|")}
    assert events <= set(reporting.ALERTED), "a counter that is born with its first event shows no increase"
