"""Every file that lies in the evidence directories must be one that the log accounts for, in exactly its bytes."""

import hashlib
import re
from array import array

from gatebook.ledger.files import CannotJudge, Files
from gatebook.ledger.merkle import TILE_HEIGHT, TILE_WIDTH
from gatebook.ledger.tiles import HASH_BYTES, BundleError, parse_tile_name, split_bundle, tile_name, widths
from gatebook.ledger.verifying_entries import EntryCheck, Say
from gatebook.ledger.verifying_payloads import PayloadCheck

_CONFIG = re.compile(r"configs/([0-9a-f]{64})\.toml")
_CONFIG_BEGUN = re.compile(r"configs/\.[0-9a-f]{64}\.tmp")
_TEMPORARY = ".tmp"
_SIZES = 1 << 63


class FileCheck:
    """`unfinished`: names that only a running sealer explains, and `strays`: recordings of no session that do not look like new ones, until they are
    looked at again; `pending`: how many names a newer checkpoint did not explain either, although they have the form of what comes next."""

    def __init__(
        self,
        say: Say,
        log: Files,
        payloads: Files | None,
        size: int,
        archive: "array[int]",
        entries: EntryCheck,
        recordings: PayloadCheck,
    ) -> None:
        self._say, self._log, self._payloads = say, log, payloads
        self._size, self._archive = size, archive
        self._entries, self._recordings = entries, recordings
        self._main = ("", b"")
        self.unfinished: list[str] = []
        self.strays: list[str] = []
        self.pending = 0

    def look(self) -> None:
        """Look at every file once."""
        configs: set[str] = set()
        for name in self._log.names():
            if match := _CONFIG.fullmatch(name):
                configs.add(match[1])
                self._config(name, match[1])
            elif not self._known(name, self._size):
                self.unfinished.append(name)
        for absent in sorted(self._entries.loaded - configs):
            self._say(f"configs/{absent}.toml", "is gone, but an entry names it")
        for name in self._absent_partials():
            self._say(name, "is gone, but a checkpoint was signed for it")
        self._look_at_payloads()

    def look_again(self, newer_size: int) -> None:
        """Say what a newer checkpoint does not explain."""
        for name in self.unfinished:
            if not _exists(self._log, name) or self._known(name, newer_size):
                continue
            if self._comes_next(name) and _is_plain(self._log, name):
                self.pending += 1
            else:
                self._say(name, "is not accounted for")
        for name in self.strays:
            if (what := self._recordings.stray(name, self._entries.written)) is not None:
                self._say(f"payloads/{name}", what)
        self.unfinished, self.strays = [], []

    def _comes_next(self, name: str) -> bool:
        """True for what a sealer writes after the checkpoint that is judged, whole or still under its temporary name: it is at work, or was killed there.
        Its next start finishes or removes it. So too for a configuration that is about to be kept."""
        if _CONFIG_BEGUN.fullmatch(name):
            return True
        final = name.removesuffix(_TEMPORARY)
        if final == "checkpoint":
            return True
        if (size := _archived(final)) is not None:
            # The checkpoint that is judged has both names for a moment.
            return self._size < size < _SIZES or (size == self._size and final != name)
        return parse_tile_name(final) is not None and not self._known(final, self._size)

    def _known(self, name: str, size: int) -> bool:
        """True where a log of `size` entries has a file of this name; its bytes are compared where the walk did not."""
        if name == "checkpoint":
            return True
        if name == ".lock":
            self._demand_plain(name)
            return True
        if name.startswith("checkpoints/"):
            archived = _archived(name)
            return archived is not None and archived <= size
        tile = parse_tile_name(name)
        if tile is None:
            return False
        level, index, width = tile
        hashes = size >> (TILE_HEIGHT * (level or 0))
        if index * TILE_WIDTH + width > hashes:
            return False
        if width < TILE_WIDTH and size == self._size:
            self._compare_partial(name, level, index, width)
        return True

    def _demand_plain(self, name: str) -> None:
        """Say so where something else than a file has the name of one whose content is nobody's matter."""
        try:
            self._log.open(name).close()
        except (FileNotFoundError, CannotJudge):
            return  # of an auditor's copy it is gone, and a running sealer's may be nobody else's
        except OSError as error:
            self._say(name, str(error))

    def _compare_partial(self, name: str, level: int | None, index: int, width: int) -> None:
        """A partial tile is the beginning of what the walk compared: the full one, or the partial one of the checkpoint."""
        widest = min(TILE_WIDTH, (self._size >> (TILE_HEIGHT * (level or 0))) - index * TILE_WIDTH)
        main = tile_name(level, index, widest)
        if name == main:
            return
        if self._main[0] != main:
            try:
                self._main = (main, self._log.read(main))
            except OSError:
                return  # the walk said so, or took the full one
        try:
            content = self._log.read(name)
        except FileNotFoundError:
            return  # a running sealer removed it, because the full one is there now
        except OSError as error:
            self._say(name, str(error))
            return
        whole = self._main[1]
        try:
            due = whole[: HASH_BYTES * width]
            if level is None:
                count = len(split_bundle(content, width))
                due = whole[: len(content)] if count == width else b""
        except BundleError as error:
            self._say(name, str(error))
            return
        if content != due:
            self._say(name, f"is not the beginning of {main}")

    def _absent_partials(self) -> list[str]:
        """Partial tiles of archived checkpoints that no full tile replaces. C2SP tlog-tiles, "Partial Tiles"."""
        due: set[str] = set()
        for level, full, width in widths(self._size):
            if not width:
                continue
            for size in reversed(self._archive):
                if size > self._size:
                    continue
                hashes = size >> (TILE_HEIGHT * level)
                if hashes // TILE_WIDTH != full:
                    break
                if hashes % TILE_WIDTH:
                    due.add(tile_name(level, full, hashes % TILE_WIDTH))
                    if level == 0:
                        due.add(tile_name(None, full, hashes % TILE_WIDTH))
        return [name for name in sorted(due) if not self._present(name)]

    def _present(self, name: str) -> bool:
        return _exists(self._log, name) or _exists(self._log, name.rpartition(".p/")[0])

    def _config(self, name: str, digest: str) -> None:
        try:
            content = self._log.read(name)
        except OSError as error:
            self._say(name, str(error))
            return
        if hashlib.sha256(content).hexdigest() != digest:
            self._say(name, "does not have the hash that it is named for")
        elif digest not in self._entries.named:
            # It is kept before `config.load` is durable, and for good where that never came: it proves nothing and hides nothing.
            self.pending += 1

    def _look_at_payloads(self) -> None:
        if self._payloads is None:
            return
        if self._recordings.found_all_of(self._payloads.names()):
            return
        for name in self._recordings.strays(self._payloads.names()):
            if self._recordings.stray(name, self._entries.written) is not None:
                self.strays.append(name)


def _archived(name: str) -> int | None:
    """The size that an archived checkpoint is named for, in its only spelling."""
    number = name.removeprefix("checkpoints/")
    if number == name or not (number.isascii() and number.isdecimal()) or str(int(number)) != number:
        return None
    return int(number) or None


def _is_plain(files: Files, name: str) -> bool:
    try:
        files.open(name).close()
    except (OSError, CannotJudge):
        return False
    return True


def _exists(files: Files, name: str) -> bool:
    try:
        files.open(name).close()
    except FileNotFoundError:
        return False
    except (OSError, CannotJudge):
        return True  # a directory's link, a file that may not be read: it is there
    return True
