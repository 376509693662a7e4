"""How much work one message may cause. Counted in steps of about a microsecond, never in time: the same message passes everywhere or nowhere."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from gatebook.masking.results import MaskingFailed

FREE_BYTES = 64 << 10
"""Up to this size nothing is counted: the worst costs some 0.2 s."""
BASE_STEPS = 2_000_000
STEPS_PER_KB = 250
"""Clean messages cost 1 to 20 a KB, a table of card numbers 500 to 900; what was made to be slow up to 3,000."""
T = TypeVar("T")


class Budget:
    """The steps that a message has left; spending more raises MaskingFailed, and then the message is refused."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise MaskingFailed("more work than a message of its size may cause")

    def counted(self, hits: Iterable[T], steps: int) -> Iterator[T]:
        """The same, each for `steps`."""
        for hit in hits:
            self.spend(steps)
            yield hit


class _Unbounded(Budget):
    __slots__ = ()

    def spend(self, steps: int = 1) -> None:
        pass

    def counted(self, hits: Iterable[T], steps: int) -> Iterator[T]:
        return iter(hits)


UNBOUNDED: Budget = _Unbounded(0)


def budget_for(size: int) -> Budget:
    """What a message of `size` bytes may cause."""
    return UNBOUNDED if size <= FREE_BYTES else Budget(BASE_STEPS + STEPS_PER_KB * size // 1024)
