"""Answers that may be worked out again at any time, remembered within a bound."""

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(OrderedDict[K, V]):
    """A dictionary for `keep`: at most `capacity` pairs, the oldest goes first.

    Ordered by links: a plain dictionary finds its first pair by walking over all that were removed before it."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity

    def keep(self, key: K, value: V) -> V:
        """`value` is remembered under `key`; returned for the caller's convenience."""
        if len(self) >= self._capacity and key not in self:
            self.popitem(last=False)
        self[key] = value
        return value
