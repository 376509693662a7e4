"""Without a token numbers are shown under names of this machine alone: a page of another site, whose name leads here, reads nothing."""

import pytest

from gatebook.serve.metering.meter import _names_this_machine


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9464", "127.0.0.1", "127.8.9.10:1", "localhost", "localhost:9464", "[::1]", "[::1]:9464", ""]
)
def test_names_of_this_machine(host: str) -> None:
    assert _names_this_machine(host)


@pytest.mark.parametrize(
    "host",
    ["127.example.com:9464", "127.0.0.1.example.com", "127.1", "127.0.0.1.", "128.0.0.1", "localhost.example.com", "LOCALHOST.example", "[::2]", "::1",
     "0.0.0.0", "evil.example:80", "127.0.0.1:1:1"],
)  # fmt: skip
def test_names_that_somebody_elses_name_service_gives_to_it(host: str) -> None:
    assert not _names_this_machine(host)
