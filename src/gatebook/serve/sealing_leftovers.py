"""Where a sealer that died can have left temporary files."""

from collections.abc import Iterator

from gatebook.ledger.merkle import TILE_HEIGHT
from gatebook.ledger.tiles import tile_name, widths

_TILES_IN_FOLDER = 1000
_MOST_IN_BATCH = 1 << 19


def edge_folders(signed: int, size: int) -> Iterator[str]:
    """Where a sealer can have left temporary files that died after it had signed `signed` entries and given `size` their bundles: from there on,
    as far as one batch can reach."""
    end = size + _MOST_IN_BATCH
    yield from ("", "checkpoints")
    levels: list[int | None] = [None, *(level for level, _, _ in widths(end))]
    for level in levels:
        height = TILE_HEIGHT * ((level or 0) + 1)
        folders = range((signed >> height) // _TILES_IN_FOLDER, (end >> height) // _TILES_IN_FOLDER + 1)
        yield from (tile_name(level, folder * _TILES_IN_FOLDER).rpartition("/")[0] for folder in folders)
