"""The policy's table of methods and the wire's agree on what a client may send."""

import pytest

from gatebook.policy.methods import KINDS
from gatebook.wire.methods import METHODS

CLIENT_METHODS = {name: method for name, method in METHODS.items() if method.client}


@pytest.mark.parametrize("name", sorted(CLIENT_METHODS))
def test_what_a_client_may_send_has_a_kind_and_it_is_what_the_wire_finds(name: str) -> None:
    assert CLIENT_METHODS[name].target in KINDS[name]


def test_the_policy_knows_no_method_that_no_client_may_send() -> None:
    assert set(KINDS) - set(CLIENT_METHODS) == {"GET", "DELETE", "response"}


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(CLIENT_METHODS)))
def test_what_only_servers_send_is_no_method_for_a_client(name: str) -> None:
    assert name not in KINDS
