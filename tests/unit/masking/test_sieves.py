"""What native code rules out where a factor stands: as Python says, at every edge of the table of networks; and that is nothing to the detectors."""

import itertools

import pytest

from gatebook.masking import NO_SECRETS, trigger
from gatebook.masking.networks import LONGEST, firm_numbers, luhn_valid
from gatebook.masking.prefilter import buckets, stand
from gatebook.masking.sieves import Sieve, rules_out
from tests.looking import InEachWay, first_look
from tests.speeding import native

DIGIT = sum(1 << byte for byte in b"0123456789")
NUMBER = {(DIGIT, DIGIT): Sieve.NUMBER}


def with_check_digit(digits: bytes) -> bytes:
    return next(whole for last in b"0123456789" if luhn_valid(whole := digits + bytes([last])))


def test_a_number_is_ruled_out_exactly_where_no_network_issues_it() -> None:
    ways = InEachWay(buckets(NUMBER), issued=firm_numbers()).ways
    edges = {edge + step for _, *both in firm_numbers() for edge in both for step in (-1, 0, 1)}
    kept = 0
    for prefix, length in itertools.product(sorted(edges), range(12, LONGEST + 2)):
        valid = with_check_digit(b"%06d" % prefix + b"7" * (length - 7))
        issued = any(long == length and low <= prefix <= high for long, low, high in firm_numbers())
        for way in ways:
            assert way.may_hold(b'"%b"' % valid) is issued is stand(NUMBER, b'"%b"' % valid), valid
            assert not way.may_hold(valid[:-1] + bytes([valid[-1] ^ 1]))
        kept += issued
    assert kept > 500


def test_whatever_counts_without_a_table_is_a_number_by_its_check_digit() -> None:
    for way in InEachWay(buckets(NUMBER)).ways:
        assert way.may_hold(b"9" * 15 + b"5") and not way.may_hold(b"9" * 15 + b"4")


@pytest.mark.parametrize(
    ("sieve", "text", "ruled_out"),
    [
        (Sieve.NUMBER, b"6649030522653866", True),
        (Sieve.NUMBER, b"4111111111111111", False),
        (Sieve.NUMBER, b"4111 1111 1111 1111", False),
        (Sieve.NUMBER, b"4111\\t1111", False),
        (Sieve.NUMBER, b"+44 20 7946 0958", True),
        (Sieve.NUMBER, b"1234.4111111111111111", False),
        (Sieve.NUMBER, b"\\u00e9" + b"4111111111111112", False),
        (Sieve.NUMBER, b"4" * 65, False),
        (Sieve.NUMBER, b"no digit", False),
        (Sieve.EXPONENT, b"c6e12", True),
        (Sieve.EXPONENT, b'"6e12"', True),
        (Sieve.EXPONENT, b" 6e12", False),
        (Sieve.EXPONENT, b"6e12", False),
        (Sieve.EXPONENT, b"c4.6e12", False),
        (Sieve.EXPONENT, b"\\n6e12", False),
        (Sieve.EXPONENT, b"no digit", False),
        (Sieve.ELEMENT, b"-de52bd13", True),
        (Sieve.ELEMENT, b"-de52 bd13", False),
        (Sieve.ELEMENT, b"-DE52bd13", False),
        (Sieve.NONE, b"6649030522653866", False),
    ],
)
def test_ids_and_clocks_are_ruled_out_and_what_may_be_read_otherwise_is_not(
    sieve: Sieve, text: bytes, ruled_out: bool
) -> None:
    assert rules_out(sieve, text, 0, len(text)) is ruled_out
    if ruled_out:
        assert trigger.hits(text, NO_SECRETS, own_masks=True) == trigger.NOTHING
        assert not any(way.may_hold(text) for way in first_look().ways)


@pytest.mark.parametrize("issued", [(1,), ((1, 2),), ((1, 2, "3"),), ([1, 2, 3],), "x"])
def test_what_no_network_issues_is_refused(issued: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        native().Prefilter(buckets(NUMBER), None, issued)
