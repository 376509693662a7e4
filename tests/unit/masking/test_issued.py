"""The patterns made of the table of networks admit what the table does, at every edge of every range."""

import json
import random
import re

import pytest

from gatebook.masking import NO_SECRETS, issued, mask, trigger
from gatebook.masking.candidates import SHAPES
from gatebook.masking.documents import mask_without_triggers
from gatebook.masking.networks import (
    LONGEST,
    SHORTEST,
    evidence,
    luhn_valid,
    luhn_valid_of,
    ranges_by_lengths,
)


def edges() -> set[int]:
    """First six digits around every edge in the table."""
    places = {
        place for ranges in ranges_by_lengths(loose=True).values() for low, high in ranges for place in (low, high)
    }
    return {place + step for place in places for step in (-1, 0, 1) if 0 <= place + step < 10**6}


@pytest.mark.parametrize("loose", [False, True], ids=["firm", "firm and loose"])
def test_a_run_of_digits_is_admitted_exactly_when_a_network_issues_such_numbers(loose: bool) -> None:
    pattern = re.compile(issued.runs(loose=loose) + rb"(?![0-9])")
    for first in edges():
        for length in range(SHORTEST, LONGEST + 1):
            digits = b"%06d" % first + b"7" * (length - 6)
            known = evidence(digits) == "firm" or (loose and evidence(digits) == "loose")
            assert bool(pattern.search(b'"%b"' % digits)) == known


@pytest.mark.parametrize("gap", [b" ", b"-", b" - ", b"\t", b"\\t", b" \\\\t", b"._"])
def test_every_printed_shape_of_an_issued_number_is_admitted(gap: bytes) -> None:
    pattern = re.compile(issued.shapes(loose=True))
    for first in sorted(edges()):
        for shape in SHAPES:
            digits = b"%06d" % first + b"7" * (sum(shape) - 6)
            if evidence(digits) is not None:
                starts = [sum(shape[:group]) for group in range(len(shape))]
                groups = [digits[start : start + size] for start, size in zip(starts, shape, strict=True)]
                assert pattern.fullmatch(b"x" + gap.join(groups))


@pytest.mark.parametrize("length", range(SHORTEST, LONGEST + 1))
def test_check_digits_of_many_numbers_are_judged_as_those_of_one(length: int) -> None:
    chance = random.Random(length)
    numbers = [b"%0*d" % (length, chance.randrange(10**length)) for _ in range(500)]
    assert luhn_valid_of(numbers) == [number for number in numbers if luhn_valid(number)] != []
    assert luhn_valid_of([b"9" * length]) == [b"9" * length] * luhn_valid(b"9" * length)
    assert luhn_valid_of([]) == []


def test_one_number_among_many_ids_is_found_wherever_it_stands() -> None:
    chance = random.Random(5)
    clean: list[bytes] = []
    while len(clean) < 60:
        digits = b"4%015d" % chance.randrange(10**15)
        if not luhn_valid(digits):
            clean.append(digits)
    for form in (
        b"4111111111111111",
        b'"4111 1111 1111 1111"',
        b'"\\u00e94111111111111111"',
        b'"\\u00e9.4111111111111111"',
    ):
        for place in (0, 3, 59):
            body = b"[%b]" % b",".join([*clean[:place], form, *clean[place:]])
            assert [found.pointer for found in mask(body).findings] == [f"/{place}"]
    assert trigger.hits(b"[%b]" % b",".join(clean), NO_SECRETS) is trigger.NOTHING


@pytest.mark.parametrize(
    "text",
    [
        "589562******9701 606282******2614 589562929583\t1575",
        "911299******1650.6033995405237720.3454 \t30773 \t696904",
        "3782822463100051.4111111111111111",
        "149335781646925547.377804732852769",
        "0705022c37890d9e4797095869336546.5555555555554444",
        "1624197735303.57.4111111111111111",
    ],
)
def test_a_number_is_seen_whose_edge_lies_in_digits_that_begin_like_one(text: str) -> None:
    """A hit that comes to nothing must not take the next number's edge, or its first group, with it."""
    for body in (json.dumps([text]).encode(), json.dumps(json.dumps([text])).encode()):
        assert mask(body) == mask_without_triggers(body)
    assert mask(json.dumps([text]).encode()).findings or text.startswith("1624")
