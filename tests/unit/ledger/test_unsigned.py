"""Frames that no entry names yet are judged by entries that could be read, and by none where those are others' to read."""

from collections.abc import Iterator
from typing import BinaryIO, NoReturn

import pytest

from gatebook.ledger.files import AsPermitted, CannotJudge
from gatebook.ledger.verifying_unsigned import written_since


class Unread:
    """Files that all fail alike."""

    def __init__(self, failure: OSError) -> None:
        self._failure = failure

    def read(self, name: str) -> NoReturn:
        raise self._failure

    def open(self, name: str) -> BinaryIO:
        raise self._failure

    def names(self, under: str = "") -> Iterator[str]:
        raise self._failure


def test_newer_entries_that_others_may_read_condemn_nothing() -> None:
    with pytest.raises(CannotJudge, match="may not be read by this user"):
        written_since(AsPermitted(Unread(PermissionError(13, "Permission denied"))), 0, 1, lambda writer, epoch: 7)


def test_newer_entries_that_the_disk_does_not_give_back_add_nothing() -> None:
    written = written_since(AsPermitted(Unread(OSError(5, "Input/output error"))), 0, 1, lambda writer, epoch: 7)
    assert written("gate-0", "0" * 20) == 7
