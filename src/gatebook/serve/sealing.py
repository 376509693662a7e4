"""Sealing: the only place where entries get their order and a checkpoint its signature. The loop around it is `serve.sealer`.

What it derives, it derives from the bundles: what was signed (`sealing_resuming`), how far each writer's entries are in the log and which sessions
are open (`sealing_standing`, at a start brought up by `sealing_rebuilding`).
"""

from collections import deque
from collections.abc import Callable

import msgspec

from gatebook.ledger.checkpoint import Checkpoint, sign_checkpoint
from gatebook.ledger.entry import instant_us
from gatebook.ledger.framing import Ending, Group
from gatebook.ledger.gist import Read, read_gist
from gatebook.ledger.growing import GrowingLog
from gatebook.ledger.merkle import Tree
from gatebook.ledger.note import Signer
from gatebook.ledger.payload import PayloadError
from gatebook.ledger.remembering import pack
from gatebook.ledger.sessions import SEALER, closings
from gatebook.ledger.shelving import PayloadFiles
from gatebook.model.deployment import Deployment
from gatebook.model.record import Draft, Event, Origin, Resource, Who
from gatebook.serve.sealing_leftovers import edge_folders
from gatebook.serve.sealing_ports import LogStore, SealingRefused, Tail, Tails, Watermark
from gatebook.serve.sealing_rebuilding import MEMORY, Rebuilding
from gatebook.serve.sealing_resuming import STATE, Resuming
from gatebook.serve.sealing_standing import Standing

_GRACE_US = 30_000_000
_WAITING_BYTES = 64 << 20
_CLOSINGS = 64
_ARCHIVE_WHOLE_US = 3_600_000_000
_ARCHIVE_EVERY_US = 60_000_000
_REMEMBER_ENTRIES = 200_000
_REMEMBER_PER_SESSION = 20


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
        self._growing = GrowingLog()
        self._standing = Standing(payloads, tails)
        self._over: dict[Tail, Ending] = {}
        self._unsigned_bytes = 0
        self._unsigned_since = ""
        self._archived_us: int | None = None
        self._to_thin: deque[tuple[int, str]] = deque()
        self._remembered = 0
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
        return self._standing.shelf.waiting_bytes + self._unsigned_bytes > _WAITING_BYTES

    @property
    def backlog(self) -> float:
        """The most that waits to be taken of one writer, and can be, in its segments."""
        return max((tail.backlog() for tail in self._tails.look()), default=0.0)

    @property
    def unsigned_since_us(self) -> int | None:
        """When the first entry that was taken and is not signed was written, by its writer's clock; None where all are signed."""
        return instant_us(self._unsigned_since) if self._unsigned_since else None

    @property
    def damaged(self) -> tuple[str, ...]:
        """Files below the data directory that were met and are not as they were written: segments first, for what is in them is nowhere else, those of
        writers that run before those that were set aside; then payload files, of which what can be read is kept."""
        segments = (damage[0] for tail in self._tails.look() if (damage := tail.damage) is not None)
        return (*segments, *self._tails.aside, *(f"payloads/{name}" for name in self._standing.shelf.damaged))

    @property
    def damage(self) -> dict[str, int]:
        """Segments, below the data directory, of which nothing is taken from this offset on, although their writers made it durable."""
        return dict(damage for tail in self._tails.look() if (damage := tail.damage) is not None)

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
        # 1. What was signed is there, and what lies behind it was promised.
        resumed = Resuming(
            self._deployment, self._signer, log=self._log, state=self._state, tails=self._tails, watermark=self._watermark
        ).resume()  # fmt: skip
        self._growing, self.signed = resumed.growing, resumed.signed
        self._log.remove_leftovers(edge_folders(self.signed, self.size))
        # 2. Who wrote how far, and which sessions are open.
        self._remembered = Rebuilding(
            self._standing, resumed, self._deployment, self._signer, log=self._log, state=self._state, tails=self._tails
        ).rebuild()  # fmt: skip

    def take(self, *, look_for_ended: bool) -> int:
        """Take what the writers made durable into the tree; how many entries. Not signed yet. Raises SealingRefused, OSError."""
        before = self.size
        tails = self._tails.look()
        if before == 0:
            # The first entry of a log is the sealer's `log.init`, whoever wrote meanwhile.
            tails = sorted(tails, key=lambda tail: tail.writer != SEALER)
        if look_for_ended:
            # Of all, before anything is taken: who is not known to have ended has his mark kept open, and a sealer that was away may find thousands.
            for tail in tails:
                tail.ended()
        for tail in tails:
            if self.full:
                break
            # What is damaged is read again once in a while: it may have been put right, or its writer may have ended.
            if tail in self._over or (tail.damage is not None and not look_for_ended):
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
            if ending.clean or key in self._standing.recovered:
                continue
            self._standing.recovered[key] = None
            draft = own_draft(
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
            due.append(msgspec.structs.replace(draft, ok=False, reason="damaged") if ending.damaged else draft)
        return due

    def closings(self, now_us: int) -> list[Draft]:
        """What is due for sessions that are idle; each is asked for once."""
        over = {(tail.writer, tail.epoch) for tail in self._over}
        alive = {(tail.writer, tail.epoch) for tail in self._tails.look()} - over
        idle_us = int(self._deployment.limits.session_idle_s * 1_000_000) + _GRACE_US
        due = closings(
            self._standing.sessions,
            now_us=now_us,
            idle_us=idle_us,
            size=self.size,
            alive=frozenset(alive),
            most=_CLOSINGS,
        )
        if self._standing.sessions.late:
            for name in self._standing.sessions.set_aside(now_us, idle_us):
                self._standing.shelf.forget(name)
        fresh = [draft for draft in due if draft.session not in self._standing.awaited]
        self._standing.awaited.update(draft.session for draft in fresh if draft.session is not None)
        return fresh

    def seal(self, now_us: int) -> bool:
        """Sign what was taken, if anything was; True where a new checkpoint is published. Raises SealingRefused, OSError. The order is the proof:"""
        if self.size == self.signed:
            self.tidy()
            return False
        # 1. Payloads are where their entries say, 2. bundles and tiles of the new size are durable: each bundle before the next and before any
        # tile, or a power loss may leave a later file of an order that the lost one alone remembers.
        self._standing.shelf.flush()
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
        if checkpoint.size - self._remembered >= max(
            _REMEMBER_ENTRIES, _REMEMBER_PER_SESSION * self._standing.sessions.known
        ):
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
        """Segments whose entries are all signed are gone, and so are ended epochs once their recovery is signed too, but for what is damaged in them.

        Nothing goes while something is taken that is not signed: its segment is the only place that has it."""
        if self.size != self.signed:
            return
        for tail in self._tails.look():
            if tail not in self._over:
                tail.remove_taken(tail.position)
            elif self._over[tail].clean or self._recovery_signed(tail):
                if self._over[tail].damaged:
                    tail.set_aside()
                else:
                    tail.remove_all()
                del self._over[tail]
                self._tails.forget(tail.writer, tail.epoch)

    def _recovery_signed(self, tail: Tail) -> bool:
        index = self._standing.recovered.get((tail.writer, tail.epoch))
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
            last = self._standing.cursors.get(writer, sequence - 1)
            if sequence <= last:
                continue
            if sequence != last + 1:
                raise SealingRefused(f"{tail.writer} {tail.epoch}: entry {last + 1} is missing before {sequence}")
            if group.frames:
                try:
                    self._standing.shelf.put(group.frames, writer, gist.session, sequence)
                except PayloadError as error:
                    raise SealingRefused(f"{tail.writer} {tail.epoch}, entry {sequence}: {error}") from error
            if not self._unsigned_since:
                self._unsigned_since = gist.time
            self._unsigned_bytes += len(leaf)
            index = self._growing.size
            self._growing.append(leaf)
            self._standing.follow(index, gist)
            self._give_way()

    def remember(self) -> None:
        """The next start reads only what comes from here on. Nothing where it would anyway, or while something is taken that is not signed. Raises
        OSError."""
        if self.size != self.signed or self.signed == self._remembered:
            return
        living = {(tail.writer, tail.epoch) for tail in self._tails.look()}
        memory = self._standing.memory(self.signed, self._growing.tree.root(), living)
        self._state.replace(MEMORY, pack(memory, self._signer))
        self._remembered = self.signed


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
