"""A large message that causes more work than its size allows is refused: by counting, so that it is refused everywhere or nowhere."""

import json
import sys
from typing import Any

import pytest

from gatebook.masking import (
    MaskingFailed,
    Secrets,
    budget,
    documents,
    inspect,
    inspect_arguments,
    is_clean,
    mask,
    mask_text,
)
from gatebook.masking.budget import Budget
from tests.unit.masking.test_work import HOSTILE

LARGE = budget.FREE_BYTES + 6_000
SECRETS = Secrets((b"secret-value",))
PAN = "4111111111111111"  # Visa's published test number
LOGS = "2026-11-22T10:00:00.123Z INFO request 12345 took 12 ms from 10.0.0.1:5432 id 550e8400-e29b-41d4-a716-446655440000\n"
RECORD = {"pan": PAN, "cvv": "123", "amount": 1234, "when": "2026-11-22T10:00:00Z", "note": "as every day " * 5}


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message has more than what its size gives, and a little."""
    monkeypatch.setattr(budget, "BASE_STEPS", 10_000)


def counted(body: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """(steps, calls of functions in Python and C) while masking."""
    most = 1 << 40
    given = Budget(most)
    monkeypatch.setattr(documents, "budget_for", lambda size: given)
    calls = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    mask(b"{}", SECRETS)
    sys.setprofile(profile)
    try:
        mask(body, SECRETS)
    except MaskingFailed:
        pass  # for more places than a message may have, and after as much work
    finally:
        sys.setprofile(None)
    return most - given.left, calls


@pytest.mark.parametrize("name", HOSTILE)
def test_no_work_goes_uncounted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, calls = counted(HOSTILE[name](20_000), monkeypatch)
    assert calls <= 20 * steps + 1_000


@pytest.mark.parametrize(
    "name", ["a table", "rows of fours", "deep arrays again and again", "numbers side by side", "carets"]
)
def test_a_large_message_made_to_be_slow_is_refused_at_every_door(name: str, little: None) -> None:
    body = HOSTILE[name](LARGE)
    for door in (mask, inspect_arguments, inspect):
        with pytest.raises(MaskingFailed, match="more work"):
            door(body)


def test_a_large_text_made_to_be_slow_is_refused_too(little: None) -> None:
    text = "4111 " * (LARGE // 5)
    with pytest.raises(MaskingFailed, match="more work"):
        mask_text(text)
    assert not is_clean(text.encode() + b" " + PAN.encode())


def test_up_to_64_kb_nothing_is_counted(little: None) -> None:
    body = HOSTILE["a table"](budget.FREE_BYTES - 100)
    assert mask(body).body != body


@pytest.mark.parametrize("megabytes", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_megabytes_of_logs_with_a_card_in_them_pass_whatever_their_size(megabytes: int, little: None) -> None:
    body = json.dumps(f"{LOGS * (megabytes * 9_000)}{PAN}").encode()
    assert PAN.encode() not in mask(body).body


@pytest.mark.slow
def test_a_megabyte_of_card_records_passes() -> None:
    body = json.dumps([{"id": number, **RECORD} for number in range(6_000)]).encode()
    assert len(body) > 1 << 20
    masked = mask(body)
    assert PAN.encode() not in masked.body and len(masked.findings) == 12_000


def test_what_passes_with_a_budget_is_masked_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps([{"id": number, **RECORD} for number in range(500)]).encode()
    with_budget = mask(body)
    monkeypatch.setattr(budget, "FREE_BYTES", 1 << 40)
    assert with_budget == mask(body)
