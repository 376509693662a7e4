"""RFC 6962 trees, against the definition itself, for every size to 300."""

import pytest

from gatebook.ledger import tiles
from gatebook.ledger.merkle import (
    EMPTY_ROOT,
    NodeAt,
    ProofError,
    Tree,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
)

SIZES = range(301)
ENTRIES = [f"entry {number}".encode() for number in SIZES]


def mth(start: int, end: int) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if end == start:
        return EMPTY_ROOT
    if end - start == 1:
        return leaf_hash(ENTRIES[start])
    k = 1
    while k * 2 < end - start:
        k *= 2
    return node_hash(mth(start, start + k), mth(start + k, end))


@pytest.fixture(scope="module")
def roots() -> list[bytes]:
    return [mth(0, size) for size in SIZES]


def nodes(size: int) -> NodeAt:
    """Nodes read from tiles that are made by the definition."""

    def read(name: str) -> bytes:
        tile = tiles.parse_tile_name(name)
        assert tile is not None
        level, index, width = tile
        assert level is not None
        span = 256**level
        return b"".join(mth(at * span, (at + 1) * span) for at in range(index * 256, index * 256 + width))

    return tiles.nodes_from_tiles(size, read)


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Tree().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_growing_tree_has_the_root_of_the_definition_at_every_size(roots: list[bytes]) -> None:
    tree = Tree()
    for size in SIZES:
        assert tree.root() == roots[size]
        assert Tree.resume(size, tree.levels).root() == roots[size]
        tree.append(leaf_hash(ENTRIES[size]))


def test_tiles_are_handed_out_when_they_are_full() -> None:
    tree = Tree()
    filled = [(tile, tree.size) for number in range(66_000) for tile in tree.append(leaf_hash(b"%d" % number))]
    level_0 = [(index, size) for (level, index, _), size in filled if level == 0]
    assert level_0 == [(index, 256 * (index + 1)) for index in range(257)]
    assert [(level, index, size) for (level, index, _), size in filled if level > 0] == [(1, 0, 65_536)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 255, 256, 257, 300])
def test_every_inclusion_proof_holds_and_no_changed_one_does(size: int, roots: list[bytes]) -> None:
    node_at = nodes(size)
    for index in range(size):
        proof = inclusion_proof(index, size, node_at)
        leaf = leaf_hash(ENTRIES[index])
        check_inclusion(leaf, index, size, proof, roots[size])
        for position in range(len(proof)):
            changed = [*proof]
            changed[position] = bytes(32)
            with pytest.raises(ProofError):
                check_inclusion(leaf, index, size, changed, roots[size])
        for wrong in (proof[:-1] if proof else [bytes(32)], [*proof, bytes(32)]):
            with pytest.raises(ProofError):
                check_inclusion(leaf, index, size, wrong, roots[size])


def test_every_consistency_proof_holds(roots: list[bytes]) -> None:
    for size in (1, 2, 3, 6, 7, 8, 100, 255, 256, 257, 300):
        node_at = nodes(size)
        for old in range(size + 1):
            check_consistency(old, roots[old], size, roots[size], consistency_proof(old, size, node_at))


@pytest.mark.parametrize("size", [2, 3, 8, 20, 257])
def test_no_changed_consistency_proof_holds(size: int, roots: list[bytes]) -> None:
    node_at = nodes(size)
    for old in range(1, size):
        proof = consistency_proof(old, size, node_at)
        for position in range(len(proof)):
            changed = [*proof]
            changed[position] = bytes(32)
            with pytest.raises(ProofError):
                check_consistency(old, roots[old], size, roots[size], changed)
        for wrong in (proof[:-1], [*proof, bytes(32)]):
            with pytest.raises(ProofError):
                check_consistency(old, roots[old], size, roots[size], wrong)
        with pytest.raises(ProofError):
            check_consistency(old, bytes(32), size, roots[size], proof)


def test_a_tree_never_shrinks_and_has_one_root_for_a_size(roots: list[bytes]) -> None:
    with pytest.raises(ProofError):
        check_consistency(5, roots[5], 4, roots[4], [])
    with pytest.raises(ProofError):
        check_consistency(5, roots[5], 5, roots[4], [])
