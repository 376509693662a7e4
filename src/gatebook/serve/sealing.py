"""Sealing: the only place where entries get their order and a checkpoint its signature. The loop around it is `serve.sealer`.

What it derives, it derives from the bundles: how far each writer's entries are in the log, which sessions are open, what was signed.
"""

from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from gatebook.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from gatebook.ledger.entry import decode, instant_us
from gatebook.ledger.framing import Ending, Group
from gatebook.ledger.gist import Gist, Read, Writer, read_gist
from gatebook.ledger.growing import GrowingLog, entries_beyond
from gatebook.ledger.merkle import TILE_WIDTH, Hash, Tree, leaf_hash, range_hash
from gatebook.ledger.note import NoteError, Signer, load_verifier
from gatebook.ledger.payload import PayloadError
from gatebook.ledger.reading import archived_sizes, leaves
from gatebook.ledger.recomparing import broken_file
from gatebook.ledger.remembering import Memory, pack, unpack
from gatebook.ledger.sessions import SEALER, Sessions, closings
from gatebook.ledger.shelving import PayloadFiles, Shelf
from gatebook.ledger.tiles import nodes_from_tiles, tile_name
from gatebook.model.deployment import Deployment
from gatebook.model.record import Draft, Event, Origin, Resource, Who
from gatebook.serve.sealing_leftovers import edge_folders
from gatebook.serve.sealing_ports import LogStore, SealingRefused, Tail, Tails, Watermark

STATE = "state"
_GRACE_US = 30_000_000
_WAITING_BYTES = 64 << 20
_CLOSINGS = 64
_ARCHIVE_WHOLE_US = 3_600_000_000
_ARCHIVE_EVERY_US = 60_000_000
_MEMORY = "memory"
_REMEMBER_ENTRIES = 200_000
_REMEMBER_PER_SESSION = 20
_READ_ANYWAY = 1_000_000
_LOOK_BACK = 8
_PUT_BACK = "Copy everything as it is; then that file may be put back from a backup of this log: docs/howto/runbooks.md, Verification failed"


class _Promise(msgspec.Struct, frozen=True):
    """That for `size` entries no other root than `root` was or will be signed, and which file says so."""

    size: int
    root: Hash
    said_by: str

    def keep(self, root: Hash) -> None:
        """Raises SealingRefused where the log has another."""
        if root != self.root:
            raise SealingRefused(f"size {self.size} was signed with another root, as {self.said_by} says")


class Sealing:
    """One deployment's log, opened for growing. Construct, then `start`; every method belongs to one thread."""

    def __init__(
        self,
        deployment: Deployment,
        signer: Signer,
        *,
        log: LogStore,
        payloads: PayloadFiles,
        state: LogStore,
        tails: Tails,
        watermark: Watermark | None = None,
        give_way: Callable[[], None] = lambda: None,
        read: Read = read_gist,
    ) -> None:
        """`give_way` is called between entries. `read` reads each of them."""
        self._give_way, self._read = give_way, read
        self._deployment, self._signer = deployment, signer
        self._watermark = watermark
        self._log, self._state, self._tails = log, state, tails
        self._payloads = payloads
        self._shelf = Shelf(payloads, in_log=self._in_log)
        self._growing = GrowingLog()
        self._sessions = Sessions()
        self._cursors: dict[Writer, int] = {}
        self._recovered: dict[Writer, int | None] = {}
        self._over: dict[Tail, Ending] = {}
        self._awaited: set[str] = set()
        self._unsigned_bytes = 0
        self._unsigned_since = ""
        self._archived_us: int | None = None
        self._to_thin: deque[tuple[int, str]] = deque()
        self._remembered = 0
        self._promised = 0
        self._oldest_held: dict[Writer, int] = {}
        self.signed = 0

    @property
    def size(self) -> int:
        """Entries that have their place, signed or not."""
        return self._growing.size

    @property
    def signed_tree(self) -> Tree | None:
        """The tree of what was signed; None while something is taken that is not."""
        return self._growing.tree if self.size == self.signed else None

    @property
    def full(self) -> bool:
        """True where nothing more is taken before what was taken is sealed."""
        return self._shelf.waiting_bytes + self._unsigned_bytes > _WAITING_BYTES

    @property
    def backlog(self) -> float:
        """The most that waits to be taken of one writer, in its segments."""
        return max((tail.backlog() for tail in self._tails.look()), default=0.0)

    @property
    def unsigned_since_us(self) -> int | None:
        """When the first entry that was taken and is not signed was written, by its writer's clock; None where all are signed."""
        return instant_us(self._unsigned_since) if self._unsigned_since else None

    @property
    def damaged(self) -> tuple[str, ...]:
        """Payload files, below the data directory, that were met and are not as they were written; what can be read in them is kept."""
        return tuple(f"payloads/{name}" for name in self._shelf.damaged)

    def is_fresh(self) -> bool:
        """True where this log has no first entry yet, neither in it nor on its way: an earlier sealer's segment may be without it, or with
        a torn one. Takes what earlier sealers wrote where nothing is in the log. Raises SealingRefused, OSError."""
        if self.size == 0:
            for tail in self._tails.look():
                if tail.writer == SEALER:
                    self._take_from(tail, look_for_ended=True)
        return self.size == 0

    def start(self) -> None:
        """The log as it was last signed, checked and ready to grow. Raises SealingRefused; then nothing was changed or signed. Steps:"""
        self._tails.remove_orphans(SEALER)
        # 1. The newest archived checkpoint is ours and is the one that was published.
        last = self._last_signed()
        # 2. Its root comes out of the tiles.
        try:
            self._growing = GrowingLog.resume(last.size, self._log.read) if last is not None else GrowingLog()
        except (OSError, ValueError) as error:
            raise SealingRefused(f"the tiles of the signed log cannot be read: {error}") from error
        if last is not None and self._growing.tree.root() != last.root:
            raise SealingRefused(f"the tiles do not give the root that was signed for size {last.size}")
        self.signed = self._growing.size
        # 3. What bundles hold beyond it keeps its place; the state that was about to be signed must come out of it.
        self._adopt()
        self._log.remove_leftovers(edge_folders(self.signed, self.size))
        # 4. Who wrote how far, and which sessions are open.
        self._rebuild()

    def take(self, *, look_for_ended: bool) -> int:
        """Take what the writers made durable into the tree; how many entries. Not signed yet. Raises SealingRefused, OSError."""
        before = self.size
        tails = self._tails.look()
        if before == 0:
            # The first entry of a log is the sealer's `log.init`, whoever wrote meanwhile.
            tails = sorted(tails, key=lambda tail: tail.writer != SEALER)
        for tail in tails:
            if self.full:
                break
            if tail in self._over:
                continue
            self._take_from(tail, look_for_ended=look_for_ended)
        return self.size - before

    def awaits_ended(self) -> bool:
        """There may be more to take of a writer that has ended."""
        return any(tail.ended() and tail not in self._over for tail in self._tails.look())

    def _take_from(self, tail: Tail, *, look_for_ended: bool) -> None:
        over = look_for_ended and tail.ended()
        groups = tail.take()
        if groups:
            self._integrate(tail, groups)
        elif over:
            self._over[tail] = tail.ending()

    def recoveries(self) -> list[Draft]:
        """`log.recover` for each writer that ended without saying so and is not in the log as recovered yet."""
        due: list[Draft] = []
        for tail, ending in self._over.items():
            key = (tail.writer, tail.epoch)
            if ending.clean or key in self._recovered:
                continue
            self._recovered[key] = None
            due.append(
                own_draft(
                    "log.recover",
                    ok=not ending.torn_bytes and not ending.orphans,
                    reason="recovered",
                    writer=tail.writer,
                    epoch=tail.epoch,
                    segment=ending.segment,
                    offset=ending.offset,
                    taken_after_mark=ending.beyond_mark,
                    frames_without_entry=ending.orphans,
                    torn_bytes=ending.torn_bytes,
                )
            )
        return due

    def closings(self, now_us: int) -> list[Draft]:
        """What is due for sessions that are idle; each is asked for once."""
        over = {(tail.writer, tail.epoch) for tail in self._over}
        alive = {(tail.writer, tail.epoch) for tail in self._tails.look()} - over
        idle_us = int(self._deployment.limits.session_idle_s * 1_000_000) + _GRACE_US
        due = closings(
            self._sessions,
            now_us=now_us,
            idle_us=idle_us,
            size=self.size,
            alive=frozenset(alive),
            most=_CLOSINGS,
        )
        if self._sessions.late:
            for name in self._sessions.set_aside(now_us, idle_us):
                self._shelf.forget(name)
        fresh = [draft for draft in due if draft.session not in self._awaited]
        self._awaited.update(draft.session for draft in fresh if draft.session is not None)
        return fresh

    def seal(self, now_us: int) -> bool:
        """Sign what was taken, if anything was; True where a new checkpoint is published. Raises SealingRefused, OSError. The order is the proof:"""
        if self.size == self.signed:
            self.tidy()
            return False
        # 1. Payloads are where their entries say, 2. bundles and tiles of the new size are durable: each bundle before the next and before any
        # tile, or a power loss may leave a later file of an order that the lost one alone remembers.
        self._shelf.flush()
        growth = self._growing.flush()
        self._log.write_in_order(growth.bundles)
        self._log.write_once(growth.tiles)
        # 3. The state is durable before its signature exists: a second root for this size cannot be signed after any crash.
        checkpoint = Checkpoint(origin=self._deployment.origin, size=self.size, root=self._growing.tree.root())
        self._state.replace(STATE, f"{checkpoint.size} {checkpoint.root.hex()}\n".encode())
        # 4. Sign, archive, publish.
        note = sign_checkpoint(checkpoint, self._signer)
        if self._watermark is not None:
            # Nobody has seen it before it is known outside.
            self._watermark.replace(note)
        self._log.write_once([(f"checkpoints/{checkpoint.size}", note)])
        self._log.replace("checkpoint", note)
        self.signed = checkpoint.size
        # 5. Only now may go what the new checkpoint made superfluous.
        for name in growth.obsolete:
            self._log.remove_tree(name)
        self._thin(f"checkpoints/{checkpoint.size}", now_us)
        self._unsigned_bytes, self._unsigned_since = 0, ""
        self.tidy()
        if checkpoint.size - self._remembered >= max(_REMEMBER_ENTRIES, _REMEMBER_PER_SESSION * self._sessions.known):
            self.remember()
        return True

    def _thin(self, name: str, now_us: int) -> None:
        """The archive holds every checkpoint of the last hour, `name` the newest, and of the time before one a minute. What an older process
        archived stays. docs/adr/0009-checkpoints-thin-out.md"""
        if self._archived_us is None or not 0 <= now_us - self._archived_us < _ARCHIVE_EVERY_US:
            self._archived_us = now_us
        else:
            self._to_thin.append((now_us, name))
        while self._to_thin and now_us - self._to_thin[0][0] > _ARCHIVE_WHOLE_US:
            self._log.remove(self._to_thin.popleft()[1])

    def tidy(self) -> None:
        """Segments whose entries are all signed are gone, and so are ended epochs once their recovery is signed too.

        Nothing goes while something is taken that is not signed: its segment is the only place that has it."""
        if self.size != self.signed:
            return
        for tail in self._tails.look():
            if tail not in self._over:
                tail.remove_taken(tail.position)
            elif self._over[tail].clean or self._recovery_signed(tail):
                tail.remove_all()
                del self._over[tail]
                self._tails.forget(tail.writer, tail.epoch)

    def _recovery_signed(self, tail: Tail) -> bool:
        index = self._recovered.get((tail.writer, tail.epoch))
        return index is not None and index < self.signed

    def _integrate(self, tail: Tail, groups: list[Group]) -> None:
        """Each entry gets its place, in this order."""
        writer, read = (tail.writer, tail.epoch), self._read
        for group in groups:
            leaf = group.leaf
            try:
                gist = read(leaf, writer)
            except ValueError as error:
                raise SealingRefused(f"{tail.writer} {tail.epoch} wrote what is no entry: {error}") from error
            if gist.writer != writer:
                raise SealingRefused(f"{tail.writer} {tail.epoch} wrote an entry of {' '.join(gist.writer)}")
            # Where the log holds none of this epoch from its oldest segment's bound on, older segments were taken whole: it goes on with any number.
            sequence = gist.sequence
            last = self._cursors.get(writer, sequence - 1)
            if sequence <= last:
                continue
            if sequence != last + 1:
                raise SealingRefused(f"{tail.writer} {tail.epoch}: entry {last + 1} is missing before {sequence}")
            if group.frames:
                try:
                    self._shelf.put(group.frames, writer, gist.session, sequence)
                except PayloadError as error:
                    raise SealingRefused(f"{tail.writer} {tail.epoch}, entry {sequence}: {error}") from error
            if not self._unsigned_since:
                self._unsigned_since = gist.time
            self._unsigned_bytes += len(leaf)
            index = self._growing.size
            self._growing.append(leaf)
            self._follow(index, gist)
            self._give_way()

    def _follow(self, index: int, gist: Gist) -> None:
        """Cursors, sessions and recoveries after an entry has its place."""
        self._cursors[gist.writer] = gist.sequence
        self._sessions.take(index, gist)
        if gist.writer[0] != SEALER:
            return
        if gist.session is not None:
            self._awaited.discard(gist.session)
            if gist.event == "session.close":
                self._shelf.forget(gist.session)
                self._sessions.forget()
        if gist.event == "log.recover":
            facts = gist.entry().x
            self._recovered[str(facts.get("writer")), str(facts.get("epoch"))] = index

    def _in_log(self, writer: Writer, sequence: int) -> bool:
        """That entry has its place. Of an epoch without segments all have; of one that is not in what was read, all before its oldest segment."""
        last = self._cursors.get(writer)
        if last is not None:
            return sequence <= last
        oldest = [tail.first_sequence for tail in self._tails.look() if (tail.writer, tail.epoch) == writer]
        return not oldest or sequence < oldest[0]

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

    def _adopt(self) -> None:
        """What bundles hold beyond the signed size keeps its place; both states that were promised lie on the way, or nothing is signed."""
        promised = [self._about_to_be_signed(), *self._marked()]
        for promise in promised:
            if 0 < promise.size <= self.size:
                promise.keep(self._root_at(promise.size))
        unpromised: dict[Hash, int] = {}
        self._promised = max(self.signed, *(promise.size for promise in promised))
        try:
            for leaf in entries_beyond(self._log, self._growing.size):
                if self.size >= self._promised:
                    unpromised[leaf_hash(leaf)] = self.size
                self._growing.append(leaf)
                for promise in promised:
                    if promise.size == self._growing.size:
                        promise.keep(self._growing.tree.root())
        except (OSError, ValueError) as error:
            raise SealingRefused(
                f"entries that were written behind the {self.signed} signed ones cannot be read: {error}. {_PUT_BACK}"
            ) from error
        for promise in promised:
            if promise.size > self._growing.size:
                raise SealingRefused(
                    f"ROLLED BACK: a log of {promise.size} entries was signed, as {promise.said_by} says, but there are {self._growing.size}. "
                    "If the missing ones cannot be brought back, `gatebook restore --in-place` goes on with a new log that says so"
                )
        if unpromised:
            self._require_written(unpromised)

    def _require_written(self, unpromised: dict[Hash, int]) -> None:
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
                f"{len(unpromised)} entries behind the {self.signed} signed ones, the first at {index}, are in no segment and were not about to be "
                f"signed: somebody put log/{tile_name(None, index // TILE_WIDTH)}* there, or segments are gone. "
                "Copy everything as it is and look who; then they may be moved away, for nothing else names them: docs/howto/runbooks.md, Verification failed"
            )

    def _about_to_be_signed(self) -> "_Promise":
        try:
            text = self._state.read(STATE).decode()
            return _Promise(int(text.split()[0]), bytes.fromhex(text.split()[1]), "sealer/state")
        except FileNotFoundError:
            return _Promise(0, b"", "sealer/state")
        except (ValueError, IndexError) as error:
            raise SealingRefused("the state of the last signature cannot be read") from error

    def _marked(self) -> "Iterator[_Promise]":
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
            return range_hash(0, size, nodes_from_tiles(self.size, self._log.read))
        except (OSError, ValueError) as error:
            raise SealingRefused(f"the tiles of the signed log cannot be read: {error}") from error

    def _rebuild(self) -> None:
        """From what was remembered and the entries since then, however many: what the memory knows of a session cannot be had otherwise but from
        its first entry on. Without a memory from entries alone."""
        memory = self._memory()
        if memory is None:
            self._rebuild_from_entries()
            return
        self._remembered = memory.size
        self._cursors, self._recovered = {**memory.cursors}, {**memory.recovered}
        self._sessions = Sessions.resume(memory.open, memory.closed, late=not memory.from_first)
        self._shelf = Shelf(self._payloads, memory.shelved, in_log=self._in_log)
        self._follow_from(memory.size)

    def _rebuild_from_entries(self) -> None:
        """From all entries where they are no more than a million; else from those of the longest session that can be open, and from more where a
        session among them began before, up to eight times as many. What began before those is never closed: a sum of a part is no total.
        LIMIT: this takes ten seconds for each million entries."""
        bound = min((tail.bound for tail in self._tails.look()), default=self.size)
        start = max(0, min(bound, self._window_start(), self.size - _READ_ANYWAY))
        earliest = self.size - _LOOK_BACK * (self.size - start)
        while True:
            self._cursors, self._recovered, self._sessions = {}, {}, Sessions(late=start > 0)
            self._follow_from(start)
            if start <= max(0, earliest) or all(session.whole for session in self._sessions.open.values()):
                return
            start = max(0, earliest, 2 * start - self.size)

    def _follow_from(self, start: int) -> None:
        """Follow what the log holds from `start` on. Raises SealingRefused where that is not what was signed: a bit in an old entry would be taken for
        what its writer said."""
        edge: Tree | None = None
        for index in range(start // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            first = index * TILE_WIDTH
            try:
                # Without what is not signed yet: that has no tiles.
                edge = edge or GrowingLog.resume(self.signed, self._log.read).tree
                broken = broken_file(index, edge, self._log.read) if first < self.signed else None
                if broken is not None:
                    raise ValueError(f"log/{broken} is not as it was signed")
                for place, leaf in leaves(self._log, max(start, first), min(self.size, first + TILE_WIDTH)):
                    gist = read_gist(leaf)
                    if place >= self._promised:
                        self._require_next(gist)
                    self._follow(place, gist)
            except (OSError, ValueError) as error:
                raise SealingRefused(
                    f"entries {first} to {min(self.size, first + TILE_WIDTH) - 1} cannot be read: {error}. {_PUT_BACK}"
                ) from error

    def _memory(self) -> Memory | None:
        """What an earlier sealer remembered of this log; None where there is nothing that holds."""
        try:
            memory = unpack(self._state.read(_MEMORY), self._signer)
            if memory is None or not 0 < memory.size <= self.size:
                return None
            root = range_hash(0, memory.size, nodes_from_tiles(memory.size, self._log.read))
        except (OSError, ValueError):
            return None
        return memory if root == memory.root else None

    def remember(self) -> None:
        """The next start reads only what comes from here on. Nothing where it would anyway, or while something is taken that is not signed. Raises
        OSError."""
        if self.size != self.signed or self.signed == self._remembered:
            return
        living = {(tail.writer, tail.epoch) for tail in self._tails.look()}
        memory = Memory(
            size=self.signed,
            root=self._growing.tree.root(),
            cursors={writer: last for writer, last in self._cursors.items() if writer in living},
            recovered={writer: at for writer, at in self._recovered.items() if at is not None and writer in living},
            open=list(self._sessions.open.values()),
            closed=list(self._sessions.closed.values()),
            shelved=self._shelf.remember(),
            from_first=not self._sessions.late,
        )
        self._state.replace(_MEMORY, pack(memory, self._signer))
        self._remembered = self.signed

    def _window_start(self) -> int:
        """An index before which no entry of a session that can still be open lies, where no limit was lowered, no stream lasts longer than its
        session, and entries' times grow, but for a minute's disorder."""
        if self.size == 0:
            return 0
        limits = self._deployment.limits
        span_s = limits.session_absolute_s + 2 * limits.session_idle_s + 120
        earliest = self._written_us(self.size - 1) - int(span_s * 1_000_000)
        low, high = 0, self.size - 1
        while low < high:
            middle = (low + high) // 2
            if self._written_us(middle) < earliest:
                low = middle + 1
            else:
                high = middle
        return low

    def _require_next(self, gist: Gist) -> None:
        """An entry that nobody was about to sign is its writer's next. Raises ValueError: those that are left out would never be taken."""
        last = self._cursors.get(gist.writer)
        due = self._oldest_held.get(gist.writer) if last is None else last + 1
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
                f"log/{tile_name(None, index // TILE_WIDTH)} cannot be read at entry {index}: {error}. {_PUT_BACK}"
            ) from error


def own_draft(event: Event, *, ok: bool = True, reason: str, **detail: str | int | bool) -> Draft:
    """A draft of the sealer about the log itself."""
    return Draft(
        event=event,
        ok=ok,
        reason=reason,
        who=Who(kind="service", iss="gatebook", sub=SEALER),
        origin=Origin(ip="local"),
        resource=Resource(kind="log"),
        detail=detail,
    )
