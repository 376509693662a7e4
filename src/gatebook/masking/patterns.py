"""Compiles byte patterns for RE2: linear time whatever the input, and every byte is one character (LATIN1)."""

from collections.abc import Iterator
from typing import Protocol, cast

import re2


class Hit(Protocol):
    def start(self) -> int: ...
    def end(self) -> int: ...


class Pattern(Protocol):
    def search(self, text: bytes, pos: int | None = None) -> Hit | None: ...
    def finditer(self, text: bytes) -> Iterator[Hit]: ...


def compiled(pattern: bytes) -> Pattern:
    """The pattern under RE2. LATIN1, because RE2's default encoding never matches a byte above 0x7F.

    The memory bound is raised: with 8 MiB RE2 throws its automaton away and starts again on hostile input.
    """
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.log_errors = False
    options.max_mem = 64 << 20
    return cast(Pattern, re2.compile(pattern, options))
