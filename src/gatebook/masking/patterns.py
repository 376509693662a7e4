"""Compiles byte patterns for RE2: linear time whatever the input, and every byte is one character (LATIN1)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, cast

import re2

from gatebook.masking.results import MaskingFailed

MEMORY = 64 << 20
"""What an automaton may grow to, on hostile input only: with 8 MiB RE2 throws it away and starts again all the time."""


class Hit(Protocol):
    def start(self) -> int: ...
    def end(self) -> int: ...
    def span(self) -> tuple[int, int]: ...


class Pattern(Protocol):
    def search(self, text: bytes, pos: int | None = None) -> Hit | None: ...
    def finditer(self, text: bytes) -> Iterator[Hit]: ...


def compiled(pattern: bytes, *, longest: bool = False) -> Pattern:
    """The pattern under RE2; of matches that begin at one place the first alternative's, or the longest."""
    options = _options()
    options.longest_match = longest
    return cast(Pattern, re2.compile(pattern, options))


class TooLarge(Exception):
    """The patterns do not fit into the memory that their automaton may take."""


class Several:
    """Patterns that are all looked for in one pass over a text, which costs no more than the pass for one of them. Raises TooLarge."""

    def __init__(self, patterns: Sequence[bytes], *, memory: int = MEMORY) -> None:
        self._set = re2.Set.SearchSet(_options(memory))
        # The last one matches the end of every text: without it, no answer for want of memory would read as no hit.
        try:
            for pattern in (*patterns, rb"\z"):
                self._set.Add(pattern)
            self._set.Compile()
        except re2.error as failed:
            raise TooLarge from failed
        # What lies below re2's own `Match`, which is for texts, too. Every message passes here twice.
        self._match: Callable[[bytes], list[int] | None] = getattr(self._set, "_set", self._set).Match

    def seen(self, text: bytes) -> list[int]:
        """The numbers of the patterns that occur, in no order, and one number more: nothing occurs when there is only that one.

        Raises MaskingFailed when RE2 cannot tell."""
        found = self._match(text)
        if not found:
            raise MaskingFailed("the patterns could not be searched for")
        return found


def _options(memory: int = MEMORY) -> "re2.Options":
    """LATIN1, because RE2's default encoding never matches a byte above 0x7F."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.log_errors = False
    options.max_mem = memory
    return options
