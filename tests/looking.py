"""Both ways to look at a message: RE2 alone, and native code first (`gatebook.masking.prefilter`)."""

import functools
from collections.abc import Iterator

import pytest

from gatebook.masking import trigger
from gatebook.masking.prefilter import Prefilter, made
from gatebook.masking.secrets import NO_SECRETS
from tests.speeding import native


@functools.cache
def first_look() -> Prefilter:
    """What looks first at every message, where the machine makes it worth while; the test is skipped where native code is not built."""
    return made(native(), trigger._PATTERNS)


@pytest.fixture(scope="module", params=["RE2 alone", "native code first"])
def each_look(request: pytest.FixtureRequest) -> Iterator[None]:
    before = trigger._first.made, NO_SECRETS.prefilter
    trigger._first.made = None if request.param == "RE2 alone" else (native(), first_look())
    NO_SECRETS.prefilter = None
    yield
    trigger._first.made, NO_SECRETS.prefilter = before
