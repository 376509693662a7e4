"""What reading and verifying need of a directory, so that they open no file themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol


class CannotJudge(ValueError):
    """There is nothing to judge, or not by what was given: no checkpoint, a key that is none, files that may not be read."""


class Files(Protocol):
    """One directory tree. Names are relative, with `/`."""

    def read(self, name: str) -> bytes:
        """The whole file. Raises FileNotFoundError, OSError."""

    def open(self, name: str) -> BinaryIO:
        """The file for reading from its start. Raises FileNotFoundError, OSError."""

    def names(self, under: str = "") -> Iterator[str]:
        """Every name below `under` that is no directory, in no order; sockets, links and the like too: they are strays. None where `under` is not
        there. Raises OSError where a directory cannot be listed."""


class AsPermitted:
    """`files` for a judge: what he may not read is no fault of theirs, and he cannot judge. Raises CannotJudge instead of PermissionError."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def read(self, name: str) -> bytes:
        with _permission(name):
            return self._files.read(name)

    def open(self, name: str) -> BinaryIO:
        with _permission(name):
            return self._files.open(name)

    def names(self, under: str = "") -> Iterator[str]:
        with _permission(under or "a directory"):
            yield from self._files.names(under)


@contextmanager
def _permission(name: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as failure:
        raise CannotJudge(
            f"{failure.filename or name} may not be read by this user: verify as one who may"
        ) from failure
