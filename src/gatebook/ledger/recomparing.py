"""Is what lies in the log still what was signed? Bundle after bundle, for a sealer that has a moment.

The measure is the right edge of its own tree in memory: it gave the signed root when the sealer started, and nothing on the disk can change it.
"""

from collections.abc import Callable

from gatebook.ledger.merkle import TILE_HEIGHT, TILE_WIDTH, Tree, fold, leaf_hash
from gatebook.ledger.tiles import BundleError, read_bundle, read_tile, tile_name, widths

EVERY_S = 0.1
"""A bundle takes a millisecond: with ten a second, one hundredth of a processor."""
ROUND_S = 60.0
_KEPT = 10_000

Read = Callable[[str], bytes]


class Rounds:
    """Through all bundles, and again from the first. `compared`: entries so far, over all rounds."""

    def __init__(self) -> None:
        self.compared = 0
        self._next = 0
        self._due_s = self._next_round_s = 0.0
        self._found: dict[int, str] = {}

    @property
    def broken(self) -> tuple[str, ...]:
        """The files that were not as signed when they were last compared, of each bundle the first."""
        return tuple(dict.fromkeys(self._found.values()))

    def compare(self, tree: Tree, read: Read, now_s: float) -> None:
        """Compare the next bundle, and all above it, where one is due: EVERY_S after the last, or later; the first ROUND_S after it was compared
        before, or later. Nothing of `tree` waits to be written. `now_s` only grows."""
        if now_s < self._due_s:
            return
        if self._next == 0:
            self._next_round_s = now_s + ROUND_S
        index, full = self._next, tree.size // TILE_WIDTH
        name = broken_file(index, tree, read)
        if name is None:
            self._found.pop(index, None)
        elif len(self._found) < _KEPT:
            self._found[index] = name
        self.compared += TILE_WIDTH if index < full else tree.size % TILE_WIDTH
        self._next, self._due_s = (index + 1, now_s + EVERY_S) if index < full else (0, self._next_round_s)


def broken_file(index: int, tree: Tree, read: Read) -> str | None:
    """The first file on the way down from the edge of `tree` to bundle `index` that does not give the hash above it, or cannot be read; None
    where all do. The bundle after the last full one stands for the edge itself: the partial files of a log of that size."""
    if index == tree.size // TILE_WIDTH:
        return _broken_at_the_edge(tree, read)
    way: list[int] = []
    place = index
    while place < tree.size >> (TILE_HEIGHT * (len(way) + 1)):
        way.append(place)
        place //= TILE_WIDTH
    hashes = tree.levels[len(way)]
    for level in reversed(range(len(way))):
        due = hashes[way[level] % TILE_WIDTH]
        try:
            hashes = read_tile(level, way[level], TILE_WIDTH, read)
        except (OSError, BundleError):
            hashes = []
        if not hashes or fold(hashes) != due:
            return tile_name(level, way[level])
    return None if _leaves(index, TILE_WIDTH, read) == hashes else tile_name(None, index)


def _broken_at_the_edge(tree: Tree, read: Read) -> str | None:
    for level, place, width in reversed([*widths(tree.size)]):
        if not width:
            continue
        try:
            whole = read_tile(level, place, width, read) == tree.levels[level]
        except (OSError, BundleError):
            whole = False
        if not whole:
            return tile_name(level, place, width)
    place, width = divmod(tree.size, TILE_WIDTH)
    return None if not width or _leaves(place, width, read) == tree.levels[0] else tile_name(None, place, width)


def _leaves(index: int, width: int, read: Read) -> list[bytes]:
    """Hashes of the entries in a bundle; none where it cannot be read."""
    try:
        return [leaf_hash(entry) for entry in read_bundle(index, width, read)]
    except (OSError, BundleError):
        return []
