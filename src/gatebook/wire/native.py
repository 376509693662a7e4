"""Native code for plain texts, where a process has it: what it gives is what Python's parsers give, and what it leaves they read.

It is handed in (`use`), because whether it is there and right is not this package's to say."""

from typing import Any, Protocol


class Filler(Protocol):
    """A `template.Template` that native code knows."""

    def fill(self, body: bytes, /) -> tuple[bytes, bytes, dict[str, Any]] | None:
        """The id, the arguments and their value in a body made by the template. None: read it another way."""


class Native(Protocol):
    """The module `gatebook_speed`, as far as it reads."""

    def read(self, body: bytes, /) -> object:
        """The value of a JSON text that every parser reads alike. NotImplemented: read it another way."""

    def result(self, body: bytes, /) -> tuple[bytes, bool, str | None] | None:
        """The id, isError and resultType of a server's result in ASCII. None: read it another way."""

    def Template(self, before: bytes, between: bytes, after: bytes, id_first: bool, /) -> Filler: ...  # noqa: N802


class _Used:
    native: Native | None = None


_used = _Used()


def use(native: Native | None) -> None:
    """Read with `native` from now on, in this process; without it where None."""
    _used.native = native


def in_use() -> Native | None:
    """What `use` was given last."""
    return _used.native
