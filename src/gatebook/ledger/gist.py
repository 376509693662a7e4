"""The gist of an entry: who wrote it, and of which session and call it is. The rest stays in its leaf until somebody wants it.

The sealer passes here with every entry there is, and to most of them it does nothing but count.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from gatebook.ledger.entry import Entry, decode

Writer = tuple[str, str]
"""(name, epoch)"""


class Gist(msgspec.Struct, frozen=True, gc=False):
    """Of the entry in `leaf`, of which it is known that `decode` takes it. `findings`: how many, of all kinds; `time`: as it was written."""

    writer: Writer
    sequence: int
    event: str
    session: str | None
    call: str | None
    time: str
    findings: int
    leaf: bytes

    def entry(self) -> Entry:
        """All of it."""
        return decode(self.leaf)


class Native(Protocol):
    """Native code that reads in a leaf what `decode` would, or says that it will not."""

    def gist(self, leaf: bytes, writer: str, epoch: str, /) -> tuple[int, str, str | None, str | None, str, int] | None:
        """(sequence, event, session, call, time, findings). None for what is unusual, for what `decode` would refuse, and for another writer's."""


Read = Callable[[bytes, Writer], Gist]
"""The gist of a leaf, which is expected to be of this writer; it says whose it is. Raises ValueError where the leaf is no entry (`decode`)."""


def gist_of(entry: Entry, leaf: bytes) -> Gist:
    """Of an `entry` that `decode` gave of `leaf`."""
    written = entry.w
    return Gist(
        (written.n, written.e), written.s, entry.ev, entry.sess, entry.call, entry.t, sum(entry.dlp.values()), leaf
    )


def read_gist(leaf: bytes, _: Writer | None = None) -> Gist:
    """A `Read`, in Python."""
    return gist_of(decode(leaf), leaf)


def reading_with(native: Native | None) -> Read:
    """A `Read` that asks `native` first."""
    if native is None:
        return read_gist
    quick = native.gist

    def read(leaf: bytes, writer: Writer) -> Gist:
        found = quick(leaf, *writer)
        return read_gist(leaf, writer) if found is None else Gist(writer, *found, leaf)

    return read
