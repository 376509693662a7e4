"""What reading and verifying need of a directory, so that they open no file themselves."""

from collections.abc import Iterator
from typing import BinaryIO, Protocol


class Files(Protocol):
    """One directory tree. Names are relative, with `/`."""

    def read(self, name: str) -> bytes:
        """The whole file. Raises FileNotFoundError, OSError."""

    def open(self, name: str) -> BinaryIO:
        """The file for reading from its start. Raises FileNotFoundError, OSError."""

    def names(self, under: str = "") -> Iterator[str]:
        """Every name below `under` that is no directory, in no order; sockets, links and the like too: they are strays."""
