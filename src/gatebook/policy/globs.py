"""Globs over raw strings: `*` is any run of characters without `/`, `**` any run at all; every other character is itself.

There is no `?`, no `[…]`, no `{…}` and no escape: URIs are full of those characters, and one that meant something would surprise in a
rule. Strings compare by code point, whole, without case folding or normalisation. Matching is linear in the length of the name (RE2),
whatever the pattern.
"""

import re
import unicodedata
from functools import lru_cache

import re2

_WILDCARDS = re.compile(r"(\*\*|\*)")
_MAX_PATTERN = 1024


def glob_problem(pattern: str) -> str | None:
    """Why `pattern` is no glob, in words that do not repeat it; None where it is one."""
    if not pattern:
        return "is empty"
    if len(pattern) > _MAX_PATTERN:
        return f"is longer than {_MAX_PATTERN} characters"
    if "***" in pattern:
        return "has three or more asterisks in a row (`*` stops at `/`, `**` does not; there is no `***`)"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in pattern):
        return "holds a control character"
    if pattern != pattern.strip():
        return "begins or ends with white space, which no name would match"
    return None


def matches(pattern: str, name: str) -> bool:
    """Whether one glob matches the whole of `name`; compiled once and kept. For lists, and where it is asked often: Globs."""
    return _one(pattern).matches(name)


class Globs:
    """A list of globs, compiled. One that `glob_problem` objects to matches nothing: a broken rule grants nothing."""

    __slots__ = ("_exact", "_wild", "patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        sound = [pattern for pattern in patterns if glob_problem(pattern) is None]
        self._exact = frozenset(pattern for pattern in sound if "*" not in pattern)
        self._wild = tuple(re2.compile(_expression(pattern)) for pattern in sound if "*" in pattern)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, name: str) -> bool:
        """Whether any of the globs matches the whole of `name`. Total: a name that is no Unicode text (lone surrogates) matches none."""
        if name in self._exact:
            return True
        try:
            return any(expression.fullmatch(name) is not None for expression in self._wild)
        except UnicodeEncodeError:
            return False


def _expression(pattern: str) -> str:
    """The RE2 expression that matches what the glob matches, newlines included."""
    parts = _WILDCARDS.split(pattern)
    return "".join("(?s:.*)" if part == "**" else "[^/]*" if part == "*" else re2.escape(part) for part in parts)


@lru_cache(maxsize=1_024)
def _one(pattern: str) -> Globs:
    return Globs((pattern,))
