"""Who the client is when proxies stand before us."""

import pytest

from gatebook.serve.forwarded import address, client_address, networks, trusts

TRUSTED = networks(("10.0.0.0/8", "fd00::/8", "192.0.2.1"))
PROXY = "10.0.0.1"


def seen(*values: str) -> str:
    return client_address(PROXY, tuple((b"x-forwarded-for", value.encode()) for value in values), TRUSTED)


def test_the_right_most_address_that_is_no_proxy_of_ours_is_the_client() -> None:
    assert seen("203.0.113.9") == "203.0.113.9"
    assert seen("1.1.1.1, 203.0.113.9, 10.2.3.4,192.0.2.1") == "203.0.113.9"
    assert seen("1.1.1.1, 2001:db8::1, fd00::7") == "2001:db8::1"


def test_what_a_client_wrote_to_the_left_of_that_counts_for_nothing() -> None:
    assert seen("nonsense, 127.0.0.1, 203.0.113.9") == "203.0.113.9"


def test_with_nobody_but_proxies_the_left_most_is_the_client() -> None:
    assert seen("10.9.9.9, 10.2.3.4") == "10.9.9.9"


@pytest.mark.parametrize(
    "value", ["", "unknown", "203.0.113.9:4711", "203.0.113.9,", "_hidden", "203.0.113.9, ,10.2.3.4"]
)
def test_what_is_no_address_makes_the_peer_the_client(value: str) -> None:
    assert seen(value) == PROXY


def test_no_header_and_two_headers_make_the_peer_the_client() -> None:
    assert seen() == PROXY
    assert seen("203.0.113.9", "203.0.113.9") == PROXY


def test_of_an_endless_list_only_the_right_end_is_read() -> None:
    assert seen(", ".join(["nonsense"] * 1000 + ["10.9.9.9"] * 32)) == "10.9.9.9"


def test_an_ipv4_address_in_ipv6_clothing_is_the_ipv4_address() -> None:
    mapped = address("::ffff:10.1.2.3")
    assert mapped is not None
    assert str(mapped) == "10.1.2.3"
    assert trusts(TRUSTED, mapped)


def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        networks(("10.0.0.0/8", "proxy.internal"))
