"""C2SP tlog-tiles: where each tile and entry bundle lies, and what is in it."""

import struct
from collections.abc import Callable, Iterable, Iterator

from gatebook.ledger.merkle import TILE_HEIGHT, TILE_WIDTH, Hash, NodeAt, fold

HASH_BYTES = 32
_LENGTH = struct.Struct(">H")


class BundleError(ValueError):
    """An entry bundle that is not exactly its entries."""


def tile_name(level: int | None, index: int, width: int = TILE_WIDTH) -> str:
    """`tile/<L>/<N>[.p/<W>]`; level None is `tile/entries/…`. Index 1234067 is `x001/x234/067`."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{'entries' if level is None else level}/{'/'.join(groups)}{partial}"


def parse_tile_name(name: str) -> tuple[int | None, int, int] | None:
    """(level or None for entries, index, width) of a tile's name; None where `name` is no tile's, in its only spelling."""
    parts = name.split("/")
    if len(parts) < 3 or parts[0] != "tile":
        return None
    width = TILE_WIDTH
    groups = parts[2:]
    if len(groups) > 1 and groups[-2].endswith(".p") and groups[-1].isdecimal():
        width = int(groups[-1])
        if not 0 < width < TILE_WIDTH:
            return None
        groups = [*groups[:-2], groups[-2][:-2]]
    digits = "".join(group.removeprefix("x") for group in groups)
    if not digits.isdecimal() or not (parts[1] == "entries" or parts[1].isdecimal()):
        return None
    level = None if parts[1] == "entries" else int(parts[1])
    index = int(digits)
    # One spelling only: what would be written differently is a stray file.
    return (level, index, width) if tile_name(level, index, width) == name else None


def widths(size: int) -> Iterator[tuple[int, int, int]]:
    """(level, number of full tiles, width of the partial one or 0) for every level that a tree of `size` leaves has begun."""
    level = 0
    while (hashes := size >> (TILE_HEIGHT * level)) > 0:
        yield level, hashes // TILE_WIDTH, hashes % TILE_WIDTH
        level += 1


def join_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as a bundle: each with its length in two bytes, big-endian, before it."""
    pack = _LENGTH.pack
    return b"".join([part for entry in entries for part in (pack(len(entry)), entry)])


def split_bundle(bundle: bytes, count: int) -> list[bytes]:
    """The `count` entries of a bundle. Raises BundleError where there are fewer, more, or any stray byte."""
    entries: list[bytes] = []
    offset = 0
    while offset < len(bundle):
        if offset + 2 > len(bundle):
            raise BundleError("ends within a length")
        (length,) = _LENGTH.unpack_from(bundle, offset)
        offset += 2 + length
        if offset > len(bundle):
            raise BundleError("ends within an entry")
        entries.append(bundle[offset - length : offset])
    if len(entries) != count:
        raise BundleError(f"holds {len(entries)} entries where {count} are due")
    return entries


def split_hashes(tile: bytes, count: int) -> list[Hash]:
    """The `count` hashes of a tile. Raises BundleError where the length differs."""
    if len(tile) != HASH_BYTES * count:
        raise BundleError(f"holds {len(tile)} bytes where {HASH_BYTES * count} are due")
    return [tile[i : i + HASH_BYTES] for i in range(0, len(tile), HASH_BYTES)]


def nodes_from_tiles(size: int, read: Callable[[str], bytes]) -> NodeAt:
    """Nodes of the tree of `size` leaves, from tiles read as `read(name)`; where a partial tile is gone the full one serves.

    The tiles last read are kept (a proof asks for neighbours). `read` raises FileNotFoundError; a tile of a wrong length raises BundleError.
    """
    kept: dict[tuple[int, int], list[Hash]] = {}

    def tile(level: int, index: int) -> list[Hash]:
        if (level, index) not in kept:
            if len(kept) > 64:
                kept.clear()
            width = min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH)
            kept[level, index] = read_tile(level, index, width, read)
        return kept[level, index]

    def node_at(height: int, index: int) -> Hash:
        level, inner = divmod(height, TILE_HEIGHT)
        first = index << inner
        hashes = tile(level, first // TILE_WIDTH)
        start = first % TILE_WIDTH
        span = hashes[start : start + (1 << inner)]
        if len(span) != 1 << inner:
            raise BundleError(f"no node ({height}, {index}) in a tree of {size}")
        return fold(span)

    return node_at


def read_tile(level: int, index: int, width: int, read: Callable[[str], bytes]) -> list[Hash]:
    """The first `width` hashes of a tile, from its partial file or, where that is gone, from the full one."""
    try:
        return split_hashes(read(tile_name(level, index, width)), width)
    except FileNotFoundError:
        if width == TILE_WIDTH:
            raise
        return split_hashes(read(tile_name(level, index)), TILE_WIDTH)[:width]


def read_bundle(index: int, width: int, read: Callable[[str], bytes]) -> list[bytes]:
    """The first `width` entries of a bundle, from its partial file or, where that is gone, from the full one."""
    try:
        return split_bundle(read(tile_name(None, index, width)), width)
    except FileNotFoundError:
        if width == TILE_WIDTH:
            raise
        return split_bundle(read(tile_name(None, index)), TILE_WIDTH)[:width]
