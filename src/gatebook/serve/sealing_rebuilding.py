"""Where writers and sessions stand, out of a log that was taken up again: from what an earlier sealer remembered, or from the entries."""

from gatebook.ledger.entry import decode, instant_us
from gatebook.ledger.gist import Gist, read_gist
from gatebook.ledger.growing import GrowingLog
from gatebook.ledger.merkle import TILE_WIDTH, Tree, range_hash
from gatebook.ledger.note import Signer
from gatebook.ledger.reading import leaves
from gatebook.ledger.recomparing import broken_file
from gatebook.ledger.remembering import Memory, unpack
from gatebook.ledger.tiles import nodes_from_tiles, tile_name
from gatebook.model.deployment import Deployment
from gatebook.serve.sealing_ports import PUT_BACK, LogStore, SealingRefused, Tails
from gatebook.serve.sealing_resuming import Resumed
from gatebook.serve.sealing_standing import Standing

MEMORY = "memory"
_READ_ANYWAY = 1_000_000
_LOOK_BACK = 8


class Rebuilding:
    """Brings `standing`, which followed nothing yet, to where `resumed` ends. Construct, then `rebuild`."""

    def __init__(
        self,
        standing: Standing,
        resumed: Resumed,
        deployment: Deployment,
        signer: Signer,
        *,
        log: LogStore,
        state: LogStore,
        tails: Tails,
    ) -> None:
        self._standing, self._resumed = standing, resumed
        self._size = resumed.growing.size
        self._deployment, self._signer = deployment, signer
        self._log, self._state, self._tails = log, state, tails

    def rebuild(self) -> int:
        """From what was remembered and the entries since then, however many: what the memory knows of a session cannot be had otherwise but from
        its first entry on. Without a memory from entries alone. How many entries it was that were remembered. Raises SealingRefused, OSError."""
        memory = self._memory()
        if memory is None:
            self._rebuild_from_entries()
            return 0
        self._standing.resume(memory)
        self._follow_from(memory.size)
        return memory.size

    def _rebuild_from_entries(self) -> None:
        """From all entries where they are no more than a million; else from those of the longest session that can be open, and from more where a
        session among them began before, up to eight times as many. What began before those is never closed: a sum of a part is no total.
        LIMIT: this takes ten seconds for each million entries."""
        bound = min((tail.bound for tail in self._tails.look()), default=self._size)
        start = max(0, min(bound, self._window_start(), self._size - _READ_ANYWAY))
        earliest = self._size - _LOOK_BACK * (self._size - start)
        while True:
            self._standing.begin(late=start > 0)
            self._follow_from(start)
            if start <= max(0, earliest) or all(session.whole for session in self._standing.sessions.open.values()):
                return
            start = max(0, earliest, 2 * start - self._size)

    def _follow_from(self, start: int) -> None:
        """Follow what the log holds from `start` on. Raises SealingRefused where that is not what was signed: a bit in an old entry would be taken for
        what its writer said."""
        edge: Tree | None = None
        for index in range(start // TILE_WIDTH, -(-self._size // TILE_WIDTH)):
            first = index * TILE_WIDTH
            try:
                # Without what is not signed yet: that has no tiles.
                edge = edge or GrowingLog.resume(self._resumed.signed, self._log.read).tree
                broken = broken_file(index, edge, self._log.read) if first < self._resumed.signed else None
                if broken is not None:
                    raise ValueError(f"log/{broken} is not as it was signed")
                for place, leaf in leaves(self._log, max(start, first), min(self._size, first + TILE_WIDTH)):
                    gist = read_gist(leaf)
                    if place >= self._resumed.promised:
                        self._require_next(gist)
                    self._standing.follow(place, gist)
            except (OSError, ValueError) as error:
                raise SealingRefused(
                    f"entries {first} to {min(self._size, first + TILE_WIDTH) - 1} cannot be read: {error}. {PUT_BACK}"
                ) from error

    def _memory(self) -> Memory | None:
        """What an earlier sealer remembered of this log; None where there is nothing that holds."""
        try:
            memory = unpack(self._state.read(MEMORY), self._signer)
            if memory is None or not 0 < memory.size <= self._size:
                return None
            root = range_hash(0, memory.size, nodes_from_tiles(memory.size, self._log.read))
        except (OSError, ValueError):
            return None
        return memory if root == memory.root else None

    def _window_start(self) -> int:
        """An index before which no entry of a session that can still be open lies, where no limit was lowered, no stream lasts longer than its
        session, and entries' times grow, but for a minute's disorder."""
        if self._size == 0:
            return 0
        limits = self._deployment.limits
        span_s = limits.session_absolute_s + 2 * limits.session_idle_s + 120
        earliest = self._written_us(self._size - 1) - int(span_s * 1_000_000)
        low, high = 0, self._size - 1
        while low < high:
            middle = (low + high) // 2
            if self._written_us(middle) < earliest:
                low = middle + 1
            else:
                high = middle
        return low

    def _require_next(self, gist: Gist) -> None:
        """An entry that nobody was about to sign is its writer's next. Raises ValueError: those that are left out would never be taken."""
        last = self._standing.cursors.get(gist.writer)
        due = self._resumed.oldest_held.get(gist.writer) if last is None else last + 1
        if gist.sequence != due:
            raise ValueError(
                f"{' '.join(gist.writer)} wrote {gist.sequence} where {due} is due, and nobody was about to sign it"
            )

    def _written_us(self, index: int) -> int:
        """When that entry was written, by its writer's clock. Raises SealingRefused."""
        try:
            return instant_us(decode(next(leaves(self._log, index, index + 1))[1]).t)
        except (OSError, ValueError) as error:
            raise SealingRefused(
                f"log/{tile_name(None, index // TILE_WIDTH)} cannot be read at entry {index}: {error}. {PUT_BACK}"
            ) from error
