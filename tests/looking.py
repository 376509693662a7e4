"""Both ways to look at a message: RE2 alone, and native code first (`gatebook.masking.prefilter`), at as many bytes at a time as this machine can, and
at fewer."""

import functools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

import pytest

from gatebook.masking import trigger
from gatebook.masking.prefilter import Buckets, Issued, made
from gatebook.masking.secrets import NO_SECRETS
from tests.speeding import native


class InEachWay:
    """A prefilter that rules out what native code does in any of its ways; the test is skipped where that is not built."""

    def __init__(self, buckets: Buckets, beside: "InEachWay | None" = None, issued: Issued = ()) -> None:
        ways = [at_once for at_once in (64, 32, 0) if at_once <= native().PREFILTERS]
        others = beside.ways if beside else [None] * len(ways)
        self.ways: list[Any] = [
            native().Prefilter(buckets, other, issued, at_once) for other, at_once in zip(others, ways, strict=True)
        ]

    def may_hold(self, text: bytes, /) -> bool:
        return all(way.may_hold(text) for way in self.ways)


EACH_WAY: Final = SimpleNamespace(Prefilter=InEachWay)


@functools.cache
def first_look() -> InEachWay:
    """What looks first at every message."""
    look = made(EACH_WAY, trigger._LOOKED_FOR_FIRST)
    assert isinstance(look, InEachWay)
    return look


@pytest.fixture(scope="module", params=["RE2 alone", "native code first"])
def each_look(request: pytest.FixtureRequest) -> Iterator[None]:
    before = trigger._first.made, NO_SECRETS.prefilter
    trigger._first.made = None if request.param == "RE2 alone" else (EACH_WAY, first_look())
    NO_SECRETS.prefilter = None
    yield
    trigger._first.made, NO_SECRETS.prefilter = before
