"""Random bytes from the operating system, drawn some thousand at a time: a call needs a hundred, and each drawing is a system call."""

import io
import os

_DRAWN_BYTES = 4096


class SystemEntropy:
    """`entropy(count)`: `count` bytes of os.urandom's that nobody else gets, whichever thread asks. Not to be carried over a fork: both
    sides would hold the same bytes."""

    def __init__(self) -> None:
        self._drawn = io.BytesIO()

    def __call__(self, count: int) -> bytes:
        # One `read` is one step for all threads: no two get the same bytes.
        given = self._drawn.read(count)
        if len(given) == count:
            return given
        if count > _DRAWN_BYTES:
            return os.urandom(count)
        drawn = io.BytesIO(os.urandom(_DRAWN_BYTES))
        given = drawn.read(count)
        self._drawn = drawn
        return given
