"""The certificate authorities that a machine trusts."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def no_authorities_of_the_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The machine trusts none, for the tests beside a conftest.py that imports this: whoever is to be trusted is named by the test. To read the
    hundred and fifty of a usual system takes longer than most of these tests, and each client that the adapters make does it anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", os.devnull)
        patch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("no-authorities")))
        yield
