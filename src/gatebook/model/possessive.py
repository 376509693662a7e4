"""Regular expressions with possessive groups, on every Python that Gatebook runs on.

CPython 3.11.0 to 3.11.4 (Debian 12 ships 3.11.2) match possessive groups, `(?:…)*+` and `(?:…)?+`, wrongly without a word (cpython issue 106052):
a number inside a string inside a message would go unmasked. There the groups are compiled greedy, which matches the same wherever what
follows a group cannot begin inside it, as in all patterns of ours; it only costs memory on hostile input.
"""

import re
import sys

SOUND = sys.version_info >= (3, 11, 5)


def compiled(pattern: bytes, flags: int = 0, *, possessive: bool = SOUND) -> "re.Pattern[bytes]":
    """The pattern; with greedy groups in place of possessive ones where those cannot be trusted. Single characters stay possessive: they work."""
    return re.compile(pattern if possessive else greedy(pattern), flags)


def greedy(pattern: bytes) -> bytes:
    """The same pattern with its possessive groups greedy."""
    return pattern.replace(b")*+", b")*").replace(b")?+", b")?").replace(b")++", b")+")
