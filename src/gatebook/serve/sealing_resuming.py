"""How a log is taken up again: it is as it was last signed, and what lies behind that is what was promised, or nothing is signed."""

from collections.abc import Iterator

import msgspec

from gatebook.ledger.checkpoint import Checkpoint, open_checkpoint
from gatebook.ledger.entry import decode
from gatebook.ledger.gist import Writer
from gatebook.ledger.growing import GrowingLog, entries_beyond
from gatebook.ledger.merkle import TILE_WIDTH, Hash, leaf_hash, range_hash
from gatebook.ledger.note import NoteError, Signer, load_verifier
from gatebook.ledger.reading import archived_sizes
from gatebook.ledger.tiles import nodes_from_tiles, tile_name
from gatebook.model.deployment import Deployment
from gatebook.serve.sealing_ports import PUT_BACK, LogStore, SealingRefused, Tails, Watermark

STATE = "state"


class _Promise(msgspec.Struct, frozen=True):
    """That for `size` entries no other root than `root` was or will be signed, and which file says so."""

    size: int
    root: Hash
    said_by: str

    def keep(self, root: Hash) -> None:
        """Raises SealingRefused where the log has another."""
        if root != self.root:
            raise SealingRefused(f"size {self.size} was signed with another root, as {self.said_by} says")


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """A log that is ready to grow: all that bundles hold, of which the first `signed` entries are signed, and none behind the first `promised`
    was about to be. `oldest_held`: the sequence number of the oldest leaf in each epoch's segments; empty where there was no need to look."""

    growing: GrowingLog
    signed: int
    promised: int
    oldest_held: dict[Writer, int]


class Resuming:
    """What a log is taken up from. Construct, then `resume`, once."""

    def __init__(
        self,
        deployment: Deployment,
        signer: Signer,
        *,
        log: LogStore,
        state: LogStore,
        tails: Tails,
        watermark: Watermark | None,
    ) -> None:
        self._deployment, self._signer = deployment, signer
        self._log, self._state, self._tails = log, state, tails
        self._watermark = watermark
        self._growing = GrowingLog()
        self._promised = 0
        self._oldest_held: dict[Writer, int] = {}

    def resume(self) -> Resumed:
        """Everything that was signed or promised is there. Raises SealingRefused, OSError. Steps:"""
        # 1. The newest archived checkpoint is ours and is the one that was published.
        last = self._last_signed()
        # 2. Its root comes out of the tiles.
        try:
            self._growing = GrowingLog.resume(last.size, self._log.read) if last is not None else GrowingLog()
        except (OSError, ValueError) as error:
            raise SealingRefused(f"the tiles of the signed log cannot be read: {error}") from error
        if last is not None and self._growing.tree.root() != last.root:
            raise SealingRefused(f"the tiles do not give the root that was signed for size {last.size}")
        signed = self._growing.size
        # 3. What bundles hold beyond it keeps its place; the state that was about to be signed must come out of it.
        self._adopt(signed)
        return Resumed(growing=self._growing, signed=signed, promised=self._promised, oldest_held=self._oldest_held)

    def _last_signed(self) -> Checkpoint | None:
        sizes = archived_sizes(self._log)
        try:
            published: bytes | None = self._log.read("checkpoint")
        except FileNotFoundError:
            published = None
        if not sizes:
            if published is not None:
                raise SealingRefused("a checkpoint is published but none is archived")
            return None
        newest = f"checkpoints/{sizes[-1]}"
        note = self._log.read(newest)
        last = self._opened(note, newest)
        if published != note:
            if published is not None and self._opened(published, "checkpoint").size > last.size:
                raise SealingRefused("the published checkpoint is larger than the newest archived one")
            # A sealer died between archiving and publishing; finish its step: the name in the archive is durable first.
            self._log.write_once([(f"checkpoints/{last.size}", note)])
            self._log.replace("checkpoint", note)
        return last

    def _opened(self, note: bytes, name: str) -> Checkpoint:
        try:
            return open_checkpoint(note, load_verifier(self._signer.vkey), self._deployment.origin)
        except NoteError as error:
            raise SealingRefused(f"{name} is not signed by this deployment's log key: {error}") from error

    def _adopt(self, signed: int) -> None:
        """What bundles hold beyond the signed size keeps its place; both states that were promised lie on the way, or nothing is signed."""
        promised = [self._about_to_be_signed(), *self._marked()]
        for promise in promised:
            if 0 < promise.size <= self._growing.size:
                promise.keep(self._root_at(promise.size))
        unpromised: dict[Hash, int] = {}
        self._promised = max(signed, *(promise.size for promise in promised))
        try:
            for leaf in entries_beyond(self._log, self._growing.size):
                if self._growing.size >= self._promised:
                    unpromised[leaf_hash(leaf)] = self._growing.size
                self._growing.append(leaf)
                for promise in promised:
                    if promise.size == self._growing.size:
                        promise.keep(self._growing.tree.root())
        except (OSError, ValueError) as error:
            raise SealingRefused(
                f"entries that were written behind the {signed} signed ones cannot be read: {error}. {PUT_BACK}"
            ) from error
        for promise in promised:
            if promise.size > self._growing.size:
                raise SealingRefused(self._rolled_back(promise, signed))
        if unpromised:
            self._require_written(unpromised, signed)

    def _rolled_back(self, promise: _Promise, signed: int) -> str:
        """What is missing, and what helps: a log of which nothing is signed cannot be ended in its place."""
        said = f"ROLLED BACK: a log of {promise.size} entries was signed, as {promise.said_by} says, but"
        if signed:
            return (
                f"{said} there are {self._growing.size}. If the missing ones cannot be brought back, `gatebook restore --in-place` goes on with a "
                "new log that says so"
            )
        return (
            f"{said} there is no signed log in {self._deployment.data_dir}. If it cannot be brought back, move what is left there aside and put the "
            "newest backup back, `gatebook restore FROM`: a new log goes on that says so. docs/howto/operate.md, Restore"
        )

    def _require_written(self, unpromised: dict[Hash, int], signed: int) -> None:
        """Entries in bundles that nobody was about to sign are in segments too, for none of these goes before its entries are signed. Others were put
        there by somebody who could write files and is no writer. `unpromised`: leaf hash → index."""
        for tail in self._tails.look():
            for number, leaf in enumerate(tail.held()):
                try:
                    if number == 0:
                        self._oldest_held[tail.writer, tail.epoch] = decode(leaf).w.s
                except ValueError as error:
                    raise SealingRefused(f"{tail.writer} {tail.epoch} wrote what is no entry: {error}") from error
                unpromised.pop(leaf_hash(leaf), None)
        if unpromised:
            index = min(unpromised.values())
            raise SealingRefused(
                f"{len(unpromised)} entries behind the {signed} signed ones, the first at {index}, are in no segment and were not about to be "
                f"signed: somebody put log/{tile_name(None, index // TILE_WIDTH)}* there, or segments are gone. "
                "Copy everything as it is and look who; then they may be moved away, for nothing else names them: docs/howto/runbooks.md, Verification failed"
            )

    def _about_to_be_signed(self) -> _Promise:
        try:
            text = self._state.read(STATE).decode()
            return _Promise(int(text.split()[0]), bytes.fromhex(text.split()[1]), "sealer/state")
        except FileNotFoundError:
            return _Promise(0, b"", "sealer/state")
        except (ValueError, IndexError) as error:
            raise SealingRefused("the state of the last signature cannot be read") from error

    def _marked(self) -> Iterator[_Promise]:
        """The newest state that was signed, as it is known outside the data directory; nothing where that is not configured."""
        if self._watermark is None:
            return
        try:
            note = self._watermark.read()
        except OSError as error:
            raise SealingRefused(f"the watermark cannot be read, so nobody knows what was signed: {error}") from error
        if note is not None:
            mark = self._opened(note, "the watermark")
            yield _Promise(mark.size, mark.root, "the watermark")

    def _root_at(self, size: int) -> Hash:
        try:
            return range_hash(0, size, nodes_from_tiles(self._growing.size, self._log.read))
        except (OSError, ValueError) as error:
            raise SealingRefused(f"the tiles of the signed log cannot be read: {error}") from error
