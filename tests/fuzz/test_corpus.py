"""Every input that was worth keeping, again: what once broke a promise, and what reaches most of the readers' code."""

import json
import sys
from typing import Any
from urllib.parse import parse_qsl

import pytest

from gatebook.federation import redirects
from gatebook.masking import mask
from gatebook.masking.networks import luhn_valid
from gatebook.serve.desk_http import asked
from gatebook.wire import sse, strict_json
from tests.fuzz import corpus, targets
from tests.fuzz.targets import TARGETS

MOST_CALLS = 20_000
MOST_CALLS_PER_BYTE = 600


@pytest.mark.parametrize(
    "target", [pytest.param(t, marks=pytest.mark.slow) if t == "stretched" else t for t in TARGETS]
)
def test_no_input_of_the_corpus_breaks_a_promise(target: str) -> None:
    for entry in corpus.entries(target):
        TARGETS[target](entry)


@pytest.mark.slow
@pytest.mark.parametrize("target", [target for target in TARGETS if target != "stretched"])
def test_the_work_for_an_input_is_bounded_by_its_length(target: str) -> None:
    """Calls of functions, Python's and C's, are counted, not seconds. The harness' own comparisons are in it."""
    for entry in corpus.entries(target):
        assert calls(target, entry) <= MOST_CALLS + MOST_CALLS_PER_BYTE * len(entry), entry


def calls(target: str, entry: bytes) -> int:
    count = 0

    def counted(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        TARGETS[target](entry)
    finally:
        sys.setprofile(None)
    return count


def test_the_corpus_is_small_and_holds_no_card_number_but_published_ones() -> None:
    files = list(corpus.DIRECTORY.glob("*.jsonl"))
    assert {file.stem for file in files} <= TARGETS.keys()
    assert sum(file.stat().st_size for file in files) < 500_000
    kept = [
        json.loads(line).encode("latin-1") for file in files for line in file.read_text(encoding="utf-8").splitlines()
    ]
    assert len(kept) > 100
    assert [entry for entry in kept if not corpus.publishable(entry)] == []
    unpublished = next(number for digit in range(10) if luhn_valid(number := b"400000000000100%d" % digit))
    assert not corpus.publishable(b"[" + unpublished + b"]")


# The promises bite: each is broken once, by a gate that does what it must not.


def test_a_parser_that_takes_a_key_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "_JSON", json.JSONDecoder())
    with pytest.raises(AssertionError, match="twice"):
        targets.client_message(b'{"jsonrpc":"2.0","method":"a","method":"a"}')


def test_a_masker_that_lets_a_card_number_through_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "mask", lambda body, secrets=None: mask(b"{}").__class__(body, ()))
    with pytest.raises(AssertionError, match="survives"):
        targets.planted(b"\0\0\0\0\0")


def test_an_event_stream_that_depends_on_its_pieces_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sse.EventSplitter.feed

    def forgetful(self: sse.EventSplitter, piece: bytes) -> list[sse.Event]:
        return whole(self, piece) if len(piece) > 1 else []

    monkeypatch.setattr(sse.EventSplitter, "feed", forgetful)
    with pytest.raises(AssertionError):
        targets.event_stream(b"\xff\0\0\0data: a\n\n")


def test_a_redirect_that_is_compared_by_its_beginning_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(registered: tuple[str, ...], wanted: str) -> str | None:
        return next((uri for uri in registered if wanted.startswith(uri)), None)

    monkeypatch.setattr(redirects, "matches", careless)
    with pytest.raises(AssertionError):
        targets.redirect_uris(b"\nhttps://app.example/cb@evil.example/")


def test_a_reader_that_takes_the_last_of_two_parameters_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "_once", lambda raw: dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)))
    with pytest.raises(AssertionError):
        targets.parameters(b"a=1&a=2")
