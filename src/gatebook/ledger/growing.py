"""The log as it grows: entries go in, and for each new size the files come out that a checkpoint of that size needs."""

from collections.abc import Callable, Iterator

import msgspec

from gatebook.ledger.files import Files
from gatebook.ledger.merkle import TILE_WIDTH, Hash, Tree, leaf_hash
from gatebook.ledger.reading import widest_partial
from gatebook.ledger.tiles import BundleError, join_bundle, read_bundle, read_tile, split_bundle, tile_name, widths

BUNDLES = "tile/entries/"


class Growth(msgspec.Struct, frozen=True):
    """`bundles`, `tiles`: (name, content), in the order in which they must become durable, all before the new size is signed. `obsolete`:
    directories of partial tiles whose full ones are among them: to be removed after the new checkpoint is published."""

    bundles: list[tuple[str, bytes]]
    tiles: list[tuple[str, bytes]]
    obsolete: list[str]

    @property
    def files(self) -> list[tuple[str, bytes]]:
        """All of them, in that order."""
        return [*self.bundles, *self.tiles]


class GrowingLog:
    """The right edge of one log, in memory. Not durable by itself."""

    def __init__(self) -> None:
        self.tree = Tree()
        self._bundle: list[bytes] = []
        self._full: list[tuple[int | None, int, bytes]] = []
        self._written: dict[int | None, int] = {}

    @classmethod
    def resume(cls, size: int, read: Callable[[str], bytes]) -> "GrowingLog":
        """The log at `size`, from its tiles and last bundle. Raises ValueError where they disagree, FileNotFoundError where one is gone."""
        log = cls()
        levels: list[list[Hash]] = []
        for level, full, width in widths(size):
            levels.append(read_tile(level, full, width, read) if width else [])
            log._written[level] = width
        log.tree = Tree.resume(size, levels)
        width = size % TILE_WIDTH
        log._written[None] = width
        if width:
            log._bundle = read_bundle(size // TILE_WIDTH, width, read)
            if [leaf_hash(entry) for entry in log._bundle] != levels[0]:
                raise ValueError(f"{tile_name(None, size // TILE_WIDTH, width)} does not agree with its tile")
        return log

    @property
    def size(self) -> int:
        return self.tree.size

    def append(self, entry: bytes) -> Hash:
        """Grow by one entry; its leaf hash."""
        leaf = leaf_hash(entry)
        bundle = self._bundle
        bundle.append(entry)
        if len(bundle) == TILE_WIDTH:
            self._full.append((None, self.tree.size // TILE_WIDTH, join_bundle(bundle)))
            self._bundle = []
        for level, index, hashes in self.tree.append(leaf):
            self._full.append((level, index, b"".join(hashes)))
        return leaf

    def flush(self) -> Growth:
        """What must be written for a checkpoint of the present size; asked again at once, nothing."""
        size = self.tree.size
        files: list[tuple[str, bytes]] = []
        obsolete: list[str] = []
        for level, index, content in self._full:
            files.append((tile_name(level, index), content))
            obsolete.append(f"{tile_name(level, index)}.p")
            self._written[level] = 0
        self._full = []
        if self._bundle and self._written.get(None) != len(self._bundle):
            files.append((tile_name(None, size // TILE_WIDTH, len(self._bundle)), join_bundle(self._bundle)))
            self._written[None] = len(self._bundle)
        for level, full, width in widths(size):
            if width and self._written.get(level) != width:
                files.append((tile_name(level, full, width), b"".join(self.tree.levels[level])))
                self._written[level] = width
        bundles = [file for file in files if file[0].startswith(BUNDLES)]
        tiles = [file for file in files if not file[0].startswith(BUNDLES)]
        return Growth(bundles, tiles, obsolete)


def entries_beyond(log: Files, size: int) -> Iterator[bytes]:
    """Entries in bundles beyond `size`: written by a sealer that died before it signed them. They keep their places. Raises BundleError, OSError,
    which name the file."""
    while True:
        index, offset = divmod(size, TILE_WIDTH)
        try:
            bundle = _split(log, index, TILE_WIDTH)
        except FileNotFoundError:
            width = widest_partial(log, index)
            if width <= offset:
                return
            yield from _split(log, index, width)[offset:]
            return
        yield from bundle[offset:]
        size += TILE_WIDTH - offset


def _split(log: Files, index: int, width: int) -> list[bytes]:
    name = tile_name(None, index, width)
    try:
        return split_bundle(log.read(name), width)
    except BundleError as error:
        raise BundleError(f"{name} {error}") from error
