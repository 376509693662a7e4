"""Who makes room for one more connection."""

import msgspec
import pytest

from gatebook.model.source import source_of
from gatebook.serve.crowding import SHARE, who_goes


class Seat(msgspec.Struct, frozen=True):
    source: str
    ends_at: float | None


def test_of_the_source_that_has_the_most_the_quiet_ones_go_that_are_soonest_over() -> None:
    seats = [Seat("a", 9.0), Seat("b", 1.0), Seat("b", None), Seat("b", 7.0), Seat("b", 5.0), Seat("c", 0.0)]
    assert who_goes(seats, "c") == [Seat("b", 1.0)]
    assert who_goes(seats, "new") == [Seat("b", 1.0)]


def test_whoever_comes_counts_among_his_own() -> None:
    assert who_goes([Seat("a", 1.0), Seat("b", 2.0)], "b") == [Seat("b", 2.0)]
    assert who_goes([Seat("a", 1.0), Seat("a", 3.0), Seat("b", 2.0)], "b") == [Seat("b", 2.0)]


def test_nobody_goes_for_somebody_who_would_have_as_many() -> None:
    assert who_goes([Seat("a", 1.0), Seat("b", 2.0)], "new") == []
    assert who_goes([Seat("a", None), Seat("a", None), Seat("b", 1.0)], "new") == []
    assert who_goes([], "new") == []


def test_where_one_source_has_very_many_several_go_at_once() -> None:
    seats = [Seat("a", float(number)) for number in range(SHARE * 4)]
    assert who_goes([*seats, Seat("b", 0.0)], "b") == seats[:4]


@pytest.mark.parametrize(
    ("ip", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("unix", "unix"),
    ],
)
def test_an_address_is_a_source_and_of_ipv6_the_network_that_one_customer_has(ip: str, source: str) -> None:
    assert source_of(ip) == source
