"""What a pattern's factors promise: a text without any of them holds no match, for RE2, which is asked."""

import itertools
from collections.abc import Iterable

import pytest

from gatebook.masking import trigger
from gatebook.masking.factors import ANY, END, LONGEST, START, Factor, Inexpressible, factors, places
from gatebook.masking.patterns import compiled
from gatebook.masking.prefilter import BUCKETS, buckets
from gatebook.masking.sieves import Sieve

PATTERNS = [
    rb"ab", rb"a|b1", rb"(?:a|b)(?:1|-)", rb"a{2,3}b", rb"a?b?1", rb"(?:ab?)+1", rb"a*1", rb"(?i:a)b", rb"(?i:ab)[^b]", rb"(?i:[^a])1",
    rb"^a", rb"a$", rb"^(?:a|1)$", rb"(?:^|[^a])b", rb"b(?:[^1]|$)", rb"(?:^|a)(?:^|b)1", rb"(?:^a|b)(?:b$|1)",
    rb"a.b", rb"[\d-]\s?a", rb"(?:a{2}|b){2}", rb"(?:(?:a|b1){1,2}-){2}", rb"(?i:\xe9)a", rb"(?i)ab", rb"(?i)a(?-i:b)1", rb"(?i:[\xe9b])1", rb"a(?:b|1){0,9}-", rb"(?:a|b|1|-){12}",
    rb"(?:^|-)a(?:^|b)", rb"(?:a$)?b", rb"(?:a|^b|1$)(?:a|^b|1$)",
    rb"ab(?:^|[^b]|$)", rb"ab($|^)", rb"a(?:^1|[b$]|$|^)", rb"a[^\s1]", rb"a\s", rb"[\d\v]a",
]  # fmt: skip
ALPHABET = b"aAbB1-\n\v\xe9\xc9"


def occurs(factor: Factor, text: bytes) -> bool:
    return next(places(factor, text), None) is not None


def texts() -> list[bytes]:
    short = [bytes(some) for length in range(5) for some in itertools.product(ALPHABET, repeat=length)]
    return short + [bytes(some) for length in (12, 13) for some in itertools.product(b"a1", repeat=length)][::7]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_where_a_pattern_matches_one_of_its_factors_occurs(pattern: bytes) -> None:
    known, search = factors(pattern), compiled(pattern).search
    matched = unmatched = ruled_out = 0
    for text in texts():
        found = any(occurs(factor, text) for factor in known)
        if search(text) is not None:
            matched += 1
            assert found, text
        else:
            unmatched += 1
            ruled_out += not found
    # It does rule out, and what could be told apart was among the texts.
    assert matched and (unmatched == 0 or ruled_out > unmatched / 4)


@pytest.mark.parametrize(
    "pattern",
    [rb"", rb"a*", rb"a?$|b", rb"(?:b|$)(?:1|$)", rb"(?s:.)", rb"^", rb"[\x00-\xff]{3}", rb"a|(?:b|)", rb"a^"],
)
def test_what_may_match_anything_has_none(pattern: bytes) -> None:
    with pytest.raises(Inexpressible):
        factors(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        rb"(a)\1",
        rb"a(?=b)",
        rb"\ba",
        rb"(?<=a)b",
        rb"\Da",
        rb"(?m)^ab",
        rb"(?m:^ab)",
        rb"a(?x: b)",
        rb"ab\z",
        rb"a[[:alpha:]]",
        rb"ba{,3}c",
    ],
)
def test_what_is_not_known_is_no_factor(pattern: bytes) -> None:
    with pytest.raises(Inexpressible):
        factors(pattern)


@pytest.mark.parametrize("pattern", trigger._LOOKED_FOR_FIRST)
def test_every_pattern_of_the_first_look_has_factors_that_tell(pattern: bytes) -> None:
    known = factors(pattern)
    assert known and all(1 < len(factor) <= LONGEST for factor in known)
    usual = b'{"note": "the order was shipped this morning", "amount": 12.50, "status": "paid", "quantity": 3}'
    assert not any(occurs(factor, usual) for factor in known)


def a_column(some: bytes) -> int:
    return sum(1 << byte for byte in some)


def unsieved(some: Iterable[Factor]) -> dict[Factor, Sieve]:
    return dict.fromkeys(some, Sieve.NONE)


def unpacked(packed: bytes) -> Factor:
    return tuple(int.from_bytes(packed[at : at + 33], "little") for at in range(2, len(packed), 33))


def test_buckets_hold_every_factor_but_those_that_contain_another() -> None:
    known = {factor: sieve for pattern, sieve in trigger._LOOKED_FOR_FIRST.items() for factor in factors(pattern)}
    made = buckets(known)
    kept = [unpacked(packed) for bucket in made for packed in bucket]
    assert len(made) == BUCKETS and len(kept) == len(set(kept)) and set(kept) < set(known)
    assert {unpacked(packed): packed[1] for bucket in made for packed in bucket}.items() <= known.items()
    left = set(kept)
    for dropped in set(known) - left:
        assert any(
            all(mine | theirs == theirs for mine, theirs in zip(dropped[at:], other, strict=False))
            for other in kept
            if known[other] in (Sieve.NONE, known[dropped])
            for at in range(len(dropped) - len(other) + 1)
        )


def test_an_anchor_is_within_its_factor_and_not_before_the_text() -> None:
    some = ((START | a_column(b"-"), a_column(b"a"), END), (ANY, a_column(b"x"), ANY), (a_column(b"q"),))
    assert sorted((packed[0], len(unpacked(packed))) for bucket in buckets(unsieved(some)) for packed in bucket) == [
        (0, 1), (0, 3), (1, 3),
    ]  # fmt: skip


def test_few_buckets_are_as_few_as_asked_for() -> None:
    some = [
        tuple(a_column(bytes([letter])) for letter in word) for word in (b"tion", b"ante", b"sane", b"here", b"orai")
    ]
    assert [len(buckets(unsieved(some), most)) for most in (1, 3, 8)] == [1, 3, 5]


def test_what_may_be_ruled_out_stands_for_nothing_that_may_not() -> None:
    short, longer, alike = (tuple(a_column(bytes([letter])) for letter in word) for word in (b"4e1", b"4e12", b"14e1"))
    found = {short: Sieve.EXPONENT, longer: Sieve.NONE, alike: Sieve.EXPONENT}
    assert {unpacked(packed) for bucket in buckets(found) for packed in bucket} == {short, longer}
    assert len(buckets({**found, short: Sieve.NONE})) == 1


def test_numbers_are_in_buckets_of_their_own() -> None:
    made = buckets(
        {factor: sieve for pattern, sieve in trigger._LOOKED_FOR_FIRST.items() for factor in factors(pattern)}
    )
    numbers = [{packed[1] == Sieve.NUMBER for packed in bucket} for bucket in made]
    assert {True} in numbers and {True, False} not in numbers
