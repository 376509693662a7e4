"""`gatebook verify`: what it prints for people."""

import pytest

from gatebook.cli.verify import _say
from gatebook.ledger.verification import Problem, Report

LATER = "is not the state that the entries give"


def test_what_follows_from_one_changed_entry_does_not_bury_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Every checkpoint after it is contradicted; other findings are all told."""
    others = [Problem(f"entry {number}", "does not agree with its tile") for number in range(9)]
    report = Report(problems=[*others, *(Problem(f"checkpoints/{size}", LATER) for size in range(500))])
    _say(report, with_old=True)
    said = capsys.readouterr().out.splitlines()
    assert said[:9] == [f"entry {number}: does not agree with its tile" for number in range(9)]
    assert said[9:13] == [
        *(f"checkpoints/{size}: {LATER}" for size in range(3)),
        f"… and 497 more checkpoints: {LATER} (--json names them)",
    ]
    assert said[-1] == "BROKEN: 509 problems"
