"""What the sealer needs of the world, as protocols, and its refusal where that is not as it was signed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from gatebook.ledger.framing import Ending, Group
from gatebook.ledger.shelving import PayloadFiles
from gatebook.model.errors import GatebookError
from gatebook.model.record import Draft

PUT_BACK = "Copy everything as it is; then that file may be put back from a backup of this log: docs/howto/runbooks.md, Verification failed"


class SealingRefused(GatebookError):
    """The log on the disk is not the one that was signed, or a segment is not what its writer promised. Nothing is signed until a
    person has looked: restored from an older copy, edited, or another deployment's directory."""


class LogStore(PayloadFiles, Protocol):
    def write_once(self, files: list[tuple[str, bytes]]) -> None:
        """Every (name, content) is there, durably. Raises FileExistsError where a name holds something else."""

    def write_in_order(self, files: list[tuple[str, bytes]]) -> None:
        """As `write_once`, and no name survives a power loss without those before it."""

    def replace(self, name: str, content: bytes) -> None:
        """`name` holds `content`, durably; a reader sees the old bytes or the new."""

    def remove(self, name: str) -> None:
        """The file `name` is gone; nothing where there was none."""

    def remove_tree(self, name: str) -> None: ...

    def remove_leftovers(self, folders: Iterable[str]) -> None:
        """Temporary files of a sealer that died are gone from these folders, and from the directories of partial tiles in them."""


class Tail(Protocol):
    """One writer's epoch, as the sealer reads it."""

    writer: str
    epoch: str

    @property
    def bound(self) -> int:
        """Its entries have this index in the log or a higher one."""

    @property
    def first_sequence(self) -> int:
        """Its entries before this one were signed, and their segments are gone."""

    @property
    def position(self) -> tuple[int, int]: ...

    def ended(self) -> bool:
        """True once the writer is gone for good and what it wrote is durable."""

    def take(self) -> list[Group]:
        """The next leaves, in the order they were written; of a living writer only durable ones."""

    @property
    def damage(self) -> tuple[str, int] | None:
        """Where the last `take` met what its writer had made durable and is not as it was written: the file, below the data directory, and the offset in
        it. Nothing is taken from there on. None where all is well; a write that a crash tore is none, for nobody was told that it was durable."""

    def backlog(self) -> float:
        """How much its writer made durable that is to be taken, in segments; 0 of one that is gone, or where nothing can be taken."""

    def held(self) -> Iterator[bytes]:
        """Every whole leaf in its segments, also of those that were taken, in the order they were written. Nothing is taken by this."""

    def ending(self) -> Ending: ...

    def remove_taken(self, upto: tuple[int, int]) -> None: ...

    def remove_all(self) -> None: ...

    def set_aside(self) -> None:
        """As `remove_all`, but segments that hold what could not be taken are kept, under names of which nothing is taken any more."""


class Tails(Protocol):
    def look(self) -> Sequence[Tail]:
        """Every epoch that has segments, oldest first."""

    @property
    def aside(self) -> Sequence[str]:
        """Segments that were set aside and that nobody has moved away, by their names below the data directory, as `look` found them last."""

    def remove_orphans(self, own: str) -> None:
        """Files of epochs that died before they had a segment are gone; `own`: the caller's writer, of which none is starting."""

    def forget(self, writer: str, epoch: str) -> None:
        """That epoch was removed from the disk."""


class Watermark(Protocol):
    """The newest signed state, kept where a restored data directory does not bring an older one back."""

    def read(self) -> bytes | None:
        """The signed note; None where there is none yet. Raises OSError: it cannot be known."""

    def replace(self, note: bytes) -> None:
        """It is `note`, durably. Raises OSError."""


class Hand(Protocol):
    """The sealer's own segment."""

    writer: str
    epoch: str

    def write(self, draft: Draft) -> None:
        """Durable on return. Raises LedgerUnavailable."""
