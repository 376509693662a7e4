"""ports.Ledger on a segment chain: one queue, one thread, one fdatasync for all that arrived meanwhile."""

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import msgspec

from gatebook import formats
from gatebook.adapters.ledger_segment.chain import SegmentChain
from gatebook.ledger.checkpoint import claimed
from gatebook.ledger.merkle import Hash
from gatebook.ledger.note import NoteError
from gatebook.ledger.payload import PayloadError, PublicKey, load_public_key
from gatebook.ledger.scribe import Composed, Scribe, largest_frame
from gatebook.ledger.sessions import CLOSING
from gatebook.model.counting import Entries
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError, LedgerUnavailable, Reason
from gatebook.model.record import Draft
from gatebook.ports import Clock, Receipt, Recorded
from gatebook.speed import quick_for

Proof = TypeVar("Proof", Receipt, Recorded)
SMALL_SEGMENT_BYTES = 256 << 10
_INLINE_BYTES = 64 << 10
_ADMITTED_BYTES = 64 << 10
"""So much of the chain's space is asked for at a time: it is under a lock."""
_QUEUE_BYTES = 64 << 20
_WORTH_RECORDS = 16
_WORTH_BYTES = 256 << 10
_QUIET_TURNS = 2
_QUICK_S, _UNKNOWN_S = 0.001, 0.01
_PATIENCE_S, _STANDSTILL_S = 5.0, 2.0
"""How long room is waited for, and how long where none comes. What has happened already waits on then, too: without its record the answer is withheld
from a caller who must not simply ask again."""
_STEP_S = 0.01
_NO_ROOM = str(Reason.LEDGER_UNAVAILABLE)
_KEPT_FOR_OUTCOMES = 8
"""Nothing but the outcome of what was sent gets room in the last eighth of a segment: neither an intent nor a refusal, of which each intent that
finds no room would make one."""


class _Queued(msgspec.Struct, gc=False):
    """One draft on its way: composed, or to be composed by the committing thread; `admitted` bytes of the chain are its own."""

    composed: Composed | None
    finish: Callable[[], Composed] | None
    admitted: int
    proof: type[Receipt] | type[Recorded]
    settled: "asyncio.Future[Any]"
    """What becomes of it: its `proof`."""
    draft: Draft


class SegmentLedger:
    """One writer's hand in the book. `record_intent` and `record` belong to the event loop that first called one of them.

    One batch is on its way to the disk at a time. The next is gathered meanwhile, and then until it is worth a commit (`_gather`).

    LIMIT: a small batch of a quiet moment is committed on the event loop itself while commits lately took less than a millisecond. A disk
    that hangs in just such a commit holds up the worker, its health check included, until it answers."""

    def __init__(self, chain: SegmentChain, scribe: Scribe, clock: Clock, origin: str) -> None:
        self._chain, self._scribe, self._clock, self._origin = chain, scribe, clock, origin
        self.entries = Entries()
        self._queue: list[_Queued] = []
        self._queued_bytes = 0
        self._admitted = 0  # bytes of the chain that are ours, and no record's yet
        self._scarce = False  # the chain had no more for us than one record lacked
        # Of those who wait for room one looks for it: of those with an outcome, and of all others.
        self._first_of = {True: asyncio.Lock(), False: asyncio.Lock()}
        self._waiting = 0
        self._committing = False
        self._gathering = False
        self._seen = 0
        self._quiet = 0
        self._usual_s = _UNKNOWN_S
        self._closing = False
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kept_for_outcomes = chain.segment_bytes // _KEPT_FOR_OUTCOMES
        self._batches: SimpleQueue[list[_Queued] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._commit_all, name=f"commits of {scribe.writer}", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        data_dir: str | Path,
        writer: str,
        deployment: Deployment,
        clock: Clock,
        *,
        segment_bytes: int | None = None,
        sessions: bool = True,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> "SegmentLedger":
        """A new epoch of `writer` (`gate-0`, `supervisor`, `cli`: a-z, 0-9, `-`). Its first segment is durable on return.

        `segment_bytes`: the deployment's, or what is given (`SMALL_SEGMENT_BYTES` for those who write little). `sessions`: False for writers
        that record no session; they need no payload key. `entropy(count)` gives random bytes, to any thread. Raises LedgerUnavailable: no space, no key, no directory.
        """
        chain, scribe = open_chain(
            Path(data_dir), writer, deployment, segment_bytes=segment_bytes, sessions=sessions, entropy=entropy
        )
        return cls(chain, scribe, clock, deployment.origin)

    @property
    def writer(self) -> str:
        return self._scribe.writer

    @property
    def epoch(self) -> str:
        return self._scribe.epoch

    @property
    def failed(self) -> str | None:
        """Why nothing can be written any more: a failed write or sync ended this writer for good; only a new epoch helps. None while all is well."""
        return None if self._failure is None else f"{type(self._failure).__name__}: {self._failure}"

    def record_intent(self, draft: Draft) -> Awaitable[Receipt]:
        if self._waiting and self._goes_behind(draft):
            return self._recorded(draft, Receipt)
        return self._enqueued(draft, Receipt) or self._recorded(draft, Receipt)

    def record(self, draft: Draft) -> Awaitable[Recorded]:
        if self._waiting and self._goes_behind(draft):
            return self._recorded(draft, Recorded)
        return self._enqueued(draft, Recorded) or self._recorded(draft, Recorded)

    async def close(self) -> None:
        """Everything recorded so far is durable, the epoch is ended and its locks are free. Idempotent."""
        self._closing = True
        if self._queue:
            self._hand_over()
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._chain.close, clean=self._failure is None)

    @staticmethod
    def _goes_behind(draft: Draft) -> bool:
        """Whoever comes while others wait for room goes behind them. Not what happened already: as much of that as there is room for is written. Nor what
        says that a record got none, for it is not waited for."""
        return draft.event not in CLOSING and draft.reason != _NO_ROOM

    async def _recorded(self, draft: Draft, proof: type[Proof]) -> Proof:
        """As `_enqueued`, once there is room."""
        # Callers can be faster than the disk and the sealer: then they get the room that comes, who waits longest first, and go as fast as that.
        outcome, begun_s = draft.event in CLOSING, time.monotonic()
        if draft.reason == _NO_ROOM:
            raise LedgerUnavailable("no room to say that there was none for what waited for it")
        settled: asyncio.Future[Proof] | None = None
        self._waiting += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S), self._first_of[outcome]:
                    while (settled := self._enqueued(draft, proof)) is None:
                        if not outcome and time.monotonic() - max(begun_s, self._chain.grown_s) > _STANDSTILL_S:
                            break
                        await asyncio.sleep(_STEP_S)
        finally:
            self._waiting -= 1
        if settled is None:
            raise LedgerUnavailable("no free segment: the sealer is behind, or the disk is full or slow")
        return await settled

    def _enqueued(self, draft: Draft, proof: type[Proof]) -> "asyncio.Future[Proof] | None":
        """The draft has its number and is in the queue; what is returned is the proof once it is durable. None where there is no room now."""
        if self._failure is not None or self._closing:
            raise LedgerUnavailable("this writer is over" if self._failure else "this writer is closing")
        scribe = self._scribe
        bound = scribe.bound(draft)
        if self._queued_bytes and self._queued_bytes + bound > _QUEUE_BYTES:
            return None
        if self._admitted < bound and not self._admit(bound - self._admitted, outcome=draft.event in CLOSING):
            return None
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        instant = self._clock.now()
        composed, finish, size = None, None, bound
        if bound > _INLINE_BYTES:
            finish = scribe.defer(draft, instant.unix_us, instant.clocked)
        else:
            composed = scribe.compose(draft, instant.unix_us, instant.clocked)
            size = len(composed[0])
        settled = loop.create_future()
        self._admitted -= size
        if self._scarce:
            # What an outcome got and does not need is kept for outcomes again: the next intent would have it unasked.
            self._chain.refund(self._admitted)
            self._admitted, self._scarce = 0, False
        self._queued_bytes += size
        self._queue.append(_Queued(composed, finish, size, proof, settled, draft))
        if not (self._gathering or self._committing):
            self._begin_to_gather()
        return settled

    def _admit(self, lacking: int, *, outcome: bool) -> bool:
        """`lacking` more bytes of the chain are ours, or more, where there is more than is kept for outcomes."""
        kept = self._kept_for_outcomes
        if self._chain.admit(lacking + _ADMITTED_BYTES, leaving=kept):
            self._admitted += lacking + _ADMITTED_BYTES
            return True
        if self._chain.admit(lacking, leaving=0 if outcome else kept):
            self._admitted += lacking
            self._scarce = True
            return True
        return False

    def _begin_to_gather(self) -> None:
        self._gathering, self._seen, self._quiet = True, 0, 0
        assert self._loop is not None
        self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        """Hand the queue over once it is worth a commit; commit it here once two turns of the loop brought nothing more.

        A commit costs two changes of threads whatever it holds. Records come in bunches, because those who waited for one commit go on
        together: a commit at the first of them would hold one record, and so would the next. In a quiet moment nobody else could use
        the time of the commit, and the changes of threads would be most of what a single call waits for."""
        waiting = len(self._queue)
        self._quiet = self._quiet + 1 if waiting == self._seen else 0
        self._seen = waiting
        if waiting < _WORTH_RECORDS and self._queued_bytes < _WORTH_BYTES and self._quiet < _QUIET_TURNS:
            assert self._loop is not None
            self._loop.call_soon(self._gather)
            return
        self._gathering = False
        if not waiting:
            return
        here = self._quiet == _QUIET_TURNS and self._usual_s < _QUICK_S and self._queued_bytes < _WORTH_BYTES
        if here and all(queued.composed is not None for queued in self._queue):
            batch, self._queue, self._queued_bytes = self._queue, [], 0
            self._told(batch, *self._commit(batch))
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        batch, self._queue, self._queued_bytes = self._queue, [], 0
        self._committing = True
        self._batches.put(batch)

    def _commit_all(self) -> None:
        """Thread: commit what is handed over, until closed, and tell those who wait, all in one hop."""
        while (batch := self._batches.get()) is not None:
            self._tell(batch, *self._commit(batch))

    def _commit(self, batch: list[_Queued]) -> tuple[list[Hash], LedgerUnavailable | None]:
        """The leaves of `batch`, durable; or why they are not. On the loop or in the thread, never in both at a time. The order is the promise:"""
        try:
            if self._failure is None:
                begun = time.monotonic()
                # 1. Write all frames, 2. make them durable, 3. let the sealer see them. 4. Only then is anybody told.
                leaves = self._store(batch)
                self._chain.sync()
                self._chain.publish()
                took_s = time.monotonic() - begun
                self._usual_s += (took_s - self._usual_s) / 8
                self.entries.commits.add(took_s)
                return leaves, None
        except BaseException as error:
            # A failed write or sync: the state of the pages is unknown, so this writer never says "durable" again.
            self._failure = error
        return [], LedgerUnavailable(f"the record could not be made durable: {type(self._failure).__name__}")

    def _store(self, batch: list[_Queued]) -> list[Hash]:
        frames: list[bytes] = []
        leaves: list[Hash] = []
        for queued in batch:
            composed = queued.composed
            if composed is None:
                assert queued.finish is not None
                composed = queued.finish()
                self._chain.refund(queued.admitted - len(composed[0]))
            frames.append(composed[0])
            leaves.append(composed[1])
        self._chain.append(frames)
        return leaves

    def _tell(self, batch: list[_Queued], leaves: list[Hash], refusal: LedgerUnavailable | None) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._told, batch, leaves, refusal)
        except RuntimeError:
            # The loop is closed: nobody waits any more. What is durable stays durable.
            return

    def _told(self, batch: list[_Queued], leaves: list[Hash], refusal: LedgerUnavailable | None) -> None:
        """On the event loop: those who waited for `batch` go on, and what came meanwhile is the next. After a failure nothing is."""
        self._committing = False
        if refusal is not None:
            batch += self._queue
            self._queue, self._queued_bytes = [], 0
            for queued in batch:
                with contextlib.suppress(asyncio.InvalidStateError):
                    queued.settled.set_exception(refusal)
            return
        if self._queue and not self._gathering:
            self._begin_to_gather()
        count, origin = self.entries.add, self._origin
        for queued, leaf in zip(batch, leaves, strict=True):
            count(queued.draft)
            try:
                queued.settled.set_result(queued.proof(origin=origin, leaf=leaf))
            except asyncio.InvalidStateError:
                continue  # it was cancelled, and must not keep the others waiting


class SegmentHand:
    """A hand in the book for one who has no event loop and writes little: each `write` is a commit of its own."""

    def __init__(self, deployment: Deployment, writer: str, clock: Clock) -> None:
        """Raises LedgerUnavailable."""
        self._clock = clock
        self.entries = Entries()
        self._chain, self._scribe = open_chain(
            Path(deployment.data_dir), writer, deployment, segment_bytes=SMALL_SEGMENT_BYTES, sessions=False
        )
        self.writer, self.epoch = writer, self._scribe.epoch

    def write(self, draft: Draft) -> None:
        """The entry is durable. Raises LedgerUnavailable, OSError (then this hand is over)."""
        bound = self._scribe.bound(draft)
        if not self._chain.admit(bound):
            raise LedgerUnavailable("no free segment")
        instant = self._clock.now()
        frames, _ = self._scribe.compose(draft, instant.unix_us, instant.clocked)
        self._chain.refund(bound - len(frames))
        begun = time.monotonic()
        self._chain.append([frames])
        self._chain.sync()
        self._chain.publish()
        self.entries.commits.add(time.monotonic() - begun)
        self.entries.add(draft)

    def close(self, *, clean: bool = True) -> None:
        self._chain.close(clean=clean)


def open_chain(
    data_dir: Path,
    writer: str,
    deployment: Deployment,
    *,
    segment_bytes: int | None = None,
    sessions: bool = True,
    entropy: Callable[[int], bytes] = os.urandom,
) -> tuple[SegmentChain, Scribe]:
    """A new epoch's files and its scribe, for those who commit by themselves (the sealer). Raises LedgerUnavailable, also where a newer release
    has written."""
    try:
        formats.require_readable(data_dir)
    except ConfigurationError as newer:
        raise LedgerUnavailable(str(newer)) from newer
    size = segment_bytes or deployment.segment_bytes
    piece = max(4 << 10, min(1 << 20, size // 8))
    epoch = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}"
    idle_us = int(deployment.limits.session_idle_s * 1_000_000)
    development = deployment.profile == "dev"
    scribe = Scribe(
        writer=writer,
        epoch=epoch,
        entropy=entropy,
        payload_key=_payload_key(deployment) if sessions else None,
        development=development,
        piece_bytes=piece,
        forget_after_us=2 * idle_us,
        quick=quick_for(writer, epoch, development=development, piece_bytes=piece),
    )
    folder, mode = _place(data_dir, writer, deployment)
    try:
        chain = SegmentChain(
            folder,
            writer,
            epoch,
            segment_bytes=size,
            largest_frame=largest_frame(piece),
            published_size=lambda: published_size(data_dir),
            sequence=lambda: scribe.sequence,
            mode=mode,
        )
    except (OSError, ValueError) as error:
        raise LedgerUnavailable(f"no segment can be made in {folder}: {error}") from error
    return chain, scribe


def _place(data_dir: Path, writer: str, deployment: Deployment) -> tuple[Path, int]:
    """Where this writer's files lie, and their mode: where the rooms have users of their own, in its room's folder, whose group the sealer has."""
    segments = data_dir / "segments"
    return (segments, 0o600) if deployment.users is None else (segments / writer.partition("-")[0], 0o660)


def published_size(data_dir: Path) -> int:
    """The size that the published checkpoint claims; 0 where there is none. A hint only: it bounds a later search from below."""
    try:
        return claimed((data_dir / "log" / "checkpoint").read_bytes()).size
    except (OSError, NoteError):
        return 0


def _payload_key(deployment: Deployment) -> PublicKey:
    try:
        return load_public_key(Path(deployment.payload_public_key).read_text())
    except (OSError, PayloadError) as error:
        raise LedgerUnavailable(f"the payload key {deployment.payload_public_key} cannot be used: {error}") from error
