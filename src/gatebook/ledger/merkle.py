"""The Merkle tree of RFC 6962 §2.1: hashes, the growing right edge, inclusion and consistency proofs."""

import hashlib
from collections.abc import Callable, Iterable

Hash = bytes
EMPTY_ROOT: Hash = hashlib.sha256(b"").digest()
TILE_HEIGHT = 8
TILE_WIDTH = 256

NodeAt = Callable[[int, int], Hash]
"""(height, index) → hash of the complete subtree over the leaves [index·2^height, (index+1)·2^height)."""


class ProofError(ValueError):
    """A proof does not show what it claims."""


def leaf_hash(entry: bytes) -> Hash:
    """Hash of one log entry: SHA-256 over 0x00 ‖ entry, 32 bytes. RFC 6962 §2.1."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: Hash, right: Hash) -> Hash:
    """Hash of an inner node: SHA-256 over 0x01 ‖ left ‖ right. RFC 6962 §2.1."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that only grows, holding its right edge: the hashes of the last tile of each level.

    `levels[L]` are the hashes of the last tile of level L, 1 to 256 of them once the level has begun; a full one is handed out by
    `append` and begun anew with the next hash. Inner nodes are hashed when a tile is full or the root is asked for.
    """

    def __init__(self) -> None:
        self.size = 0
        self.levels: list[list[Hash]] = []
        # For each level: length of a beginning of its row → hash of the last complete subtree in it, for those once asked for.
        self._known: list[dict[int, Hash]] = []

    @classmethod
    def resume(cls, size: int, levels: list[list[Hash]]) -> "Tree":
        """The tree of `size` leaves whose partial tiles are `levels`: level L holds (size >> 8L) mod 256 hashes."""
        tree = cls()
        tree.size, tree.levels = size, [list(level) for level in levels]
        tree._known = [{} for _ in levels]
        for number, hashes in enumerate(levels):
            if len(hashes) != size >> (TILE_HEIGHT * number) & (TILE_WIDTH - 1):
                raise ValueError(f"level {number} holds {len(hashes)} hashes, which is not a tree of {size}")
        return tree

    def append(self, leaf: Hash) -> list[tuple[int, int, list[Hash]]]:
        """Grow by one leaf. The tiles that became full by it, as (level, index of the tile, its 256 hashes)."""
        if not self.levels:
            self._begin_level()
        hashes = self.levels[0]
        hashes.append(leaf)
        self.size += 1
        return self._filled() if len(hashes) == TILE_WIDTH else []

    def root(self) -> Hash:
        """The Merkle tree hash of all leaves; SHA-256 of nothing for none."""
        node: Hash | None = None
        for hashes, known in zip(self.levels, self._known, strict=True):
            end = len(hashes)
            # Each level is a row of complete subtrees, the smallest last.
            while end:
                width = end & -end
                left = known.get(end)
                if left is None:
                    left = known[end] = fold(hashes[end - width : end])
                node = left if node is None else node_hash(left, node)
                end -= width
        return EMPTY_ROOT if node is None else node

    def _filled(self) -> list[tuple[int, int, list[Hash]]]:
        filled: list[tuple[int, int, list[Hash]]] = []
        level = 0
        while len(hashes := self.levels[level]) == TILE_WIDTH:
            filled.append((level, (self.size >> (TILE_HEIGHT * (level + 1))) - 1, hashes))
            self.levels[level], self._known[level] = [], {}
            level += 1
            if level == len(self.levels):
                self._begin_level()
            self.levels[level].append(fold(hashes))
        return filled

    def _begin_level(self) -> None:
        self.levels.append([])
        self._known.append({})


def fold(hashes: Iterable[Hash]) -> Hash:
    """The root over 2^k hashes."""
    row, sha256 = list(hashes), hashlib.sha256
    while len(row) > 1:
        row = [sha256(b"\1" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
    return row[0]


def range_hash(start: int, end: int, node_at: NodeAt) -> Hash:
    """MTH over the leaves [start, end), where `start` is a multiple of the smallest power of two not below end - start. RFC 6962 §2.1."""
    width = end - start
    if width <= 0:
        return EMPTY_ROOT
    if width & (width - 1) == 0:
        height = width.bit_length() - 1
        return node_at(height, start >> height)
    middle = start + _split(width)
    return node_hash(range_hash(start, middle, node_at), range_hash(middle, end, node_at))


def inclusion_proof(index: int, size: int, node_at: NodeAt) -> list[Hash]:
    """The audit path of leaf `index` in the tree of `size` leaves, leaf's sibling first. RFC 6962 §2.1.1."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path: list[Hash] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(middle, end, node_at))
            end = middle
        else:
            path.append(range_hash(start, middle, node_at))
            start = middle
    return path[::-1]


def check_inclusion(leaf: Hash, index: int, size: int, proof: list[Hash], root: Hash) -> None:
    """Nothing where `proof` shows `leaf` at `index` in the tree (size, root); raises ProofError. RFC 9162 §2.1.3.2."""
    if not 0 <= index < size:
        raise ProofError(f"no leaf {index} in a tree of {size}")
    number, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if number & 1 or number == last:
            node = node_hash(sibling, node)
            while not number & 1 and number:
                number >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        number >>= 1
        last >>= 1
    if last != 0 or node != root:
        raise ProofError("the inclusion proof does not lead to the root")


def consistency_proof(old: int, new: int, node_at: NodeAt) -> list[Hash]:
    """The proof that the tree of `new` leaves begins with the tree of `old`. RFC 6962 §2.1.2. Empty for old = new and for old = 0."""
    if not 0 <= old <= new:
        raise ValueError(f"no consistency from {old} to {new}")
    if old in (0, new):
        return []
    proof: list[Hash] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(range_hash(middle, end, node_at))
            end = middle
        else:
            proof.append(range_hash(start, middle, node_at))
            start, whole = middle, False
    if not whole:
        proof.append(range_hash(start, end, node_at))
    return proof[::-1]


def check_consistency(old: int, old_root: Hash, new: int, new_root: Hash, proof: list[Hash]) -> None:
    """Nothing where `proof` shows that (new, new_root) only adds to (old, old_root); raises ProofError. RFC 9162 §2.1.4.2."""
    if old > new:
        raise ProofError(f"the tree shrank from {old} to {new}")
    if old == new or old == 0:
        if proof or (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY_ROOT):
            raise ProofError("two roots for one size, or a proof where none is due")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise ProofError("the consistency proof is empty")
    number, last = old - 1, new - 1
    while number & 1:
        number >>= 1
        last >>= 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if number & 1 or number == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not number & 1 and number:
                number >>= 1
                last >>= 1
        else:
            after = node_hash(after, sibling)
        number >>= 1
        last >>= 1
    if last != 0 or before != old_root or after != new_root:
        raise ProofError("the consistency proof does not lead to both roots")


def _split(width: int) -> int:
    """The largest power of two below `width` (which is at least 2)."""
    return 1 << ((width - 1).bit_length() - 1)
